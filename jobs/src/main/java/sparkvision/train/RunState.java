package sparkvision.train;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigRenderOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import sparkvision.report.Report;

/**
 * {@code state.json} of a checkpoint: where training stands, what it was made with, and how it
 * went.
 *
 * <p>The cursor is the step: epoch and position in its sample order follow from it and {@code
 * stepsPerEpoch}.
 *
 * @param model the model's keys, HOCON
 * @param inputSize of the network, pixels or voxels along each axis
 * @param settings every configuration key with its value
 * @param fingerprint of the training set
 */
public record RunState(
    @JsonProperty("version") String version,
    @JsonProperty("step") long step,
    @JsonProperty("total-steps") long totalSteps,
    @JsonProperty("steps-per-epoch") int stepsPerEpoch,
    @JsonProperty("ranks") int ranks,
    @JsonProperty("seed") long seed,
    @JsonProperty("model") String model,
    @JsonProperty("parameters") long parameters,
    @JsonProperty("input-size") List<Integer> inputSize,
    @JsonProperty("classes") List<String> classes,
    @JsonProperty("mean") List<Double> mean,
    @JsonProperty("std") List<Double> std,
    @JsonProperty("fingerprint") String fingerprint,
    @JsonProperty("settings") Map<String, String> settings,
    @JsonProperty("history") History history) {

  /** How training went up to here. */
  public record History(
      @JsonProperty("epochs") List<Report.EpochPoint> epochs,
      @JsonProperty("rounds") List<Report.RoundPoint> rounds,
      @JsonProperty("throughput") List<Report.RankThroughput> throughput) {

    static History empty() {
      return new History(List.of(), List.of(), List.of());
    }

    /** With the rounds of one more segment, and with the epoch that it ended, if it did. */
    History with(
        List<List<RoundReport>> segment,
        List<SegmentTask.Report> ranks,
        List<Report.EpochPoint> epoch) {
      List<Report.RoundPoint> allRounds = new ArrayList<>(rounds);
      for (List<RoundReport> round : segment) {
        allRounds.add(point(round));
      }
      List<Report.RankThroughput> all = new ArrayList<>();
      for (SegmentTask.Report rank : ranks) {
        all.add(add(rank, segment));
      }
      List<Report.EpochPoint> allEpochs = new ArrayList<>(epochs);
      allEpochs.addAll(epoch);
      return new History(allEpochs, allRounds, all);
    }

    /** The step of the last evaluation; 0 before the first. */
    long evaluatedStep() {
      return epochs.isEmpty() ? 0 : epochs.get(epochs.size() - 1).step();
    }

    /** Mean training loss from step {@code start} on, {@code segment} included. */
    double meanLoss(long start, List<List<RoundReport>> segment) {
      double lossSum = 0;
      long steps = 0;
      long before = 0;
      for (Report.RoundPoint round : with(segment, List.of(), List.of()).rounds()) {
        if (round.step() > start) {
          lossSum += round.loss() * (round.step() - Math.max(before, start));
          steps += round.step() - Math.max(before, start);
        }
        before = round.step();
      }
      return lossSum / steps;
    }

    private Report.RankThroughput add(SegmentTask.Report ended, List<List<RoundReport>> segment) {
      int rank = ended.rank();
      Report.RankThroughput before =
          rank < throughput.size()
              ? throughput.get(rank)
              : new Report.RankThroughput(rank, ended.host(), 0, 0, 0, 0);
      long images = before.images();
      double compute = before.computeSeconds();
      double wait = before.waitSeconds();
      double exchange = before.exchangeSeconds() + ended.lastExchangeSeconds();
      for (List<RoundReport> round : segment) {
        RoundReport report = round.get(rank);
        images += report.images();
        compute += report.computeSeconds();
        wait += report.waitSeconds();
        exchange += report.exchangeSeconds();
      }
      return new Report.RankThroughput(rank, ended.host(), images, compute, wait, exchange);
    }
  }

  /** One round over all ranks: mean loss, and images per second of the slowest rank times ranks. */
  static Report.RoundPoint point(List<RoundReport> round) {
    double lossSum = 0;
    long images = 0;
    double seconds = 0;
    RoundReport slowest = round.get(0);
    for (RoundReport report : round) {
      lossSum += report.lossSum();
      images += report.images();
      seconds = Math.max(seconds, report.ownSeconds() + report.exchangeSeconds());
      slowest = report.ownSeconds() > slowest.ownSeconds() ? report : slowest;
    }
    RoundReport first = round.get(0);
    return new Report.RoundPoint(
        first.step(),
        lossSum / images,
        first.learningRate(),
        images / seconds,
        mean(round, RoundReport::computeSeconds),
        mean(round, RoundReport::waitSeconds),
        mean(round, RoundReport::exchangeSeconds),
        slowest.rank(),
        mean(round, RoundReport::drift));
  }

  private static double mean(List<RoundReport> round, ToDoubleFunction<RoundReport> value) {
    return round.stream().mapToDouble(value).average().orElseThrow();
  }

  /** The value of a configuration key that is a whole number. */
  public int intSetting(String key) {
    return Integer.parseInt(settings.get(key));
  }

  public Config modelConfig() {
    return ConfigFactory.parseString(model);
  }

  static String render(Config model) {
    return model.root().render(ConfigRenderOptions.concise());
  }
}
