package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BenchCheckpointTest {

  @TempDir private Path directory;

  @Test
  void writesAWholeCheckpointAndLeavesNothing() throws Exception {
    Ended ended =
        Ended.run(
            "bench",
            "checkpoint",
            "model={name=vit, image-size=32, patch-size=16, dim=48, depth=1, heads=3, mlp-ratio=4,"
                + " classes=10}",
            "image=32",
            "batch=2",
            "every-seconds=1",
            "output=" + directory);
    assertThat(ended.code()).as(ended.error()).isZero();
    JsonNode line = JsonMapper.builder().build().readTree(ended.out().get(0));
    long parameters = 48 * 3 * 256 + 48 + 48 + 5 * 48; // patches and positions alone
    assertThat(line.get("checkpoint_bytes").asLong())
        .as("weights and two moments")
        .isGreaterThan(3 * 4 * parameters);
    assertThat(line.get("copy_seconds").asDouble()).isPositive();
    assertThat(line.get("write_seconds").asDouble()).isPositive();
    assertThat(line.get("steps_per_second_with").asDouble()).isPositive();
    try (var left = Files.list(directory)) {
      assertThat(left).isEmpty();
    }
  }
}
