package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.File;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileUtil;
import org.apache.hadoop.fs.Path;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.report.Report;
import sparkvision.train.RunState;
import sparkvision.train.TrainConfig;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** The jobs in a row, on two executor processes and a real HDFS. */
class PipelineTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  /** A network small enough to train here, and steps that leave epochs and rounds unfinished. */
  private static final List<String> SMALL =
      List.of(
          "model={name=densenet, spatial-dims=2, in-channels=1, growth-rate=6, blocks=[2, 2],"
              + " init-features=12, bottleneck=4, dropout=0}",
          "images.size=28",
          "images.resize=0",
          "images.crop-padding=2",
          "batch-size=16",
          "sync.every=3",
          "learning-rate.base=0.05",
          "timeout-seconds=60");

  @BeforeAll
  static void shardTheImages() throws Exception {
    for (String split : List.of("train", "val")) {
      ShardDataset.run(CLUSTER.spark(), shardSettings(split));
    }
  }

  @Test
  void rawImagesBecomeATrainedModelAndAReport() throws Exception {
    String run = CLUSTER.hdfs("/runs/pipeline");
    train(run, "ranks=2", "epochs=6", "validation=" + CLUSTER.hdfs("/shards/val"));

    Checkpoint checkpoint = newest(run);
    RunState state = checkpoint.state(RunState.class);
    assertThat(state.step()).isEqualTo(6 * 8);
    assertThat(state.classes()).isEqualTo(TestCluster.CLASSES);
    assertThat(state.history().epochs()).hasSize(6);
    assertThat(state.history().throughput())
        .extracting(Report.RankThroughput::images)
        .as("each rank has seen its half of every epoch")
        .containsExactly(6 * 128L, 6 * 128L);
    assertThat(new CheckpointStore(CLUSTER.files(), new Path(run)).committed().size())
        .as("the last three, and the best")
        .isBetween(3, 4);

    Report report = evaluate(run);
    assertThat(report.samples()).isEqualTo(64);
    assertThat(report.top1()).as("four kinds of clothes, a quarter by chance").isGreaterThan(0.7);
    Report.EpochPoint last = state.history().epochs().get(5);
    assertThat(report.top1()).isEqualTo(last.validationScore());
    assertThat(report.loss()).isCloseTo(last.validationLoss(), within(1e-6));
    long right = 0;
    for (int c = 0; c < 4; c++) {
      assertThat(report.confusion()[c]).hasSize(4);
      right += report.confusion()[c][c];
    }
    assertThat(right / 64.0).isEqualTo(report.top1());

    String output = CLUSTER.hdfs("/reports/pipeline");
    JsonNode json = JsonMapper.builder().build().readTree(read(new Path(output, "report.json")));
    assertThat(json.get("top1").asDouble()).isEqualTo(report.top1());
    assertThat(new String(read(new Path(output, "report.html")), StandardCharsets.UTF_8))
        .contains("<svg", "trouser", "growth-rate");

    // The same weights alone, without the checkpoint around them.
    Report alone =
        evaluate(
            checkpoint.model().toString(),
            "model=" + state.model(),
            "image-size=28",
            "mean=" + state.mean(),
            "std=" + state.std());
    assertThat(alone.confusion()).isDeepEqualTo(report.confusion());
  }

  @Test
  void inspectDescribesEveryOutput() throws Exception {
    String run = CLUSTER.hdfs("/runs/inspected");
    train(run, "ranks=2", "epochs=1", "checkpoint.every-steps=5");

    JsonNode shards = Inspect.inspect(CLUSTER.hdfs("/shards/train"));
    assertThat(shards.get("kind").asText()).isEqualTo("shard set");
    assertThat(shards.get("samples").asLong()).isEqualTo(256);
    assertThat(shards.get("blocks").asLong()).isEqualTo(8);
    assertThat(shards.get("files").asLong()).isEqualTo(4);
    assertThat(shards.get("classes").asLong()).isEqualTo(4);
    assertThat(shards.get("quarantined").asLong()).isEqualTo(0);
    java.nio.file.Path page = java.nio.file.Path.of("target/test-cluster/train.html");
    Ended ended = Ended.run("inspect", CLUSTER.hdfs("/shards/train"), "--html", page.toString());
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).anyMatch(line -> line.matches("samples +256"));
    assertThat(java.nio.file.Files.readString(page))
        .contains("<html", "ankle-boot", "data:image/png;base64,");
    JsonNode inspected = Inspect.inspect(run);
    assertThat(inspected.get("checkpoints").asLong()).as("at steps 5 and 8").isEqualTo(2);
    JsonNode checkpoint = Inspect.inspect(run + "/checkpoints/step-000000000008");
    assertThat(checkpoint).isEqualTo(inspected.get("newest"));
    assertThat(checkpoint.get("files").asLong()).as("model, two optimizers, state").isEqualTo(4);
    assertThat(checkpoint.get("parameters").asLong()).isPositive();
  }

  @Test
  void aRecipeWithMixedTargetsTrainsToTheSameBitsByEitherExchange() throws Exception {
    List<String> settings =
        List.of(
            "exchange=direct",
            "ranks=2",
            "epochs=2",
            "label-smoothing=0.1",
            "learning-rate.schedule=cosine-epochs",
            "images.interpolation=bicubic",
            "augment.crop=resized",
            "augment.policy=rand-m9-mstd0.5-inc1",
            "augment.color-jitter=[0.3, 0.3, 0.3, 0]",
            "augment.erase-probability=0.25",
            "augment.mixup-alpha=0.8",
            "augment.cutmix-alpha=1",
            "augment.repeats=3",
            "loader.threads=2",
            "loader.prefetch-bytes=1");
    String first = CLUSTER.hdfs("/runs/mixed");
    String second = CLUSTER.hdfs("/runs/mixed-again");
    train(first, settings.toArray(String[]::new));
    List<String> again = new ArrayList<>(settings);
    again.set(0, "exchange=driver");
    train(second, again.toArray(String[]::new));
    assertThat(newest(first).step()).isEqualTo(16);
    assertThat(weights(second, "model")).isEqualTo(weights(first, "model"));
    assertThat(newest(first).state(RunState.class).history().epochs())
        .allSatisfy(epoch -> assertThat(epoch.trainLoss()).isBetween(0.5, 3.0));
  }

  @Test
  void aSecondShardRunDoesNothing() throws Exception {
    Path manifest = new Path(CLUSTER.hdfs("/shards/train/_manifest.json"));
    long before = CLUSTER.files().getFileStatus(manifest).getModificationTime();
    ShardDataset.run(CLUSTER.spark(), shardSettings("train"));
    assertThat(CLUSTER.files().getFileStatus(manifest).getModificationTime()).isEqualTo(before);
  }

  @Test
  void aShardRunThatWasKilledEndsWithTheSameBytes() throws Exception {
    List<String> arguments = shardArguments("train", "/shards/killed");
    Path mark = new Path(CLUSTER.hdfs("/shards/killed/_temporary/sparkvision-sharding"));
    Process driver = driver("shard", arguments).start();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
    while (!CLUSTER.files().exists(mark)) {
      assertThat(System.nanoTime()).as("writing begins in time").isLessThan(deadline);
      assertThat(driver.isAlive()).as("the driver shards").isTrue();
      TimeUnit.MILLISECONDS.sleep(5);
    }
    driver.destroyForcibly().waitFor();
    Path manifest = new Path(CLUSTER.hdfs("/shards/killed/_manifest.json"));
    assertThat(CLUSTER.files().exists(manifest)).as("killed half-way").isFalse();

    ShardDataset.run(CLUSTER.spark(), shardSettings(arguments));
    assertThat(text(CLUSTER.hdfs("/shards/killed/_manifest.json")))
        .isEqualTo(text(CLUSTER.hdfs("/shards/train/_manifest.json")));
    for (String file : List.of("part-00000.parquet", "part-00003.parquet")) {
      assertThat(read(new Path(CLUSTER.hdfs("/shards/killed"), file)))
          .isEqualTo(read(new Path(CLUSTER.hdfs("/shards/train"), file)));
    }
    assertThat(CLUSTER.files().listStatus(new Path("/shards/killed"))).hasSize(5);
  }

  @Test
  void aKilledDriverResumesToTheSameBits() throws Exception {
    List<String> settings =
        List.of(
            "ranks=2",
            "iterations=22",
            "evaluate-every=6",
            "learning-rate.schedule=poly",
            "learning-rate.warmup-iterations=3",
            "checkpoint.every-steps=5",
            "batch-size=8",
            "accumulate-steps=2",
            "optimizer.name=adamw",
            "optimizer.clip-norm=0.5",
            "optimizer.ema-decay=0.9",
            "sync.preset=diloco",
            "sync.every=3",
            "sync.wire=bfloat16");
    String undisturbed = CLUSTER.hdfs("/runs/undisturbed");
    train(undisturbed, settings.toArray(String[]::new));

    String disturbed = CLUSTER.hdfs("/runs/disturbed");
    Process driver =
        driver("train", trainSettings(disturbed, settings.toArray(String[]::new))).start();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
    CheckpointStore store = new CheckpointStore(CLUSTER.files(), new Path(disturbed));
    while (store.committed().size() < 2) {
      assertThat(System.nanoTime()).as("a checkpoint is committed in time").isLessThan(deadline);
      assertThat(driver.isAlive()).as("the driver trains").isTrue();
      TimeUnit.MILLISECONDS.sleep(50);
    }
    driver.destroyForcibly().waitFor();
    long resumedFrom = newest(disturbed).step();
    assertThat(resumedFrom).as("killed half-way").isLessThan(22);

    train(disturbed, settings.toArray(String[]::new));
    assertThat(newest(disturbed).step()).isEqualTo(22);
    for (String file :
        List.of("model", "outer", "optimizer-0", "optimizer-1", "residual-0", "residual-1")) {
      assertThat(weights(disturbed, file)).as(file).isEqualTo(weights(undisturbed, file));
    }
    assertThat(newest(disturbed).state(RunState.class).history().epochs())
        .as("the history has no gap")
        .extracting(Report.EpochPoint::step)
        .containsExactly(6L, 12L, 18L, 22L);
    checkMovingAverage(disturbed);
  }

  /** Evaluates the moving average, and the mean of the ranks' averages as a file of its own. */
  private static void checkMovingAverage(String run) throws Exception {
    Checkpoint checkpoint = newest(run);
    RunState state = checkpoint.state(RunState.class);
    Map<String, HostTensor> mean = Checkpoint.read(CLUSTER.files(), checkpoint.model());
    List<Map<String, HostTensor>> ranks = new ArrayList<>();
    for (String file : List.of("optimizer-0", "optimizer-1")) {
      Path path = new Path(checkpoint.directory(), file + ".safetensors");
      ranks.add(Checkpoint.read(CLUSTER.files(), path));
    }
    mean.forEach(
        (name, tensor) -> {
          for (int i = 0; tensor.isFloat() && i < tensor.floats().length; i++) {
            float one = ranks.get(0).get("ema/" + name).floats()[i];
            tensor.floats()[i] = (one + ranks.get(1).get("ema/" + name).floats()[i]) / 2;
          }
        });
    Path file = new Path(CLUSTER.hdfs("/mean.safetensors"));
    try (OutputStream out = CLUSTER.files().create(file)) {
      Safetensors.write(out, mean, Map.of());
    }
    Report average = evaluate(run, "weights=ema");
    Report alone =
        evaluate(
            file.toString(),
            "model=" + state.model(),
            "image-size=28",
            "mean=" + state.mean(),
            "std=" + state.std());
    assertThat(average.loss()).isCloseTo(alone.loss(), within(1e-6));
    assertThat(average.confusion()).isDeepEqualTo(alone.confusion());
    assertThat(average.loss()).isNotCloseTo(evaluate(run).loss(), within(1e-3));
    assertThat(Inspect.inspect(run).get("newest").get("ema-decay").asDouble()).isEqualTo(0.9);
  }

  static Report evaluate(String checkpoint, String... settings) throws Exception {
    List<String> all =
        new ArrayList<>(
            List.of(
                "input=" + CLUSTER.hdfs("/shards/val"),
                "checkpoint=" + checkpoint,
                "output=" + CLUSTER.hdfs("/reports/" + new Path(checkpoint).getName())));
    all.addAll(List.of(settings));
    return EvaluateModel.run(
        CLUSTER.spark(), ConfigReader.read(EvaluateModel.Settings.class, "evaluate", null, all));
  }

  @Test
  void aKilledExecutorCostsOneSegment() throws Exception {
    String run = CLUSTER.hdfs("/runs/executor-killed");
    String[] settings = {"ranks=2", "epochs=4", "optimizer.name=adam"};
    CheckpointStore store = new CheckpointStore(CLUSTER.files(), new Path(run));
    AtomicBoolean killed = new AtomicBoolean();
    Thread killer =
        new Thread(
            () -> {
              try {
                while (store.committed().isEmpty()) {
                  TimeUnit.MILLISECONDS.sleep(20);
                }
                killed.set(CLUSTER.executors().get(0).destroyForcibly());
              } catch (Exception e) {
                throw new IllegalStateException(e);
              }
            });
    killer.start();
    train(run, settings);
    killer.join();
    assertThat(killed).isTrue();

    String undisturbed = CLUSTER.hdfs("/runs/executor-alive");
    train(undisturbed, settings);
    for (String file : List.of("model", "optimizer-0", "optimizer-1")) {
      assertThat(weights(run, file)).as(file).isEqualTo(weights(undisturbed, file));
    }
  }

  @Test
  void relativePathsMeanTheDriversDirectory() throws Exception {
    String run = "target/test-cluster/relative-run";
    FileUtil.fullyDelete(new File(run));
    FileUtil.fullyDelete(new File("target/test-cluster/relative-shards"));
    ShardDataset.run(
        CLUSTER.spark(),
        ConfigReader.read(
            ShardDataset.Settings.class,
            "shard",
            null,
            List.of(
                "input=target/test-cluster/images/val",
                "output=target/test-cluster/relative-shards")));
    train(run, "ranks=2", "epochs=1", "input=target/test-cluster/relative-shards", "batch-size=8");
    Report report =
        EvaluateModel.run(
            CLUSTER.spark(),
            ConfigReader.read(
                EvaluateModel.Settings.class,
                "evaluate",
                null,
                List.of(
                    "input=target/test-cluster/relative-shards",
                    "checkpoint=" + run,
                    "output=target/test-cluster/relative-report")));
    assertThat(report.samples()).isEqualTo(64);
    assertThat(new File("target/test-cluster/relative-report/report.html")).isNotEmpty();
  }

  @Test
  void aRunThatTookEverySlotResumesWithAsMany() throws Exception {
    String run = CLUSTER.hdfs("/runs/every-slot");
    train(run, "epochs=1");
    assertThat(newest(run).state(RunState.class).ranks()).isEqualTo(2);
    train(run, "epochs=2", "ranks=2");
    train(run, "epochs=3");
    assertThat(newest(run).step()).isEqualTo(24);
  }

  /** A driver in a process of its own, with executors of its own. */
  static ProcessBuilder driver(String job, List<String> settings) {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElseThrow());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptions().split(" ")));
    command.add("-Dspark.master=local-cluster[1,2,1024]");
    TestCluster.sparkSettings().forEach(s -> command.add("-D" + s[0] + "=" + s[1]));
    command.addAll(List.of("-cp", TestCluster.classPath(), Sparkvision.class.getName(), job));
    command.addAll(settings);
    return new ProcessBuilder(command).inheritIO();
  }

  static Map<String, List<?>> weights(String run, String file) throws Exception {
    Path path = new Path(newest(run).directory(), file + ".safetensors");
    Map<String, List<?>> bits = new TreeMap<>();
    Checkpoint.read(CLUSTER.files(), path).forEach((name, tensor) -> bits.put(name, bits(tensor)));
    return bits;
  }

  private static List<?> bits(HostTensor tensor) {
    if (!tensor.isFloat()) {
      return Arrays.stream(tensor.longs()).boxed().toList();
    }
    List<Integer> bits = new ArrayList<>();
    for (float value : tensor.floats()) {
      bits.add(Float.floatToRawIntBits(value));
    }
    return bits;
  }

  static ShardDataset.Settings shardSettings(String split) {
    return shardSettings(shardArguments(split, "/shards/" + split));
  }

  private static ShardDataset.Settings shardSettings(List<String> arguments) {
    return ConfigReader.read(ShardDataset.Settings.class, "shard", null, arguments);
  }

  private static List<String> shardArguments(String split, String output) {
    return List.of(
        "input=" + CLUSTER.images(split),
        "output=" + CLUSTER.hdfs(output),
        "samples-per-block=32",
        "files=4");
  }

  private static void train(String run, String... settings) throws Exception {
    TrainModel.run(
        CLUSTER.spark(),
        ConfigReader.read(TrainConfig.class, "train", null, trainSettings(run, settings)));
  }

  static List<String> trainSettings(String run, String... settings) {
    List<String> all = new ArrayList<>(SMALL);
    all.add("input=" + CLUSTER.hdfs("/shards/train"));
    all.add("output=" + run);
    all.addAll(List.of(settings));
    return all;
  }

  static Checkpoint newest(String run) throws Exception {
    return new CheckpointStore(CLUSTER.files(), new Path(run)).newest(skipped -> {}).orElseThrow();
  }

  private static String text(String path) throws Exception {
    return new String(read(new Path(path)), StandardCharsets.UTF_8);
  }

  private static byte[] read(Path path) throws Exception {
    try (var in = path.getFileSystem(new Configuration()).open(path)) {
      return in.readAllBytes();
    }
  }
}
