package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.JobException.Exit;
import sparkvision.data.Images;

class BenchDataTest {

  @TempDir Path dir;

  @Test
  void printsOneLineWithEveryStage() throws Exception {
    pictures();
    Ended ended = bench("", "images=3", "threads=2");
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(1);
    JsonNode line = JsonMapper.builder().build().readTree(ended.out().get(0));
    assertThat(line.get("images").asInt()).isEqualTo(3);
    for (String stage :
        List.of("decode", "decode_resize", "decode_crop", "policy", "decode_crop_policy")) {
      assertThat(line.get(stage + "_per_second").asDouble()).as(stage).isPositive();
    }
  }

  @Test
  void answersAHarness() throws Exception {
    pictures();
    List<String> out = bench("go\ngo\nend\n", "--on-go").out();
    assertThat(out).hasSize(3);
    assertThat(out.get(0)).isEqualTo("ready");
    JsonNode line = JsonMapper.builder().build().readTree(out.get(2));
    assertThat(line.get("step_seconds_median").asDouble()).isPositive();
  }

  @Test
  void saysWhatIsWrongWithTheInput() throws Exception {
    Ended empty = bench("");
    assertThat(empty.code()).isEqualTo(Exit.DATA.code());
    assertThat(empty.error()).contains("Cannot time images of " + dir + ": there are none");
    Files.write(dir.resolve("broken.png"), new byte[] {1, 2, 3});
    assertThat(bench("").error()).contains("broken.png: neither JPEG nor PNG");
  }

  private void pictures() throws Exception {
    for (int i = 0; i < 4; i++) {
      byte[] pixels = new byte[40 * 30 * 3];
      pixels[i] = 99;
      Files.write(dir.resolve(i + ".png"), Images.encodePng(new Images.Picture(40, 30, 3, pixels)));
    }
  }

  private Ended bench(String input, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of("bench", "data", "input=" + dir, "size=16", "resize=20", "rounds=1"));
    arguments.addAll(List.of(more));
    return Ended.runWith(input, arguments.toArray(String[]::new));
  }
}
