package sparkvision.train;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;

/** Ranks as threads of this process, over Spark's transport. */
final class Ranks {

  private static final int TIMEOUT_SECONDS = 60;

  private Ranks() {}

  interface Rank {
    float[] run(int rank) throws Exception;
  }

  static List<float[]> run(int count, Rank rank) throws Exception {
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

  static Coordinator coordinator(
      int ranks, int timeoutSeconds, Consumer<List<RoundReport>> rounds) {
    return coordinator(
        ranks,
        timeoutSeconds,
        round -> {
          rounds.accept(round);
          return Exchange.Decision.GO_ON;
        },
        () -> {});
  }

  static Coordinator coordinator(
      int ranks,
      int timeoutSeconds,
      Function<List<RoundReport>, Exchange.Decision> rounds,
      Runnable cancel) {
    return new Coordinator(
        Transport.ofThisProcess(timeoutSeconds),
        ranks,
        timeoutSeconds,
        rounds,
        written -> {},
        cancel);
  }

  static DriverLink link(Coordinator coordinator, int rank) throws InterruptedException {
    return DriverLink.connect(
        Transport.ofThisProcess(TIMEOUT_SECONDS), coordinator.address(), rank);
  }

  static DirectExchange direct(DriverLink driver, int ranks, int size, Sync.Wire wire)
      throws InterruptedException {
    return DirectExchange.open(Transport.ofThisProcess(TIMEOUT_SECONDS), driver, ranks, size, wire);
  }

  static RoundReport report(int rank, long step) {
    return new RoundReport(rank, step, 4, 1.5, 0.1, 1, 0, 0, 0);
  }
}
