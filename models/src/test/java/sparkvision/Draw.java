package sparkvision;

import java.util.Random;
import sparkvision.graph.Initializer;
import sparkvision.weights.HostTensor;

/** Numbers for tests, drawn from fixed seeds. */
public final class Draw {

  private Draw() {}

  /** Standard normal values. */
  public static HostTensor normal(long seed, long... shape) {
    float[] values = new float[elements(shape)];
    Random random = new Random(seed);
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return HostTensor.of(values, shape);
  }

  /** Class indices in [0, classes). */
  public static HostTensor labels(long seed, int classes, int count) {
    return HostTensor.ofLongs(new Random(seed).longs(count, 0, classes).toArray(), count);
  }

  /** Standard normal values that follow from the seed and the name, as an initializer. */
  public static Initializer normal() {
    return (seed, name, shape) -> normal(seed * 31 + name.hashCode(), shape).floats();
  }

  private static int elements(long... shape) {
    int elements = 1;
    for (long size : shape) {
      elements *= (int) size;
    }
    return elements;
  }
}
