package sparkvision.jobs;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigRenderOptions;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.data.Task;
import sparkvision.data.transform.Resize;
import sparkvision.metrics.ClassificationMetrics;
import sparkvision.metrics.SegmentationMetrics;
import sparkvision.report.Overlay;
import sparkvision.report.Report;
import sparkvision.report.ReportPage;
import sparkvision.report.SegmentationScores;
import sparkvision.report.VolumeScores;
import sparkvision.train.Evaluator;
import sparkvision.train.HadoopPaths;
import sparkvision.train.Objective;
import sparkvision.train.RunState;
import sparkvision.train.Scores;
import sparkvision.train.TrainConfig;

/** A checkpoint and a validation shard set -> a report. */
@Command(
    name = "evaluate",
    mixinStandardHelpOptions = true,
    description = "Measures a checkpoint on a shard set and writes report.json and report.html.")
final class EvaluateModel extends ConfJob<EvaluateModel.Settings> {

  /** {@code conf/evaluate.conf}. */
  record Settings(
      String input,
      String checkpoint,
      String output,
      SavedWeights.Choice weights,
      Optional<Config> model,
      Optional<Config> training,
      String engine,
      int batchSize,
      Optional<Integer> imageSize,
      Optional<Integer> resize,
      Optional<Resize.Filter> interpolation,
      Optional<TrainConfig.Crops.Evaluation> evaluation,
      Optional<List<Double>> mean,
      Optional<List<Double>> std) {

    Settings {
      if (batchSize < 1) {
        throw new IllegalArgumentException(
            String.format("Invalid batch-size: %d (must be at least 1)", batchSize));
      }
    }
  }

  @Override
  String name() {
    return "evaluate";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    withSpark(
        spark -> {
          Report report = run(spark, settings);
          System.out.printf(
              "%s on %d samples%nReport: %s%n",
              summary(report), report.samples(), new Path(settings.output(), "report.html"));
        });
  }

  private static String summary(Report report) {
    if (report.volumes() != null) {
      String classes =
          report.volumes().classes().stream()
              .map(score -> score.name() + " " + percent(score.dice()))
              .collect(Collectors.joining(", "));
      return "mean Dice " + percent(report.volumes().meanDice()) + " (" + classes + ")";
    }
    if (report.segmentation() != null) {
      return "mIoU "
          + percent(report.segmentation().meanIou())
          + ", mean accuracy "
          + percent(report.segmentation().meanAccuracy())
          + ", pixel accuracy "
          + percent(report.segmentation().pixelAccuracy());
    }
    return String.format(
        Locale.ROOT,
        "top-1 %s, top-5 %s, loss %.4f",
        percent(report.top1()),
        percent(report.top5()),
        report.loss());
  }

  private static String percent(Double share) {
    return share == null ? "-" : String.format(Locale.ROOT, "%.2f %%", 100 * share);
  }

  static Report run(SparkSession spark, Settings settings) throws IOException {
    JavaSparkContext context = new JavaSparkContext(spark.sparkContext());
    Configuration hadoop = context.hadoopConfiguration();
    String input = HadoopPaths.absolute(settings.input(), hadoop);
    ShardManifest shards = ShardSet.open(hadoop, input).manifest();
    SavedWeights weights = SavedWeights.find("evaluate", settings.checkpoint(), hadoop);
    Evaluator.Task task = task(settings, input, weights, shards);
    checkClasses(settings, weights, shards);

    Instant start = Instant.now();
    Scores scores = Evaluator.run(context, task, Math.max(1, context.defaultParallelism()));
    double seconds = start.until(Instant.now(), ChronoUnit.MILLIS) / 1000.0;

    Report report = report(settings, task, weights, shards, scores, seconds);
    Path output = new Path(settings.output());
    replace(new Path(output, "report.json"), report.toJson(), hadoop);
    replace(new Path(output, "report.html"), ReportPage.render(report), hadoop);
    return report;
  }

  /** What the command says, else what the checkpoint says. */
  private static Evaluator.Task task(
      Settings settings, String input, SavedWeights weights, ShardManifest shards) {
    Optional<RunState> state = weights.state();
    return new Evaluator.Task(
        input,
        weights.file().toString(),
        weights.averagedRanks(settings.weights()),
        weights.model("evaluate", settings.model()),
        shards.classes().size(),
        settings.engine(),
        settings.batchSize(),
        objective(settings, input, state, shards));
  }

  private static Objective objective(
      Settings settings, String input, Optional<RunState> state, ShardManifest shards) {
    List<Double> mean = settings.mean().or(() -> state.map(RunState::mean)).orElse(shards.mean());
    List<Double> std = settings.std().or(() -> state.map(RunState::std)).orElse(shards.std());
    if (shards.task() == Task.CLASSIFICATION) {
      if (settings.training().isPresent()) {
        throw new IllegalArgumentException(
            String.format(
                "Invalid training: %s (must be none for classification: give image-size, resize and"
                    + " interpolation)",
                settings.training().get().root().render(ConfigRenderOptions.concise())));
      }
      return Objective.classification(
          settings
              .imageSize()
              .or(() -> state.map(s -> s.intSetting("images.size")))
              .orElseThrow(() -> SavedWeights.missing("evaluate", "image-size")),
          settings.resize().or(() -> state.map(s -> s.intSetting("images.resize"))).orElse(0),
          settings
              .interpolation()
              .or(
                  () ->
                      state
                          .map(s -> s.settings().get("images.interpolation"))
                          .map(Resize.Filter::of))
              .orElse(Resize.Filter.BILINEAR),
          mean,
          std);
    }
    return Objective.of(shards, input, trained(state, settings), mean, std);
  }

  /** What a run was trained with, if there was one, under what the command says of it. */
  private static TrainConfig trained(Optional<RunState> run, Settings settings) {
    SortedMap<String, String> all = new TreeMap<>();
    all.put("input", "-"); // not looked at, but required
    all.put("output", "-");
    run.ifPresent(state -> all.putAll(state.settings()));
    settings
        .training()
        .ifPresent(
            config ->
                config
                    .entrySet()
                    .forEach(
                        e ->
                            all.put(
                                e.getKey(), e.getValue().render(ConfigRenderOptions.concise()))));
    settings
        .evaluation()
        .map(evaluation -> evaluation.name().toLowerCase(Locale.ROOT))
        .ifPresent(evaluation -> all.put("segmentation.evaluation", evaluation));
    return ConfigReader.read(
        TrainConfig.class,
        "train",
        null,
        all.entrySet().stream().map(e -> e.getKey() + "=" + e.getValue()).toList());
  }

  private static void checkClasses(Settings settings, SavedWeights weights, ShardManifest shards) {
    weights
        .state()
        .filter(state -> !state.classes().equals(shards.classes()))
        .ifPresent(
            state -> {
              throw new IllegalArgumentException(
                  String.format(
                      "Invalid input: %s (its %d classes are not the %d classes of %s)",
                      settings.input(),
                      shards.classes().size(),
                      state.classes().size(),
                      settings.checkpoint()));
            });
  }

  private static Report report(
      Settings settings,
      Evaluator.Task task,
      SavedWeights weights,
      ShardManifest shards,
      Scores scores,
      double seconds) {
    Optional<RunState> state = weights.state();
    List<String> classes = shards.classes();
    Figures figures = Figures.of(scores, classes);
    RunState.History history = state.map(RunState::history).orElseGet(RunState.History::empty);
    SortedMap<String, String> configuration = ConfigReader.flatten(settings);
    state.ifPresent(
        s -> s.settings().forEach((key, value) -> configuration.put("train." + key, value)));
    return new Report(
        "sparkvision: " + new Path(settings.checkpoint()).getName(),
        task.model().getString("name"),
        weights.file().toString(),
        state.map(RunState::step).orElse(0L),
        task.parameters(),
        settings.input(),
        scores.samples(),
        figures.top1(),
        figures.top5(),
        scores.loss(),
        classes,
        Arrays.stream(figures.perClassAccuracy()).boxed().toList(),
        figures.confusion(),
        figures.mistakes(),
        figures.segmentation(),
        figures.volumes(),
        figures.overlays(),
        task.objective().score(),
        history.epochs(),
        history.rounds(),
        history.throughput(),
        seconds,
        scores.samples() / seconds,
        configuration.entrySet().stream()
            .map(entry -> entry.getKey() + " = " + entry.getValue())
            .collect(Collectors.joining("\n")),
        Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
        Sparkvision.version());
  }

  /** What a report says of scores; null or empty is what they do not have. */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared
  private record Figures(
      Double top1,
      Double top5,
      double[] perClassAccuracy,
      long[][] confusion,
      List<Report.Mistake> mistakes,
      SegmentationScores segmentation,
      VolumeScores volumes,
      List<Overlay.Example> overlays) {

    static Figures of(Scores scores, List<String> classes) {
      if (scores instanceof Scores.OfPixels pixels) {
        return segmented(pixels.metrics(), classes, null, pixels.examples());
      }
      if (scores instanceof Scores.OfVoxels voxels) {
        VolumeScores volumes = VolumeScores.of(voxels.volumes(), classes);
        return segmented(voxels.voxels(), classes, volumes, List.of());
      }
      ClassificationMetrics metrics = ((Scores.OfClasses) scores).metrics();
      return new Figures(
          metrics.top1(),
          metrics.top5(),
          metrics.perClassAccuracy(),
          metrics.confusion(),
          metrics.worst().stream().map(mistake -> mistake(mistake, classes)).toList(),
          null,
          null,
          List.of());
    }

    private static Figures segmented(
        SegmentationMetrics metrics,
        List<String> classes,
        VolumeScores volumes,
        List<Overlay.Example> overlays) {
      return new Figures(
          null,
          null,
          metrics.perClassAccuracy(),
          metrics.confusion(),
          List.of(),
          SegmentationScores.of(metrics, classes),
          volumes,
          overlays);
    }

    private static Report.Mistake mistake(
        ClassificationMetrics.Mistake mistake, List<String> classes) {
      return new Report.Mistake(
          mistake.id(),
          classes.get(mistake.truth()),
          classes.get(mistake.predicted()),
          mistake.confidence(),
          mistake.loss(),
          mistake.image());
    }
  }

  private static void replace(Path file, String content, Configuration hadoop) throws IOException {
    OutputFiles.replace(file, hadoop, out -> out.write(content.getBytes(StandardCharsets.UTF_8)));
  }
}
