package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogitMapTest {

  /**
   * Expected: PyTorch 2, interpolate(mode="bilinear", align_corners=False), argmax over classes.
   */
  @ParameterizedTest
  @CsvSource({
    "7, 6, 210221210021021002021002121002102102102110",
    "2, 3, 201110",
    "4, 5, 21021021021210210210",
    "9, 4, 202121212101010201021102120212101210"
  })
  void equalsPyTorch(int height, int width, String expected) {
    float[] values = new float[3 * 4 * 5];
    for (int i = 0; i < values.length; i++) {
      values[i] = i * 37 % 101 / 7f;
    }
    assertThat(digits(new LogitMap(3, 4, 5, values).predicted(height, width))).isEqualTo(expected);
  }

  @ParameterizedTest
  @CsvSource({"11, 13, 23, 9", "3, 17, 3, 40", "16, 16, 5, 5", "1, 1, 6, 4"})
  void matchesPlainInterpolation(int height, int width, int newHeight, int newWidth) {
    Random random = new Random(height);
    float[] values = new float[4 * height * width];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    int[] predicted = new LogitMap(4, height, width, values).predicted(newHeight, newWidth);
    for (int y = 0; y < newHeight; y++) {
      for (int x = 0; x < newWidth; x++) {
        double row = Math.max(0, (y + 0.5) * height / newHeight - 0.5);
        double column = Math.max(0, (x + 0.5) * width / newWidth - 0.5);
        double[] logits = new double[4];
        int best = 0;
        for (int k = 0; k < 4; k++) {
          for (int i = 0; i < height; i++) {
            for (int j = 0; j < width; j++) {
              // A tent over each old pixel; the last one reaches over the edge.
              double down = Math.max(0, 1 - Math.abs(Math.min(row, height - 1) - i));
              double right = Math.max(0, 1 - Math.abs(Math.min(column, width - 1) - j));
              logits[k] += down * right * values[(k * height + i) * width + j];
            }
          }
          best = logits[k] > logits[best] ? k : best;
        }
        assertThat(predicted[y * newWidth + x]).isEqualTo(best);
      }
    }
  }

  @Test
  void theLowerClassWinsATie() {
    LogitMap map = new LogitMap(3, 1, 2, new float[] {1, -5, 2, -5, 2, -5});
    assertThat(map.predicted()).containsExactly(1, 0);
    assertThat(map.predicted(2, 4)).containsExactly(1, 1, 1, 0, 1, 1, 1, 0);
  }

  @Test
  void refusesValuesOfAnotherShape() {
    assertThatThrownBy(() -> new LogitMap(2, 3, 4, new float[23]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid logits: 23 values (must be 2 classes x 3 x 4)");
  }

  private static String digits(int[] classes) {
    StringBuilder text = new StringBuilder();
    for (int k : classes) {
      text.append(k);
    }
    return text.toString();
  }
}
