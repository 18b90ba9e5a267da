package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.graph.BatchNorm;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class EngineTest {

  private static final OptimizerConfig SGD =
      OptimizerConfig.of(OptimizerConfig.Name.SGD).withNesterov(0.9).withWeightDecay(1e-4);
  private static final OptimizerConfig ADAMW =
      OptimizerConfig.of(OptimizerConfig.Name.ADAMW).withWeightDecay(1e-2).sparingNormAndBias();
  private static final OptimizerConfig AVERAGING = ADAMW.withClipNorm(0.5).withEmaDecay(0.9);

  private static final Map<String, HostTensor> BATCH =
      Map.of("x", Draw.normal(1, 6, 2, 8, 8), "labels", Draw.labels(2, 3, 6));

  /** A small classifier with everything that has state: norm, dropout, parameters. */
  private static Graph classifier(Graph.Mode mode, long seed) {
    Graph g = new Graph(mode, seed);
    Tensor x = g.conv("conv", 2, 5, 3, 3).padding(1).apply(g.input("x", 6, 2, 8, 8));
    x = g.dropout(g.relu(g.batchNorm("norm", 5).apply(x)), 0.2);
    Tensor logits = g.linear("head", 5, 3).apply(g.globalAveragePool(x));
    g.output("logits", logits);
    if (mode == Graph.Mode.TRAINING) {
      g.loss(Losses.crossEntropy(g, logits, g.indices("labels", 6), 0.1));
    }
    return g;
  }

  private static Engine trainer(long seed, OptimizerConfig config) {
    return Engines.open("nd4j", classifier(Graph.Mode.TRAINING, seed), config);
  }

  private static void train(Engine engine, int steps) {
    for (int i = 0; i < steps; i++) {
      engine.forwardBackward(BATCH);
      engine.update(0.05);
    }
  }

  private static Map<String, List<?>> bits(Map<String, HostTensor> tensors) {
    Map<String, List<?>> bits = new LinkedHashMap<>();
    tensors.forEach(
        (name, tensor) ->
            bits.put(
                name,
                tensor.isFloat()
                    ? List.of(Arrays.hashCode(tensor.floats()), tensor.floats()[0])
                    : List.of(tensor.longs()[0])));
    return bits;
  }

  @Test
  void theStockEngineRunsOnAGpuOnlyForThoseWhoKnowThatItNeverDid() {
    Nd4jEngine.requireTested("CpuBackend", null);
    Nd4jEngine.requireTested("JCublasBackend", "untested");
    assertThatThrownBy(() -> Nd4jEngine.requireTested("JCublasBackend", null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Cannot run engine nd4j on JCublasBackend")
        .hasMessageContaining("-Dsparkvision.cuda=untested");
  }

  @Test
  void trainingLowersTheLoss() {
    for (OptimizerConfig config : List.of(SGD, ADAMW)) {
      try (Engine engine = trainer(1, config)) {
        float first = engine.forwardBackward(BATCH).get("loss").floats()[0];
        train(engine, 40);
        assertThat(engine.forwardBackward(BATCH).get("loss").floats()[0]).isLessThan(first - 0.2f);
      }
    }
  }

  @Test
  void lossIsTheCrossEntropyOfTheLogits() {
    try (Engine engine = trainer(1, SGD)) {
      Map<String, HostTensor> results = engine.forwardBackward(BATCH);
      assertThat(results.keySet()).containsExactly("logits", "loss");
      float[] logits = results.get("logits").floats();
      double loss = 0;
      for (int b = 0; b < 6; b++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) {
          sum += Math.exp(logits[b * 3 + k]);
        }
        for (int k = 0; k < 3; k++) {
          double target = 0.1 / 3 + (BATCH.get("labels").longs()[b] == k ? 0.9 : 0);
          loss -= target * (logits[b * 3 + k] - Math.log(sum)) / 6;
        }
      }
      assertThat(results.get("loss").shape()).isEmpty();
      assertThat(results.get("loss").floats()[0]).isCloseTo((float) loss, within(1e-5f));
    }
  }

  @Test
  void sameSeedGivesTheSameBitsAndAnotherSeedOthers() {
    try (Engine one = trainer(1, SGD);
        Engine same = trainer(1, SGD);
        Engine other = trainer(2, SGD)) {
      assertThat(bits(one.state())).isEqualTo(bits(same.state()));
      assertThat(one.state().get("conv.weight").floats())
          .isNotEqualTo(other.state().get("conv.weight").floats());
      train(one, 5);
      train(same, 5);
      assertThat(bits(one.state())).isEqualTo(bits(same.state()));
      assertThat(bits(one.optimizerState())).isEqualTo(bits(same.optimizerState()));
    }
  }

  @Test
  void resumedTrainingEqualsUninterruptedTraining() {
    for (OptimizerConfig config : List.of(SGD, ADAMW, AVERAGING)) {
      try (Engine whole = trainer(1, config);
          Engine interrupted = trainer(1, config);
          Engine resumed = trainer(1, config)) {
        train(whole, 7);
        train(interrupted, 4);
        resumed.load(interrupted.state());
        resumed.loadOptimizerState(interrupted.optimizerState());
        train(resumed, 3);
        assertThat(bits(resumed.state())).isEqualTo(bits(whole.state()));
        assertThat(bits(resumed.emaState())).isEqualTo(bits(whole.emaState()));
      }
    }
  }

  @Test
  void theMovingAverageIsAStateOfItsOwn() {
    try (Engine engine = trainer(1, AVERAGING);
        Engine plain = trainer(1, ADAMW);
        Engine inference = Engines.open("nd4j", classifier(Graph.Mode.INFERENCE, 1), null)) {
      float[] start = engine.state().get("head.weight").floats();
      assertThat(engine.emaState()).as("before the first update").isEmpty();
      engine.forwardBackward(BATCH);
      float[] statistic = engine.state().get("norm.running_mean").floats();
      engine.update(0.05);
      engine.forwardBackward(BATCH);
      Map<String, HostTensor> state = engine.state();
      Map<String, HostTensor> ema = engine.emaState();
      assertThat(ema.keySet()).containsExactlyElementsOf(state.keySet());
      float[] moved = state.get("head.weight").floats();
      for (int i = 0; i < start.length; i++) {
        float expected = 0.9f * start[i] + 0.1f * moved[i];
        assertThat(ema.get("head.weight").floats()[i]).isCloseTo(expected, within(1e-6f));
      }
      assertThat(ema.get("norm.running_mean").floats())
          .as("as it stood at the first update")
          .containsExactly(statistic)
          .isNotEqualTo(state.get("norm.running_mean").floats());
      assertThat(ema.get("norm.num_batches_tracked").longs()).containsExactly(2);
      inference.load(ema);
      assertThat(inference.emaState()).isEmpty();
      train(plain, 1);
      assertThat(plain.emaState()).isEmpty();
    }
  }

  /** A linear layer on each image: no norm, whose statistics depend on the batch. */
  private static Engine linear(int batch) {
    Graph g = new Graph(Graph.Mode.TRAINING, 4);
    Tensor logits = g.linear("head", 10, 3).apply(g.input("x", batch, 10));
    g.output("logits", logits);
    g.loss(Losses.crossEntropy(g, logits, g.indices("labels", batch), 0));
    return Engines.open("nd4j", g, SGD);
  }

  @Test
  void accumulatedMicroBatchesMoveTheWeightsAsOneBatchDoes() {
    float[] images = Draw.normal(5, 6, 10).floats();
    long[] labels = Draw.labels(6, 3, 6).longs();
    try (Engine whole = linear(6);
        Engine parts = linear(2);
        Engine last = linear(2)) {
      for (int step = 0; step < 3; step++) {
        whole.forwardBackward(
            Map.of("x", HostTensor.of(images, 6, 10), "labels", HostTensor.ofLongs(labels, 6)));
        whole.update(0.5);
        for (int part = 0; part < 3; part++) {
          Map<String, HostTensor> batch =
              Map.of(
                  "x", HostTensor.of(Arrays.copyOfRange(images, 20 * part, 20 * part + 20), 2, 10),
                  "labels",
                      HostTensor.ofLongs(Arrays.copyOfRange(labels, 2 * part, 2 * part + 2), 2));
          parts.forwardBackward(batch);
          parts.accumulate();
          last.forwardBackward(batch);
        }
        parts.update(0.5);
        last.update(0.5);
      }
      float[] expected = whole.state().get("head.weight").floats();
      assertThat(parts.state().get("head.weight").floats())
          .containsExactly(expected, within(1e-6f));
      assertThat(last.state().get("head.weight").floats()[0])
          .isNotCloseTo(expected[0], within(1e-3f));
    }
  }

  @Test
  void microBatchesOfOneStepDropDifferentElements() {
    try (Engine engine = trainer(1, SGD);
        Engine same = trainer(1, SGD)) {
      float[] first = engine.forwardBackward(BATCH).get("logits").floats();
      engine.accumulate();
      float[] second = engine.forwardBackward(BATCH).get("logits").floats();
      assertThat(second).isNotEqualTo(first);
      engine.accumulate();
      engine.update(0);
      assertThat(engine.forwardBackward(BATCH).get("logits").floats()).isNotEqualTo(second);
      same.forwardBackward(BATCH);
      same.accumulate();
      assertThat(same.forwardBackward(BATCH).get("logits").floats()).containsExactly(second);
    }
  }

  @Test
  void dropoutFollowsSeedAndStepOnly() {
    try (Engine engine = trainer(1, SGD)) {
      float[] first = engine.forward(BATCH).get("logits").floats();
      assertThat(engine.forward(BATCH).get("logits").floats()).containsExactly(first);
      engine.forwardBackward(BATCH);
      engine.update(0); // moves nothing but the step
      assertThat(engine.forward(BATCH).get("logits").floats()).isNotEqualTo(first);
    }
  }

  @Test
  void dropoutOfAnotherStreamDropsOtherElementsOfTheSameModel() {
    Graph first = classifier(Graph.Mode.TRAINING, 1);
    Graph same = classifier(Graph.Mode.TRAINING, 1).withNoise(0);
    Graph other = classifier(Graph.Mode.TRAINING, 1).withNoise(1);
    try (Engine one = Engines.open("nd4j", first, SGD);
        Engine twin = Engines.open("nd4j", same, SGD);
        Engine stranger = Engines.open("nd4j", other, SGD)) {
      assertThat(bits(stranger.state())).isEqualTo(bits(one.state()));
      float[] logits = one.forward(BATCH).get("logits").floats();
      assertThat(twin.forward(BATCH).get("logits").floats()).containsExactly(logits);
      assertThat(stranger.forward(BATCH).get("logits").floats()).isNotEqualTo(logits);
    }
  }

  @Test
  void twoDropoutsOfOneGraphDropDifferentElements() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 10, 10);
    g.output("a", g.dropout(x, 0.5));
    g.output("b", g.dropout(x, 0.5));
    try (Engine engine = Engines.open("nd4j", g, SGD)) {
      Map<String, HostTensor> outputs = engine.forward(Map.of("x", Draw.normal(1, 10, 10)));
      assertThat(outputs.get("a").floats()).isNotEqualTo(outputs.get("b").floats());
    }
  }

  @Test
  void countsTheBatchesOfANormOncePerApplication() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 4, 3);
    g.batchNorm("unused", 3);
    BatchNorm shared = g.batchNorm("shared", 3);
    g.output("y", g.batchNorm("once", 3).apply(shared.apply(g.relu(shared.apply(x)))));
    try (Engine engine = Engines.open("nd4j", g, SGD)) {
      engine.forward(Map.of("x", Draw.normal(1, 4, 3)));
      Map<String, HostTensor> state = engine.state();
      assertThat(state.get("unused.num_batches_tracked").longs()).containsExactly(0);
      assertThat(state.get("shared.num_batches_tracked").longs()).containsExactly(2);
      assertThat(state.get("once.num_batches_tracked").longs()).containsExactly(1);
    }
  }

  @Test
  void refusesMoreParametersThanOneArrayHolds() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    g.linear("a", 1 << 15, 1 << 15);
    g.linear("b", 1 << 15, 1 << 15);
    assertThatThrownBy(() -> Engines.open("nd4j", g, null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot open engine: parameters and running statistics are 2147549184 numbers, must be"
                + " <= 2147483639");
  }

  @Test
  void forwardOfATrainingGraphMovesRunningStatistics() {
    try (Engine engine = trainer(1, SGD)) {
      Map<String, HostTensor> before = engine.state();
      engine.forward(BATCH);
      engine.forward(BATCH);
      Map<String, HostTensor> after = engine.state();
      assertThat(after.get("norm.num_batches_tracked").longs()).containsExactly(2);
      assertThat(after.get("norm.running_mean").floats())
          .isNotEqualTo(before.get("norm.running_mean").floats());
      assertThat(after.get("conv.weight").floats())
          .containsExactly(before.get("conv.weight").floats());
    }
  }

  @Test
  void inferenceChangesNothingAndNeverDrops() {
    try (Engine engine = Engines.open("nd4j", classifier(Graph.Mode.INFERENCE, 1), null)) {
      Map<String, List<?>> before = bits(engine.state());
      Map<String, HostTensor> input = Map.of("x", BATCH.get("x"));
      float[] first = engine.forward(input).get("logits").floats();
      assertThat(engine.forward(input).get("logits").floats()).containsExactly(first);
      assertThat(bits(engine.state())).isEqualTo(before);
      assertThatThrownBy(() -> engine.forwardBackward(input))
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void stateIsACopyInTheOrderOfDeclaration() {
    try (Engine engine = trainer(1, SGD)) {
      assertThat(engine.state().keySet())
          .containsExactly(
              "conv.weight",
              "norm.weight",
              "norm.bias",
              "norm.running_mean",
              "norm.running_var",
              "norm.num_batches_tracked",
              "head.weight",
              "head.bias");
      engine.state().get("head.bias").floats()[0] = 7;
      assertThat(engine.state().get("head.bias").floats()[0]).isZero();
    }
  }

  @Test
  void averagesParametersThenRunningStatistics() {
    try (Engine engine = trainer(1, SGD)) {
      int parameters = 5 * 2 * 9 + 5 + 5 + 15 + 3;
      assertThat(engine.averagedSize()).isEqualTo(parameters + 10);
      engine.forward(BATCH);
      float[] values = new float[parameters + 10];
      engine.readAveraged(values);
      Map<String, HostTensor> state = engine.state();
      assertThat(values).startsWith(state.get("conv.weight").floats());
      assertThat(values).endsWith(state.get("norm.running_var").floats());
      assertThat(values[parameters]).isEqualTo(state.get("norm.running_mean").floats()[0]);

      for (int i = 0; i < values.length; i++) {
        values[i] = i;
      }
      engine.writeAveraged(values);
      assertThat(engine.state().get("norm.running_mean").floats()[0]).isEqualTo(parameters);
      assertThat(engine.state().get("head.bias").floats()[2]).isEqualTo(parameters - 1);
      assertThat(engine.state().get("norm.num_batches_tracked").longs()).containsExactly(1);
      assertThatThrownBy(() -> engine.readAveraged(new float[3]))
          .hasMessage("Invalid array: 3 elements (must be %d)", parameters + 10);
    }
  }

  @Test
  void refusesAStateThatDoesNotFit() {
    try (Engine engine = trainer(1, SGD)) {
      Map<String, HostTensor> state = engine.state();
      state.remove("head.bias");
      state.put("head.scale", HostTensor.of(new float[3], 3));
      state.put("head.weight", HostTensor.of(new float[15], 5, 3));
      assertThatThrownBy(() -> engine.load(state))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Cannot load state: missing head.bias; unknown head.scale;"
                  + " misshapen head.weight is float32[5, 3], must be float32[3, 5]");
    }
  }

  @Test
  void refusesInputsThatDoNotFit() {
    try (Engine engine = trainer(1, SGD)) {
      assertThatThrownBy(() -> engine.forward(Map.of("x", BATCH.get("x"))))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("Cannot run graph: missing labels");
      HostTensor labels = HostTensor.ofLongs(new long[] {0, 1, 2, 3, 0, 1}, 6);
      assertThatThrownBy(() -> engine.forward(Map.of("x", BATCH.get("x"), "labels", labels)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("Invalid label: 3 (the model has 3 classes, numbered from 0)");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"nd4j", "compiled"})
  void refusesIndicesOutOfRangeBeforeAnythingMoves(String name) {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.batchNorm("norm", 3).apply(g.input("x", 2, 3));
    g.output("y", g.gather(x, g.indices("at", 2), 1));
    try (Engine engine = Engines.open(name, g, SGD)) {
      Map<String, List<?>> before = bits(engine.state());
      for (long index : new long[] {-1, 3}) {
        HostTensor indices = HostTensor.ofLongs(new long[] {2, index}, 2);
        assertThatThrownBy(() -> engine.forward(Map.of("x", Draw.normal(1, 2, 3), "at", indices)))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("Invalid index: %d (must be in [0, 3))", index);
      }
      assertThat(bits(engine.state())).isEqualTo(before);
    }
  }

  @Test
  void lossIsTheWeightedSumOfItsParts() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 2, 3);
    Tensor y = g.input("y", 4);
    g.requestGradient(x);
    g.requestGradient(y);
    g.loss(g.sum(x), 0.5);
    g.loss(g.mean(y));
    g.output("sum", g.sum(x));
    try (Engine engine = Engines.open("nd4j", g, SGD)) {
      Map<String, HostTensor> results =
          engine.forwardBackward(
              Map.of(
                  "x", HostTensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3),
                  "y", HostTensor.of(new float[] {1, 2, 3, 6}, 4)));
      assertThat(results.get("sum").floats()).containsExactly(21);
      assertThat(results.get("loss").floats()).containsExactly(13.5f);
      assertThat(engine.gradient("x").floats()).containsOnly(0.5f);
      assertThat(engine.gradient("y").floats()).containsOnly(0.25f);
    }
  }

  @Test
  void refusesToUseGradientsThatAreNotThere() {
    try (Engine engine = trainer(1, SGD)) {
      assertThatThrownBy(() -> engine.update(0.1))
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("Cannot use gradients: none were computed yet");
      assertThatThrownBy(engine::accumulate)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("Cannot use gradients: none were computed yet");
      engine.forwardBackward(BATCH);
      assertThatThrownBy(() -> engine.gradient("norm.running_mean"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Invalid name: norm.running_mean (must be a parameter, or an input whose gradient was"
                  + " requested)");
    }
  }

  @Test
  void refusesToRunWhenClosed() {
    Engine engine = trainer(1, SGD);
    engine.close();
    engine.close();
    assertThatThrownBy(() -> engine.forward(BATCH))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("Cannot run graph: the engine is closed");
    assertThatThrownBy(engine::state).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void refusesAnUnknownEngine() {
    assertThatThrownBy(() -> Engines.open("torch", classifier(Graph.Mode.INFERENCE, 1), null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid engine: torch (must be one of [compiled, nd4j])");
  }

  @Test
  void printsNothing() {
    PrintStream before = System.out;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try (Engine engine = trainer(1, SGD)) {
      train(engine, 1);
    } finally {
      System.setOut(before);
    }
    assertThat(printed.toString(StandardCharsets.UTF_8)).isEmpty();
  }
}
