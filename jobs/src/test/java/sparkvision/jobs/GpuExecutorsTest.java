package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.TestCluster;

/** Real executors with GPUs that only their discovery script has seen. */
class GpuExecutorsTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final String SHARDS = CLUSTER.hdfs("/shards/gpus");

  @TempDir private Path directory;

  @BeforeAll
  static void shardTheImages() throws Exception {
    PreflightTrainingTest.shard(SHARDS);
  }

  /** Both workers run on this machine, so the script gives each GPU away once. */
  @Test
  void everyRankSeesTheGpuThatSparkGaveItAndNoOther() throws Exception {
    Path script = directory.resolve("one-gpu-each");
    Files.writeString(
        script,
        """
        #!/bin/sh
        for gpu in 3 5; do
          if mkdir "$(dirname "$0")/taken-$gpu" 2> /dev/null; then
            echo "{\\"name\\": \\"gpu\\", \\"addresses\\": [\\"$gpu\\"]}"
            exit
          fi
        done
        """);
    Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));

    JsonNode result = preflight(script, "local-cluster[2,1,1024]", 1);

    assertThat(result.get("passed").asBoolean()).as(result.toString()).isTrue();
    List<String> addresses = new ArrayList<>();
    for (JsonNode slot : result.get("slots")) {
      assertThat(slot.get("gpus")).hasSize(1);
      String address = slot.get("gpus").get(0).asText();
      assertThat(slot.get("cuda-visible-devices").asText()).isEqualTo(address);
      addresses.add(address);
    }
    assertThat(addresses).containsExactlyInAnyOrder("3", "5");
  }

  @Test
  void anExecutorWithTwoGpusIsRefused() throws Exception {
    Path script = directory.resolve("two-gpus");
    Files.writeString(
        script, "#!/bin/sh\necho '{\"name\": \"gpu\", \"addresses\": [\"0\", \"1\"]}'\n");
    Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));

    JsonNode result = preflight(script, "local-cluster[1,2,1024]", 2);

    assertThat(result.get("passed").asBoolean()).isFalse();
    JsonNode gpus = PreflightTrainingTest.check(result, "gpus");
    assertThat(gpus.get("status").asText()).isEqualTo("FAILED");
    assertThat(gpus.get("found").asText()).contains("the executor's process has GPU");
    assertThat(gpus.get("advice").asText()).contains("spark.executor.resource.gpu.amount=1");
  }

  private JsonNode preflight(Path script, String master, int gpus) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElseThrow());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptions().split(" ")));
    TestCluster.sparkSettings().forEach(s -> command.add("-D" + s[0] + "=" + s[1]));
    command.add("-Dspark.master=" + master);
    for (String holder : List.of("worker", "executor")) {
      command.add("-Dspark." + holder + ".resource.gpu.amount=" + gpus);
      command.add("-Dspark." + holder + ".resource.gpu.discoveryScript=" + script);
    }
    command.add("-Dspark.task.resource.gpu.amount=1");
    command.addAll(List.of("-cp", TestCluster.classPath(), Sparkvision.class.getName()));
    command.add("preflight");
    command.add("--json");
    command.addAll(
        PreflightTrainingTest.settings(SHARDS, CLUSTER.hdfs("/runs/gpus"), "batch-size=4"));
    Path out = directory.resolve("out");
    Process driver =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      assertThat(driver.waitFor(2, TimeUnit.MINUTES)).isTrue();
    } finally {
      driver.destroyForcibly();
    }
    String line =
        Files.readAllLines(out, StandardCharsets.UTF_8).stream()
            .filter(l -> l.startsWith("{"))
            .findFirst()
            .orElseThrow();
    return JsonMapper.builder().build().readTree(line);
  }
}
