package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/** Ranks as threads over Spark's transport, against the coordinator. */
class AveragingTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private final List<List<RoundReport>> rounds = Collections.synchronizedList(new ArrayList<>());

  @Test
  void twoRanksThatAverageEveryStepEqualOneWithTheDoubledBatch() throws Exception {
    int steps = 20;
    float[] together;
    List<float[]> apart;
    try (Engine engine = network(8)) {
      for (int step = 0; step < steps; step++) {
        engine.forwardBackward(batch(step, 0, 8));
        engine.update(0.1);
      }
      together = averaged(engine);
    }
    try (Coordinator coordinator = Ranks.coordinator(2, 30, rounds::add)) {
      apart =
          Ranks.run(
              2,
              rank -> {
                try (Engine engine = network(4);
                    DriverLink driver = Ranks.link(coordinator, rank);
                    Exchange exchange = DriverExchange.open(driver)) {
                  for (int step = 0; step < steps; step++) {
                    engine.forwardBackward(batch(step, 4 * rank, 4));
                    engine.update(0.1);
                    float[] values = averaged(engine);
                    exchange.average(values, report(rank, step));
                    engine.writeAveraged(values);
                  }
                  return averaged(engine);
                }
              });
    }

    assertThat(apart.get(0)).as("both ranks hold the same bits").isEqualTo(apart.get(1));
    assertThat(relativeError(apart.get(0), together)).isLessThan(1e-5);
    try (Engine untrained = network(8)) {
      assertThat(relativeError(averaged(untrained), together)).isGreaterThan(1e-2);
    }
    assertThat(rounds).hasSize(steps);
    assertThat(rounds.get(7)).extracting(RoundReport::rank).containsExactly(0, 1);
  }

  @Test
  void twoRanksThatAverageGradientsEqualOneWithTheDoubledBatch() throws Exception {
    int steps = 12;
    OptimizerConfig adam = OptimizerConfig.of(OptimizerConfig.Name.ADAMW).withWeightDecay(0.1);
    float[] together;
    try (Engine engine = network(8, adam)) {
      for (int step = 0; step < steps; step++) {
        engine.forwardBackward(batch(step, 0, 8));
        engine.update(0.01);
      }
      together = averaged(engine);
    }
    List<float[]> apart;
    try (Coordinator coordinator = Ranks.coordinator(2, 30, rounds::add)) {
      apart =
          Ranks.run(
              2,
              rank -> {
                try (Engine engine = network(2, adam);
                    DriverLink driver = Ranks.link(coordinator, rank);
                    Exchange exchange =
                        Ranks.direct(driver, 2, engine.averagedSize(), Sync.Wire.FLOAT32)) {
                  float[] gradients = new float[engine.averagedSize()];
                  for (int step = 0; step < steps; step++) {
                    engine.forwardBackward(batch(step, 4 * rank, 2));
                    engine.accumulate();
                    engine.forwardBackward(batch(step, 4 * rank + 2, 2));
                    engine.accumulate();
                    engine.readGradients(gradients);
                    exchange.average(gradients, Ranks.report(rank, step + 1));
                    engine.writeGradients(gradients);
                    engine.update(0.01);
                  }
                  return averaged(engine);
                }
              });
    }
    assertThat(apart.get(0)).as("both ranks hold the same bits").isEqualTo(apart.get(1));
    assertThat(relativeError(apart.get(0), together)).isLessThan(1e-4);
    try (Engine untrained = network(8, adam)) {
      assertThat(relativeError(averaged(untrained), together)).isGreaterThan(1e-2);
    }
  }

  /** What {@link MovingAverage} builds on. */
  @Test
  void theMeanOfTheRanksMovingAveragesIsThatOfTheirMean() {
    OptimizerConfig config = OptimizerConfig.plainSgd().withEmaDecay(0.8);
    try (Engine one = network(4, config);
        Engine two = network(4, config)) {
      float[] expected = averaged(one);
      for (int step = 0; step < 9; step++) {
        one.forwardBackward(batch(step, 0, 4));
        one.update(0.5);
        two.forwardBackward(batch(step, 4, 4));
        two.update(0.5);
        float[] mean = Coordinator.mean(List.of(averaged(one), averaged(two)));
        for (int i = 0; i < mean.length; i++) {
          expected[i] = 0.8f * expected[i] + 0.2f * mean[i];
        }
        if (step % 3 == 2) {
          one.writeAveraged(mean);
          two.writeAveraged(mean);
        }
      }
      float[] found = Coordinator.mean(List.of(ema(one), ema(two)));
      assertThat(relativeError(found, expected)).isLessThan(1e-6);
      assertThat(relativeError(ema(one), expected)).isGreaterThan(1e-3);
      assertThat(relativeError(averaged(one), expected)).isGreaterThan(1e-3);
    }
  }

  /** As {@link #averaged}: there are no statistics, and so the order is the same. */
  private static float[] ema(Engine engine) {
    float[] values = new float[engine.averagedSize()];
    int filled = 0;
    for (HostTensor tensor : engine.emaState().values()) {
      System.arraycopy(tensor.floats(), 0, values, filled, tensor.floats().length);
      filled += tensor.floats().length;
    }
    return values;
  }

  /**
   * Convolution, pool and linear layer, without batch norm, whose statistics depend on the batch.
   */
  private static Engine network(int batch) {
    return network(batch, OptimizerConfig.plainSgd());
  }

  private static Engine network(int batch, OptimizerConfig config) {
    Graph g = new Graph(Graph.Mode.TRAINING, 3);
    Tensor images = g.input("input", batch, 2, 9, 9);
    Tensor x = g.relu(g.conv("conv", 2, 6, 3, 3).padding(1).apply(images));
    x = g.globalAveragePool(g.maxPool(x, 2, 2, 0));
    Tensor logits = g.linear("head", 6, 3).apply(x);
    g.output("logits", logits);
    g.loss(Losses.crossEntropy(g, logits, g.indices("labels", batch), 0.1));
    return Engines.open("nd4j", g, config);
  }

  private static Map<String, HostTensor> batch(int step, int first, int count) {
    float[] images = new float[8 * 162];
    long[] labels = new long[8];
    Random random = new Random(step);
    for (int i = 0; i < images.length; i++) {
      images[i] = (float) random.nextGaussian() * 3;
    }
    for (int i = 0; i < labels.length; i++) {
      labels[i] = random.nextInt(3);
    }
    return Map.of(
        "input",
            HostTensor.of(
                Arrays.copyOfRange(images, first * 162, (first + count) * 162), count, 2, 9, 9),
        "labels", HostTensor.ofLongs(Arrays.copyOfRange(labels, first, first + count), count));
  }

  private static float[] averaged(Engine engine) {
    float[] values = new float[engine.averagedSize()];
    engine.readAveraged(values);
    return values;
  }

  private static RoundReport report(int rank, int step) {
    return Ranks.report(rank, step + 1);
  }

  private static double relativeError(float[] found, float[] expected) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      difference += Math.pow(found[i] - expected[i], 2);
      norm += Math.pow(expected[i], 2);
    }
    return Math.sqrt(difference / norm);
  }
}
