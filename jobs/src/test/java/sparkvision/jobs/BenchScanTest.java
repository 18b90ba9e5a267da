package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;

class BenchScanTest {

  private static final BenchScan.Settings SMALL =
      new BenchScan.Settings(2, 19, 5, List.of(70), Optional.of(2), 1);

  private static Ended bench(String input, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of("bench", "scan", "channels=20", "states=4", "lengths=[33, 65]", "steps=2"));
    arguments.addAll(List.of(more));
    return Ended.runWith(input, arguments.toArray(String[]::new));
  }

  @Test
  void theEngineHasTheGradientsOfThePlainLoop() {
    BenchScan.Scan scan = new BenchScan.Scan(SMALL, 70);
    SequentialScan loop = scan.loop();
    loop.run();
    try (Engine engine = scan.open(EngineOptions.defaults())) {
      scan.run(engine);
      for (String name : List.of("u", "delta", "a", "b", "c", "d", "z", "bias")) {
        float[] expected = loop.gradient(name);
        float[] found = engine.gradient(name).floats();
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
          difference += Math.pow(found[i] - expected[i], 2);
          norm += Math.pow(expected[i], 2);
        }
        assertThat(norm).as(name).isPositive();
        assertThat(Math.sqrt(difference / norm)).as(name).isLessThan(1e-5);
      }
    }
  }

  @Test
  void everyLengthIsALine() throws Exception {
    Ended ended = bench("");
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(2);
    JsonNode line = JsonMapper.builder().build().readTree(ended.out().get(1));
    assertThat(line.get("length").asInt()).isEqualTo(65);
    assertThat(line.get("all_states_bytes").asLong()).isEqualTo(4L * 2 * 65 * 20 * 4);
    assertThat(line.get("extra_bytes").asLong()).isPositive();
    double seconds = line.get("step_seconds_median").asDouble();
    assertThat(seconds).isPositive();
    assertThat(line.get("share_of_peak").asDouble()).isBetween(0.0, 1.0);
  }

  @Test
  void aHarnessIsAnsweredWheneverItSaysGo() {
    List<String> out = bench("go\ngo\nend\n", "--on-go").out();
    assertThat(out).hasSize(3);
    assertThat(out.get(0)).isEqualTo("ready");
    assertThat(out.get(2)).startsWith("{\"step_seconds_median\":");
  }

  @Test
  void aWrongLengthIsOneSentence() {
    Ended ended = bench("", "lengths=[0]");
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.error())
        .isEqualToIgnoringNewLines("Invalid lengths: [0] (must be a list of whole numbers >= 1)");
  }
}
