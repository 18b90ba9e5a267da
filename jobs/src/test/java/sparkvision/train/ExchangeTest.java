package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.client.TransportClientFactory;
import org.apache.spark.network.server.NoOpRpcHandler;
import org.apache.spark.network.server.TransportServer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import scala.Option;
import sparkvision.JobException.Exit;
import sparkvision.TestCluster;

/** Both exchanges, with ranks as threads over Spark's transport. */
class ExchangeTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final int ROUNDS = 3;

  private final List<List<RoundReport>> rounds = Collections.synchronizedList(new ArrayList<>());

  @ParameterizedTest
  @CsvSource({"1, 7", "2, 300001", "3, 200000", "4, 1048577", "4, 5", "4, 3", "3, 1"})
  void directGivesTheBitsOfDriver(int ranks, int size) throws Exception {
    List<float[]> direct = averages(ranks, size, true);
    List<float[]> driver = averages(ranks, size, false);
    for (int rank = 0; rank < ranks; rank++) {
      assertThat(direct.get(rank)).as("rank %d", rank).isEqualTo(driver.get(0));
    }
    assertThat(rounds).hasSize(2 * ROUNDS);
    assertThat(rounds.get(1)).extracting(RoundReport::rank).startsWith(0);
  }

  /** The mean of random vectors of very different sizes, plus a part of it, averaged again... */
  private List<float[]> averages(int ranks, int size, boolean direct) throws Exception {
    try (Coordinator coordinator = Ranks.coordinator(ranks, 60, rounds::add)) {
      return Ranks.run(
          ranks,
          rank -> {
            try (DriverLink driver = Ranks.link(coordinator, rank);
                Exchange exchange =
                    direct
                        ? Ranks.direct(driver, ranks, size, Sync.Wire.FLOAT32)
                        : DriverExchange.open(driver)) {
              float[] values = new float[size];
              for (int round = 0; round < ROUNDS; round++) {
                Random random = new Random(100 * round + rank);
                for (int i = 0; i < size; i++) {
                  values[i] +=
                      (float) (random.nextGaussian() * Math.exp(4 * random.nextGaussian()));
                }
                // Others are a round ahead of the last rank, and wait for it.
                TimeUnit.MILLISECONDS.sleep(rank == ranks - 1 ? 30 : 0);
                exchange.average(values, Ranks.report(rank, round));
              }
              return values;
            }
          });
    }
  }

  @ParameterizedTest
  @CsvSource({"true", "false"})
  void theMeanIsSummedInRankOrder(boolean direct) throws Exception {
    // (1e8 + 1) - 1e8 is 0 in float32, 1e8 - 1e8 + 1 is 1: the order shows.
    float[][] values = {{1e8f, 3, 1e8f}, {1, 5, 1}, {-1e8f, 4, -1e8f}};
    try (Coordinator coordinator = Ranks.coordinator(3, 30, rounds::add)) {
      List<float[]> means =
          Ranks.run(
              3,
              rank -> {
                try (DriverLink driver = Ranks.link(coordinator, rank);
                    Exchange exchange =
                        direct
                            ? Ranks.direct(driver, 3, 3, Sync.Wire.FLOAT32)
                            : DriverExchange.open(driver)) {
                  // The last rank arrives first.
                  Thread.sleep(100L * (2 - rank));
                  float[] mean = values[rank].clone();
                  exchange.average(mean, Ranks.report(rank, 0));
                  return mean;
                }
              });
      for (float[] mean : means) {
        assertThat(mean).containsExactly((1e8f + 1 - 1e8f) / 3, 4, (1e8f + 1 - 1e8f) / 3);
      }
    }
  }

  @Test
  void whatABfloat16WireRoundsAwayComesLater() throws Exception {
    int size = 200_003;
    int count = 40;
    try (Coordinator coordinator = Ranks.coordinator(3, 60, rounds::add)) {
      List<float[]> sums =
          Ranks.run(
              3,
              rank -> {
                try (DriverLink driver = Ranks.link(coordinator, rank);
                    Exchange exchange = Ranks.direct(driver, 3, size, Sync.Wire.BFLOAT16)) {
                  float[] sum = new float[size];
                  float[] values = new float[size];
                  for (int round = 0; round < count; round++) {
                    for (int i = 0; i < size; i++) {
                      values[i] = value(rank, i);
                    }
                    exchange.average(values, Ranks.report(rank, round));
                    for (int i = 0; i < size; i++) {
                      sum[i] += values[i];
                    }
                  }
                  return sum;
                }
              });
      assertThat(sums.get(1)).isEqualTo(sums.get(0));
      assertThat(sums.get(2)).isEqualTo(sums.get(0));
      double worst = 0;
      for (int i = 0; i < size; i++) {
        double mean = (value(0, i) + value(1, i) + value(2, i)) / 3.0;
        worst = Math.max(worst, Math.abs(sums.get(0)[i] / count - mean));
      }
      // Rounded each time the same way it would stay at half a unit of 2^-8, two roundings at that.
      assertThat(worst).isLessThan(2.5 * Math.pow(2, -8) / count).isPositive();
    }
  }

  /** Between 1 and 2. */
  private static float value(int rank, int i) {
    return 1 + new java.util.SplittableRandom(31L * i + rank).nextInt(1 << 20) / (float) (1 << 20);
  }

  @Test
  void ranksThatNeverComeAreNamedWithinTheDeadline() throws Exception {
    AtomicBoolean cancelled = new AtomicBoolean();
    try (Coordinator coordinator =
            Ranks.coordinator(3, 1, round -> Exchange.Decision.GO_ON, () -> cancelled.set(true));
        DriverLink driver = Ranks.link(coordinator, 1)) {
      assertThatThrownBy(() -> DriverExchange.open(driver))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("rank 1 while meeting the other ranks")
          .hasMessageContaining(
              "no word from rank [0, 2] for 1 s: rank 0 (no host yet) never connected; rank 2");
      assertThat(coordinator.failure().orElseThrow().exit()).isEqualTo(Exit.CLUSTER);
      assertThat(cancelled).as("the tasks of ranks that hang are cancelled").isTrue();
    }
  }

  @ParameterizedTest
  @CsvSource({"true", "false"})
  void aRankThatDoesNotExchangeIsNamedWithWhatItDid(boolean direct) throws Exception {
    CountDownLatch over = new CountDownLatch(1);
    try (Coordinator coordinator = Ranks.coordinator(2, 2, rounds::add)) {
      assertThatThrownBy(
              () ->
                  Ranks.run(
                      2,
                      rank -> {
                        try (DriverLink driver = Ranks.link(coordinator, rank);
                            Exchange exchange =
                                direct
                                    ? Ranks.direct(driver, 2, 5, Sync.Wire.FLOAT32)
                                    : DriverExchange.open(driver)) {
                          if (rank == 0) {
                            exchange.average(new float[5], Ranks.report(0, 4));
                          } else {
                            driver.phase("computing step 5");
                            over.await(1, TimeUnit.MINUTES);
                          }
                          return new float[0];
                        } finally {
                          over.countDown();
                        }
                      }))
          .isInstanceOf(ExecutionException.class)
          .hasMessageContaining("Cannot finish a round: no word from rank [1] for 2 s")
          .hasMessageContaining("rank 1 (")
          .hasMessageContaining("was computing step 5, last heartbeat");
    }
  }

  @ParameterizedTest
  @CsvSource({"true", "false"})
  void aFailingRankReleasesTheOthersWithItsReason(boolean direct) throws Exception {
    try (Coordinator coordinator = Ranks.coordinator(2, 60, rounds::add)) {
      assertThatThrownBy(
              () ->
                  Ranks.run(
                      2,
                      rank -> {
                        try (DriverLink driver = Ranks.link(coordinator, rank);
                            Exchange exchange =
                                direct
                                    ? Ranks.direct(driver, 2, 5, Sync.Wire.FLOAT32)
                                    : DriverExchange.open(driver)) {
                          if (rank == 0) {
                            exchange.average(new float[5], Ranks.report(0, 0));
                          } else {
                            Thread.sleep(300);
                            driver.fail(new RankFailure(1, Exit.DATA, "Cannot read shard x"));
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

  @Test
  void aRankThatIsGoneBreaksTheExchangeAtOnce() throws Exception {
    CountDownLatch met = new CountDownLatch(2);
    try (Coordinator coordinator = Ranks.coordinator(2, 60, rounds::add)) {
      assertThatThrownBy(
              () ->
                  Ranks.run(
                      2,
                      rank -> {
                        try (DriverLink driver = Ranks.link(coordinator, rank);
                            Exchange exchange = Ranks.direct(driver, 2, 5, Sync.Wire.FLOAT32)) {
                          met.countDown();
                          met.await();
                          if (rank == 0) {
                            TimeUnit.MILLISECONDS.sleep(300);
                            exchange.average(new float[5], Ranks.report(0, 9));
                          }
                          return new float[0];
                        }
                      }))
          .hasMessageContaining("Cannot finish the exchange of step 9 on rank 0")
          .hasMessageContaining("the connection to rank 1");
    }
  }

  @Test
  void aPeerWithoutTheSecretIsRefused() throws Exception {
    for (boolean encrypted : List.of(false, true)) {
      Transport ours = transport("the secret", encrypted);
      TransportContext context = ours.context(new NoOpRpcHandler());
      try (TransportServer server = ours.serve(context, "127.0.0.1", DirectExchange.PORT)) {
        connect(transport("the secret", encrypted), server.getPort());
        assertThatThrownBy(() -> connect(transport("another one", encrypted), server.getPort()))
            .as("another secret")
            .isInstanceOf(RuntimeException.class);
        assertThatThrownBy(() -> connect(transport(null, false), server.getPort()))
            .as("none")
            .isInstanceOf(RuntimeException.class);
      } finally {
        context.close();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"false", "true"})
  void ranksWithTheSecretAverage(boolean encrypted) throws Exception {
    int size = 200_001;
    try (Coordinator coordinator = Ranks.coordinator(3, 60, rounds::add)) {
      List<float[]> means =
          Ranks.run(
              3,
              rank -> {
                try (DriverLink driver = Ranks.link(coordinator, rank);
                    Exchange exchange =
                        DirectExchange.open(
                            transport("the secret", encrypted),
                            driver,
                            3,
                            size,
                            Sync.Wire.FLOAT32)) {
                  float[] values = new float[size];
                  for (int i = 0; i < size; i++) {
                    values[i] = 3 * rank + i;
                  }
                  exchange.average(values, Ranks.report(rank, 0));
                  return values;
                }
              });
      for (float[] mean : means) {
        for (int i = 0; i < size; i++) {
          assertThat(mean[i]).isEqualTo(3f + i);
        }
      }
    }
  }

  /** Connects and asks something. */
  private static void connect(Transport transport, int port) throws Exception {
    TransportContext context = transport.context(new NoOpRpcHandler());
    try (TransportClientFactory factory = transport.clients(context)) {
      try {
        factory
            .createClient("127.0.0.1", port)
            .sendRpcSync(java.nio.ByteBuffer.wrap(new byte[20]), 5000);
      } catch (RuntimeException e) {
        // Only a peer that was let in hears what this handler says to everything.
        if (!String.valueOf(e.getMessage()).contains("Cannot handle messages")) {
          throw e;
        }
      }
    } finally {
      context.close();
    }
  }

  private static Transport transport(String secret, boolean encrypted) {
    SparkConf conf = SparkEnv.get().conf().clone();
    if (secret != null) {
      conf.set("spark.authenticate", "true").set("spark.authenticate.secret", secret);
      conf.set("spark.network.crypto.enabled", String.valueOf(encrypted));
      conf.set("spark.network.crypto.saslFallback", String.valueOf(!encrypted));
    }
    return new Transport(conf, new SecurityManager(conf, Option.empty(), null), 20);
  }

  @Test
  void aTakenPortGivesWayToTheNext() {
    SparkConf conf = SparkEnv.get().conf().clone();
    Transport any = new Transport(conf, SparkEnv.get().securityManager(), 20);
    TransportContext context = any.context(new NoOpRpcHandler());
    try (TransportServer first = any.serve(context, "127.0.0.1", DirectExchange.PORT)) {
      conf.set(DirectExchange.PORT, String.valueOf(first.getPort()));
      Transport fixed = new Transport(conf, SparkEnv.get().securityManager(), 20);
      try (TransportServer second = fixed.serve(context, "127.0.0.1", DirectExchange.PORT)) {
        assertThat(second.getPort()).isBetween(first.getPort() + 1, first.getPort() + 16);
      }
      conf.set("spark.port.maxRetries", "0");
      Transport narrow = new Transport(conf, SparkEnv.get().securityManager(), 20);
      assertThatThrownBy(() -> narrow.serve(context, "127.0.0.1", DirectExchange.PORT))
          .hasMessageStartingWith("Cannot listen on 127.0.0.1, port " + first.getPort())
          .hasMessageEndingWith("(spark.sparkvision.exchange.rank-port sets the port)");
    } finally {
      context.close();
    }
  }

  @Test
  void stoppingIsTheSameDecisionForAllRanks() throws Exception {
    AtomicBoolean stopping = new AtomicBoolean();
    try (Coordinator coordinator =
        Ranks.coordinator(
            3,
            60,
            round -> stopping.get() ? Exchange.Decision.STOP : Exchange.Decision.GO_ON,
            () -> {})) {
      List<float[]> made =
          Ranks.run(
              3,
              rank -> {
                try (DriverLink driver = Ranks.link(coordinator, rank);
                    Exchange exchange = Ranks.direct(driver, 3, 9, Sync.Wire.FLOAT32)) {
                  int round = 0;
                  Exchange.Decision decision = Exchange.Decision.GO_ON;
                  while (decision == Exchange.Decision.GO_ON) {
                    if (rank == 1 && round == 5) {
                      stopping.set(true);
                    }
                    decision = exchange.average(new float[9], Ranks.report(rank, round++));
                  }
                  return new float[] {round};
                }
              });
      assertThat(made.stream().map(Arrays::toString)).containsOnly("[6.0]");
    }
  }
}
