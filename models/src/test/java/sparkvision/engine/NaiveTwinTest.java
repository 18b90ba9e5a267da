package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/** Convolution, pools and batch norm against plain loops; 2D runs as 3D with a depth of one. */
class NaiveTwinTest {

  private static final long SEED = 5;

  /** (B, C, D, H, W) with odd sizes; 2D drops the axis of size one. */
  private static long[] shape(int dims) {
    return dims == 2 ? new long[] {3, 4, 1, 7, 9} : new long[] {2, 3, 5, 7, 6};
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void convolutionMatchesNaiveLoops(int dims) {
    long[] shape = shape(dims);
    HostTensor x = Draw.normal(SEED, flat(dims, shape));
    int depth = dims == 2 ? 1 : 3;
    long[] kernel = dims == 2 ? new long[] {3, 2} : new long[] {3, 3, 2};
    HostTensor[] weights = new HostTensor[2];
    HostTensor y =
        run(
            x,
            g -> g.conv("c", shape[1], 5, kernel).withBias().stride(2).padding(1).apply(x(g)),
            state -> {
              weights[0] = state.get("c.weight");
              weights[1] = Draw.normal(SEED + 1, 5);
              state.put("c.bias", weights[1]);
              return state;
            });

    int padDepth = dims == 2 ? 0 : 1;
    float[] expected = new float[y.floats().length];
    long[] out = spatial(dims, y.shape());
    int at = 0;
    for (int b = 0; b < shape[0]; b++) {
      for (int o = 0; o < 5; o++) {
        for (int d = 0; d < out[0]; d++) {
          for (int h = 0; h < out[1]; h++) {
            for (int w = 0; w < out[2]; w++) {
              double sum = weights[1].floats()[o];
              for (int c = 0; c < shape[1]; c++) {
                for (int i = 0; i < depth; i++) {
                  for (int j = 0; j < 3; j++) {
                    for (int k = 0; k < 2; k++) {
                      int z = (dims == 2 ? d : 2 * d) + i - padDepth;
                      double value = at(x, shape, b, c, z, 2 * h + j - 1, 2 * w + k - 1, 0);
                      int index = (int) ((((o * shape[1] + c) * depth + i) * 3 + j) * 2 + k);
                      sum += value * weights[0].floats()[index];
                    }
                  }
                }
              }
              expected[at++] = (float) sum;
            }
          }
        }
      }
    }
    assertThat(at).isEqualTo(expected.length);
    assertThat(y.floats()).containsExactly(expected, within(1e-5f));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void maxPoolMatchesNaiveLoops(int dims) {
    long[] shape = shape(dims);
    HostTensor x = Draw.normal(SEED, flat(dims, shape));
    for (int i = 0; i < x.floats().length; i++) {
      x.floats()[i] -= 10; // all negative: padding with zeros would show
    }
    HostTensor y = run(x, g -> g.maxPool(x(g), 3, 2, 1), state -> state);
    assertThat(y.floats())
        .containsExactly(pooled(dims, shape, x, y, 3, 1, Float.NEGATIVE_INFINITY));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void averagePoolMatchesNaiveLoops(int dims) {
    long[] shape = shape(dims);
    HostTensor x = Draw.normal(SEED, flat(dims, shape));
    HostTensor y = run(x, g -> g.averagePool(x(g), 2, 2), state -> state);
    assertThat(y.floats())
        .containsExactly(pooled(dims, shape, x, y, 2, 0, Float.NaN), within(1e-6f));
  }

  /** Windows of stride 2: maxima where the padding is a number, means where it is not. */
  private static float[] pooled(
      int dims, long[] shape, HostTensor x, HostTensor y, int kernel, int padding, float outside) {
    boolean max = !Float.isNaN(outside);
    float[] expected = new float[y.floats().length];
    long[] out = spatial(dims, y.shape());
    int depth = dims == 2 ? 1 : kernel;
    int at = 0;
    for (int b = 0; b < shape[0]; b++) {
      for (int c = 0; c < shape[1]; c++) {
        for (int d = 0; d < out[0]; d++) {
          for (int h = 0; h < out[1]; h++) {
            for (int w = 0; w < out[2]; w++) {
              double best = Double.NEGATIVE_INFINITY;
              double sum = 0;
              for (int i = 0; i < depth; i++) {
                for (int j = 0; j < kernel; j++) {
                  for (int k = 0; k < kernel; k++) {
                    int z = dims == 2 ? 0 : 2 * d + i - padding;
                    double value =
                        at(x, shape, b, c, z, 2 * h + j - padding, 2 * w + k - padding, outside);
                    best = Math.max(best, value);
                    sum += value;
                  }
                }
              }
              expected[at++] = (float) (max ? best : sum / (depth * kernel * kernel));
            }
          }
        }
      }
    }
    assertThat(at).isEqualTo(expected.length);
    return expected;
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void batchNormInTrainingMatchesNaiveLoops(int dims) {
    long[] shape = shape(dims);
    int channels = (int) shape[1];
    HostTensor x = Draw.normal(SEED, flat(dims, shape));
    HostTensor gamma = Draw.normal(SEED + 1, channels);
    HostTensor beta = Draw.normal(SEED + 2, channels);
    HostTensor mean = Draw.normal(SEED + 3, channels);
    HostTensor variance = HostTensor.of(new float[] {0.5f, 2, 3, 1.5f}, 4);
    HostTensor variances = HostTensor.of(Arrays.copyOf(variance.floats(), channels), channels);

    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    g.output("y", g.batchNorm("n", channels).apply(g.input("x", x.shape())));
    try (Engine engine = open(g)) {
      Map<String, HostTensor> state = engine.state();
      state.put("n.weight", gamma);
      state.put("n.bias", beta);
      state.put("n.running_mean", mean);
      state.put("n.running_var", variances);
      engine.load(state);
      float[] y = engine.forward(Map.of("x", x)).get("y").floats();
      Map<String, HostTensor> after = engine.state();

      int s = (int) (shape[2] * shape[3] * shape[4]);
      int count = (int) shape[0] * s;
      for (int c = 0; c < channels; c++) {
        double sum = 0;
        double squares = 0;
        for (int b = 0; b < shape[0]; b++) {
          for (int i = 0; i < s; i++) {
            sum += x.floats()[(b * channels + c) * s + i];
          }
        }
        double average = sum / count;
        for (int b = 0; b < shape[0]; b++) {
          for (int i = 0; i < s; i++) {
            squares += Math.pow(x.floats()[(b * channels + c) * s + i] - average, 2);
          }
        }
        double scale = gamma.floats()[c] / Math.sqrt(squares / count + 1e-5);
        for (int b = 0; b < shape[0]; b++) {
          for (int i = 0; i < s; i++) {
            int index = (b * channels + c) * s + i;
            double expected = (x.floats()[index] - average) * scale + beta.floats()[c];
            assertThat(y[index]).isCloseTo((float) expected, within(1e-5f));
          }
        }
        assertThat(after.get("n.running_mean").floats()[c])
            .isCloseTo((float) (0.9 * mean.floats()[c] + 0.1 * average), within(1e-6f));
        assertThat(after.get("n.running_var").floats()[c])
            .isCloseTo(
                (float) (0.9 * variances.floats()[c] + 0.1 * squares / (count - 1)), within(1e-6f));
      }
      assertThat(after.get("n.num_batches_tracked").longs()).containsExactly(1);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void batchNormInInferenceUsesRunningStatistics(int dims) {
    long[] shape = shape(dims);
    int channels = (int) shape[1];
    HostTensor x = Draw.normal(SEED, flat(dims, shape));
    float[] variance = Arrays.copyOf(new float[] {4, 0.5f, 2, 9}, channels);
    HostTensor gamma = Draw.normal(SEED + 1, channels);
    HostTensor beta = Draw.normal(SEED + 2, channels);
    HostTensor mean = Draw.normal(SEED + 3, channels);
    HostTensor y =
        run(
            x,
            g -> g.batchNorm("n", channels).apply(x(g)),
            state -> {
              state.put("n.weight", gamma);
              state.put("n.bias", beta);
              state.put("n.running_mean", mean);
              state.put("n.running_var", HostTensor.of(variance, channels));
              return state;
            });
    int s = (int) (shape[2] * shape[3] * shape[4]);
    for (int i = 0; i < y.floats().length; i++) {
      int c = i / s % channels;
      double normalised = (x.floats()[i] - mean.floats()[c]) / Math.sqrt(variance[c] + 1e-5);
      double expected = normalised * gamma.floats()[c] + beta.floats()[c];
      assertThat(y.floats()[i]).isCloseTo((float) expected, within(2e-6f));
    }
  }

  /** The output of an inference graph. */
  private static HostTensor run(
      HostTensor x,
      Function<Graph, Tensor> network,
      UnaryOperator<Map<String, HostTensor>> weights) {
    Graph g = new Graph(Graph.Mode.INFERENCE, SEED);
    g.input("x", x.shape());
    g.output("y", network.apply(g));
    try (Engine engine = Engines.open("nd4j", g, null)) {
      engine.load(weights.apply(engine.state()));
      return engine.forward(Map.of("x", x)).get("y");
    }
  }

  private static Tensor x(Graph g) {
    return g.inputs().get("x");
  }

  private static Engine open(Graph g) {
    return Engines.open("nd4j", g, OptimizerConfig.plainSgd());
  }

  private static long[] flat(int dims, long... shape) {
    return dims == 3 ? shape : new long[] {shape[0], shape[1], shape[3], shape[4]};
  }

  private static long[] spatial(int dims, long... shape) {
    return dims == 3
        ? new long[] {shape[2], shape[3], shape[4]}
        : new long[] {1, shape[2], shape[3]};
  }

  private static double at(
      HostTensor x, long[] shape, int b, int c, int d, int h, int w, float outside) {
    if (d < 0 || d >= shape[2] || h < 0 || h >= shape[3] || w < 0 || w >= shape[4]) {
      return outside;
    }
    int index = (int) ((((b * shape[1] + c) * shape[2] + d) * shape[3] + h) * shape[4] + w);
    return x.floats()[index];
  }
}
