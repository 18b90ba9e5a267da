package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SpatialReductionAttentionTest {

  private static final int WIDTH = 5;

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void matchesNaiveLoops(int ratio) {
    Trial trial =
        new Trial(
            "name = block/spatial-reduction, dim = 6, heads = 2, height = 4, width = 5, sr-ratio = "
                + ratio,
            new long[] {2, 20, 6});
    trial.matches(
        0, trial.images(0).stream().map(tokens -> attended(trial, "", tokens, ratio)).toList());
  }

  /** Of 4 x 5 tokens of 6 channels, with two heads. */
  static double[][] attended(Trial trial, String prefix, double[][] tokens, int ratio) {
    double[][] x = Trial.transposed(tokens); // [channel][token]
    double[][] q = trial.pixelwise(prefix + "q", x);
    double[][] kept = x;
    if (ratio > 1) {
      kept = trial.conv(prefix + "sr", x, WIDTH, ratio, ratio, 0);
      kept = trial.layerNorm(prefix + "norm", kept, 1e-5);
    }
    double[][] kv = trial.pixelwise(prefix + "kv", kept);
    double[][] y = new double[6][];
    for (int head = 0; head < 2; head++) {
      double[][] part =
          Trial.attention(
              Trial.rows(q, 3 * head, 3),
              Trial.rows(kv, 3 * head, 3),
              Trial.rows(kv, 6 + 3 * head, 3),
              1 / Math.sqrt(3));
      System.arraycopy(part, 0, y, 3 * head, 3);
    }
    return Trial.transposed(trial.pixelwise(prefix + "proj", y));
  }

  @Test
  void refusesHeadsThatDoNotDivideItsChannels() {
    assertThatThrownBy(
            () ->
                new Trial(
                    "name = block/spatial-reduction, dim = 6, heads = 4, height = 1, width = 1,"
                        + " sr-ratio = 1",
                    new long[] {1, 1, 6}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot build attention: 4 heads must divide its 6 channels");
  }
}
