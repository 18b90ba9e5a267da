package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.OutputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** {@code train init=FILE}: what a run starts from, on executors of a real cluster. */
class StartingWeightsTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final String FIRST = "features.conv0.weight";

  @BeforeAll
  static void shardTheImages() throws Exception {
    ShardDataset.run(CLUSTER.spark(), PipelineTest.shardSettings("train"));
  }

  /** One epoch with steps too small to move anything. */
  private static Ended train(String run, String... settings) {
    List<String> arguments = new ArrayList<>(List.of("train"));
    arguments.addAll(PipelineTest.trainSettings(CLUSTER.hdfs(run)));
    arguments.addAll(
        List.of("ranks=2", "epochs=1", "learning-rate.base=1e-12", "optimizer.weight-decay=0"));
    arguments.addAll(List.of(settings));
    return Ended.run(arguments.toArray(String[]::new));
  }

  private static Map<String, HostTensor> weights(String run) throws Exception {
    Path directory = new Path(CLUSTER.hdfs(run));
    Checkpoint newest = new CheckpointStore(CLUSTER.files(), directory).newest(n -> {}).get();
    return Checkpoint.read(CLUSTER.files(), newest.model());
  }

  private static String write(String name, Map<String, HostTensor> tensors) throws Exception {
    Path file = new Path(CLUSTER.hdfs(name));
    try (OutputStream out = CLUSTER.files().create(file)) {
      Safetensors.write(out, tensors, Map.of());
    }
    return file.toString();
  }

  @Test
  void aRunStartsFromWhatFits() throws Exception {
    assertThat(train("/runs/origin", "seed=5").code()).isZero();
    Map<String, HostTensor> origin = weights("/runs/origin");

    Map<String, HostTensor> given = new LinkedHashMap<>();
    origin.forEach((name, tensor) -> given.put("module." + name, tensor));
    given.put("module.classifier.weight", HostTensor.of(new float[7], 7, 1)); // other classes
    given.remove("module.classifier.bias");
    String file = write("/weights/other.safetensors", given);
    Ended ended = train("/runs/started", "seed=6", "init=" + file);
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.error())
        .contains("Starting from " + file + ": ")
        .contains("(without module.); anew: 2 of the head, 0 others; unused: 0");
    Map<String, HostTensor> started = weights("/runs/started");
    assertThat(started.get(FIRST).floats())
        .containsExactly(origin.get(FIRST).floats(), within(1e-6f));
    assertThat(started.get("classifier.weight").floats())
        .isNotEqualTo(origin.get("classifier.weight").floats());

    // The same command once more finds its checkpoint and does not look for the file.
    CLUSTER.files().delete(new Path(file), false);
    Ended again = train("/runs/started", "seed=6", "init=" + file);
    assertThat(again.code()).as(again.error()).isZero();
    assertThat(again.error()).contains("Resuming from ").doesNotContain("Starting from");
  }

  @Test
  void whatDoesNotFitIsRefused() throws Exception {
    String wrong =
        write("/weights/wrong.safetensors", Map.of(FIRST, HostTensor.of(new float[4], 4, 1, 1, 1)));
    expectRefused(wrong, "its features.conv0.weight is [4, 1, 1, 1], must be [");
    String other =
        write("/weights/none.safetensors", Map.of("blocks.0", HostTensor.of(new float[4], 4)));
    expectRefused(other, "it has nothing for densenet");
    expectRefused(CLUSTER.hdfs("/weights/absent.safetensors"), "there is no such file");
  }

  private static void expectRefused(String file, String sentence) throws Exception {
    Ended ended = train("/runs/refused", "init=" + file);
    assertThat(ended.error()).contains("Cannot start from " + file).contains(sentence);
    assertThat(ended.code()).isEqualTo(4);
    assertThat(CLUSTER.files().exists(new Path("/runs/refused/checkpoints"))).isFalse();
  }
}
