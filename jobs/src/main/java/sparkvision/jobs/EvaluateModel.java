package sparkvision.jobs;

import com.typesafe.config.Config;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SortedMap;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options.Rename;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.data.Task;
import sparkvision.data.transform.Resize;
import sparkvision.metrics.ClassificationMetrics;
import sparkvision.report.Report;
import sparkvision.report.ReportPage;
import sparkvision.train.Evaluator;
import sparkvision.train.HadoopPaths;
import sparkvision.train.RunState;

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
      Choice weights,
      Optional<Config> model,
      String engine,
      int batchSize,
      Optional<Integer> imageSize,
      Optional<Integer> resize,
      Optional<Resize.Filter> interpolation,
      Optional<List<Double>> mean,
      Optional<List<Double>> std) {

    Settings {
      if (batchSize < 1) {
        throw new IllegalArgumentException(
            String.format("Invalid batch-size: %d (must be at least 1)", batchSize));
      }
    }
  }

  /** Which of a checkpoint's weights. */
  enum Choice {
    LAST,
    EMA
  }

  /** Weights to evaluate: the file, and the state it was saved with, unless it stands alone. */
  private record Weights(Path file, Optional<RunState> state) {}

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
              Locale.ROOT,
              "top-1 %.2f %%, top-5 %.2f %%, loss %.4f on %d samples%nReport: %s%n",
              100 * report.top1(),
              100 * report.top5(),
              report.loss(),
              report.samples(),
              new Path(settings.output(), "report.html"));
        });
  }

  static Report run(SparkSession spark, Settings settings) throws IOException {
    JavaSparkContext context = new JavaSparkContext(spark.sparkContext());
    Configuration hadoop = context.hadoopConfiguration();
    String input = HadoopPaths.absolute(settings.input(), hadoop);
    ShardManifest shards = ShardSet.open(hadoop, input).manifest();
    shards.require(Task.CLASSIFICATION, "evaluate on", input);
    Weights weights = find(HadoopPaths.absolute(settings.checkpoint(), hadoop), hadoop);
    Evaluator.Task task = task(settings, input, weights, shards);
    checkClasses(settings, weights, shards);

    Instant start = Instant.now();
    ClassificationMetrics metrics =
        Evaluator.run(context, task, Math.max(1, context.defaultParallelism()));
    double seconds = start.until(Instant.now(), ChronoUnit.MILLIS) / 1000.0;

    Report report = report(settings, task, weights, shards, metrics, seconds);
    Path output = new Path(settings.output());
    replace(output, "report.json", report.toJson().getBytes(StandardCharsets.UTF_8), hadoop);
    replace(
        output, "report.html", ReportPage.render(report).getBytes(StandardCharsets.UTF_8), hadoop);
    return report;
  }

  private static Weights find(String checkpoint, Configuration hadoop) throws IOException {
    Path path = new Path(checkpoint);
    FileSystem files = path.getFileSystem(hadoop);
    if (!files.exists(path)) {
      throw new IllegalArgumentException(
          String.format("Cannot evaluate %s: there is no such file or directory", checkpoint));
    }
    if (files.getFileStatus(path).isFile()) {
      return new Weights(path, Optional.empty());
    }
    Checkpoint found;
    if (files.exists(new Path(path, "checkpoints"))) {
      found =
          new CheckpointStore(files, path)
              .newest(Progress::note)
              .orElseThrow(
                  () ->
                      new IllegalArgumentException(
                          String.format("Cannot evaluate %s: it has no checkpoint", checkpoint)));
    } else {
      try {
        found = Checkpoint.verify(files, path);
      } catch (IOException e) {
        throw new JobException(
            Exit.DATA, String.format("Cannot evaluate %s: %s", checkpoint, e.getMessage()), e);
      }
    }
    return new Weights(found.model(), Optional.of(found.state(RunState.class)));
  }

  /** What the command says, else what the checkpoint says. */
  private static Evaluator.Task task(
      Settings settings, String input, Weights weights, ShardManifest shards) {
    Optional<RunState> state = weights.state();
    return new Evaluator.Task(
        input,
        weights.file().toString(),
        settings.weights() == Choice.LAST
            ? 0
            : state.map(RunState::ranks).orElseThrow(() -> noAverage(settings.checkpoint())),
        settings
            .model()
            .or(() -> state.map(RunState::modelConfig))
            .orElseThrow(() -> missing("model")),
        shards.classes().size(),
        settings.engine(),
        settings.batchSize(),
        settings
            .imageSize()
            .or(() -> state.map(s -> s.intSetting("images.size")))
            .orElseThrow(() -> missing("image-size")),
        settings.resize().or(() -> state.map(s -> s.intSetting("images.resize"))).orElse(0),
        settings
            .interpolation()
            .or(
                () ->
                    state.map(s -> s.settings().get("images.interpolation")).map(Resize.Filter::of))
            .orElse(Resize.Filter.BILINEAR),
        settings.mean().or(() -> state.map(RunState::mean)).orElse(shards.mean()),
        settings.std().or(() -> state.map(RunState::std)).orElse(shards.std()));
  }

  private static IllegalArgumentException missing(String key) {
    return new IllegalArgumentException(
        String.format(
            "Cannot run evaluate: key %s is missing (a .safetensors file does not say it; give"
                + " %s=...)",
            key, key));
  }

  private static IllegalArgumentException noAverage(String file) {
    return new IllegalArgumentException(
        String.format(
            "Invalid weights: ema (must be last: %s is a single file, averages belong to a"
                + " checkpoint)",
            file));
  }

  private static void checkClasses(Settings settings, Weights weights, ShardManifest shards) {
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
      Weights weights,
      ShardManifest shards,
      ClassificationMetrics metrics,
      double seconds) {
    Optional<RunState> state = weights.state();
    List<String> classes = shards.classes();
    RunState.History history =
        state.map(RunState::history).orElse(new RunState.History(List.of(), List.of(), List.of()));
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
        metrics.samples(),
        metrics.top1(),
        metrics.top5(),
        metrics.loss(),
        classes,
        Arrays.stream(metrics.perClassAccuracy()).boxed().toList(),
        metrics.confusion(),
        metrics.worst().stream()
            .map(
                m ->
                    new Report.Mistake(
                        m.id(),
                        classes.get(m.truth()),
                        classes.get(m.predicted()),
                        m.confidence(),
                        m.loss(),
                        m.image()))
            .toList(),
        history.epochs(),
        history.rounds(),
        history.throughput(),
        seconds,
        metrics.samples() / seconds,
        configuration.entrySet().stream()
            .map(entry -> entry.getKey() + " = " + entry.getValue())
            .collect(Collectors.joining("\n")),
        Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
        Sparkvision.version());
  }

  /** Readers see the old file or the new one. */
  private static void replace(Path directory, String name, byte[] content, Configuration hadoop)
      throws IOException {
    FileSystem files = directory.getFileSystem(hadoop);
    files.mkdirs(directory);
    Path temporary = new Path(directory, "." + name + ".tmp");
    try (OutputStream out = files.create(temporary, true)) {
      out.write(content);
    }
    FileContext.getFileContext(directory.toUri(), hadoop)
        .rename(
            files.makeQualified(temporary),
            files.makeQualified(new Path(directory, name)),
            Rename.OVERWRITE);
  }
}
