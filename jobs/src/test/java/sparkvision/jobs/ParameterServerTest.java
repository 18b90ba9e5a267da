package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.train.RunState;

/** Two executor processes that share updates over Aeron. */
class ParameterServerTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final String SHARDS = CLUSTER.hdfs("/shards/parameter-server");
  private static final String RUN = CLUSTER.hdfs("/runs/parameter-server");
  private static final Pattern TRAFFIC =
      Pattern.compile(
          "Steps (\\d+) to (\\d+): (\\d+) of (\\d+) updates had something to send, .* MB,"
              + " (\\d+) times smaller than float32; (\\d+) were received");

  @BeforeAll
  static void shardTheImages() throws Exception {
    PreflightTrainingTest.shard(SHARDS);
  }

  private static Ended train(String... settings) {
    List<String> line =
        PreflightTrainingTest.settings(
            SHARDS,
            RUN,
            "validation=" + SHARDS,
            "mode=parameter-server",
            "batch-size=8",
            "sync.every=100",
            "learning-rate.base=0.05",
            "images.flip-probability=0");
    line.add(0, "train");
    line.addAll(List.of(settings));
    return Ended.run(line.toArray(String[]::new));
  }

  @Test
  void ranksSendAndReceiveUpdatesAndLearn() throws Exception {
    Ended first = train("epochs=6");
    assertThat(first.code()).as(first.error()).isZero();
    // 64 images of two ranks: 4 steps an epoch.
    Matcher traffic = TRAFFIC.matcher(first.error());
    assertThat(traffic.find()).as(first.error()).isTrue();
    assertThat(traffic.group(1)).isEqualTo("1");
    assertThat(traffic.group(2)).isEqualTo("4");
    assertThat(traffic.group(4)).isEqualTo("8");
    assertThat(Integer.parseInt(traffic.group(3))).isBetween(4, 8);
    assertThat(Integer.parseInt(traffic.group(6))).isBetween(1, 8);

    assertThat(Thread.getAllStackTraces().keySet())
        .extracting(Thread::getName)
        .as("threads behind the run")
        .noneMatch(name -> name.startsWith("MessagesExecutorService") || name.contains("aeron"));

    Ended second = train("epochs=20");
    assertThat(second.code()).as(second.error()).isZero();
    assertThat(second.error()).contains("Resuming from").contains("Steps 25 to 28:");
    Checkpoint newest =
        new CheckpointStore(CLUSTER.files(), new Path(RUN)).newest(skipped -> {}).orElseThrow();
    RunState state = newest.state(RunState.class);
    assertThat(state.step()).isEqualTo(80);
    // Four classes; the network sees them 20 times.
    assertThat(state.history().epochs().get(19).validationScore()).isGreaterThan(0.5);
  }
}
