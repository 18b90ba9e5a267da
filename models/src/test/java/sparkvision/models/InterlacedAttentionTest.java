package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class InterlacedAttentionTest {

  /** Tells which group a pixel of the padded map belongs to. */
  @FunctionalInterface
  private interface Groups {
    int of(int row, int column);
  }

  @ParameterizedTest
  @CsvSource({"6, 8, 3, 4", "5, 7, 3, 4", "4, 5, 2, 2", "3, 4, 1, 1", "3, 4, 3, 4", "2, 3, 4, 5"})
  void matchesNaiveLoops(int height, int width, int windowHeight, int windowWidth) {
    Trial trial = trial(height, width, windowHeight, windowWidth);
    int rows = (height + windowHeight - 1) / windowHeight * windowHeight;
    int columns = (width + windowWidth - 1) / windowWidth * windowWidth;
    int top = (rows - height) / 2;
    int left = (columns - width) / 2;
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] padded = new double[x.length][rows * columns];
      for (int c = 0; c < x.length; c++) {
        for (int n = 0; n < x[c].length; n++) {
          padded[c][(n / width + top) * columns + n % width + left] = x[c][n];
        }
      }
      double[][] y =
          attended(
              trial,
              "long_range_sa",
              padded,
              columns,
              (row, column) -> row % windowHeight * windowWidth + column % windowWidth);
      y =
          attended(
              trial,
              "short_range_sa",
              y,
              columns,
              (row, column) -> row / windowHeight * columns + column / windowWidth);
      double[][] cropped = new double[y.length][x[0].length];
      for (int c = 0; c < y.length; c++) {
        for (int n = 0; n < cropped[c].length; n++) {
          cropped[c][n] = y[c][(n / width + top) * columns + n % width + left];
        }
      }
      expected.add(cropped);
    }
    trial.matches(0, expected);
  }

  private static Trial trial(int height, int width, int windowHeight, int windowWidth) {
    return new Trial(
        String.format(
            "name = block/interlaced, channels = 4, key-channels = 3, value-channels = 5,"
                + " out-channels = 2, down-factor = [%d, %d]",
            windowHeight, windowWidth),
        new long[] {2, 4, height, width});
  }

  private static double[][] attended(
      Trial trial, String block, double[][] x, int columns, Groups groups) {
    double[][] q = twice(trial, block + ".f_query.", x);
    double[][] k = twice(trial, block + ".f_key.", x);
    double[][] v = trial.pixelwise(block + ".f_value", x);
    double[][] y =
        Trial.attention(
            q,
            k,
            v,
            1 / Math.sqrt(3),
            (n, m) -> groups.of(n / columns, n % columns) == groups.of(m / columns, m % columns));
    return layer(trial, block + ".W.0", block + ".W.1.0", y);
  }

  private static double[][] twice(Trial trial, String prefix, double[][] x) {
    double[][] y = layer(trial, prefix + "0", prefix + "1.0", x);
    return layer(trial, prefix + "2", prefix + "3.0", y);
  }

  private static double[][] layer(Trial trial, String conv, String norm, double[][] x) {
    return Trial.relu(trial.norm(norm, trial.pixelwise(conv, x)));
  }

  /** With windows of one pixel each pixel is alone in the second step: it reads its own value. */
  @Test
  void isFullAttentionAndAPointwiseLayerIfWindowsAreSinglePixels() {
    Trial trial = trial(3, 4, 1, 1);
    trial.matches(
        0,
        trial.images(0).stream()
            .map(x -> pointwise(trial, "short_range_sa", full(trial, "long_range_sa", x)))
            .toList());
  }

  @Test
  void isTheOtherWayRoundIfOneWindowIsTheWholeMap() {
    Trial trial = trial(3, 4, 3, 4);
    trial.matches(
        0,
        trial.images(0).stream()
            .map(x -> full(trial, "short_range_sa", pointwise(trial, "long_range_sa", x)))
            .toList());
  }

  private static double[][] full(Trial trial, String block, double[][] x) {
    return attended(trial, block, x, 1, (row, column) -> 0);
  }

  private static double[][] pointwise(Trial trial, String block, double[][] x) {
    double[][] v = trial.pixelwise(block + ".f_value", x);
    return layer(trial, block + ".W.0", block + ".W.1.0", v);
  }

  @Test
  void hasThePublishedNumberOfParameters() {
    Trial trial =
        new Trial(
            "name = block/interlaced, channels = 512, key-channels = 256, value-channels = 512,"
                + " out-channels = 512, down-factor = [8, 8]",
            new long[] {1, 512, 8, 8});
    assertThat(trial.parameters()).isEqualTo(2 * 920_576);
  }
}
