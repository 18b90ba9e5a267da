package sparkvision.train;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigRenderOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import sparkvision.data.Course;
import sparkvision.report.Report;

/**
 * {@code state.json} of a checkpoint: where training stands, what it was made with, and how it
 * went.
 *
 * <p>The cursor is the step: epoch and position in its sample order follow from it and the course.
 *
 * @param ranks that wrote the checkpoint
 * @param wantedRanks with which the run goes on where there are slots for them
 * @param model the model's keys, HOCON
 * @param inputSize of the network, pixels or voxels along each axis
 * @param settings every configuration key with its value
 * @param fingerprint of the training set
 */
public record RunState(
    @JsonProperty("version") String version,
    @JsonProperty("step") long step,
    @JsonProperty("total-steps") long totalSteps,
    @JsonProperty("course") Course course,
    @JsonProperty("ranks") int ranks,
    @JsonProperty("wanted-ranks") int wantedRanks,
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
      @JsonProperty("throughput") List<Report.RankThroughput> throughput,
      @JsonProperty("loss-sum") double lossSum,
      @JsonProperty("loss-steps") long lossSteps) {

    /** Rounds are kept one by one up to here, then pairs of them become one. */
    private static final int MOST_ROUNDS = 4000;

    /** Before the first step. */
    public static History empty() {
      return new History(List.of(), List.of(), List.of(), 0, 0);
    }

    /**
     * With the rounds of one more segment, which began at {@code start}, and with the epoch that it
     * ended, if it did.
     */
    History with(
        long start,
        List<List<RoundReport>> segment,
        List<SegmentTask.Report> ranks,
        List<Report.EpochPoint> epoch) {
      List<Report.RoundPoint> allRounds = new ArrayList<>(rounds);
      double allLoss = lossSum;
      long allSteps = lossSteps;
      long before = start;
      for (List<RoundReport> round : segment) {
        Report.RoundPoint point = point(round);
        allRounds.add(point);
        allLoss += point.loss() * (point.step() - before);
        allSteps += point.step() - before;
        before = point.step();
      }
      while (allRounds.size() > MOST_ROUNDS) {
        allRounds = halved(allRounds);
      }
      List<Report.RankThroughput> all = new ArrayList<>();
      for (SegmentTask.Report rank : ranks) {
        all.add(add(rank, segment));
      }
      List<Report.EpochPoint> allEpochs = new ArrayList<>(epochs);
      allEpochs.addAll(epoch);
      return epoch.isEmpty()
          ? new History(allEpochs, allRounds, all, allLoss, allSteps)
          : new History(allEpochs, allRounds, all, 0, 0);
    }

    /** Two rounds in a row as one, whose seconds and drift are their means. */
    private static List<Report.RoundPoint> halved(List<Report.RoundPoint> rounds) {
      List<Report.RoundPoint> half = new ArrayList<>();
      for (int i = 1; i < rounds.size(); i += 2) {
        Report.RoundPoint a = rounds.get(i - 1);
        Report.RoundPoint b = rounds.get(i);
        boolean first = a.computeSeconds() + a.waitSeconds() > b.computeSeconds() + b.waitSeconds();
        half.add(
            new Report.RoundPoint(
                b.step(),
                (a.loss() + b.loss()) / 2,
                b.learningRate(),
                (a.imagesPerSecond() + b.imagesPerSecond()) / 2,
                (a.computeSeconds() + b.computeSeconds()) / 2,
                (a.waitSeconds() + b.waitSeconds()) / 2,
                (a.exchangeSeconds() + b.exchangeSeconds()) / 2,
                (first ? a : b).slowestRank(),
                (a.drift() + b.drift()) / 2));
      }
      if (rounds.size() % 2 == 1) {
        half.add(rounds.get(rounds.size() - 1));
      }
      return half;
    }

    /**
     * Mean training loss since the last evaluation, {@code segment} from {@code start} included.
     */
    double meanLoss(long start, List<List<RoundReport>> segment) {
      History all = with(start, segment, List.of(), List.of());
      return all.lossSum / all.lossSteps;
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

  /** Where training stands later. */
  RunState at(long later, History laterHistory) {
    return new RunState(
        version,
        later,
        totalSteps,
        course,
        ranks,
        wantedRanks,
        seed,
        model,
        parameters,
        inputSize,
        classes,
        mean,
        std,
        fingerprint,
        settings,
        laterHistory);
  }

  /** The same from here on with other ranks. */
  RunState with(int otherRanks, Course otherCourse, long otherTotalSteps) {
    return new RunState(
        version,
        step,
        otherTotalSteps,
        otherCourse,
        otherRanks,
        wantedRanks,
        seed,
        model,
        parameters,
        inputSize,
        classes,
        mean,
        std,
        fingerprint,
        settings,
        history);
  }

  /** Epochs that lie behind. */
  public double epochs() {
    return course.epochs(step);
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
