package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.S3Server;
import sparkvision.TestCluster;
import sparkvision.report.Report;
import sparkvision.train.TrainConfig;

/** Pictures, shards and reports on S3, through Hadoop's client, on executor processes. */
class ObjectStoreTest {

  private static final String STORE = "s3a://" + S3Server.BUCKET;
  private static final long DEADLINE_NANOS = TimeUnit.SECONDS.toNanos(120);

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  @TempDir private static Path directory;

  private static S3Server server;
  private static Path local;

  @BeforeAll
  static void shardTheSameFromS3AndFromTheDisk() throws Exception {
    server = new S3Server(directory);
    server
        .settings()
        .forEach(
            (key, value) -> CLUSTER.spark().sparkContext().hadoopConfiguration().set(key, value));
    server.upload(CLUSTER.images("val"), "pictures");
    shard(STORE + "/pictures", STORE + "/shards");
    local = directory.resolve("shards");
    shard(CLUSTER.images("val").toString(), local.toString());
  }

  @AfterAll
  static void stop() {
    server.settings().keySet().forEach(CLUSTER.spark().sparkContext().hadoopConfiguration()::unset);
    server.close();
  }

  @Test
  void shardsOnS3AreThoseOnTheDisk() throws Exception {
    assertThat(server.objects("shards/"))
        .containsOnlyKeys(
            "_manifest.json", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet");
    assertSameParts("shards/");
    Map<String, byte[]> before = server.objects("shards/");
    shard(STORE + "/pictures", STORE + "/shards");
    assertThat(server.objects("shards/"))
        .as("a second run has nothing to do")
        .containsExactlyEntriesOf(before);
  }

  @Test
  void aShardRunThatWasKilledEndsWithTheSameBytes() throws Exception {
    Process driver = start("shard", shardArguments(STORE + "/pictures", STORE + "/killed"));
    long start = System.nanoTime();
    while (!server.exists("killed/_temporary/sparkvision-sharding")) {
      assertThat(System.nanoTime() - start).as("writing begins in time").isLessThan(DEADLINE_NANOS);
      assertThat(driver.isAlive()).as("the driver shards").isTrue();
      TimeUnit.MILLISECONDS.sleep(5);
    }
    driver.destroyForcibly().waitFor();
    assertThat(server.exists("killed/_manifest.json")).as("killed half-way").isFalse();

    shard(STORE + "/pictures", STORE + "/killed");
    assertThat(server.objects("killed/").keySet()).isEqualTo(server.objects("shards/").keySet());
    assertSameParts("killed/");
  }

  @Test
  void inspectReadsTheAddressOfTheStoreFromTheHadoopConfiguration() throws Exception {
    Process inspect = start("inspect", List.of("--json", STORE + "/shards"));
    byte[] printed = inspect.getInputStream().readAllBytes();
    assertThat(inspect.waitFor()).isZero();
    JsonNode found = JsonMapper.builder().build().readTree(printed);
    assertThat(found.get("samples").asInt()).isEqualTo(64);
    assertThat(found.get("files").asInt()).isEqualTo(3);
    assertThat(found.get("verified").asBoolean()).isTrue();
  }

  @Test
  void trainsAndEvaluatesFromS3() throws Exception {
    String run = CLUSTER.hdfs("/runs/from-s3");
    String same = CLUSTER.hdfs("/runs/from-disk");
    train(STORE + "/shards", run);
    train(local.toString(), same);
    assertThat(PipelineTest.weights(run, "model"))
        .as("the same pictures, the same bits")
        .isEqualTo(PipelineTest.weights(same, "model"));

    Report report =
        EvaluateModel.run(
            CLUSTER.spark(),
            ConfigReader.read(
                EvaluateModel.Settings.class,
                "evaluate",
                null,
                List.of(
                    "input=" + STORE + "/shards",
                    "checkpoint=" + run,
                    "output=" + STORE + "/report")));
    assertThat(report.samples()).isEqualTo(64);
    assertThat(server.objects("report/")).containsOnlyKeys("report.html", "report.json");
  }

  private static void train(String shards, String run) throws Exception {
    TrainModel.run(
        CLUSTER.spark(),
        ConfigReader.read(
            TrainConfig.class,
            "train",
            null,
            PipelineTest.trainSettings(
                run, "input=" + shards, "validation=" + shards, "ranks=2", "epochs=1")));
  }

  private static void shard(String input, String output) throws Exception {
    ShardDataset.run(
        CLUSTER.spark(),
        ConfigReader.read(
            ShardDataset.Settings.class, "shard", null, shardArguments(input, output)));
  }

  private static List<String> shardArguments(String input, String output) {
    return List.of("input=" + input, "output=" + output, "samples-per-block=8", "files=3");
  }

  /** A command line in a process of its own, with the store's address in HADOOP_CONF_DIR. */
  private static Process start(String job, List<String> arguments) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElseThrow());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptions().split(" ")));
    command.add("-Dspark.master=local-cluster[2,1,1024]");
    TestCluster.sparkSettings().forEach(s -> command.add("-D" + s[0] + "=" + s[1]));
    command.add("-cp");
    command.add(server.writeConf(directory.resolve("conf")) + ":" + TestCluster.classPath());
    command.add(Sparkvision.class.getName());
    command.add(job);
    command.addAll(arguments);
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
  }

  private static void assertSameParts(String prefix) throws Exception {
    Map<String, byte[]> expected = new TreeMap<>();
    try (var files = Files.newDirectoryStream(local, "*.parquet")) {
      for (Path file : files) {
        expected.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    }
    assertThat(expected).hasSize(3);
    assertThat(server.objects(prefix)).containsAllEntriesOf(expected);
  }
}
