package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.api.ndarray.INDArray;
import sparkvision.Draw;
import sparkvision.graph.Graph;
import sparkvision.graph.Naive;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/** Every word against {@link Naive}, and the state that batch norm changes. */
class NaiveTwinTest {

  private static final int SEEDS = 8; // graphs drawn per word

  static List<Words.Case> words() {
    return Words.all();
  }

  @ParameterizedTest
  @MethodSource("words")
  void matchesInTrainingInDoubles(Words.Case word) {
    matches(word, Graph.Mode.TRAINING, Graph.Precision.DOUBLE, 1e-11);
  }

  @ParameterizedTest
  @MethodSource("words")
  void matchesInTrainingInFloats(Words.Case word) {
    matches(word, Graph.Mode.TRAINING, Graph.Precision.FLOAT, 1e-4);
  }

  @ParameterizedTest
  @MethodSource("words")
  void matchesInInference(Words.Case word) {
    matches(word, Graph.Mode.INFERENCE, Graph.Precision.DOUBLE, 1e-11);
  }

  private static void matches(
      Words.Case word, Graph.Mode mode, Graph.Precision precision, double tolerance) {
    for (int seed = 0; seed < SEEDS; seed++) {
      Words.Sample sample = word.draw(seed, mode, precision, Words.Source.BOTH);
      Graph g = sample.graph();
      Map<String, HostTensor> given = new HashMap<>(sample.inputs());
      given.putAll(sample.state());
      Map<Tensor, double[]> naive = Naive.run(g, given);
      try (Nd4jEngine engine = open(g)) {
        engine.load(sample.state());
        engine.forward(sample.inputs());
        for (Tensor output : g.outputs().values()) {
          double[] expected = naive.get(output);
          INDArray found = engine.array(output);
          assertThat(found.length()).isEqualTo(expected.length);
          for (int i = 0; i < expected.length; i++) {
            assertThat(found.getDouble(i))
                .as("%s[%d] of %s", output, i, sample)
                .isCloseTo(expected[i], within(tolerance * (1 + Math.abs(expected[i]))));
          }
        }
      }
    }
  }

  @Test
  void triesEveryKindOfNode() {
    Set<Node.Kind> kinds = EnumSet.noneOf(Node.Kind.class);
    for (Words.Case word : words()) {
      IntStream.range(0, SEEDS)
          .forEach(seed -> word.draw(seed).graph().nodes().forEach(node -> kinds.add(node.kind())));
    }
    assertThat(kinds).containsExactly(Node.Kind.values());
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void batchNormMovesItsStatistics(int dims) {
    HostTensor x = dims == 2 ? Draw.normal(5, 3, 4, 7, 9) : Draw.normal(5, 2, 4, 5, 7, 6);
    int channels = 4;
    int count = x.floats().length / channels;
    int pixels = count / (int) x.shape()[0];
    float[] before = Draw.normal(6, channels).floats();

    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    g.output("y", g.batchNorm("n", channels).apply(g.input("x", x.shape())));
    try (Engine engine = open(g)) {
      Map<String, HostTensor> state = engine.state();
      state.put("n.running_mean", HostTensor.of(before, channels));
      state.put("n.running_var", HostTensor.of(new float[] {0.5f, 2, 3, 1.5f}, channels));
      engine.load(state);
      engine.forward(Map.of("x", x));
      Map<String, HostTensor> after = engine.state();
      for (int c = 0; c < channels; c++) {
        int channel = c;
        double[] values =
            IntStream.range(0, x.floats().length)
                .filter(i -> i / pixels % channels == channel)
                .mapToDouble(i -> x.floats()[i])
                .toArray();
        double mean = IntStream.range(0, count).mapToDouble(i -> values[i]).sum() / count;
        double squares =
            IntStream.range(0, count).mapToDouble(i -> Math.pow(values[i] - mean, 2)).sum();
        assertThat(after.get("n.running_mean").floats()[c])
            .isCloseTo((float) (0.9 * before[c] + 0.1 * mean), within(1e-6f));
        assertThat(after.get("n.running_var").floats()[c])
            .isCloseTo(
                (float)
                    (0.9 * state.get("n.running_var").floats()[c] + 0.1 * squares / (count - 1)),
                within(1e-6f));
      }
      assertThat(after.get("n.num_batches_tracked").longs()).containsExactly(1);
    }
  }

  private static Nd4jEngine open(Graph g) {
    return new Nd4jEngine(g, g.mode() == Graph.Mode.TRAINING ? OptimizerConfig.plainSgd() : null);
  }
}
