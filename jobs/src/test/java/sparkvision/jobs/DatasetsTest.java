package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.fs.FileUtil;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.TestCluster;
import sparkvision.data.Sharding;

/** Samples of the real data sets, which cannot be part of this repository: shard and inspect. */
class DatasetsTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final Path DATA = Path.of("../../shared/data");

  @ParameterizedTest
  @CsvSource({
    "imagenet,      train,      imagenet/ILSVRC,               classification,      120, 1000, 0",
    "imagenet,      val,        imagenet/ILSVRC,               classification,      26,  1000, 0",
    "tiny-imagenet, train,      imagenet/tiny-imagenet-200,    classification,      1000, 20,  0",
    "tiny-imagenet, val,        imagenet/tiny-imagenet-200,    classification,      400, 20,   0",
    "coco,          train,      coco,                          detection,           59,  80,   0",
    "coco,          val,        coco,                          detection,           66,  80,   0",
    "ade20k,        training,   ade20k/ADEChallengeData2016,   segmentation,        3,   150,  0",
    "ade20k,        validation, ade20k/ADEChallengeData2016,   segmentation,        3,   150,  0",
    "ade20k,        training,   ade20k/ADE20K_2021_17_01,      segmentation,        3,   150,  0",
    "volumes,       ,           volumes/Task04_Hippocampus,    volume-segmentation, 130, 3,    0",
  })
  void becomesAShardSetAndAPage(
      String dataset,
      String split,
      String input,
      String task,
      int samples,
      int classes,
      int quarantined)
      throws Exception {
    Path root = DATA.resolve(input).toAbsolutePath().normalize();
    assumeTrue(Files.isDirectory(root), "no ../shared/data beside the checkout");
    String name = root.getFileName() + (split == null ? "" : "-" + split);
    Path output = Path.of("target/test-cluster/datasets", name).toAbsolutePath();
    FileUtil.fullyDelete(output.toFile());
    List<String> settings =
        new ArrayList<>(
            List.of(
                "dataset=" + dataset, "input=" + root, "output=" + output, "samples-per-block=32"));
    if (split != null) {
      settings.add("split=" + split);
    }
    ShardDataset.Settings config =
        ConfigReader.read(ShardDataset.Settings.class, "shard", null, settings);
    Sharding.Estimate estimate = ShardDataset.estimate(CLUSTER.spark(), config);
    assertThat(output).doesNotExist();
    ShardDataset.run(CLUSTER.spark(), config);

    JsonNode found = Inspect.inspect(output.toString());
    assertThat(found.get("task").asText()).isEqualTo(task);
    assertThat(found.get("samples").asInt()).isEqualTo(samples);
    assertThat(estimate.items()).isEqualTo(samples);
    assertThat(found.get("classes").asInt()).isEqualTo(classes);
    assertThat(found.get("quarantined").asInt()).isEqualTo(quarantined);
    String page = Inspect.page(output.toString());
    assertThat(page).contains("data:image/");
    Files.writeString(output.resolveSibling(name + ".html"), page);
  }
}
