package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EfficientAttentionTest {

  /** In the order that makes the N x N map, whose rows sum to one. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void equalsTheProductThatMakesTheMapFirst(int heads) {
    Trial trial =
        new Trial(
            "name = block/efficient, channels = 5, key-channels = 4, value-channels = 6, heads = "
                + heads,
            new long[] {2, 5, 3, 4});
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] k = trial.pixelwise("keys", x);
      double[][] q = trial.pixelwise("queries", x);
      double[][] v = trial.pixelwise("values", x);
      double[][] y = new double[6][];
      for (int head = 0; head < heads; head++) {
        double[][] part =
            mapFirst(
                softmax(Trial.rows(k, head * 4 / heads, 4 / heads)),
                Trial.transposed(
                    softmax(Trial.transposed(Trial.rows(q, head * 4 / heads, 4 / heads)))),
                Trial.rows(v, head * 6 / heads, 6 / heads));
        System.arraycopy(part, 0, y, head * 6 / heads, part.length);
      }
      expected.add(Trial.sum(1, trial.pixelwise("reprojection", y), x));
    }
    trial.matches(0, expected);
  }

  private static double[][] mapFirst(double[][] k, double[][] q, double[][] v) {
    double[][] y = new double[v.length][k[0].length];
    for (int n = 0; n < k[0].length; n++) {
      double sum = 0;
      for (int m = 0; m < k[0].length; m++) {
        double weight = 0;
        for (int d = 0; d < k.length; d++) {
          weight += q[d][n] * k[d][m];
        }
        for (int e = 0; e < v.length; e++) {
          y[e][n] += weight * v[e][m];
        }
        sum += weight;
      }
      assertThat(sum).isCloseTo(1, within(1e-12));
    }
    return y;
  }

  /** Along rows. */
  private static double[][] softmax(double[][] x) {
    double[][] y = new double[x.length][x[0].length];
    for (int row = 0; row < x.length; row++) {
      double sum = Arrays.stream(x[row]).map(Math::exp).sum();
      for (int n = 0; n < x[row].length; n++) {
        y[row][n] = Math.exp(x[row][n]) / sum;
      }
    }
    return y;
  }

  @Test
  void hasThePublishedNumberOfParameters() {
    Trial trial =
        new Trial(
            "name = block/efficient, channels = 512, key-channels = 256, value-channels = 256,"
                + " heads = 1",
            new long[] {1, 512, 1, 1});
    assertThat(trial.parameters()).isEqualTo(525_568);
  }

  @Test
  void refusesHeadsThatDoNotDivideItsChannels() {
    assertThatThrownBy(
            () ->
                new Trial(
                    "name = block/efficient, channels = 5, key-channels = 4, value-channels = 6,"
                        + " heads = 4",
                    new long[] {1, 5, 1, 1}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build efficient attention: 4 heads must divide its 4 key and 6 value"
                + " channels");
  }
}
