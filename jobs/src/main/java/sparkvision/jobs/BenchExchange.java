package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import org.apache.spark.api.java.JavaSparkContext;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.train.ExchangeCosts;
import sparkvision.train.ExchangeTrial;
import sparkvision.train.Slots;
import sparkvision.train.TrainConfig.Exchanges;

/** Executors, or a few figures of a cluster -> what a round of averaging costs. */
@Command(
    name = "exchange",
    mixinStandardHelpOptions = true,
    description = "Times rounds of averaging between executors, or computes them for a cluster.")
final class BenchExchange extends ConfJob<BenchExchange.Settings> {

  private static final JsonMapper JSON = JsonMapper.builder().build();

  /** {@code conf/bench-exchange.conf}. */
  record Settings(
      List<Integer> ranks,
      List<Integer> parameters,
      int rounds,
      int timeoutSeconds,
      Cluster model) {

    Settings {
      atLeast("ranks", ranks, 2);
      atLeast("parameters", parameters, 1);
      require(rounds >= 1, "rounds", rounds, "must be at least 1");
      require(timeoutSeconds >= 1, "timeout-seconds", timeoutSeconds, "must be at least 1");
    }
  }

  /** What {@code --model} computes with. */
  record Cluster(
      List<Integer> ranks,
      List<Double> gigabits,
      double roundTripMicros,
      int every,
      double stepSeconds,
      double rankNanosPerByte,
      double messageMicros,
      double driverNanosPerByte) {

    Cluster {
      atLeast("model.ranks", ranks, 2);
      require(
          !gigabits.isEmpty() && gigabits.stream().allMatch(rate -> rate > 0),
          "model.gigabits",
          gigabits,
          "must be a list of numbers above 0");
      require(every >= 1, "model.every", every, "must be at least 1");
      require(stepSeconds > 0, "model.step-seconds", stepSeconds, "must be above 0");
    }

    ExchangeCosts on(double gigabits) {
      return new ExchangeCosts(
          gigabits * 1e9 / 8,
          roundTripMicros / 1e6,
          rankNanosPerByte / 1e9,
          messageMicros / 1e6,
          driverNanosPerByte / 1e9,
          Integer.MAX_VALUE);
    }
  }

  @Option(names = "--model", description = "Compute a cluster's rounds; needs no executors.")
  private boolean model;

  @Option(
      names = "--json",
      description = "Print a line of JSON for each round in place of a table.")
  private boolean json;

  @Override
  String name() {
    return "bench exchange";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    if (model) {
      compute(settings.parameters(), settings.model());
      return;
    }
    withSpark(
        spark -> {
          JavaSparkContext context = new JavaSparkContext(spark.sparkContext());
          Slots.await(
              spark.sparkContext(),
              Collections.max(settings.ranks()),
              Duration.ofSeconds(settings.timeoutSeconds()));
          measure(context, settings);
        });
  }

  private void measure(JavaSparkContext spark, Settings settings) {
    List<ExchangeTrial.Measured> measured = new ArrayList<>();
    print(
        "%10s %5s %-8s %9s %10s %9s %12s%n",
        "parameters", "ranks", "exchange", "s/round", "driver MB", "ranks MB", "times direct");
    for (int parameters : settings.parameters()) {
      for (int ranks : settings.ranks()) {
        double direct = 0;
        for (Exchanges exchange : Exchanges.values()) {
          ExchangeTrial.Measured point =
              ExchangeTrial.run(
                  spark, exchange, ranks, parameters, settings.rounds(), settings.timeoutSeconds());
          measured.add(point);
          direct = exchange == Exchanges.DIRECT ? point.seconds() : direct;
          print(point, point.seconds() / direct);
        }
      }
    }
    ExchangeCosts costs = ExchangeCosts.fit(measured, Runtime.getRuntime().availableProcessors());
    print(
        "%nmodel: rank-nanos-per-byte=%.2f driver-nanos-per-byte=%.2f round-trip-micros=%.0f, off by"
            + " %.0f %% in the mean%n",
        1e9 * costs.rankByteSeconds(),
        1e9 * costs.driverByteSeconds(),
        1e6 * costs.roundTripSeconds(),
        100 * meanError(costs, measured));
  }

  private void print(ExchangeTrial.Measured point, double timesDirect) {
    if (json) {
      ObjectNode line = JSON.createObjectNode();
      line.put("parameters", point.parameters());
      line.put("ranks", point.ranks());
      line.put("exchange", spelled(point.exchange()));
      line.put("round_seconds_median", point.seconds());
      line.put("driver_bytes", Math.round(point.driverBytes()));
      line.put("rank_bytes", Math.round(point.rankBytes()));
      line.put("times_direct", timesDirect);
      System.out.println(line);
    }
    print(
        "%10d %5d %-8s %9.4f %10.4f %9.1f %12.2f%n",
        point.parameters(),
        point.ranks(),
        spelled(point.exchange()),
        point.seconds(),
        point.driverBytes() / 1e6,
        point.rankBytes() / 1e6,
        timesDirect);
  }

  private static double meanError(ExchangeCosts costs, List<ExchangeTrial.Measured> measured) {
    return measured.stream()
        .mapToDouble(
            point ->
                Math.abs(
                    costs.seconds(point.exchange(), 4.0 * point.parameters(), point.ranks())
                            / point.seconds()
                        - 1))
        .average()
        .orElseThrow();
  }

  private void compute(List<Integer> sizes, Cluster cluster) {
    double train = cluster.every() * cluster.stepSeconds();
    print(
        "Seconds of a round, and its share of the time with %d steps of %s s between two.%n%n",
        cluster.every(), cluster.stepSeconds());
    print(
        "%8s %10s %5s %10s %7s %10s %7s%n",
        "Gbit/s", "parameters", "ranks", "direct s", "share", "driver s", "share");
    for (double gigabits : cluster.gigabits()) {
      ExchangeCosts costs = cluster.on(gigabits);
      for (int parameters : sizes) {
        for (int ranks : cluster.ranks()) {
          double direct = costs.seconds(Exchanges.DIRECT, 4.0 * parameters, ranks);
          double driver = costs.seconds(Exchanges.DRIVER, 4.0 * parameters, ranks);
          if (json) {
            ObjectNode line = JSON.createObjectNode();
            line.put("gigabits", gigabits);
            line.put("parameters", parameters);
            line.put("ranks", ranks);
            line.put("direct_seconds", direct);
            line.put("driver_seconds", driver);
            System.out.println(line);
          }
          print(
              "%8.0f %10d %5d %10.4f %5.1f %% %10.3f %5.1f %%%n",
              gigabits,
              parameters,
              ranks,
              direct,
              100 * direct / (direct + train),
              driver,
              100 * driver / (driver + train));
        }
      }
    }
    print("%n");
    for (double gigabits : cluster.gigabits()) {
      for (int parameters : sizes) {
        for (Exchanges exchange : Exchanges.values()) {
          OptionalInt limit = cluster.on(gigabits).stopsPaying(exchange, 4.0 * parameters, train);
          print(
              "%.0f Gbit/s, %d parameters: exchange=%s %s%n",
              gigabits,
              parameters,
              spelled(exchange),
              limit.isPresent()
                  ? "stops paying at "
                      + limit.getAsInt()
                      + " ranks: a round takes longer than its steps"
                  : "pays with any number of ranks");
        }
      }
    }
  }

  /** Text for people. */
  private void print(String format, Object... values) {
    if (!json) {
      System.out.printf(Locale.ROOT, format, values);
    }
  }

  private static String spelled(Exchanges exchange) {
    return exchange.name().toLowerCase(Locale.ROOT);
  }

  private static void atLeast(String key, List<Integer> values, int least) {
    require(
        !values.isEmpty() && values.stream().allMatch(value -> value >= least),
        key,
        values,
        "must be a list of whole numbers >= " + least);
  }
}
