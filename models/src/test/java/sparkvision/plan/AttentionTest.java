package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class AttentionTest {

  private static final EngineOptions ONE = EngineOptions.defaults().withThreads(1);
  private static final OptimizerConfig SGD = OptimizerConfig.plainSgd();

  /** Heads, queries, keys, their channels, channels of values. */
  private record Shape(int heads, int queries, int keys, int channels, int values, double scale) {

    private Map<String, HostTensor> inputs() {
      Map<String, HostTensor> inputs = new LinkedHashMap<>();
      inputs.put("q", Draw.normal(1, heads, queries, channels));
      inputs.put("k", Draw.normal(2, heads, keys, channels));
      inputs.put("v", Draw.normal(3, heads, keys, values));
      inputs.put("weights", Draw.normal(4, heads, queries, values));
      return inputs;
    }

    private Map<String, HostTensor> compiled(EngineOptions options) {
      Graph g = new Graph(Graph.Mode.TRAINING, 1);
      Tensor q = g.input("q", heads, queries, channels);
      Tensor k = g.input("k", heads, keys, channels);
      Tensor v = g.input("v", heads, keys, values);
      Tensor y = g.attention(q, k, v, scale);
      g.requestGradient(q);
      g.requestGradient(k);
      g.requestGradient(v);
      g.output("y", y);
      g.loss(g.sum(g.multiply(y, g.input("weights", heads, queries, values))));
      try (Engine engine = Engines.open("compiled", g, SGD, options)) {
        Map<String, HostTensor> results = new LinkedHashMap<>(engine.forwardBackward(inputs()));
        results.remove("loss");
        for (String name : new String[] {"q", "k", "v"}) {
          results.put(name, engine.gradient(name));
        }
        return results;
      }
    }

    /** Loops in double precision. */
    private Map<String, double[]> plain() {
      float[] q = inputs().get("q").floats();
      float[] k = inputs().get("k").floats();
      float[] v = inputs().get("v").floats();
      float[] dy = inputs().get("weights").floats();
      double[] y = new double[dy.length];
      double[] dq = new double[q.length];
      double[] dk = new double[k.length];
      double[] dv = new double[v.length];
      double[] map = new double[keys];
      double[] change = new double[keys];
      for (int h = 0; h < heads; h++) {
        for (int i = 0; i < queries; i++) {
          int at = h * queries + i;
          double most = Double.NEGATIVE_INFINITY;
          for (int j = 0; j < keys; j++) {
            map[j] = 0;
            for (int c = 0; c < channels; c++) {
              map[j] += scale * q[at * channels + c] * k[(h * keys + j) * channels + c];
            }
            most = Math.max(most, map[j]);
          }
          double sum = 0;
          for (int j = 0; j < keys; j++) {
            map[j] = Math.exp(map[j] - most);
            sum += map[j];
          }
          double drop = 0;
          for (int j = 0; j < keys; j++) {
            map[j] /= sum;
            change[j] = 0;
            for (int c = 0; c < values; c++) {
              double value = v[(h * keys + j) * values + c];
              y[at * values + c] += map[j] * value;
              dv[(h * keys + j) * values + c] += map[j] * dy[at * values + c];
              change[j] += value * dy[at * values + c];
            }
            drop += map[j] * change[j];
          }
          for (int j = 0; j < keys; j++) {
            double step = scale * map[j] * (change[j] - drop);
            for (int c = 0; c < channels; c++) {
              dq[at * channels + c] += step * k[(h * keys + j) * channels + c];
              dk[(h * keys + j) * channels + c] += step * q[at * channels + c];
            }
          }
        }
      }
      return Map.of("y", y, "q", dq, "k", dk, "v", dv);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2, 1, 1, 1, 1, 1.0", // one key: no gradient of q or k
    "3, 1, 5, 2, 3, 0.7",
    "2, 5, 1, 4, 1, 0.7",
    "2, 7, 5, 1, 17, 0.7",
    "4, 33, 65, 3, 5, -0.4",
    "2, 20, 30, 16, 16, 0.0",
    "3, 197, 197, 64, 64, 0.125",
    "2, 300, 700, 8, 5, 0.3", // several tiles, the last one smaller
    "3, 129, 2100, 16, 24, 0.25",
    "1, 2000, 70, 5, 3, 0.2"
  })
  void equalsPlainLoops(int heads, int queries, int keys, int channels, int values, double scale) {
    Shape shape = new Shape(heads, queries, keys, channels, values, scale);
    Map<String, double[]> expected = shape.plain();
    for (int threads : new int[] {1, 2, 4}) {
      requireClose(shape.compiled(ONE.withThreads(threads)), expected, 3e-6);
    }
    EngineOptions rounded = ONE.withThreads(2).withPrecision(EngineOptions.Precision.BFLOAT16);
    requireClose(shape.compiled(rounded), expected, 0.03);
  }

  private static void requireClose(
      Map<String, HostTensor> computed, Map<String, double[]> expected, double tolerance) {
    assertThat(computed.keySet()).isEqualTo(expected.keySet());
    expected.forEach(
        (name, exact) -> {
          float[] values = computed.get(name).floats();
          double difference = 0;
          double norm = 0;
          for (int i = 0; i < exact.length; i++) {
            difference += Math.pow(values[i] - exact[i], 2);
            norm += exact[i] * exact[i];
          }
          // Gradients that are zero come out as what is left of cancelled numbers around one.
          assertThat(Math.sqrt(difference))
              .as(name)
              .isLessThanOrEqualTo(tolerance * Math.max(Math.sqrt(norm), 1e-1));
        });
  }

  @Test
  void tilesAreSmallForManyKeysAndOneForFew() {
    assertThat(Attention.tile(197, 197)).isEqualTo(197);
    assertThat(Attention.tile(577, 577)).isEqualTo(208);
    assertThat(Attention.tile(10_000, 10_000)).isEqualTo(64);
    assertThat(Attention.tile(20, 1_000_000)).isEqualTo(20);
  }

  @Test
  void givesTheSameBitsHoweverMemoryIsPlanned() {
    Shape shape = new Shape(5, 150, 900, 20, 12, 0.2);
    for (EngineOptions options : new EngineOptions[] {ONE.withThreads(2), ONE.withThreads(8)}) {
      Map<String, HostTensor> planned = shape.compiled(options);
      Map<String, HostTensor> poisoned = shape.compiled(options.withPoison());
      planned.forEach(
          (name, tensor) ->
              assertThat(poisoned.get(name).floats()).as(name).containsExactly(tensor.floats()));
    }
  }
}
