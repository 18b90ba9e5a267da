package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FileUtil;
import org.apache.hadoop.fs.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.TestCluster;
import sparkvision.data.volume.Affine;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;

/** What a user does wrong, or a disk: one sentence, an exit code, nothing half-written. */
class BadInputTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  @TempDir private java.nio.file.Path directory;

  @BeforeAll
  static void shardTheImages() throws Exception {
    ShardDataset.run(CLUSTER.spark(), PipelineTest.shardSettings("train"));
  }

  @Test
  void anUnknownJobOrKeyOrValueIsAUsageError() {
    expect(Ended.run("trian"), 2, "Unmatched argument at index 0: 'trian'");
    expect(train("runs/x", "bath-size=3"), 2, "Invalid key: bath-size (train knows [input, output");
    expect(train("runs/x", "batch-size=0"), 2, "Invalid batch-size: 0 (must be at least 1)");
    expect(Ended.run("train", "output=x"), 2, "Cannot run train: key input is missing");
    expect(Ended.run("train", "--conf", "/no/such.conf"), 2, "Cannot read conf file /no/such.conf");
    expect(train("runs/x", "model=densenet122"), 2, "Invalid model: densenet122 (must be one of");
    expect(
        train("runs/x", "engine=steam"),
        2,
        "Invalid engine: steam (must be one of [compiled, nd4j])");
    expect(train("runs/x", "model=densenet121-3d"), 2, "Invalid model: densenet121-3d (must take");
    expect(
        train("runs/x", "model.classes=7"),
        2,
        "Invalid model.classes: 7 (must be 4, the number of classes in the shards)");
    expect(train("runs/x", "batch-size=200", "ranks=2"), 2, "Invalid batch-size: 200");
    expect(
        train("/runs/x", "accumulate-steps=20", "ranks=2"),
        2,
        "Invalid batch-size x accumulate-steps: 320 (must be at most 128: ");
    assertThat(exists("/runs/x/checkpoints")).isFalse();
  }

  @Test
  void aMissingInputIsNamed() {
    Ended shard =
        Ended.run("shard", "input=" + CLUSTER.hdfs("/none"), "output=" + CLUSTER.hdfs("/out"));
    assertThat(shard.code()).isIn(2, 4);
    assertThat(shard.error()).contains(CLUSTER.hdfs("/none"));
    assertThat(exists("/out")).isFalse();

    Ended train =
        Ended.run("train", "input=" + CLUSTER.hdfs("/none"), "output=" + CLUSTER.hdfs("/out"));
    assertThat(train.code()).isIn(2, 4);
    assertThat(train.error()).contains(CLUSTER.hdfs("/none"));

    expect(
        Ended.run(
            "evaluate",
            "input=" + CLUSTER.hdfs("/shards/train"),
            "checkpoint=/no/run",
            "output=" + CLUSTER.hdfs("/out")),
        2,
        "Cannot evaluate file:/no/run: there is no such file or directory");
    expect(
        Ended.run("inspect", "/no/dir"), 2, "Cannot inspect /no/dir: there is no such directory");
    expect(
        Ended.run("inspect", "/"),
        2,
        "Cannot inspect /: it is no shard set, run, checkpoint or report");
  }

  @Test
  void badPicturesBeyondTheShareStopTheJob() throws IOException {
    copyImages();
    Files.createFile(directory.resolve("bag/empty.png"));
    Files.writeString(directory.resolve("bag/text.jpg"), "this is no picture");
    Ended ended = Ended.run("shard", "input=" + directory, "output=" + CLUSTER.hdfs("/bad/out"));
    assertThat(ended.code()).isEqualTo(4);
    assertThat(ended.error()).contains("2 of 66");
    assertThat(exists("/bad/out/_manifest.json")).isFalse();
  }

  @Test
  void aClassWithoutImagesIsNamed() throws IOException {
    copyImages();
    Files.createDirectory(directory.resolve("zebra"));
    Ended ended = Ended.run("shard", "input=" + directory, "output=" + CLUSTER.hdfs("/hollow/out"));
    assertThat(ended.code()).isEqualTo(4);
    assertThat(ended.error()).contains("zebra");
  }

  @Test
  void aModelOfAnotherTaskCannotBeTrained() throws IOException {
    byte[] volume = Nifti.write(new Volume(2, 2, 2, new float[8], Affine.ofSpacing(1, 1, 1)));
    Files.write(directory.resolve("volume.nii.gz"), volume);
    Files.writeString(directory.resolve("classes.txt"), "background");
    Files.writeString(directory.resolve("all.csv"), "image,mask\nvolume.nii.gz,volume.nii.gz\n");
    String output = CLUSTER.hdfs("/shards/volumes");
    expect(Ended.run("shard", "dataset=volumes", "input=" + directory, "output=" + output), 0, "");
    expect(
        train("/runs/volumes", "input=" + output),
        2,
        "Invalid model: densenet (must take volumes, which the shards hold)");
    expect(
        train("/runs/volumes", "input=" + output, "model=densenet121-3d"),
        2,
        "Invalid model: densenet121-3d (must give a class for every voxel)");
    expect(
        train(
            "/runs/x", "model={name=attention-unet-2d, in-channels=1, width=4}", "images.size=32"),
        2,
        "Invalid model: attention-unet-2d (must give one class for an image)");
    expect(
        train("/runs/x", "loss=dice"),
        2,
        "Invalid loss: dice (must be cross-entropy for classification)");
  }

  @Test
  void aDryRunWritesNothing() {
    String output = CLUSTER.hdfs("/dry");
    expect(
        Ended.run("shard", "--dry-run", "input=" + CLUSTER.images("val"), "output=" + output),
        0,
        "");
    assertThat(exists("/dry")).isFalse();
    expect(
        Ended.run(
            "shard", "dataset=imagenet", "input=" + CLUSTER.images("val"), "output=" + output),
        2,
        "Cannot read the data set: key split is missing (give split=train or split=val)");
    expect(
        Ended.run("shard", "split=val", "input=" + CLUSTER.images("val"), "output=" + output),
        2,
        "Invalid split: val (image-folder has none; give the split's own folder as input)");
    expect(
        Ended.run("shard", "dataset=coco-json", "input=/x", "output=" + output),
        2,
        "Cannot shard /x: coco-json needs annotations=FILE");
  }

  @Test
  void anOutputThatHoldsSomethingElseIsRefused() throws IOException {
    write("/taken/mine.txt", "mine");
    Ended ended =
        Ended.run("shard", "input=" + CLUSTER.images("val"), "output=" + CLUSTER.hdfs("/taken"));
    assertThat(ended.code()).isIn(2, 4);
    assertThat(ended.error()).contains("/taken");
    assertThat(exists("/taken/mine.txt")).isTrue();
  }

  @Test
  void aDamagedShardStopsTraining() throws IOException {
    copy("/shards/train", "/damaged");
    Path file = new Path("/damaged/" + firstShard());
    byte[] bytes;
    try (var in = CLUSTER.files().open(file)) {
      bytes = in.readAllBytes();
    }
    bytes[bytes.length / 3] ^= 1;
    try (OutputStream out = CLUSTER.files().create(file, true)) {
      out.write(bytes);
    }
    Ended ended = train("/runs/damaged", "input=" + CLUSTER.hdfs("/damaged"), "epochs=1");
    assertThat(ended.code()).isEqualTo(4);
    assertThat(ended.error()).contains(file.getName()).contains("checksum");
    assertThat(Ended.run("inspect", CLUSTER.hdfs("/damaged")).code()).isEqualTo(4);

    expect(train("/runs/whole", "epochs=1"), 0, "");
    Ended evaluate =
        Ended.run(
            "evaluate",
            "input=" + CLUSTER.hdfs("/damaged"),
            "checkpoint=" + CLUSTER.hdfs("/runs/whole"),
            "output=" + CLUSTER.hdfs("/out"));
    expect(evaluate, 4, "checksum");
    assertThat(exists("/out")).isFalse();
    Ended validated =
        train("/runs/validated", "epochs=1", "validation=" + CLUSTER.hdfs("/damaged"));
    expect(validated, 4, "checksum");
    assertThat(exists("/runs/validated/checkpoints/step-000000000008")).isFalse();
  }

  @Test
  void aHalfWrittenOrForeignCheckpointIsRefused() throws IOException {
    expect(train("/runs/half", "epochs=1"), 0, "");
    expect(
        train("/runs/half", "epochs=2", "model.growth-rate=7"),
        2,
        "Cannot resume run "
            + CLUSTER.hdfs("/runs/half")
            + ": checkpoint was made with"
            + " model.growth-rate=6, config says 7");
    Path manifest = new Path("/runs/half/checkpoints/step-000000000008/MANIFEST.json");
    CLUSTER.files().delete(manifest, false);
    expect(train("/runs/half", "epochs=2"), 4, "Cannot resume from");
    expect(
        Ended.run(
            "evaluate",
            "input=" + CLUSTER.hdfs("/shards/train"),
            "checkpoint=" + CLUSTER.hdfs("/runs/half/checkpoints/step-000000000008"),
            "output=" + CLUSTER.hdfs("/out")),
        4,
        "Cannot evaluate");
    assertThat(exists("/runs/half/LOCK")).isFalse();
  }

  @Test
  void weightsOfAnotherModelAreRefused() {
    expect(train("/runs/weights", "epochs=1"), 0, "");
    String checkpoint = CLUSTER.hdfs("/runs/weights/checkpoints/step-000000000008");
    String weights = checkpoint + "/model.safetensors";
    String input = "input=" + CLUSTER.hdfs("/shards/train");
    String output = "output=" + CLUSTER.hdfs("/out");
    expect(
        Ended.run(
            "evaluate",
            input,
            output,
            "weights=ema",
            "checkpoint=" + CLUSTER.hdfs("/runs/weights")),
        4,
        "Cannot evaluate " + checkpoint + " with weights=ema: its run kept no moving average");
    expect(
        Ended.run(
            "evaluate",
            input,
            output,
            "weights=ema",
            "checkpoint=" + weights,
            "image-size=28",
            "model=densenet121"),
        2,
        "Invalid weights: ema (must be last: " + weights + " is a single file");
    expect(
        Ended.run("evaluate", input, output, "checkpoint=" + weights),
        2,
        "Cannot run evaluate: key model is missing");
    Ended other =
        Ended.run(
            "evaluate",
            input,
            output,
            "checkpoint=" + weights,
            "image-size=32",
            "model=densenet121",
            "model.in-channels=1");
    expect(other, 4, "Cannot load state: ");
    expect(
        Ended.run(
            "evaluate",
            input,
            output,
            "checkpoint=" + weights,
            "image-size=32",
            "model=densenet121",
            "model.classes=1000"),
        2,
        "Invalid model.classes: 1000 (must be 4, the number of classes in the shards)");
    assertThat(exists("/out")).isFalse();
  }

  @Test
  void anObjectStoreIsNoPlaceForARun() {
    expect(
        train("/runs/x", "output=s3a://bucket/run"),
        2,
        "Invalid output: s3a://bucket/run (must be on HDFS or a local file system: s3a renames by"
            + " copying, so a checkpoint could be torn)");
  }

  @Test
  void tooFewSlotsAreSaidInTime() {
    expect(
        train("/runs/slots", "ranks=3", "timeout-seconds=2"),
        3,
        "Cannot train here: slots: 2 for 3 ranks");
  }

  @Test
  void aDivergingRunStopsAndNamesWhatItNeedsToBeSeenAgain() {
    Ended ended = train("/runs/diverged", "learning-rate.base=1e30", "epochs=2");
    expect(ended, 5, "Training diverged: the loss is NaN");
    assertThat(ended.error())
        .containsPattern("at step \\d+ on rank [01] with learning rate \\S+, samples \\[\\S+")
        .contains("last good checkpoint: none");
    Ended later =
        train(
            "/runs/diverged-later",
            "epochs=3",
            "learning-rate.base=1e30",
            "learning-rate.schedule=cosine-epochs", // the rate rises after the second epoch
            "learning-rate.warmup-epochs=2",
            "learning-rate.warmup-from=0.01");
    expect(later, 5, "Training diverged: ");
    assertThat(later.error())
        .containsPattern("on rank [01] with learning rate \\S+")
        .containsPattern("last good checkpoint: \\S+/runs/diverged-later/checkpoints/step-0+\\d+");
  }

  @Test
  void anUnreachableHdfsIsSaid() {
    Ended ended = Ended.run("inspect", "hdfs://127.0.0.1:1/shards");
    assertThat(ended.code()).isEqualTo(3);
    assertThat(ended.error()).startsWith("Cannot reach the storage: ").contains("localhost:1");
    for (String[] job :
        new String[][] {
          {"shard", "input=hdfs://127.0.0.1:1/a", "output=" + CLUSTER.hdfs("/out")},
          {"train", "input=hdfs://127.0.0.1:1/a", "output=" + CLUSTER.hdfs("/out")},
          {"evaluate", "input=hdfs://127.0.0.1:1/a", "checkpoint=x", "output=y"}
        }) {
      expect(Ended.run(job), 3, "Cannot reach the storage: ");
    }
  }

  @Test
  void debugAddsTheStackTrace() {
    assertThat(Ended.run("inspect", "--debug", "/no/dir").error())
        .contains("\tat sparkvision.jobs");
  }

  private static Ended train(String run, String... settings) {
    List<String> arguments = new ArrayList<>(List.of("train"));
    arguments.addAll(
        PipelineTest.trainSettings(CLUSTER.hdfs(run.startsWith("/") ? run : "/" + run)));
    arguments.addAll(List.of(settings));
    return Ended.run(arguments.toArray(String[]::new));
  }

  private static void expect(Ended ended, int code, String sentence) {
    assertThat(ended.error()).contains(sentence).doesNotContain("\tat ");
    assertThat(ended.code()).as(ended.error()).isEqualTo(code);
  }

  private static String firstShard() throws IOException {
    for (var status : CLUSTER.files().listStatus(new Path("/shards/train"))) {
      if (status.getPath().getName().endsWith(".parquet")) {
        return status.getPath().getName();
      }
    }
    throw new IOException("No Parquet file in /shards/train");
  }

  private void copyImages() throws IOException {
    FileUtil.copy(
        CLUSTER.images("val").toFile(),
        FileSystem.getLocal(CLUSTER.files().getConf()),
        new Path(directory.toString()),
        false,
        CLUSTER.files().getConf());
    assertThat(directory.resolve("val/bag")).isDirectory();
    directory = directory.resolve("val");
  }

  private static void copy(String from, String to) throws IOException {
    FileUtil.copy(
        CLUSTER.files(),
        new Path(from),
        CLUSTER.files(),
        new Path(to),
        false,
        CLUSTER.files().getConf());
  }

  private static void write(String path, String text) throws IOException {
    try (OutputStream out = CLUSTER.files().create(new Path(path))) {
      out.write(text.getBytes(StandardCharsets.UTF_8));
    }
  }

  private static boolean exists(String path) {
    try {
      return CLUSTER.files().exists(new Path(path));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
