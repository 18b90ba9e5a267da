package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.JobException.Exit;
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
    try (Coordinator coordinator = new Coordinator(2, 30, rounds::add, () -> {})) {
      apart =
          ranks(
              2,
              rank -> {
                try (Engine engine = network(4);
                    Exchange exchange = DriverExchange.connect(coordinator.address(), rank)) {
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

  @Test
  void theMeanIsSummedInRankOrder() throws Exception {
    // (1e8 + 1) - 1e8 is 0 in float32, 1e8 - 1e8 + 1 is 1: the order shows.
    float[][] values = {{1e8f, 3}, {1, 5}, {-1e8f, 4}};
    try (Coordinator coordinator = new Coordinator(3, 30, rounds::add, () -> {})) {
      List<float[]> means =
          ranks(
              3,
              rank -> {
                // The last rank arrives first.
                Thread.sleep(300L * (2 - rank));
                try (Exchange exchange = DriverExchange.connect(coordinator.address(), rank)) {
                  float[] mean = values[rank].clone();
                  exchange.average(mean, report(rank, 0));
                  return mean;
                }
              });
      for (float[] mean : means) {
        assertThat(mean[0]).isEqualTo((1e8f + 1 - 1e8f) / 3);
        assertThat(mean[1]).isCloseTo(4, within(1e-6f));
      }
    }
  }

  @Test
  void aMissingRankIsNamedWithinTheDeadline() throws Exception {
    AtomicBoolean cancelled = new AtomicBoolean();
    try (Coordinator coordinator = new Coordinator(3, 1, rounds::add, () -> cancelled.set(true));
        Exchange exchange = DriverExchange.connect(coordinator.address(), 1)) {
      assertThatThrownBy(() -> exchange.average(new float[5], report(1, 3)))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("rank 1 after averaging step 4")
          .hasMessageContaining("no word from rank [0, 2] for 1 s");
      assertThat(coordinator.failure().orElseThrow().exit()).isEqualTo(Exit.CLUSTER);
      assertThat(cancelled).as("the tasks of ranks that hang are cancelled").isTrue();
    }
  }

  @Test
  void aFailingRankReleasesTheOthersWithItsReason() throws Exception {
    try (Coordinator coordinator = new Coordinator(2, 60, rounds::add, () -> {})) {
      assertThatThrownBy(
              () ->
                  ranks(
                      2,
                      rank -> {
                        try (Exchange exchange =
                            DriverExchange.connect(coordinator.address(), rank)) {
                          if (rank == 0) {
                            exchange.average(new float[5], report(0, 0));
                          } else {
                            Thread.sleep(300);
                            exchange.fail(new RankFailure(1, Exit.DATA, "Cannot read shard x"));
                          }
                          return new float[0];
                        }
                      }))
          .isInstanceOf(ExecutionException.class)
          .hasMessageContaining("Cannot read shard x");
      assertThat(coordinator.failure())
          .contains(new RankFailure(1, Exit.DATA, "Cannot read shard x"));
    }
  }

  private interface Rank {
    float[] run(int rank) throws Exception;
  }

  private static List<float[]> ranks(int count, Rank rank) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(count);
    try {
      List<Callable<float[]>> tasks =
          IntStream.range(0, count).mapToObj(r -> (Callable<float[]>) () -> rank.run(r)).toList();
      List<float[]> results = new ArrayList<>();
      for (Future<float[]> result : threads.invokeAll(tasks)) {
        results.add(result.get());
      }
      return results;
    } finally {
      threads.shutdownNow();
    }
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
    return new RoundReport(rank, step + 1, 4, 1.5, 0.1, 1, 0, 0);
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
