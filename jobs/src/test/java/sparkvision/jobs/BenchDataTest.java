package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.data.DataException;
import sparkvision.data.Images;

class BenchDataTest {

  @TempDir Path dir;

  @Test
  void printsOneLineWithEveryStage() throws Exception {
    pictures();
    List<String> out = run("", "images=3", "threads=2");
    assertThat(out).hasSize(1);
    JsonNode line = JsonMapper.builder().build().readTree(out.get(0));
    assertThat(line.get("images").asInt()).isEqualTo(3);
    for (String stage :
        List.of("decode", "decode_resize", "decode_crop", "policy", "decode_crop_policy")) {
      assertThat(line.get(stage + "_per_second").asDouble()).as(stage).isPositive();
    }
  }

  @Test
  void answersAHarness() throws Exception {
    pictures();
    List<String> out = runOnGo("go\ngo\nend\n");
    assertThat(out).hasSize(3);
    assertThat(out.get(0)).isEqualTo("ready");
    JsonNode line = JsonMapper.builder().build().readTree(out.get(2));
    assertThat(line.get("step_seconds_median").asDouble()).isPositive();
  }

  @Test
  void saysWhatIsWrongWithTheInput() throws Exception {
    assertThatThrownBy(() -> new BenchData().run(settings()))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot time images of " + dir + ": there are none");
    Files.write(dir.resolve("broken.png"), new byte[] {1, 2, 3});
    assertThatThrownBy(() -> new BenchData().run(settings()))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("broken.png: neither JPEG nor PNG");
  }

  private void pictures() throws Exception {
    for (int i = 0; i < 4; i++) {
      byte[] pixels = new byte[40 * 30 * 3];
      pixels[i] = 99;
      Files.write(dir.resolve(i + ".png"), Images.encodePng(new Images.Picture(40, 30, 3, pixels)));
    }
  }

  private BenchData.Settings settings(String... more) {
    List<String> settings =
        new ArrayList<>(List.of("input=" + dir, "size=16", "resize=20", "rounds=1"));
    settings.addAll(List.of(more));
    return ConfigReader.read(BenchData.Settings.class, "bench data", null, settings);
  }

  private List<String> run(String input, String... more) throws Exception {
    return captured(input, () -> new BenchData().run(settings(more)));
  }

  private List<String> runOnGo(String input) throws Exception {
    return captured(
        input,
        () ->
            assertThat(
                    Sparkvision.run(
                        "bench", "data", "--on-go", "input=" + dir, "size=16", "resize=20"))
                .isZero());
  }

  private interface Work {
    void run() throws Exception;
  }

  private static List<String> captured(String input, Work work) throws Exception {
    PrintStream console = System.out;
    InputStream keyboard = System.in;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
    try {
      work.run();
    } finally {
      System.setOut(console);
      System.setIn(keyboard);
    }
    return out.toString(StandardCharsets.UTF_8).lines().toList();
  }
}
