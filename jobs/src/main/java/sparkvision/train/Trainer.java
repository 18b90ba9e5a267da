package sparkvision.train;

import com.typesafe.config.Config;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkException;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.checkpoint.Part;
import sparkvision.checkpoint.RunLock;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.report.Report;

/** The driver's side of training: plans segments, runs them, commits their checkpoints. */
public final class Trainer {

  /** Attempts at one segment before the job gives up. */
  private static final int ATTEMPTS = 4;

  /**
   * Keys that a resumed run may change. Of these only {@code epochs} and {@code iterations} change
   * what is computed from here on: where training ends, and with it the course of the learning
   * rate.
   */
  private static final List<String> FREE =
      List.of(
          "input",
          "output",
          "validation",
          "epochs",
          "iterations",
          "exchange",
          "memory",
          "loader.threads",
          "loader.prefetch-bytes",
          "checkpoint.keep-",
          "ranks", // their number is compared
          "timeout-seconds");

  private final JavaSparkContext spark;
  private final TrainConfig config;
  private final Map<String, String> settings;
  private final String version;
  private final TrainListener listener;

  private final Configuration hadoop;
  private final String input;
  private final String output;
  private final Optional<String> validation;
  private final ShardSet shards;
  private final Config model;
  private final Objective objective;
  private final long parameters;

  /**
   * @param settings every key of {@code config} with its value, for the record
   * @param version of this program, for the record
   * @throws IllegalArgumentException if the model does not fit the data
   */
  public Trainer(
      JavaSparkContext spark,
      TrainConfig config,
      Map<String, String> settings,
      String version,
      TrainListener listener) {
    this.spark = spark;
    this.config = config;
    this.settings = settings;
    this.version = version;
    this.listener = listener;
    this.hadoop = spark.hadoopConfiguration();
    this.input = HadoopPaths.absolute(config.input(), hadoop);
    this.output = HadoopPaths.absolute(config.output(), hadoop);
    this.validation = config.validation().map(path -> HadoopPaths.absolute(path, hadoop));
    HadoopPaths.requireAtomicRename(output);
    if (spark.getConf().getBoolean("spark.dynamicAllocation.enabled", false)) {
      throw new JobException(
          Exit.PREFLIGHT,
          "Cannot train with dynamic allocation: Spark refuses barrier stages then (set"
              + " spark.dynamicAllocation.enabled=false and spark.executor.instances)");
    }
    this.shards = ShardSet.open(hadoop, input);
    ShardManifest manifest = shards.manifest();
    this.objective = Objective.of(manifest, input, config, manifest.mean(), manifest.std());
    this.model = Network.withClasses(config.model(), manifest.classes().size());
    Network network = new Network(model, config.batchSize(), objective);
    this.parameters = network.parameters();
    checkChannels(network);
    network.checkGroups(config.optimizer());
    objective.transform(network.channels());
    validation.ifPresent(this::checkValidation);
  }

  /** Trains to the end, from the newest checkpoint if there is one; returns the last state. */
  public RunState run() throws IOException, InterruptedException {
    Path run = new Path(output);
    FileSystem files = run.getFileSystem(hadoop);
    try (RunLock lock = RunLock.acquire(files, run)) {
      CheckpointStore store = new CheckpointStore(files, run);
      store.sweep(lock);
      Optional<Checkpoint> newest = store.newest(listener::note);
      int wanted = config.ranks();
      if (wanted == 0 && newest.isPresent()) {
        wanted = newest.get().state(RunState.class).ranks();
      }
      Duration timeout = Duration.ofSeconds(config.timeoutSeconds());
      int ranks = Slots.await(spark.sc(), wanted, timeout);
      int stepsPerEpoch = stepsPerEpoch(ranks);
      long totalSteps = config.totalSteps(stepsPerEpoch);
      RunState state = initial(ranks, stepsPerEpoch, totalSteps);
      Path checkpoint = null;
      if (newest.isPresent()) {
        RunState found = newest.get().state(RunState.class);
        checkResumable(found, state);
        checkpoint = newest.get().directory();
        state = at(state, found.step(), found.history());
        listener.note(String.format("Resuming from %s", checkpoint));
      } else if (config.init().isPresent()) {
        listener.note(startingWeights().summary());
      }
      listener.started(state.step(), totalSteps, stepsPerEpoch, ranks, config.imagesPerStep());
      int attempt = 1;
      while (state.step() < totalSteps) {
        try {
          Committed committed = segment(store, lock, state, checkpoint);
          checkpoint = committed.directory();
          state = committed.state();
          attempt = 1;
        } catch (SparkException e) {
          if (attempt++ == ATTEMPTS) {
            throw new JobException(
                Exit.CLUSTER,
                String.format(
                    "Cannot finish the segment after step %d: it failed %d times, last because %s"
                        + " (run the same command again to resume)",
                    state.step(), ATTEMPTS, Transport.reason(e)),
                e);
          }
          listener.note(
              String.format(
                  "Segment after step %d failed, trying again from its checkpoint: %s",
                  state.step(), Transport.reason(e)));
          store.sweep(lock);
          Slots.await(spark.sc(), ranks, timeout);
        }
      }
      return state;
    }
  }

  private StartingWeights startingWeights() {
    return new StartingWeights(
        HadoopPaths.absolute(config.init().get(), hadoop),
        new Network(model, config.batchSize(), objective),
        hadoop);
  }

  private record Committed(Path directory, RunState state) {}

  /** From one checkpoint to the next: one barrier job, a validation, a commit. */
  private Committed segment(CheckpointStore store, RunLock lock, RunState from, Path checkpoint)
      throws IOException, SparkException {
    long end = segmentEnd(from);
    Path staged = store.stage(end);
    List<List<RoundReport>> rounds = new ArrayList<>();
    List<SegmentTask.Report> reports;
    String group = "segment after step " + from.step();
    try (Coordinator coordinator =
        new Coordinator(
            Transport.ofThisProcess(config.timeoutSeconds()),
            from.ranks(),
            config.timeoutSeconds(),
            round -> {
              rounds.add(round);
              listener.round(RunState.point(round));
            },
            () -> spark.sc().cancelJobGroup(group))) {
      spark.setJobGroup(
          group,
          String.format("train steps %d to %d of %d", from.step(), end, from.totalSteps()),
          true);
      try {
        reports =
            BarrierJob.run(
                spark,
                new SegmentTask(plan(from, end, checkpoint, staged, coordinator)),
                from.ranks(),
                SegmentTask.Report.class);
      } catch (Exception e) {
        throw failure(e, coordinator, checkpoint);
      } finally {
        spark.clearJobGroup();
      }
    }
    List<Part> parts = reports.stream().flatMap(report -> report.parts().stream()).toList();
    List<Report.EpochPoint> epoch =
        isEvaluated(from, end) ? List.of(epochPoint(from, end, rounds, staged)) : List.of();
    RunState state = at(from, end, from.history().with(rounds, reports, epoch));
    Path committed = store.commit(staged, end, parts, state, lock);
    retain(store, state);
    epoch.forEach(point -> listener.epoch(point, objective.score()));
    return new Committed(committed, state);
  }

  /** Checkpoints stand where the network is evaluated, and every so many steps in between. */
  private long segmentEnd(RunState from) {
    long evaluation = next(from.step(), config.stepsPerEvaluation(from.stepsPerEpoch()));
    int every = config.checkpoint().everySteps();
    long regular = every == 0 ? evaluation : next(from.step(), every);
    return Math.min(from.totalSteps(), Math.min(evaluation, regular));
  }

  /** The next multiple of {@code every}. */
  private static long next(long step, long every) {
    return (step / every + 1) * every;
  }

  private boolean isEvaluated(RunState from, long end) {
    return end == from.totalSteps() || end % config.stepsPerEvaluation(from.stepsPerEpoch()) == 0;
  }

  private SegmentTask.Plan plan(
      RunState from, long end, Path checkpoint, Path staged, Coordinator coordinator) {
    return new SegmentTask.Plan(
        input,
        model,
        config.engine(),
        config.precision(),
        config.memory(),
        from.ranks(),
        config.batchSize(),
        config.accumulateSteps(),
        config.seed(),
        config.exchange(),
        config.sync().rule(),
        config.optimizer(),
        config.learningRate(),
        objective,
        config.augment().repeats(),
        config.loader(),
        from.stepsPerEpoch(),
        from.totalSteps(),
        from.step(),
        end,
        config.init().map(file -> HadoopPaths.absolute(file, hadoop)).orElse(null),
        checkpoint == null ? null : checkpoint.toString(),
        staged.toString(),
        coordinator.address(),
        new SerializableConfiguration(hadoop));
  }

  /** A rank's own words if it has left some; what only the cluster knows is worth another try. */
  private static SparkException failure(Exception e, Coordinator coordinator, Path checkpoint)
      throws SparkException {
    Optional<RankFailure> told = coordinator.failure();
    if (told.isPresent() && told.get().exit() != Exit.CLUSTER) {
      String last =
          told.get().exit() == Exit.DIVERGED
              ? String.format(
                  " (last good checkpoint: %s)", checkpoint == null ? "none" : checkpoint)
              : "";
      throw new JobException(told.get().exit(), told.get().sentence() + last, e);
    }
    if (told.isPresent()) {
      return new SparkException(told.get().sentence(), e);
    }
    return e instanceof SparkException spark ? spark : new SparkException(e.getMessage(), e);
  }

  private Report.EpochPoint epochPoint(
      RunState from, long end, List<List<RoundReport>> rounds, Path staged) throws IOException {
    double loss = from.history().meanLoss(from.history().evaluatedStep(), rounds);
    Double validationLoss = null;
    Double validationScore = null;
    if (validation.isPresent()) {
      Scores scores =
          Evaluator.run(
              spark,
              new Evaluator.Task(
                  validation.get(),
                  new Path(staged, Checkpoint.MODEL).toString(),
                  0,
                  model,
                  from.classes().size(),
                  config.engine(),
                  config.batchSize(),
                  objective),
              from.ranks());
      validationLoss = scores.loss();
      validationScore = Double.isNaN(scores.score()) ? null : scores.score();
    }
    double epoch = (double) end / from.stepsPerEpoch();
    return new Report.EpochPoint(epoch, end, loss, validationLoss, validationScore);
  }

  private void retain(CheckpointStore store, RunState state) throws IOException {
    long best = config.checkpoint().keepBest() ? bestStep(state.history()) : -1;
    long every = (long) config.checkpoint().keepEveryEpochs() * state.stepsPerEpoch();
    store.retain(
        state.step(),
        config.checkpoint().keepLast(),
        step -> step == best || (every > 0 && step % every == 0));
  }

  private static long bestStep(RunState.History history) {
    long step = -1;
    double score = -1;
    for (Report.EpochPoint epoch : history.epochs()) {
      if (epoch.validationScore() != null && epoch.validationScore() > score) {
        score = epoch.validationScore();
        step = epoch.step();
      }
    }
    return step;
  }

  private int stepsPerEpoch(int ranks) {
    long samples = shards.manifest().samples();
    long steps = samples / ranks / config.imagesPerStep();
    if (steps == 0) {
      boolean accumulates = config.accumulateSteps() > 1;
      throw new IllegalArgumentException(
          String.format(
              "Invalid %s: %d (must be at most %d: %s has %d samples for %d ranks)",
              accumulates ? "batch-size x accumulate-steps" : "batch-size",
              config.imagesPerStep(),
              samples / ranks,
              config.input(),
              samples,
              ranks));
    }
    return Math.toIntExact(steps);
  }

  private RunState initial(int ranks, int stepsPerEpoch, long totalSteps) {
    ShardManifest manifest = shards.manifest();
    return new RunState(
        version,
        0,
        totalSteps,
        stepsPerEpoch,
        ranks,
        config.seed(),
        RunState.render(model),
        parameters,
        Arrays.stream(objective.inputSize()).boxed().toList(),
        manifest.classes(),
        manifest.mean(),
        manifest.std(),
        manifest.fingerprint(),
        settings,
        RunState.History.empty());
  }

  private static RunState at(RunState state, long step, RunState.History history) {
    return new RunState(
        state.version(),
        step,
        state.totalSteps(),
        state.stepsPerEpoch(),
        state.ranks(),
        state.seed(),
        state.model(),
        state.parameters(),
        state.inputSize(),
        state.classes(),
        state.mean(),
        state.std(),
        state.fingerprint(),
        state.settings(),
        history);
  }

  /** A run goes on only with what it began with. */
  private void checkResumable(RunState found, RunState wanted) {
    Set<String> keys = new TreeSet<>(found.settings().keySet());
    keys.addAll(wanted.settings().keySet());
    for (String key : keys) {
      boolean free =
          FREE.stream().anyMatch(f -> f.endsWith("-") ? key.startsWith(f) : key.equals(f));
      String then = found.settings().get(key);
      String now = wanted.settings().get(key);
      if (!free && !Objects.equals(then, now)) {
        throw cannotResume(
            String.format("checkpoint was made with %s=%s, config says %s", key, then, now));
      }
    }
    if (found.ranks() != wanted.ranks()) {
      throw cannotResume(
          String.format(
              "checkpoint holds the optimizer state of %d ranks, there are %d (set ranks=%d)",
              found.ranks(), wanted.ranks(), found.ranks()));
    }
    if (!found.fingerprint().equals(wanted.fingerprint())) {
      throw cannotResume(
          String.format(
              "checkpoint was made from shards with fingerprint %s, %s has %s",
              found.fingerprint(), config.input(), wanted.fingerprint()));
    }
  }

  private IllegalArgumentException cannotResume(String why) {
    return new IllegalArgumentException(
        String.format("Cannot resume run %s: %s", config.output(), why));
  }

  private void checkChannels(Network network) {
    int stored = shards.manifest().mean().size();
    TrainConfig.check(
        network.channels() == stored || stored == 1,
        "model.in-channels",
        network.channels(),
        stored + ", the number of channels in the shards");
  }

  private void checkValidation(String directory) {
    ShardManifest manifest = ShardSet.open(hadoop, directory).manifest();
    manifest.require(shards.manifest().task(), "validate on", directory);
    manifest.requireLabels("validation", directory);
    List<String> classes = manifest.classes();
    if (!classes.equals(shards.manifest().classes())) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid validation: %s (its %d classes are not the %d classes of %s)",
              directory, classes.size(), shards.manifest().classes().size(), config.input()));
    }
  }
}
