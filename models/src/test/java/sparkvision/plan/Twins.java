package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/**
 * A small training graph, compiled in several ways, against the nd4j engine in double precision:
 * the result, the loss and all gradients.
 */
final class Twins {

  private static final double ROUNDING = 2e-5; // of float32, after a few operations
  private static final double COARSE_ROUNDING = 0.05; // of bfloat16
  private static final EngineOptions PLAIN = EngineOptions.defaults().withThreads(1);

  /** What a graph is built from. */
  static final class Builder {
    final Graph g;
    final Map<String, HostTensor> inputs = new LinkedHashMap<>();
    private final Draw draw;

    private Builder(long seed, Graph.Precision precision) {
      this.g = new Graph(Graph.Mode.TRAINING, seed, precision);
      this.draw = new Draw(seed);
    }

    /** An input whose gradient is compared, row-major in every engine. */
    Tensor normal(long... shape) {
      return input(draw.values(shape));
    }

    /** Values above 0.3. */
    Tensor positive(long... shape) {
      return input(draw.positive(shape));
    }

    /** Whole numbers of which many are equal. */
    Tensor ties(long... shape) {
      HostTensor values = draw.values(shape);
      for (int i = 0; i < values.floats().length; i++) {
        values.floats()[i] = Math.round(values.floats()[i]);
      }
      return input(values);
    }

    Tensor indices(int end, long... shape) {
      return given(draw.indices(end, shape));
    }

    Tensor given(HostTensor values) {
      String name = "x" + inputs.size();
      inputs.put(name, values);
      return values.isFloat() ? g.input(name, values.shape()) : g.indices(name, values.shape());
    }

    private Tensor input(HostTensor values) {
      Tensor x = given(values);
      g.requestGradient(x);
      return x;
    }

    /**
     * x (B, C, ...) as a convolution leaves it: channels last, and rounded where activations are.
     * The values stay: every channel is taken over.
     */
    Tensor convolved(Tensor x) {
      long channels = x.size(1);
      long[] kernel = new long[x.rank() - 2];
      Arrays.fill(kernel, 1);
      return g.conv("conv" + g.variables().size(), channels, channels, kernel).apply(x);
    }
  }

  private Twins() {}

  /** First values of parameters; every run loads others. */
  static float[] positive(long seed, String name, long... shape) {
    return new Draw(seed).positive(shape).floats();
  }

  /** Builds graphs whose result is weighted at random for the loss, and compares. */
  static void agree(Function<Builder, Tensor> graph) {
    agree(graph, true);
  }

  /** The same, without bfloat16. */
  static void agreeExactly(Function<Builder, Tensor> graph) {
    agree(graph, false);
  }

  private static void agree(Function<Builder, Tensor> graph, boolean rounded) {
    Map<String, float[]> exact = run("nd4j", PLAIN, build(graph, Graph.Precision.DOUBLE));
    Builder built = build(graph, Graph.Precision.FLOAT);
    Map<String, float[]> found = run("compiled", PLAIN, built);
    close(found, exact, ROUNDING, built);
    same(run("compiled", PLAIN.withPoison(), built), found, built);
    EngineOptions lean = PLAIN.withMemory(EngineOptions.Memory.LEAN);
    close(run("compiled", lean, built), exact, ROUNDING, built);
    Map<String, float[]> shared = run("compiled", PLAIN.withThreads(2), built);
    close(shared, exact, ROUNDING, built);
    same(run("compiled", PLAIN.withThreads(2).withPoison(), built), shared, built);
    if (rounded) {
      EngineOptions coarse = PLAIN.withPrecision(EngineOptions.Precision.BFLOAT16);
      close(run("compiled", coarse, built), exact, COARSE_ROUNDING, built);
    }
  }

  private static Builder build(Function<Builder, Tensor> graph, Graph.Precision precision) {
    Builder builder = new Builder(7, precision);
    Tensor y = graph.apply(builder);
    builder.g.output("y", y);
    if (builder.g.loss().isEmpty()) {
      HostTensor weights = builder.draw.values(y.shape());
      builder.g.loss(Losses.weightedSum(builder.g, y, builder.given(weights)));
    }
    return builder;
  }

  /** All results by name; convolutions of channels take their input over. */
  private static Map<String, float[]> run(String name, EngineOptions options, Builder built) {
    Map<String, float[]> results = new LinkedHashMap<>();
    OptimizerConfig still = OptimizerConfig.plainSgd();
    try (Engine engine = Engines.open(name, built.g, still, options)) {
      Map<String, HostTensor> state = engine.state();
      Draw draw = new Draw(11);
      state.replaceAll(
          (variable, value) ->
              variable.startsWith("conv") ? diagonal(value.shape()) : draw.positive(value.shape()));
      engine.load(state);
      engine
          .forwardBackward(built.inputs)
          .forEach((output, value) -> results.put(output, value.floats().clone()));
      for (Variable variable : built.g.variables()) {
        // Gradients of the convolutions' weights would need larger tolerances.
        if (!variable.name().startsWith("conv")) {
          results.put(variable.name(), engine.gradient(variable.name()).floats().clone());
        }
      }
      for (Tensor input : built.g.requestedGradients()) {
        results.put("d " + input.name(), engine.gradient(input.name()).floats().clone());
      }
    }
    return results;
  }

  private static HostTensor diagonal(long... shape) {
    float[] values = new float[(int) (shape[0] * shape[1])];
    for (int c = 0; c < shape[0]; c++) {
      values[c * (int) (shape[1] + 1)] = 1;
    }
    return HostTensor.of(values, shape);
  }

  private static void close(
      Map<String, float[]> found, Map<String, float[]> exact, double tolerance, Builder built) {
    assertThat(found.keySet()).isEqualTo(exact.keySet());
    exact.forEach(
        (name, expected) -> {
          double largest = 1e-3;
          for (float value : expected) {
            largest = Math.max(largest, Math.abs(value));
          }
          float[] values = found.get(name);
          for (int i = 0; i < expected.length; i++) {
            assertThat((double) values[i])
                .as("%s[%d] of %s", name, i, built.g.nodes())
                .isCloseTo(expected[i], within(tolerance * (largest + Math.abs(expected[i]))));
          }
        });
  }

  private static void same(
      Map<String, float[]> found, Map<String, float[]> expected, Builder built) {
    expected.forEach(
        (name, values) ->
            assertThat(found.get(name)).as("%s of %s", name, built.g.nodes()).isEqualTo(values));
  }
}
