package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.Map;
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
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class LossesTest {

  @ParameterizedTest
  @CsvSource({"2, 0", "3, 0.2", "17, 0.1", "150, 0"})
  void crossEntropyOfPixels(int classes, double smoothing) {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(2, classes, 5, 7));
          return Losses.crossEntropy(b.g, x, b.indices(classes, 2, 5, 7), smoothing, 1);
        });
    Twins.agreeExactly(
        b -> {
          Tensor weights = b.given(Draw.normal(3, classes));
          Tensor labels = b.indices(classes, 2, 35);
          Tensor square = b.g.square(weights);
          return Losses.crossEntropy(b.g, b.normal(2, classes, 35), labels, smoothing, 0, square);
        });
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 0.3})
  void crossEntropyOfImages(double smoothing) {
    Twins.agreeExactly(
        b ->
            Losses.crossEntropy(
                b.g, b.g.scale(b.normal(5, 1000), 9), b.indices(1000, 5), smoothing));
  }

  @ParameterizedTest
  @CsvSource({"0.3, 0, 0", "0.1, 20, 0.1", "0.5, 1000, 0"})
  void crossEntropyOfHardPixels(double threshold, long leastKept, double smoothing) {
    Twins.agreeExactly(
        b -> {
          Tensor labels = b.indices(5, 2, 7, 9);
          Tensor x = b.g.scale(b.normal(2, 5, 7, 9), 2);
          return Losses.hardCrossEntropy(b.g, x, labels, smoothing, 1, threshold, leastKept);
        });
  }

  /** Logits so far apart that probabilities vanish. */
  @Test
  void crossEntropyOfExtremes() {
    Twins.agreeExactly(
        b -> Losses.crossEntropy(b.g, b.g.scale(b.normal(40, 9), 200), b.indices(9, 40), 0.1));
  }

  @Test
  void ignoringEverythingIsNoLoss() {
    try (Engine engine = open(0)) {
      long[] labels = new long[6];
      assertThat(engine.forwardBackward(inputs(labels)).get("loss").floats()).containsExactly(0);
      assertThat(engine.gradient("x").floats()).containsOnly(0);
      labels[2] = 1;
      assertThat(engine.forwardBackward(inputs(labels)).get("loss").floats()[0]).isPositive();
    }
  }

  @Test
  void refusesLabelsThatAreNoClasses() {
    try (Engine engine = open(-1)) {
      for (long label : new long[] {4, -2, 1L << 40}) {
        long[] labels = {0, -1, 3, label, 1, 1};
        assertThatThrownBy(() -> engine.forwardBackward(inputs(labels)))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("Invalid label: %d (the model has 4 classes, numbered from 0)", label);
      }
      long[] good = new long[6];
      Arrays.fill(good, 3);
      assertThat(engine.forwardBackward(inputs(good)).get("loss").floats()[0]).isPositive();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"nd4j", "compiled"})
  void softDiceRefusesLabelsThatAreNoClasses(String name) {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    g.loss(Losses.softDice(g, g.input("x", 1, 4, 6), g.indices("labels", 1, 6), 0.01, 255));
    try (Engine engine = Engines.open(name, g, OptimizerConfig.plainSgd())) {
      HostTensor x = Draw.normal(1, 1, 4, 6);
      for (long label : new long[] {4, -2, 1L << 40}) {
        HostTensor labels = HostTensor.ofLongs(new long[] {0, 255, 3, label, 1, 1}, 1, 6);
        assertThatThrownBy(() -> engine.forwardBackward(Map.of("x", x, "labels", labels)))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("Invalid label: %d (the model has 4 classes, numbered from 0)", label);
      }
    }
  }

  private static Map<String, HostTensor> inputs(long... labels) {
    return Map.of("x", Draw.normal(1, 6, 4), "labels", HostTensor.ofLongs(labels, 6));
  }

  private static Engine open(long ignored) {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 6, 4);
    g.requestGradient(x);
    g.loss(Losses.crossEntropy(g, x, g.indices("labels", 6), 0, ignored));
    return Engines.open(
        "compiled", g, OptimizerConfig.plainSgd(), EngineOptions.defaults().withThreads(2));
  }

  @ParameterizedTest
  @ValueSource(longs = {Losses.IGNORE_NOTHING, 1})
  void softDiceOfLabels(long ignored) {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(2, 3, 5, 7));
          return Losses.softDice(b.g, x, b.indices(3, 2, 5, 7), 0.5, ignored);
        });
    Twins.agreeExactly(
        b ->
            Losses.softDice(b.g, b.normal(2, 4, 3, 2, 5), b.indices(4, 2, 3, 2, 5), 0.01, ignored));
  }

  @Test
  void softLossesAndThoseOfWords() {
    Twins.agreeExactly(b -> Losses.softCrossEntropy(b.g, b.normal(3, 5, 4), b.positive(3, 5, 4)));
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(2, 5, 4, 3));
          return Losses.bceWithLogits(b.g, x, b.positive(2, 5, 4, 3));
        });
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(2, 5, 4, 3));
          return Losses.smoothL1(b.g, x, b.positive(2, 5, 4, 3), 0.5);
        });
  }
}
