package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.TestCluster;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.checkpoint.Part;
import sparkvision.checkpoint.RunLock;
import sparkvision.report.Report;
import sparkvision.train.RunState;
import sparkvision.train.TrainConfig;
import sparkvision.train.TrainListener;
import sparkvision.train.Trainer;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/**
 * Every fault that training is meant to survive, on executor and driver processes and a real HDFS:
 * each ends as the same training does that nothing disturbs, or with one sentence and an exit code,
 * and within a deadline.
 *
 * <p>Eighteen steps with an averaging every third, a checkpoint behind each, evaluations (segment
 * ends) behind steps 9 and 18.
 */
@Tag("faults")
@Timeout(value = 3, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class FaultsTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final List<String> SETTINGS =
      List.of(
          "ranks=2",
          "iterations=18",
          "evaluate-every=9",
          "checkpoint.every-steps=3",
          "checkpoint.keep-last=100",
          "batch-size=8",
          "optimizer.name=adam",
          "learning-rate.base=0.002",
          "replacement-seconds=60",
          "timeout-seconds=100");

  private static final String UNDISTURBED = "/faults/undisturbed";

  private static int runs;

  private final List<String> notes = Collections.synchronizedList(new ArrayList<>());
  private Runnable onFirstNote = () -> {};
  private final String run = CLUSTER.hdfs("/faults/" + runs++);

  @BeforeAll
  static void trainUndisturbed() throws Exception {
    for (String split : List.of("train", "val")) {
      ShardDataset.run(CLUSTER.spark(), PipelineTest.shardSettings(split));
    }
    FaultsTest calm = new FaultsTest();
    Files.deleteIfExists(TestCluster.FAULT);
    calm.train(CLUSTER.hdfs(UNDISTURBED));
    assertThat(calm.notes).isEmpty();
  }

  @BeforeEach
  void nothingIsWrongYet(TestInfo test) throws IOException {
    System.err.printf("%tT %s%n", System.currentTimeMillis(), test.getDisplayName());
    Files.deleteIfExists(TestCluster.FAULT);
  }

  // What happens to an executor, a row each: where, and what; what the driver says of it.

  @ParameterizedTest(name = "{1} at: {0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "rank 1 computing step 1               | KILL  | code 137",
        "rank 1 computing step 11              | KILL  | raise spark.executor.memoryOverhead",
        "rank 0 computing step 5               | KILL  | code 137",
        "rank 1 exchanging step 6              | KILL  | code 137",
        "rank 1 waiting for the mean of step 6 | KILL  | code 137",
        "rank 1 computing step 7               | KILL  | code 137",
        "rank 0 writing the checkpoint of step 9 | KILL | code 137",
        "half of step-000000000003/optimizer-1.safetensors | KILL | code 137",
        "half of step-000000000012/model.safetensors | KILL | code 137",
        "half of step-000000000018/optimizer-1.safetensors | KILL | code 137",
        "rank 1 computing step 5               | TERM  | code 143",
        "rank 1 computing step 5               | STOP  | rank 1 (",
        "rank 1 exchanging step 6              | STOP  | rank 1 (",
        "rank 1 waiting for the mean of step 6 | STOP  | rank 1 (",
        "half of step-000000000012/optimizer-1.safetensors | STOP | rank 1 (",
        "rank 1 computing step 5               | THROW | Cannot go on: a test wants it so",
        "rank 1 computing step 5               | HEAP  | raise spark.executor.memory",
      })
  void anExecutorCostsNoMoreThanItsSegment(String place, String what, String said)
      throws Exception {
    fault(place, what);
    // Only who stands still has to be waited for; a busy machine takes its time for the rest.
    train(run, what.equals("STOP") ? "timeout-seconds=25" : "timeout-seconds=100");
    assertThat(TestCluster.FAULT).as("the fault happened").doesNotExist();
    assertThat(notes).anyMatch(note -> note.contains("Going back to step") && note.contains(said));
    isAsUndisturbed(run);
  }

  @ParameterizedTest(name = "{1} while evaluating")
  @CsvSource(
      delimiter = '|',
      value = {
        "KILL | code 137",
        "STOP | it hangs (timeout-seconds says how long to wait)",
      })
  void anExecutorThatGoesWhileEvaluatingCostsNothing(String what, String said) throws Exception {
    fault("task 1 evaluating", what);
    train(
        run,
        "validation=" + CLUSTER.hdfs("/shards/val"),
        what.equals("STOP") ? "timeout-seconds=25" : "timeout-seconds=100");
    assertThat(TestCluster.FAULT).as("the fault happened").doesNotExist();
    assertThat(notes)
        .anyMatch(note -> note.contains("Evaluating without executor") && note.contains(said))
        .noneMatch(note -> note.contains("Going back"));
    isAsUndisturbed(run);
    Report.EpochPoint first =
        PipelineTest.newest(run).state(RunState.class).history().epochs().get(0);
    assertThat(first.validationLoss())
        .as("every sample counts once")
        .isCloseTo(
            PipelineTest.evaluate(run + "/checkpoints/step-000000000009").loss(), within(1e-6));
  }

  @Test
  void withoutAnyExecutorTheRunEndsAndTheSameCommandGoesOn() throws Exception {
    String validation = "validation=" + CLUSTER.hdfs("/shards/val");
    fault("task 1 evaluating", "KILL");
    onlyExecutors(0);
    onFirstNote = () -> CLUSTER.executors().forEach(ProcessHandle::destroyForcibly);
    try {
      assertThatThrownBy(
              () -> train(run, validation, "replacement-seconds=1", "timeout-seconds=15"))
          .isInstanceOfSatisfying(
              JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.CLUSTER))
          .hasMessageMatching("Cannot go on from step [36]: no executor is left after 16 s.*");
    } finally {
      onlyExecutors(2);
    }
    assertThat(notes).anyMatch(note -> note.contains("no executor evaluated for 15 s"));
    await("executors are back", () -> CLUSTER.executors().size() == 2);
    train(run, validation);
    isAsUndisturbed(run);
  }

  @Test
  void anExecutorThatStoodStillForAMomentGoesOn() throws Exception {
    fault("rank 1 computing step 5", "STOP");
    Thread waker =
        new Thread(
            () -> {
              try {
                await("the executor stands still", () -> !Files.exists(TestCluster.FAULT));
                TimeUnit.SECONDS.sleep(4);
                for (ProcessHandle executor : CLUSTER.executors()) {
                  signal("CONT", executor.pid());
                }
              } catch (Exception e) {
                throw new IllegalStateException(e);
              }
            });
    waker.start();
    train(run);
    waker.join();
    assertThat(notes).isEmpty();
    isAsUndisturbed(run);
  }

  @Test
  void withoutAReplacementTheOthersGoOnAndLaterTheyAreAsManyAgain() throws Exception {
    // Spark wants one executor from now on; a second one comes when it wants two again.
    fault("rank 1 computing step 11", "KILL");
    onlyExecutors(1);
    try {
      train(run, "replacement-seconds=1");
    } finally {
      onlyExecutors(2);
    }
    assertThat(notes)
        .anyMatch(note -> note.contains("1 of 2 slots are left, waiting up to 1 s"))
        .anyMatch(note -> note.contains("Going on from step 9 with 1 ranks in place of 2"));
    RunState state = PipelineTest.newest(run).state(RunState.class);
    assertThat(state.ranks()).isEqualTo(1);
    assertThat(state.wantedRanks()).isEqualTo(2);
    assertThat(state.course().step()).isEqualTo(9);
    assertThat(state.course().sample()).as("behind the steps of two").isEqualTo(9 * 2 * 8);

    // Exactly what one rank makes of the checkpoint of step 9.
    await("the other executor is back", () -> CLUSTER.executors().size() == 2);
    String byHand = CLUSTER.hdfs("/faults/by-hand");
    copy(UNDISTURBED + "/checkpoints/step-000000000009", byHand);
    train(byHand, "ranks=1");
    hasWeightsOf(run, byHand, "model", "optimizer-0");

    // And a run of one rank goes on with two.
    train(run, "iterations=27");
    state = PipelineTest.newest(run).state(RunState.class);
    assertThat(state.step()).isEqualTo(27);
    assertThat(state.ranks()).isEqualTo(2);
  }

  // The driver.

  @ParameterizedTest(name = "{1} at: {0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "rank 1 exchanging step 12               | DRIVER | 9",
        "half of step-000000000012/state.json    | KILL | 9",
        "half of step-000000000012/MANIFEST.json | KILL | 9",
        "before step-000000000012                | KILL | 9",
        "behind step-000000000012                | KILL | 12",
        "before step-000000000018                | KILL | 12",
      })
  void aKilledDriverGoesOnFromItsLastCheckpoint(String place, String what, long committed)
      throws Exception {
    fault(place, what);
    assertThat(driver(run).waitFor()).as("ended by SIGKILL").isEqualTo(137);
    assertThat(PipelineTest.newest(run).step()).isGreaterThanOrEqualTo(committed);
    train(run);
    assertThat(notes).first().asString().startsWith("Resuming from");
    isAsUndisturbed(run);
    assertThat(CLUSTER.files().listStatus(new Path(run, "checkpoints")))
        .as("what was half written is gone")
        .noneMatch(file -> file.getPath().getName().startsWith(".tmp"));
  }

  @Test
  void aSignalSavesACheckpointAndEndsWith143() throws Exception {
    // While the driver is in the middle of the first commit, so that there is time for a signal.
    fault("before step-000000000003", "STOP");
    Process driver = driver(run);
    await("the driver commits", () -> !Files.exists(TestCluster.FAULT));
    // A terminal sends Ctrl-C to all processes that were started from it.
    for (ProcessHandle executor : driver.toHandle().children().toList()) {
      signal("INT", executor.pid());
    }
    signal("TERM", driver.pid());
    signal("CONT", driver.pid());
    assertThat(driver.waitFor()).isEqualTo(Exit.STOPPED.code());
    long saved = PipelineTest.newest(run).step();
    assertThat(log()).contains("Stopped behind step " + saved);
    assertThat(saved).isLessThan(18);
    train(run);
    isAsUndisturbed(run);
  }

  @Test
  void aSecondDriverIsRefusedWhileTheFirstStandsStill() throws Exception {
    fault("before step-000000000012", "STOP");
    Process first = driver(run);
    await("the first driver stands still", () -> !Files.exists(TestCluster.FAULT));
    assertThatThrownBy(() -> train(run))
        .isInstanceOfSatisfying(
            JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.LOCKED))
        .hasMessageContaining("process " + first.pid());
    signal("CONT", first.pid());
    assertThat(first.waitFor()).isZero();
    isAsUndisturbed(run);
  }

  @Test
  void aDriverThatLostItsLockCommitsNothing() throws Exception {
    fault("half of step-000000000012/MANIFEST.json", "STOP");
    Process first = driver(run);
    await("the first driver stands still", () -> !Files.exists(TestCluster.FAULT));
    CLUSTER.files().delete(new Path(run, "LOCK"), false);
    try (RunLock second = RunLock.acquire(CLUSTER.files(), new Path(run))) {
      signal("CONT", first.pid());
      assertThat(first.waitFor()).isEqualTo(Exit.LOCKED.code());
      assertThat(log()).contains("Cannot commit below").contains("the lock was taken over by");
      assertThat(PipelineTest.newest(run).step()).isEqualTo(9);
      second.check();
    }
    train(run);
    isAsUndisturbed(run);
  }

  // Storage.

  @Test
  void aDataNodeMayGoAndComeBack() throws Exception {
    fault("rank 0 computing step 11", "THROW"); // the next segment finds nothing to read
    Thread away =
        new Thread(
            () -> {
              try {
                var node = CLUSTER.stopDataNode();
                TimeUnit.SECONDS.sleep(8);
                CLUSTER.startDataNode(node);
              } catch (Exception e) {
                throw new IllegalStateException(e);
              }
            });
    onFirstNote = away::start;
    try {
      train(run, "checkpoint.tolerated-failures=100");
    } finally {
      away.join();
    }
    isAsUndisturbed(run);
  }

  @Test
  void aFullDiskCostsACheckpointAndNoTraining() throws Exception {
    CLUSTER.files().mkdirs(new Path(run, "checkpoints"));
    quota(1 << 20);
    onFirstNote = () -> quota(HdfsConstants.QUOTA_RESET);
    train(run, "checkpoint.tolerated-failures=100");
    assertThat(notes)
        .first()
        .asString()
        .startsWith("Checkpoint of step 3 was not saved, training goes on without it (1 of at most")
        .contains("quota");
    isAsUndisturbed(run);
  }

  @Test
  void aDiskThatStaysFullEndsTheRunAndTheSameCommandGoesOn() throws Exception {
    CLUSTER.files().mkdirs(new Path(run, "checkpoints"));
    quota(1 << 20);
    assertThatThrownBy(() -> train(run, "checkpoint.tolerated-failures=0"))
        .isInstanceOfSatisfying(
            JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.PREFLIGHT))
        .hasMessageStartingWith("Cannot save checkpoints: 1 in a row failed")
        .hasMessageContaining("quota");
    quota(HdfsConstants.QUOTA_RESET);
    train(run);
    isAsUndisturbed(run);
  }

  // Numbers.

  @Test
  void aNaNOnOneRankEndsTheRunAndIsNamed() throws Exception {
    copy(UNDISTURBED + "/checkpoints/step-000000000009", run);
    poison(new Path(run + "/checkpoints/step-000000000009"), "optimizer-1.safetensors");
    assertThatThrownBy(() -> train(run))
        .isInstanceOfSatisfying(
            JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.DIVERGED))
        .hasMessageContaining("is NaN")
        .hasMessageContaining("on rank 1")
        .hasMessageContaining("last good checkpoint: ")
        .hasMessageContaining("step-000000000009");
    assertThat(PipelineTest.newest(run).step()).isEqualTo(9);
  }

  // How it is done.

  private void train(String output, String... settings) throws Exception {
    List<String> all = new ArrayList<>(PipelineTest.trainSettings(output));
    all.addAll(SETTINGS);
    all.addAll(List.of(settings));
    TrainConfig config = ConfigReader.read(TrainConfig.class, "train", null, all);
    JavaSparkContext context = new JavaSparkContext(CLUSTER.spark().sparkContext());
    new Trainer(context, config, ConfigReader.flatten(config), "test", new Notes()).run();
  }

  /** A driver of its own, which trains the same way; {@link #log} has what it said. */
  private Process driver(String output) throws IOException {
    List<String> all = new ArrayList<>(PipelineTest.trainSettings(output));
    all.addAll(SETTINGS);
    return PipelineTest.driver("train", all)
        .redirectErrorStream(true)
        .redirectOutput(LOG.toFile())
        .start();
  }

  private static final java.nio.file.Path LOG =
      java.nio.file.Path.of("target", "test-cluster", "driver.log");

  private static String log() throws IOException {
    return Files.readString(LOG);
  }

  private static void fault(String place, String what) throws IOException {
    java.nio.file.Path whole = TestCluster.FAULT.resolveSibling("fault.new");
    Files.writeString(whole, place + "|" + what);
    Files.move(whole, TestCluster.FAULT);
  }

  private static void isAsUndisturbed(String run) throws Exception {
    hasWeightsOf(run, CLUSTER.hdfs(UNDISTURBED), "model", "optimizer-0", "optimizer-1");
    RunState state = PipelineTest.newest(run).state(RunState.class);
    RunState calm = PipelineTest.newest(CLUSTER.hdfs(UNDISTURBED)).state(RunState.class);
    assertThat(state.history().rounds())
        .as("no round lost or counted twice")
        .extracting(Report.RoundPoint::step, Report.RoundPoint::loss)
        .isEqualTo(
            calm.history().rounds().stream()
                .map(round -> org.assertj.core.groups.Tuple.tuple(round.step(), round.loss()))
                .toList());
    assertThat(state.history().throughput())
        .extracting(Report.RankThroughput::images)
        .containsExactly(18 * 8L, 18 * 8L);
    for (Path checkpoint : new CheckpointStore(CLUSTER.files(), new Path(run)).committed()) {
      Checkpoint.verify(CLUSTER.files(), checkpoint);
    }
  }

  private static void hasWeightsOf(String run, String other, String... files) throws Exception {
    for (String file : files) {
      assertThat(PipelineTest.weights(run, file))
          .as(file)
          .isEqualTo(PipelineTest.weights(other, file));
    }
  }

  private interface Condition {
    boolean holds() throws Exception;
  }

  private static void await(String what, Condition condition) throws Exception {
    long deadline = System.nanoTime() + Duration.ofSeconds(90).toNanos();
    while (!condition.holds()) {
      assertThat(System.nanoTime()).as(what + " in time").isLessThan(deadline);
      TimeUnit.MILLISECONDS.sleep(10);
    }
  }

  private static void signal(String name, long pid) throws Exception {
    new ProcessBuilder("kill", "-" + name, Long.toString(pid)).start().waitFor();
  }

  private static void onlyExecutors(int count) {
    CLUSTER
        .spark()
        .sparkContext()
        .requestTotalExecutors(
            count, 0, scala.collection.immutable.Map$.MODULE$.<String, Object>empty());
  }

  private void quota(long bytes) {
    try {
      ((DistributedFileSystem) CLUSTER.files())
          .setQuota(new Path(run, "checkpoints"), HdfsConstants.QUOTA_DONT_SET, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void copy(String checkpoint, String run) throws IOException {
    Path from = new Path(CLUSTER.hdfs(checkpoint));
    org.apache.hadoop.fs.FileUtil.copy(
        CLUSTER.files(),
        from,
        CLUSTER.files(),
        new Path(run + "/checkpoints/" + from.getName()),
        false,
        CLUSTER.files().getConf());
  }

  /** Makes the last number of a checkpoint's file NaN, as a rank's fault would. */
  private static void poison(Path checkpoint, String name) throws Exception {
    Checkpoint found = Checkpoint.verify(CLUSTER.files(), checkpoint);
    RunState state = found.state(RunState.class);
    Map<String, HostTensor> tensors = Checkpoint.read(CLUSTER.files(), new Path(checkpoint, name));
    for (HostTensor tensor : tensors.values()) {
      if (tensor.isFloat()) {
        Arrays.fill(tensor.floats(), Float.NaN);
      }
    }
    Path run = checkpoint.getParent().getParent();
    CheckpointStore store = new CheckpointStore(CLUSTER.files(), run);
    Path staged = CheckpointStore.staged(store.staging(), found.step());
    List<Part> parts = new ArrayList<>();
    for (Part part : found.files()) {
      Map<String, HostTensor> content =
          part.name().equals(name)
              ? tensors
              : part.name().endsWith(".safetensors")
                  ? Checkpoint.read(CLUSTER.files(), new Path(checkpoint, part.name()))
                  : Map.of();
      if (part.name().endsWith(".safetensors")) {
        parts.add(
            Part.write(
                CLUSTER.files(),
                staged,
                part.name(),
                out -> Safetensors.write(out, content, Map.of())));
      }
    }
    try (RunLock lock = RunLock.acquire(CLUSTER.files(), run)) {
      store.commit(staged, found.step(), parts, state, lock);
    }
  }

  /** Hears what a user reads. */
  private final class Notes implements TrainListener {
    @Override
    public void started(RunState state, long images) {}

    @Override
    public void round(Report.RoundPoint round) {}

    @Override
    public void epoch(Report.EpochPoint epoch, String score) {}

    @Override
    public void note(String sentence) {
      System.err.println("[driver] " + sentence);
      notes.add(sentence);
      if (notes.size() == 1) {
        onFirstNote.run();
      }
    }
  }
}
