package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.JobException;
import sparkvision.JobException.Exit;

class GradientSharingTest {

  private static SparkConf withPort() {
    return new SparkConf(false).set(GradientSharing.PORT, "40123");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"spark.authenticate", "spark.network.crypto.enabled", "spark.ssl.enabled"})
  void whereTrafficIsToBeSecretItIsRefused(String key) {
    assertThatThrownBy(() -> GradientSharing.requireOpen(withPort().set(key, "true")))
        .isInstanceOf(JobException.class)
        .hasMessage(
            "Cannot train with mode=parameter-server: %s=true, and its updates go over plain UDP,"
                + " which nothing protects (use mode=averaging)",
            key)
        .extracting(e -> ((JobException) e).exit())
        .isEqualTo(Exit.PREFLIGHT);
  }

  @Test
  void withoutAPortItIsRefused() {
    assertThatThrownBy(() -> GradientSharing.requireOpen(new SparkConf(false)))
        .isInstanceOf(JobException.class)
        .hasMessageContaining("spark.sparkvision.parameter-server.port is not set to a port");
    assertThatCode(() -> GradientSharing.requireOpen(withPort())).doesNotThrowAnyException();
  }

  @Test
  void trafficSaysHowMuchSmallerItIs() {
    GradientSharing.Traffic one = new GradientSharing.Traffic(10, 8, 1_000_000, 7);
    // 20 updates of a million numbers are 80 MB.
    assertThat(one.plus(one).sentence(30, 40, 1_000_000))
        .isEqualTo(
            "Steps 31 to 40: 16 of 20 updates had something to send, 2.00 MB, 40 times smaller than"
                + " float32; 14 were received");
  }
}
