package sparkvision.train;

import com.typesafe.config.Config;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.checkpoint.Part;
import sparkvision.checkpoint.RunLock;
import sparkvision.data.Course;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.report.Report;

/** The driver's side of training: plans segments, runs them, commits their checkpoints. */
public final class Trainer {

  /** Failures without a new checkpoint in between, before the job gives up. */
  private static final int ATTEMPTS = 4;

  /** How long to wait for Spark's word on what became of executors, and for a job to end. */
  private static final int SETTLE_SECONDS = 2;

  private static final int END_SECONDS = 20;

  /**
   * Keys that a resumed run may change. Of these only {@code epochs} and {@code iterations} change
   * what is computed from here on: where training ends, and with it the course of the learning
   * rate; and {@code ranks}, which cuts the rest of the epoch anew.
   */
  private static final List<String> FREE =
      List.of(
          "input",
          "output",
          "validation",
          "init", // a resumed run does not read it
          "epochs",
          "iterations",
          "exchange",
          "memory",
          "segmentation.evaluation",
          "segmentation.stride-",
          "loader.threads",
          "loader.prefetch-bytes",
          "checkpoint.",
          "ranks",
          "replacement-seconds",
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
  private final LostExecutors lost = new LostExecutors();
  private volatile Committed last; // what training goes on from, whatever happens
  private volatile boolean stopping;

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

  /** Asks the run to end with a checkpoint behind the next averaging; for another thread. */
  public void stop() {
    if (!stopping) {
      stopping = true;
      listener.note("Stopping with a checkpoint behind the next averaging");
    }
  }

  /**
   * Trains to the end, from the newest checkpoint if there is one; returns the last state.
   *
   * @throws JobException if it cannot, or (exit code 143) if it was asked to {@link #stop}
   */
  public RunState run() throws IOException, InterruptedException {
    Path run = new Path(output);
    FileSystem files = run.getFileSystem(hadoop);
    spark.sc().addSparkListener(lost);
    try (RunLock lock = RunLock.acquire(files, run)) {
      CheckpointStore store = new CheckpointStore(files, run);
      last = start(store.newest(listener::note));
      listener.started(last.state(), config.imagesPerStep());
      int failures = 0;
      while (last.state().step() < last.state().totalSteps()) {
        requireGoing();
        plan();
        long before = last.state().step();
        try {
          segment(store, lock);
          failures = 0;
        } catch (SegmentFailure e) {
          failures = last.state().step() > before ? 1 : failures + 1;
          recover(e, failures);
        }
      }
      return last.state();
    } finally {
      spark.sc().removeSparkListener(lost);
    }
  }

  private void requireGoing() {
    if (stopping) {
      throw new JobException(
          Exit.STOPPED,
          String.format(
              "Stopped behind step %d; checkpoint: %s (the same command goes on from there)",
              last.state().step(), last.name()));
    }
  }

  /** Where training begins. */
  private Committed start(Optional<Checkpoint> newest) throws IOException, InterruptedException {
    RunState found = newest.isPresent() ? newest.get().state(RunState.class) : null;
    int wanted = config.ranks();
    if (wanted == 0 && found != null) {
      wanted = found.wantedRanks();
    }
    int ranks = Slots.await(spark.sc(), wanted, Duration.ofSeconds(config.timeoutSeconds()));
    if (config.mode() == TrainConfig.Mode.PARAMETER_SERVER) {
      GradientSharing.require(spark.sc());
    }
    RunState state = initial(ranks);
    if (found == null) {
      if (config.init().isPresent()) {
        listener.note(startingWeights().summary());
      }
      return new Committed(null, state, ranks);
    }
    checkResumable(found, state);
    listener.note(String.format("Resuming from %s", newest.get().directory()));
    Course course = found.course().recut(found.step(), state.course().samplesPerStep());
    if (found.ranks() != ranks) {
      listener.note(rankChange(found.step(), found.ranks(), ranks));
    }
    return new Committed(
        newest.get().directory(),
        state.at(found.step(), found.history()).with(ranks, course, config.totalSteps(course)),
        found.ranks());
  }

  private static String rankChange(long step, int from, int to) {
    return String.format(
        "Going on from step %d with %d ranks in place of %d (%s)",
        step,
        to,
        from,
        to < from
            ? "the optimizer state of the others is left"
            : "the new ones begin with the optimizer state of the first ones");
  }

  /** Says what happened, gives the cluster time, or ends the run. */
  private void recover(SegmentFailure failure, int failures) throws InterruptedException {
    long step = last.state().step();
    if (failures == ATTEMPTS) {
      throw new JobException(
          Exit.CLUSTER,
          String.format(
              "Cannot get beyond step %d: it failed %d times, last because %s (run the same command"
                  + " again to resume)",
              step, ATTEMPTS, failure.getMessage()),
          failure);
    }
    listener.note(String.format("Going back to step %d: %s", step, failure.getMessage()));
    long pause = Math.min(config.timeoutSeconds(), (long) Math.pow(5, failures - 1.0));
    TimeUnit.SECONDS.sleep(failures == 1 ? 0 : pause);
  }

  /** As many ranks as there are slots, but no more than wanted; where some are gone, it waits. */
  private void plan() throws InterruptedException {
    RunState state = last.state();
    int slots = Slots.now(spark.sc());
    if (slots < state.ranks()) {
      Duration patience = Duration.ofSeconds(config.replacementSeconds());
      listener.note(
          String.format(
              "%d of %d slots are left, waiting up to %d s for executors in their place"
                  + " (replacement-seconds)",
              slots, state.ranks(), patience.toSeconds()));
      slots = Slots.upTo(spark.sc(), state.ranks(), patience, () -> stopping);
    }
    if (slots == 0) {
      Duration patience = Duration.ofSeconds(config.timeoutSeconds());
      slots = Slots.upTo(spark.sc(), 1, patience, () -> stopping);
    }
    requireGoing();
    if (slots == 0) {
      throw new JobException(
          Exit.CLUSTER,
          String.format(
              "Cannot go on from step %d: no executor is left after %d s (run the same command again"
                  + " to resume)",
              state.step(), config.replacementSeconds() + config.timeoutSeconds()));
    }
    int ranks = Math.min(slots, state.wantedRanks());
    if (ranks != state.ranks()) {
      Course course =
          state.course().recut(state.step(), Math.toIntExact(ranks * config.imagesPerStep()));
      listener.note(rankChange(state.step(), state.ranks(), ranks));
      state = state.with(ranks, course, config.totalSteps(course));
      last = new Committed(last.directory(), state, last.ranks());
      listener.started(state, config.imagesPerStep());
    }
  }

  private StartingWeights startingWeights() {
    return new StartingWeights(
        HadoopPaths.absolute(config.init().get(), hadoop),
        new Network(model, config.batchSize(), objective),
        hadoop);
  }

  /**
   * What training goes on from.
   *
   * @param directory of the checkpoint; null before the first
   * @param state how it goes on
   * @param ranks that wrote the checkpoint
   */
  private record Committed(Path directory, RunState state, int ranks) {
    String name() {
      return directory == null ? "none" : directory.toString();
    }
  }

  /** From one checkpoint to the next evaluation: one barrier job, a validation, a commit. */
  private void segment(CheckpointStore store, RunLock lock)
      throws SegmentFailure, InterruptedException {
    Committed start = last;
    RunState from = start.state();
    long end = segmentEnd(from);
    String staging = store.staging();
    List<List<RoundReport>> rounds = Collections.synchronizedList(new ArrayList<>());
    try (SegmentCheckpoints checkpoints =
        new SegmentCheckpoints(
            config.checkpoint(),
            store,
            staging,
            from.ranks(),
            from.step(),
            (staged, reports) -> commit(store, lock, from, staged, rounds, reports, List.of()),
            listener,
            () -> stopping)) {
      store.sweep(lock); // what a failed segment left
      List<SegmentTask.Report> reports;
      try {
        reports = train(start, end, staging, rounds, checkpoints);
      } finally {
        checkpoints.finish(config.timeoutSeconds());
      }
      long reached = reports.get(0).step();
      if (config.mode() == TrainConfig.Mode.PARAMETER_SERVER) {
        listener.note(
            reports.stream()
                .map(SegmentTask.Report::traffic)
                .reduce(GradientSharing.Traffic::plus)
                .orElseThrow()
                .sentence(from.step(), reached, parameters));
      }
      Path staged = CheckpointStore.staged(staging, reached);
      List<Report.EpochPoint> epoch =
          isEvaluated(from, reached)
              ? List.of(epochPoint(from, reached, rounds, staged))
              : List.of();
      commit(store, lock, from, staged, rounds, reports, epoch);
      epoch.forEach(point -> listener.epoch(point, objective.score()));
    } catch (SegmentFailure | InterruptedException | RuntimeException e) {
      throw e;
    } catch (Exception e) { // of the storage, or Spark's, which nothing declares
      throw new SegmentFailure(Transport.reason(e), e);
    }
  }

  /** Runs the ranks, and hears their rounds. */
  private List<SegmentTask.Report> train(
      Committed start,
      long end,
      String staging,
      List<List<RoundReport>> rounds,
      SegmentCheckpoints checkpoints)
      throws SegmentFailure, InterruptedException {
    RunState from = start.state();
    String group = "segment " + UUID.randomUUID();
    try (GradientSharing root = sharingRoot();
        Coordinator coordinator =
            new Coordinator(
                Transport.ofThisProcess(config.timeoutSeconds()),
                from.ranks(),
                config.timeoutSeconds(),
                round -> {
                  rounds.add(round);
                  listener.round(RunState.point(round));
                  long step = round.get(0).step();
                  return step == end ? Exchange.Decision.GO_ON : checkpoints.decide(step);
                },
                checkpoints::written,
                () -> spark.sc().cancelJobGroup(group))) {
      SegmentTask task =
          new SegmentTask(
              plan(start, end, staging, root == null ? null : root.plan(), coordinator));
      String description =
          String.format("train steps %d to %d of %d", from.step(), end, from.totalSteps());
      CompletableFuture<List<SegmentTask.Report>> job =
          CompletableFuture.supplyAsync(
              () -> {
                spark.setJobGroup(group, description, true);
                return BarrierJob.run(spark, task, from.ranks(), SegmentTask.Report.class);
              },
              work -> new Thread(work, "segment-job").start());
      try {
        return await(job, coordinator);
      } catch (ExecutionException e) {
        throw failure(e.getCause(), coordinator, start);
      }
    }
  }

  /** Waits for the job; one that does not end when its ranks have failed is left alone. */
  private static <R> R await(CompletableFuture<R> job, Coordinator coordinator)
      throws InterruptedException, ExecutionException {
    int patience = END_SECONDS;
    while (true) {
      try {
        return job.get(1, TimeUnit.SECONDS);
      } catch (TimeoutException e) {
        if (coordinator.failure().isPresent() && patience-- == 0) {
          throw new ExecutionException(
              new IllegalStateException("Spark did not end the job of a failed segment"));
        }
      }
    }
  }

  private void commit(
      CheckpointStore store,
      RunLock lock,
      RunState from,
      Path staged,
      List<List<RoundReport>> rounds,
      List<SegmentTask.Report> reports,
      List<Report.EpochPoint> epoch)
      throws IOException {
    long step = reports.get(0).step();
    List<List<RoundReport>> behind =
        List.copyOf(rounds).stream().filter(round -> round.get(0).step() <= step).toList();
    List<Part> parts = reports.stream().flatMap(report -> report.parts().stream()).toList();
    RunState state = from.at(step, from.history().with(from.step(), behind, reports, epoch));
    Path committed = store.commit(staged, step, parts, state, lock);
    last = new Committed(committed, state, state.ranks());
    try {
      retain(store, state);
    } catch (IOException e) {
      listener.note("Cannot delete old checkpoints: " + Transport.reason(e));
    }
  }

  /** Null where ranks only average. */
  private GradientSharing sharingRoot() {
    if (config.mode() == TrainConfig.Mode.AVERAGING) {
      return null;
    }
    return GradientSharing.root(
        new GradientSharing.Plan(
            spark.getConf().get("spark.driver.host"),
            spark.getConf().getInt(GradientSharing.PORT, 0),
            config.timeoutSeconds(),
            config.parameterServer()));
  }

  private long segmentEnd(RunState from) {
    return Math.min(from.totalSteps(), config.nextEvaluation(from.course(), from.step()));
  }

  private boolean isEvaluated(RunState from, long end) {
    return end == segmentEnd(from);
  }

  private SegmentTask.Plan plan(
      Committed start,
      long end,
      String staging,
      GradientSharing.Plan sharing,
      Coordinator coordinator) {
    RunState from = start.state();
    boolean byEpochs = config.iterations() == 0;
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
        sharing,
        config.exchange(),
        config.sync().rule(),
        config.optimizer(),
        config.learningRate(),
        objective,
        config.augment().repeats(),
        config.loader(),
        from.course(),
        from.totalSteps(),
        byEpochs ? (long) config.epochs() * from.course().stepsPerEpoch() : config.iterations(),
        byEpochs,
        from.step(),
        end,
        config.init().map(file -> HadoopPaths.absolute(file, hadoop)).orElse(null),
        start.directory() == null ? null : start.directory().toString(),
        start.ranks(),
        staging,
        coordinator.address(),
        new SerializableConfiguration(hadoop));
  }

  /** What ended a segment: the loss of executors, else a rank's own words, else Spark's. */
  private SegmentFailure failure(Throwable e, Coordinator coordinator, Committed start)
      throws InterruptedException {
    Optional<RankFailure> told = coordinator.failure();
    if (told.isPresent() && told.get().exit() != Exit.CLUSTER) {
      String good =
          told.get().exit() == Exit.DIVERGED
              ? String.format(" (last good checkpoint: %s)", start.name())
              : "";
      throw new JobException(told.get().exit(), told.get().sentence() + good, e);
    }
    coordinator.overdueExecutors().forEach(spark.sc()::killAndReplaceExecutor);
    TimeUnit.SECONDS.sleep(SETTLE_SECONDS);
    String losses = lost.since(coordinator);
    String sentence =
        told.map(RankFailure::sentence)
            .orElseGet(() -> LostExecutors.explained(Transport.reason(e)));
    return new SegmentFailure(
        losses.isEmpty() || !coordinator.overdueExecutors().isEmpty() ? sentence : losses, e);
  }

  private Report.EpochPoint epochPoint(
      RunState from, long end, List<List<RoundReport>> rounds, Path staged)
      throws IOException, SegmentFailure {
    double loss = from.history().meanLoss(from.step(), rounds);
    Double validationLoss = null;
    Double validationScore = null;
    if (validation.isPresent()) {
      Scores scores = validate(from, new Path(staged, Checkpoint.MODEL));
      validationLoss = scores.loss();
      validationScore = Double.isNaN(scores.score()) ? null : scores.score();
    }
    return new Report.EpochPoint(
        from.course().epochs(end), end, loss, validationLoss, validationScore);
  }

  private Scores validate(RunState from, Path weights) throws IOException, SegmentFailure {
    EvaluationWatch watch =
        new EvaluationWatch(spark.sc(), config.timeoutSeconds(), listener::note);
    try {
      return Evaluator.run(
          spark,
          new Evaluator.Task(
              validation.get(),
              weights.toString(),
              0,
              model,
              from.classes().size(),
              config.engine(),
              config.batchSize(),
              objective),
          from.ranks());
    } catch (Exception e) { // Spark's own, which nothing declares, among them
      if (watch.isForsaken()) {
        throw new SegmentFailure(
            String.format("no executor evaluated for %d s", config.timeoutSeconds()), e);
      }
      throw e;
    } finally {
      watch.end();
    }
  }

  private void retain(CheckpointStore store, RunState state) throws IOException {
    long best = config.checkpoint().keepBest() ? bestStep(state.history()) : -1;
    int every = config.checkpoint().keepEveryEpochs();
    store.retain(
        state.step(),
        config.checkpoint().keepLast(),
        step ->
            step == best
                || state.history().epochs().stream()
                    .anyMatch(
                        point -> every > 0 && point.step() == step && point.epoch() % every == 0));
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

  private Course course(int ranks) {
    long samples = shards.manifest().samples();
    if (samples / ranks < config.imagesPerStep()) {
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
    return Course.of(Math.toIntExact(samples), Math.toIntExact(ranks * config.imagesPerStep()));
  }

  private RunState initial(int ranks) {
    ShardManifest manifest = shards.manifest();
    Course course = course(ranks);
    return new RunState(
        version,
        0,
        config.totalSteps(course),
        course,
        ranks,
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

  /** A run goes on only with what it began with. */
  private void checkResumable(RunState found, RunState wanted) {
    Set<String> keys = new TreeSet<>(found.settings().keySet());
    keys.addAll(wanted.settings().keySet());
    for (String key : keys) {
      boolean free =
          FREE.stream().anyMatch(f -> f.matches(".*[-.]") ? key.startsWith(f) : key.equals(f));
      String then = found.settings().get(key);
      String now = wanted.settings().get(key);
      if (!free && !Objects.equals(then, now)) {
        throw cannotResume(
            String.format("checkpoint was made with %s=%s, config says %s", key, then, now));
      }
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
