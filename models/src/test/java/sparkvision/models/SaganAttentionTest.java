package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SaganAttentionTest {

  private static final int WIDTH = 6;

  private static Trial trial() {
    return new Trial(
        "name = block/sagan-attention-pooled, channels = 16", new long[] {2, 16, 4, WIDTH});
  }

  @Test
  void matchesNaiveLoops() {
    Trial trial = trial();
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] q = trial.pixelwise("theta", x);
      double[][] k = Trial.maxPool(trial.pixelwise("phi", x), WIDTH);
      double[][] v = Trial.maxPool(trial.pixelwise("g", x), WIDTH);
      double[][] y = trial.pixelwise("attn", Trial.attention(q, k, v, 1));
      expected.add(Trial.sum(trial.vector("sigma_ratio")[0], y, x));
    }
    trial.matches(0, expected);
  }

  @Test
  void startsAsTheIdentity() {
    Trial trial = trial().asItStarts();
    trial.matches(0, trial.images(0));
  }

  @ParameterizedTest
  @CsvSource({"256, 81921", "128, 20481"})
  void hasThePublishedNumberOfParameters(long channels, long parameters) {
    assertThat(
            new Trial(
                    "name = block/sagan-attention-pooled, channels = " + channels,
                    new long[] {1, channels, 2, 2})
                .parameters())
        .isEqualTo(parameters);
  }
}
