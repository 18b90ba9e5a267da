package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.ScanInputs;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/** The kernel against the recurrence in double precision, and what the recurrence implies. */
class SelectiveScanTest {

  private static final EngineOptions ONE = EngineOptions.defaults().withThreads(1);
  private static final double STEP = 1e-5;
  private static final int PROBES = 6; // elements tried per input

  /** A scan and its inputs: u, delta, z (B, E, L), a (E, N), b, c (B, N, L), d, bias (E). */
  private record Scan(int batch, int channels, int states, int length, boolean backward) {

    Map<String, HostTensor> inputs() {
      Map<String, HostTensor> inputs = new LinkedHashMap<>();
      inputs.put("u", Draw.normal(1, batch, channels, length));
      inputs.put("delta", Draw.normal(2, batch, channels, length));
      inputs.put("a", Draw.normal(3, channels, states));
      inputs.put("b", Draw.normal(4, batch, states, length));
      inputs.put("c", Draw.normal(5, batch, states, length));
      inputs.put("d", Draw.normal(6, channels));
      inputs.put("z", Draw.normal(7, batch, channels, length));
      inputs.put("bias", Draw.normal(8, channels));
      inputs.put("weights", Draw.normal(9, batch, channels, length));
      float[] a = inputs.get("a").floats();
      for (int i = 0; i < a.length; i++) {
        a[i] = -Math.abs(a[i]);
      }
      return inputs;
    }

    Map<String, float[]> compiled(Map<String, HostTensor> inputs, EngineOptions options) {
      return SelectiveScanTest.compiled(
          inputs, options, (g, x) -> g.selectiveScan(way(x, ""), x.get("z"), backward));
    }

    float[] y(Map<String, HostTensor> inputs) {
      return compiled(inputs, ONE).get("y");
    }

    /** The recurrence as it is written. */
    double[] loop(Map<String, double[]> x) {
      double[] y = new double[batch * channels * length];
      for (int row = 0; row < batch * channels; row++) {
        int e = row % channels;
        double[] h = new double[states];
        for (int i = 0; i < length; i++) {
          int t = backward ? length - 1 - i : i;
          int at = row * length + t;
          double raw = x.get("delta")[at] + x.get("bias")[e];
          double step = raw > 20 ? raw : Math.log1p(Math.exp(raw));
          double sum = x.get("d")[e] * x.get("u")[at];
          for (int n = 0; n < states; n++) {
            int token = (row / channels * states + n) * length + t;
            double decay = Math.exp(step * x.get("a")[e * states + n]);
            h[n] = decay * h[n] + step * x.get("u")[at] * x.get("b")[token];
            sum += h[n] * x.get("c")[token];
          }
          y[at] = sum * silu(x.get("z")[at]);
        }
      }
      return y;
    }

    double loss(Map<String, double[]> x) {
      double[] y = loop(x);
      double sum = 0;
      for (int i = 0; i < y.length; i++) {
        sum += y[i] * x.get("weights")[i];
      }
      return sum;
    }
  }

  private static ScanInputs way(Map<String, Tensor> x, String suffix) {
    return new ScanInputs(
        x.get("u" + suffix),
        x.get("delta" + suffix),
        x.get("a" + suffix),
        x.get("b" + suffix),
        x.get("c" + suffix),
        x.get("d" + suffix),
        x.get("bias" + suffix));
  }

  /** y, and gradients of Σ weights·y by name. */
  private static Map<String, float[]> compiled(
      Map<String, HostTensor> inputs,
      EngineOptions options,
      BiFunction<Graph, Map<String, Tensor>, Tensor> words) {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Map<String, Tensor> x = new LinkedHashMap<>();
    inputs.forEach((name, value) -> x.put(name, g.input(name, value.shape())));
    Tensor y = words.apply(g, x);
    g.output("y", y);
    x.forEach(
        (name, tensor) -> {
          if (!name.equals("weights")) {
            g.requestGradient(tensor);
          }
        });
    g.loss(g.sum(g.multiply(y, x.get("weights"))));
    try (Engine engine = Engines.open("compiled", g, OptimizerConfig.plainSgd(), options)) {
      Map<String, float[]> results = new LinkedHashMap<>();
      results.put("y", engine.forwardBackward(inputs).get("y").floats());
      for (Tensor input : g.requestedGradients()) {
        results.put(input.name(), engine.gradient(input.name()).floats());
      }
      return results;
    }
  }

  private static double silu(double z) {
    return z / (1 + Math.exp(-z));
  }

  private static Map<String, double[]> doubles(Map<String, HostTensor> inputs) {
    Map<String, double[]> doubles = new LinkedHashMap<>();
    inputs.forEach(
        (name, value) -> {
          double[] numbers = new double[value.floats().length];
          Arrays.setAll(numbers, i -> value.floats()[i]);
          doubles.put(name, numbers);
        });
    return doubles;
  }

  // Chunks have 16 tokens, blocks 16 channels, spans some blocks; the last two are cut into
  // segments.
  @ParameterizedTest
  @CsvSource({
    "1, 1, 1, 1, false",
    "2, 3, 5, 7, false",
    "2, 3, 5, 7, true",
    "1, 17, 16, 33, true",
    "3, 16, 17, 95, false",
    "2, 35, 3, 65, true",
    "1, 130, 16, 32, false",
    "5, 200, 2, 31, true",
    "1, 40, 3, 270, false",
    "1, 7, 16, 700, true"
  })
  void equalsTheLoopInDoublePrecision(
      int batch, int channels, int states, int length, boolean backward) {
    Scan scan = new Scan(batch, channels, states, length, backward);
    equalsTheLoop(scan, scan.inputs());
  }

  /** With steps so short that what enters a segment has not faded at its end. */
  @ParameterizedTest
  @CsvSource({"1, 7, 3, 777, 6, false", "2, 16, 2, 600, 4, true", "3, 9, 1, 300, 2, false"})
  void segmentsHandOverTheirStates(
      int batch, int channels, int states, int length, int segments, boolean backward) {
    assertThat(new Spans(new long[] {batch, channels, length}, backward).segments)
        .isEqualTo(segments);
    Scan scan = new Scan(batch, channels, states, length, backward);
    Map<String, HostTensor> inputs = scan.inputs();
    Arrays.fill(inputs.get("bias").floats(), -5);
    equalsTheLoop(scan, inputs);
    Map<String, HostTensor> others = scan.inputs();
    Arrays.fill(others.get("bias").floats(), -5);
    others.get("u").floats()[backward ? length - 1 : 0] += 1000; // the first token that is read
    int last = backward ? 0 : length - 1;
    assertThat(scan.y(others)[last]).isNotEqualTo(scan.y(inputs)[last]);
  }

  private static void equalsTheLoop(Scan scan, Map<String, HostTensor> inputs) {
    Map<String, double[]> x = doubles(inputs);
    Map<String, float[]> found = scan.compiled(inputs, ONE);
    double[] expected = scan.loop(x);
    for (int i = 0; i < expected.length; i++) {
      assertThat((double) found.get("y")[i])
          .as("y[%d]", i)
          .isCloseTo(expected[i], within(1e-5 * (1 + Math.abs(expected[i]))));
    }
    Random random = new Random(1);
    found.remove("y");
    found.forEach(
        (name, gradient) -> {
          double[] values = x.get(name);
          for (int i : random.ints(PROBES, 0, values.length).toArray()) {
            double value = values[i];
            values[i] = value + STEP;
            double above = scan.loss(x);
            values[i] = value - STEP;
            double difference = (above - scan.loss(x)) / (2 * STEP);
            values[i] = value;
            assertThat((double) gradient[i])
                .as("gradient of %s[%d]", name, i)
                .isCloseTo(difference, within(1e-4 * (1 + Math.abs(difference))));
          }
        });
    Map<String, float[]> shared = scan.compiled(inputs, ONE.withThreads(2));
    Map<String, float[]> poisoned = scan.compiled(inputs, ONE.withThreads(2).withPoison());
    scan.compiled(inputs, ONE)
        .forEach(
            (name, values) -> {
              assertThat(shared.get(name)).as(name).containsExactly(values);
              assertThat(poisoned.get(name)).as(name).containsExactly(values);
            });
  }

  /** Whatever the first way is: the other's inputs have names that end in 2. */
  @ParameterizedTest
  @CsvSource({
    "1, 5, 3, 9, false",
    "3, 130, 16, 50, true",
    "2, 17, 18, 33, false",
    "1, 20, 4, 300, true"
  })
  void bothWaysAreTheSumOfEach(int batch, int channels, int states, int length, boolean backward) {
    Scan first = new Scan(batch, channels, states, length, backward);
    Scan second = new Scan(batch, channels, states, length, !backward);
    Map<String, HostTensor> inputs = new LinkedHashMap<>(first.inputs());
    Map<String, HostTensor> others = new LinkedHashMap<>(first.inputs());
    for (String name : List.of("u", "delta", "a", "b", "c", "d", "bias")) {
      HostTensor other = Draw.normal(20 + inputs.size(), inputs.get(name).shape());
      if (name.equals("a")) {
        for (int i = 0; i < other.floats().length; i++) {
          other.floats()[i] = -Math.abs(other.floats()[i]);
        }
      }
      others.put(name, other);
      inputs.put(name + "2", other);
    }
    BiFunction<Graph, Map<String, Tensor>, Tensor> words =
        (g, x) -> g.selectiveScan(way(x, ""), way(x, "2"), x.get("z"), backward);
    Map<String, float[]> found = compiled(inputs, ONE, words);
    Map<String, float[]> one = first.compiled(first.inputs(), ONE);
    Map<String, float[]> two = second.compiled(others, ONE);
    for (String name : List.of("y", "z")) {
      for (int i = 0; i < found.get(name).length; i++) {
        float sum = one.get(name)[i] + two.get(name)[i];
        assertThat(found.get(name)[i])
            .as("%s[%d]", name, i)
            .isCloseTo(sum, within(1e-5f * (1 + Math.abs(sum))));
      }
    }
    for (String name : List.of("u", "delta", "a", "b", "c", "d", "bias")) {
      assertThat(found.get(name)).as(name).containsExactly(one.get(name));
      assertThat(found.get(name + "2")).as(name).containsExactly(two.get(name));
    }
    compiled(inputs, ONE.withThreads(2).withPoison(), words)
        .forEach((name, values) -> assertThat(values).as(name).containsExactly(found.get(name)));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void isCausal(boolean backward) {
    Scan scan = new Scan(1, 2, 3, 70, backward);
    float[] before = scan.y(scan.inputs());
    for (String name : new String[] {"u", "delta", "b", "c", "z"}) {
      Map<String, HostTensor> inputs = scan.inputs();
      inputs.get(name).floats()[40] += 1; // token 40 of the first channel or state
      float[] after = scan.y(inputs);
      for (int t = 0; t < 70; t++) {
        if (backward ? t > 40 : t < 40) {
          assertThat(after[t]).as("token %d after a change of %s", t, name).isEqualTo(before[t]);
        }
      }
      assertThat(after[40]).as("token 40 after a change of %s", name).isNotEqualTo(before[40]);
    }
  }

  /** With all else constant, h_t = Δ·u·b·(1 − qᵗ⁺¹)/(1 − q) with q = exp(Δ·a). */
  @Test
  void followsTheGeometricSeries() {
    Scan scan = new Scan(1, 1, 1, 100, false);
    Map<String, HostTensor> inputs = scan.inputs();
    Map<String, Float> constants =
        Map.of(
            "u", 0.7f, "delta", -2f, "a", -0.5f, "b", 1.3f, "c", 0.9f, "d", 0.2f, "z", 1.1f, "bias",
            0.25f);
    constants.forEach((name, value) -> Arrays.fill(inputs.get(name).floats(), value));
    double step = Math.log1p(Math.exp(-1.75));
    double q = Math.exp(-0.5 * step);
    float[] y = scan.y(inputs);
    for (int t = 0; t < 100; t++) {
      double h = step * 0.7 * 1.3 * (1 - Math.pow(q, t + 1)) / (1 - q);
      double expected = (0.9 * h + 0.2 * 0.7) * silu(1.1);
      assertThat((double) y[t]).as("token %d", t).isCloseTo(expected, within(2e-6));
    }
  }

  /** Without input to the states, and with steps that vanish, d·u·silu(z) is left. */
  @ParameterizedTest
  @CsvSource({"b, 0", "delta, -60"})
  void letsTheInputThroughIfNothingEntersTheStates(String name, float value) {
    Scan scan = new Scan(2, 5, 4, 50, false);
    Map<String, HostTensor> inputs = scan.inputs();
    Arrays.fill(inputs.get(name).floats(), value);
    float[] y = scan.y(inputs);
    float[] u = inputs.get("u").floats();
    float[] z = inputs.get("z").floats();
    for (int i = 0; i < y.length; i++) {
      double expected = inputs.get("d").floats()[i / 50 % 5] * u[i] * silu(z[i]);
      assertThat((double) y[i]).isCloseTo(expected, within(1e-6 * (1 + Math.abs(expected))));
    }
  }

  /** Softplus is the identity above 20, and a state forgets all before such a step. */
  @Test
  void longStepsForget() {
    Scan scan = new Scan(1, 1, 2, 40, false);
    Map<String, HostTensor> inputs = scan.inputs();
    Arrays.fill(inputs.get("delta").floats(), 500);
    Arrays.fill(inputs.get("a").floats(), -3);
    float[] y = scan.y(inputs);
    Map<String, double[]> x = doubles(inputs);
    for (int t = 0; t < 40; t++) {
      double step = 500 + x.get("bias")[0];
      double seen = x.get("b")[t] * x.get("c")[t] + x.get("b")[40 + t] * x.get("c")[40 + t];
      double expected = x.get("u")[t] * (step * seen + x.get("d")[0]) * silu(x.get("z")[t]);
      assertThat((double) y[t]).isCloseTo(expected, within(1e-5 * (1 + Math.abs(expected))));
    }
  }
}
