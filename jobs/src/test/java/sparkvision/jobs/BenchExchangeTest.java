package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;

/** Two executor processes. */
class BenchExchangeTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static JsonNode json(String line) throws Exception {
    return JsonMapper.builder().build().readTree(line);
  }

  @Test
  void weightsGoAroundTheDriverOrThroughIt() throws Exception {
    Ended ended =
        Ended.run(
            "bench", "exchange", "--json", "ranks=[2]", "parameters=[3000, 300000]", "rounds=2");
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(4);
    JsonNode direct = json(ended.out().get(2));
    assertThat(direct.get("exchange").asText()).isEqualTo("direct");
    assertThat(direct.get("driver_bytes").asLong()).isBetween(100L, 10_000L);
    // Each of two sends the other's half, and its own mean: twice half the vector and headers.
    assertThat(direct.get("rank_bytes").asDouble()).isBetween(2.4e6, 2.41e6);
    JsonNode driver = json(ended.out().get(3));
    assertThat(driver.get("exchange").asText()).isEqualTo("driver");
    assertThat(driver.get("driver_bytes").asDouble()).isBetween(4.8e6, 4.81e6);
    assertThat(driver.get("rank_bytes").asLong()).isZero();
    assertThat(driver.get("round_seconds_median").asDouble()).isPositive();
  }

  @Test
  void aClusterIsComputedWithoutExecutors() throws Exception {
    Ended ended =
        Ended.run(
            "bench",
            "exchange",
            "--model",
            "parameters=[25000000]",
            "model.gigabits=[8]",
            "model.ranks=[4]",
            "model.every=4",
            "model.step-seconds=0.525",
            "model.round-trip-micros=0",
            "model.rank-nanos-per-byte=0.1",
            "model.message-micros=0",
            "model.driver-nanos-per-byte=0.1");
    assertThat(ended.code()).as(ended.error()).isZero();
    // 100 MB on 1 GB/s: 0.15 s direct, 0.8 s through the driver, with 2.1 s of steps.
    assertThat(ended.out())
        .anyMatch(line -> line.matches(" +8 +25000000 +4 +0\\.1500 +6\\.7 % +0\\.800 +27\\.6 %"))
        .contains(
            "8 Gbit/s, 25000000 parameters: exchange=direct pays with any number of ranks",
            "8 Gbit/s, 25000000 parameters: exchange=driver stops paying at 11 ranks: a round takes"
                + " longer than its steps");
  }

  @Test
  void aWrongListIsOneSentence() {
    Ended ended = Ended.run("bench", "exchange", "--model", "ranks=[1]");
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.error())
        .isEqualToIgnoringNewLines("Invalid ranks: [1] (must be a list of whole numbers >= 2)");
  }
}
