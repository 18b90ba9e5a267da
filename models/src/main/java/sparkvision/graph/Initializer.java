package sparkvision.graph;

import java.util.Arrays;
import java.util.Random;

/** The first values of a variable: a pure function of the seed, its name and its shape. */
@FunctionalInterface
public interface Initializer {

  /**
   * The values, row-major.
   *
   * @param seed the graph's
   * @param name the variable's; variables of one graph draw from a stream each
   */
  float[] values(long seed, String name, long... shape);

  /** The same value everywhere. */
  static Initializer constant(float value) {
    return (seed, name, shape) -> {
      float[] values = new float[elements(shape)];
      Arrays.fill(values, value);
      return values;
    };
  }

  /**
   * Normal with variance 2 / fan-in, for weights in front of a ReLU.
   *
   * @see <a href="https://arxiv.org/abs/1502.01852">He et al., Delving Deep into Rectifiers, 2015,
   *     equation 10</a>
   */
  static Initializer kaimingNormal() {
    return (seed, name, shape) ->
        normal(0, Math.sqrt(2.0 / fanIn(shape))).values(seed, name, shape);
  }

  /**
   * Normal with variance 2 / fan-out, for ungrouped convolutions: as torchvision's ResNet starts.
   */
  static Initializer kaimingNormalByFanOut() {
    return (seed, name, shape) -> {
      double fanOut = (double) fanIn(shape) / shape[1] * shape[0];
      return normal(0, Math.sqrt(2 / fanOut)).values(seed, name, shape);
    };
  }

  /** Normal with this mean and standard deviation. */
  static Initializer normal(double mean, double deviation) {
    return (seed, name, shape) -> {
      Random random = new Random(Seeds.of(seed, name));
      float[] values = new float[elements(shape)];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (mean + deviation * random.nextGaussian());
      }
      return values;
    };
  }

  /** Uniform within ±1/√fan-in: PyTorch's default for the weight of a linear layer. */
  static Initializer uniformByFanIn() {
    return (seed, name, shape) -> {
      double bound = 1 / Math.sqrt((double) fanIn(shape));
      Random random = new Random(Seeds.of(seed, name));
      float[] values = new float[elements(shape)];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (bound * (2 * random.nextDouble() - 1));
      }
      return values;
    };
  }

  /** Uniform within ±{@code bound}. */
  static Initializer uniform(double bound) {
    return (seed, name, shape) -> {
      Random random = new Random(Seeds.of(seed, name));
      float[] values = new float[elements(shape)];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (bound * (2 * random.nextDouble() - 1));
      }
      return values;
    };
  }

  /**
   * Normal with mean 0; what falls outside of ±2 (not of two deviations) is drawn anew.
   *
   * @see <a
   *     href="https://github.com/huggingface/pytorch-image-models/blob/v0.4.12/timm/models/layers/weight_init.py">timm's
   *     {@code trunc_normal_}, which vision transformers start from with a deviation of 0.02</a>
   */
  static Initializer truncatedNormal(double deviation) {
    return (seed, name, shape) -> {
      Random random = new Random(Seeds.of(seed, name));
      float[] values = new float[elements(shape)];
      for (int i = 0; i < values.length; i++) {
        double value;
        do {
          value = deviation * random.nextGaussian();
        } while (Math.abs(value) > 2);
        values[i] = (float) value;
      }
      return values;
    };
  }

  /** How many inputs feed one output of a weight (O, I, k...). */
  private static long fanIn(long... shape) {
    return Arrays.stream(shape).skip(1).reduce(1, Math::multiplyExact);
  }

  private static int elements(long... shape) {
    return Math.toIntExact(Arrays.stream(shape).reduce(1, Math::multiplyExact));
  }
}
