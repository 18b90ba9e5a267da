package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class ElementsTest {

  /** A word that keeps the shape, and whether its argument has to be positive. */
  private record Word(String name, boolean positive, BiFunction<Graph, Tensor, Tensor> function) {
    @Override
    public String toString() {
      return name;
    }
  }

  static List<Word> words() {
    return List.of(
        new Word("relu", false, Graph::relu),
        new Word("leaky relu", false, (g, x) -> g.leakyRelu(x, 0.2)),
        new Word("steep relu", false, (g, x) -> g.leakyRelu(x, -1.5)),
        new Word("gelu", false, Graph::gelu),
        new Word("silu", false, Graph::silu),
        new Word("sigmoid", false, Graph::sigmoid),
        new Word("tanh", false, Graph::tanh),
        new Word("softplus", false, (g, x) -> g.softplus(g.scale(x, 15))),
        new Word("exp", false, Graph::exp),
        new Word("log", true, Graph::log),
        new Word("sqrt", true, Graph::sqrt),
        new Word("rsqrt", true, Graph::rsqrt),
        new Word("abs", false, Graph::abs),
        new Word("square", false, (g, x) -> g.power(x, 2)),
        new Word("cube", false, (g, x) -> g.power(x, 3)),
        new Word("constant", false, (g, x) -> g.power(x, 0)),
        new Word("root", true, (g, x) -> g.power(x, 1 / 3.0)),
        new Word("inverse", true, (g, x) -> g.power(x, -1)),
        new Word("affine", false, (g, x) -> g.affine(x, -0.7, 0.2)),
        new Word("shift", false, (g, x) -> g.addConstant(x, 3)));
  }

  @ParameterizedTest
  @MethodSource("words")
  void functionsOfPictures(Word word) {
    Twins.agree(
        b -> {
          Tensor x = word.positive ? b.positive(2, 5, 3, 7) : b.normal(2, 5, 3, 7);
          return word.function.apply(b.g, b.convolved(x));
        });
  }

  @ParameterizedTest
  @MethodSource("words")
  void functionsOfTokensAndScalars(Word word) {
    Twins.agreeExactly(
        b -> {
          Tensor x = word.positive ? b.positive(3, 7, 13) : b.normal(3, 7, 13);
          Tensor y = word.positive ? b.positive() : b.normal();
          return b.g.add(word.function.apply(b.g, x), word.function.apply(b.g, y));
        });
  }

  /** The slopes where formulas are of no use. */
  @Test
  void slopesAtZero() {
    assertThat(slopes(0, (g, x) -> g.power(x, 2))).containsOnly(0);
    assertThat(slopes(0, (g, x) -> g.power(x, 1))).containsOnly(1);
    assertThat(slopes(0, (g, x) -> g.power(x, 0))).containsOnly(0);
    assertThat(slopes(0, Graph::abs)).containsOnly(0);
    assertThat(slopes(0, Graph::relu)).containsOnly(0);
    assertThat(slopes(-3, (g, x) -> g.power(x, 3))).containsOnly(27);
  }

  private static float[] slopes(float at, BiFunction<Graph, Tensor, Tensor> function) {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 20);
    g.requestGradient(x);
    g.loss(g.sum(function.apply(g, x)));
    float[] values = new float[20];
    Arrays.fill(values, at);
    try (Engine engine = Engines.open("compiled", g, OptimizerConfig.plainSgd())) {
      engine.forwardBackward(Map.of("x", HostTensor.of(values, 20)));
      return engine.gradient("x").floats();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3})
  void softmaxAlongAnyAxis(int axis) {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(3, 5, 4, 7));
          return b.g.multiply(b.g.softmax(x, axis), b.g.logSoftmax(b.normal(3, 5, 4, 7), axis));
        });
    Twins.agree(b -> b.g.logSoftmax(b.convolved(b.normal(3, 5, 4, 7)), axis));
  }

  /** All layouts of the input, and masks that are shared by pixels, channels or nothing. */
  @Test
  void dropsTheSameElementsInEveryLayout() {
    Twins.agree(b -> b.g.dropout(b.convolved(b.normal(3, 5, 4, 7)), 0.3));
    Twins.agree(b -> b.g.dropoutChannels(b.convolved(b.normal(3, 5, 4, 7)), 0.3));
    Twins.agree(b -> b.g.dropPath(b.convolved(b.normal(9, 5, 4, 7)), 0.3));
    Twins.agreeExactly(b -> b.g.dropout(b.normal(30, 17, 31), 0.3));
  }

  @Test
  void dropsOthersAfterAStep() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 1, 64);
    g.output("y", g.dropout(x, 0.5));
    g.loss(g.sum(g.linear("l", 64, 1).apply(x)));
    Map<String, HostTensor> inputs = Map.of("x", Draw.normal(1, 1, 64));
    try (Engine engine = Engines.open("compiled", g, OptimizerConfig.plainSgd());
        Engine twin = Engines.open("nd4j", g, OptimizerConfig.plainSgd())) {
      float[] first = engine.forwardBackward(inputs).get("y").floats().clone();
      assertThat(twin.forwardBackward(inputs).get("y").floats()).isEqualTo(first);
      assertThat(engine.forward(inputs).get("y").floats()).isEqualTo(first);
      engine.update(0.1);
      twin.update(0.1);
      float[] second = engine.forward(inputs).get("y").floats();
      assertThat(second).isNotEqualTo(first);
      assertThat(twin.forward(inputs).get("y").floats()).isEqualTo(second);
    }
  }
}
