package sparkvision.train;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaSparkContext;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.runtime.AbstractFunction1;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.data.TaskBytes;

/** Rounds of averaging random numbers between executor processes, timed. */
public final class ExchangeTrial {

  /** What is compiled meanwhile competes for the cores. */
  private static final int WARM_UP = 10;

  /**
   * What rounds cost.
   *
   * @param parameters float32 numbers that each rank averages
   * @param seconds of the median round, for its slowest rank
   * @param driverBytes in and out of the driver in a round: averaging, reports and heartbeats
   * @param rankBytes between ranks in a round
   */
  public record Measured(
      TrainConfig.Exchanges exchange,
      int ranks,
      int parameters,
      double seconds,
      double driverBytes,
      double rankBytes) {

    double bytes() {
      return (double) Float.BYTES * parameters;
    }
  }

  private record Plan(
      TrainConfig.Exchanges exchange,
      int ranks,
      int parameters,
      int rounds,
      DriverLink.Address coordinator)
      implements Serializable {}

  private record Report(String executor, double[] seconds, long driverBytes, long rankBytes)
      implements Serializable {}

  private ExchangeTrial() {}

  /**
   * Runs and times rounds on as many executors as there are ranks.
   *
   * @throws JobException (exit code 3) if two ranks found themselves in one process, or (8) if a
   *     rank failed or hung
   */
  public static Measured run(
      JavaSparkContext spark,
      TrainConfig.Exchanges exchange,
      int ranks,
      int parameters,
      int rounds,
      int timeoutSeconds) {
    List<Report> reports;
    String group = "exchange trial";
    try (Coordinator coordinator =
        new Coordinator(
            Transport.ofThisProcess(timeoutSeconds),
            ranks,
            timeoutSeconds,
            round -> Exchange.Decision.GO_ON,
            written -> {},
            () -> spark.sc().cancelJobGroup(group))) {
      spark.setJobGroup(group, String.format("%s of %d", exchange, parameters), true);
      Task task = new Task(new Plan(exchange, ranks, parameters, rounds, coordinator.address()));
      try {
        reports = BarrierJob.run(spark, task, ranks, Report.class);
      } catch (Exception e) {
        String why = coordinator.failure().map(RankFailure::sentence).orElse(Transport.reason(e));
        throw new JobException(Exit.CLUSTER, why, e);
      } finally {
        spark.clearJobGroup();
      }
    }
    if (reports.stream().map(Report::executor).distinct().count() < ranks) {
      throw new JobException(
          Exit.PREFLIGHT,
          "Cannot measure an exchange between executors: one of them runs two ranks (set"
              + " spark.task.cpus to spark.executor.cores)");
    }
    double[] slowest =
        IntStream.range(0, rounds)
            .mapToDouble(
                round -> reports.stream().mapToDouble(r -> r.seconds()[round]).max().getAsDouble())
            .sorted()
            .toArray();
    return new Measured(
        exchange,
        ranks,
        parameters,
        (slowest[rounds / 2] + slowest[(rounds - 1) / 2]) / 2,
        reports.stream().mapToLong(Report::driverBytes).sum() / (double) rounds,
        reports.stream().mapToLong(Report::rankBytes).sum() / (double) rounds);
  }

  /** One rank's rounds. */
  private static final class Task extends AbstractFunction1<Iterator<Integer>, Iterator<byte[]>>
      implements Serializable {

    private static final long serialVersionUID = 1;

    private final Plan plan;

    Task(Plan plan) {
      this.plan = plan;
    }

    @Override
    public Iterator<byte[]> apply(Iterator<Integer> partition) {
      int rank = TaskContext.getPartitionId();
      Transport transport = Transport.ofThisProcess(plan.coordinator().timeoutSeconds());
      try (DriverLink driver = DriverLink.connect(transport, plan.coordinator(), rank);
          Exchange exchange = open(transport, driver)) {
        byte[] report = TaskBytes.pack(time(rank, exchange));
        return JavaConverters.asScalaIterator(List.of(report).iterator());
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException(String.format("Rank %d was interrupted", rank), e);
      }
    }

    private Exchange open(Transport transport, DriverLink driver) throws InterruptedException {
      return switch (plan.exchange()) {
        case DIRECT ->
            DirectExchange.open(
                transport, driver, plan.ranks(), plan.parameters(), Sync.Wire.FLOAT32);
        case DRIVER -> DriverExchange.open(driver);
      };
    }

    private Report time(int rank, Exchange exchange) {
      Random random = new Random(rank);
      float[] values = new float[plan.parameters()];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat();
      }
      double[] seconds = new double[WARM_UP + plan.rounds()];
      long driverBytes = 0;
      long rankBytes = 0;
      for (int round = 0; round < seconds.length; round++) {
        if (round == WARM_UP) {
          driverBytes = exchange.driver().bytes();
          rankBytes = exchange.sentToRanks();
        }
        long start = System.nanoTime();
        exchange.average(values, new RoundReport(rank, round, 0, 0, 0, 0, 0, 0, 0));
        seconds[round] = (System.nanoTime() - start) / 1e9;
      }
      return new Report(
          SparkEnv.get().executorId(),
          Arrays.copyOfRange(seconds, WARM_UP, seconds.length),
          exchange.driver().bytes() - driverBytes,
          exchange.sentToRanks() - rankBytes);
    }
  }
}
