package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.SlowCluster;
import sparkvision.TestCluster;
import sparkvision.data.Sample;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;

/** Tasks that Spark starts a second time because they are slow, on executor processes. */
class SpeculationTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  @TempDir private Path directory;

  @Test
  void slowTasksRunTwiceAndNothingIsLostOrDoubled() throws Exception {
    String slow = directory.resolve("slow").toString();
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElseThrow());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptions().split(" ")));
    TestCluster.sparkSettings().forEach(s -> command.add("-D" + s[0] + "=" + s[1]));
    command.addAll(
        List.of(
            "-cp",
            TestCluster.classPath(),
            SlowCluster.class.getName(),
            directory.toString(),
            CLUSTER.images("val").toString(),
            slow));
    Path counts = directory.resolve("counts");
    Path log = directory.resolve("log");
    Process driver =
        new ProcessBuilder(command)
            .redirectOutput(counts.toFile())
            .redirectError(log.toFile())
            .start();
    assertThat(driver.waitFor()).as(() -> text(log)).isZero();
    assertThat(text(counts))
        .as("in both passes a task was started a second time, and came first")
        .containsPattern("probe: [1-9]\\d* speculative")
        .containsPattern("write: [1-9]\\d* speculative");

    String calm = directory.resolve("calm").toString();
    ShardDataset.run(
        CLUSTER.spark(),
        ConfigReader.read(
            ShardDataset.Settings.class,
            "shard",
            null,
            List.of(
                "input=" + CLUSTER.images("val"),
                "output=" + calm,
                "samples-per-block=8",
                "files=8")));
    ShardSet shards = ShardSet.open(new Configuration(), slow);
    shards.verify();
    ShardManifest expected = ShardSet.open(new Configuration(), calm).manifest();
    assertThat(shards.manifest().files()).isEqualTo(expected.files());
    Set<String> ids = new HashSet<>();
    for (int block = 0; block < shards.blocks(); block++) {
      for (Sample sample : shards.read(block)) {
        assertThat(ids.add(sample.id())).as(sample.id()).isTrue();
      }
    }
    assertThat(ids).hasSize(64);
    try (var left = Files.list(directory.resolve("slow"))) {
      assertThat(left.map(file -> file.getFileName().toString()))
          .as("nothing of the attempts that came second")
          .allMatch(name -> name.matches("part-\\d+\\.parquet|_manifest\\.json"));
    }
  }

  private static String text(Path file) {
    try {
      return Files.readString(file);
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
