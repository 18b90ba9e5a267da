package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.StreamSupport;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileUtil;
import org.apache.hadoop.fs.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;

/** Two executor processes, a real HDFS: what preflight says of them. */
class PreflightTrainingTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final String SHARDS = CLUSTER.hdfs("/shards/preflight");

  @BeforeAll
  static void shardTheImages() throws Exception {
    shard(SHARDS);
  }

  /** 64 grey pictures in four blocks. */
  static void shard(String output) throws Exception {
    ShardDataset.run(
        CLUSTER.spark(),
        ConfigReader.read(
            ShardDataset.Settings.class,
            "shard",
            null,
            List.of("input=" + CLUSTER.images("val"), "output=" + output, "samples-per-block=16")));
  }

  static List<String> settings(String shards, String output, String... more) {
    List<String> settings =
        new ArrayList<>(
            List.of(
                "input=" + shards,
                "output=" + output,
                "model={name=densenet, spatial-dims=2, in-channels=1, growth-rate=6, blocks=[2, 2],"
                    + " init-features=12, bottleneck=4, dropout=0}",
                "images.size=28",
                "images.resize=0",
                "batch-size=16",
                "ranks=2",
                "timeout-seconds=60"));
    settings.addAll(Arrays.asList(more));
    return settings;
  }

  private static Ended preflight(String output, String... more) {
    List<String> line = new ArrayList<>(settings(SHARDS, CLUSTER.hdfs(output), more));
    line.add(0, "preflight");
    return Ended.run(line.toArray(String[]::new));
  }

  static JsonNode check(JsonNode result, String name) {
    return StreamSupport.stream(result.get("checks").spliterator(), false)
        .filter(check -> check.get("name").asText().equals(name))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void aClusterThatFitsPassesAndKeepsItsOutputClean() throws Exception {
    String output = "/runs/preflight/first";
    Ended ended = preflight(output, "--json", "validation=" + SHARDS, "sync.every=1");

    assertThat(ended.code()).as(ended.error()).isEqualTo(0);
    JsonNode result = JsonMapper.builder().build().readTree(ended.out().get(0));
    assertThat(result.get("passed").asBoolean()).isTrue();
    assertThat(result.get("checks").findValuesAsText("name"))
        .containsExactly(
            "slots",
            "java",
            "natives",
            "gpus",
            "network",
            "output",
            "shards",
            "step",
            "memory",
            "exchange");
    assertThat(result.get("checks").findValuesAsText("status")).doesNotContain("FAILED");
    assertThat(check(result, "network").get("found").asText())
        .startsWith("all 4 ways between slots open");
    assertThat(check(result, "exchange").get("found").asText()).contains("between 2 ranks");
    assertThat(result.get("slots").findValuesAsText("executor"))
        .as("the names of two executors, of which others may have gone before")
        .hasSize(2)
        .doesNotHaveDuplicates();
    for (JsonNode slot : result.get("slots")) {
      assertThat(slot.get("heap-bytes").asLong()).isBetween(900L << 20, 1024L << 20);
      assertThat(slot.get("threads").asInt()).isEqualTo(1);
      assertThat(slot.get("step-seconds").asDouble()).isPositive();
    }
    assertThat(CLUSTER.files().exists(new Path("/runs/preflight")))
        .as("what it made is gone, parents included")
        .isFalse();
  }

  @Test
  void anOutputThatIsInUseStaysAsItIs() throws Exception {
    Path output = new Path("/runs/preflight-used");
    CLUSTER.files().mkdirs(new Path(output, "checkpoints"));

    Ended ended = preflight(output.toString());

    assertThat(ended.code()).as(ended.error()).isEqualTo(0);
    assertThat(ended.out().get(0)).startsWith("slots");
    assertThat(CLUSTER.files().listStatus(output))
        .extracting(status -> status.getPath().getName())
        .containsExactly("checkpoints");
  }

  @Test
  void moreRanksThanSlotsFail() {
    Ended ended = preflight("/runs/none", "ranks=3", "timeout-seconds=1");
    assertThat(ended.code()).isEqualTo(3);
    assertThat(line(ended, "slots")).hasValueSatisfying(l -> assertThat(l).contains("failed"));
    assertThat(ended.error()).contains("Cannot train here: slots: 2 for 3 ranks", "ranks=2");
  }

  @Test
  void anOutputBelowAFileFails() throws Exception {
    CLUSTER.files().create(new Path("/in-the-way")).close();
    Ended ended = preflight("/in-the-way/run");
    assertThat(ended.code()).isEqualTo(3);
    assertThat(ended.error()).startsWith("Cannot train here: output: ").contains("/in-the-way");
  }

  @Test
  void aDamagedBlockFailsTheShardsAndNamesTheFile() throws Exception {
    String copy = "/shards/preflight-damaged";
    FileUtil.copy(
        CLUSTER.files(),
        new Path("/shards/preflight"),
        CLUSTER.files(),
        new Path(copy),
        false,
        CLUSTER.files().getConf());
    Path file =
        Arrays.stream(CLUSTER.files().listStatus(new Path(copy)))
            .map(FileStatus::getPath)
            .filter(path -> path.getName().endsWith(".parquet"))
            .findFirst()
            .orElseThrow();
    byte[] bytes = CLUSTER.files().open(file).readAllBytes();
    bytes[bytes.length / 3] ^= 1;
    try (var out = CLUSTER.files().create(file, true)) {
      out.write(bytes);
    }

    Ended ended = preflight("/runs/none", "input=" + CLUSTER.hdfs(copy));

    assertThat(ended.code()).isEqualTo(3);
    assertThat(line(ended, "shards")).hasValueSatisfying(l -> assertThat(l).contains("failed"));
    assertThat(ended.error()).contains(file.getName(), "executor");
  }

  /** Executors may hold 1 GB of tensors. */
  @Test
  void aBatchThatDoesNotFitFailsTheStepAndSaysWhatWould() {
    Ended ended = preflight("/runs/none", "images.size=768", "batch-size=32");
    assertThat(ended.code()).isEqualTo(3);
    assertThat(line(ended, "step")).hasValueSatisfying(l -> assertThat(l).contains("failed"));
    assertThat(ended.error()).contains("memory=lean");
  }

  private static Optional<String> line(Ended ended, String check) {
    return ended.out().stream().filter(l -> l.startsWith(check + " ")).findFirst();
  }
}
