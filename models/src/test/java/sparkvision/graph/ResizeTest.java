package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ResizeTest {

  @ParameterizedTest
  @EnumSource(Resize.class)
  void weightsOfAPixelAddUpToOne(Resize way) {
    for (long in = 1; in < 9; in++) {
      for (long out = 1; out < 12; out++) {
        double[][] weights = way.weights(in, out);
        assertThat(weights.length).isEqualTo((int) out);
        for (double[] row : weights) {
          assertThat(row).hasSize((int) in);
          assertThat(Arrays.stream(row).sum()).isCloseTo(1, within(1e-12));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Resize.class)
  void changesNothingAtTheSameSize(Resize way) {
    double[][] weights = way.weights(5, 5);
    for (int i = 0; i < 5; i++) {
      for (int j = 0; j < 5; j++) {
        assertThat(weights[i][j]).isCloseTo(i == j ? 1 : 0, within(1e-12));
      }
    }
  }

  @Test
  void agreesWithHandCalculation() {
    assertThat(Resize.NEAREST.weights(3, 5))
        .isDeepEqualTo(new double[][] {{1, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 1, 0}, {0, 0, 1}});
    // Pixel centres of 4 in terms of 2: -1/4, 1/4, 3/4, 5/4.
    assertThat(Resize.LINEAR.weights(2, 4))
        .isDeepEqualTo(new double[][] {{1, 0}, {0.75, 0.25}, {0.25, 0.75}, {0, 1}});
    assertThat(Resize.LINEAR_ALIGNED.weights(2, 3))
        .isDeepEqualTo(new double[][] {{1, 0}, {0.5, 0.5}, {0, 1}});
    assertThat(Resize.LINEAR_ALIGNED.weights(3, 1)).isDeepEqualTo(new double[][] {{1, 0, 0}});
    // Half-way between two pixels: a/8 = -3/32 outside, (4 - a)/8 = 19/32 inside.
    double[][] half = Resize.CUBIC_ALIGNED.weights(4, 7);
    assertThat(half[3]).containsExactly(new double[] {-3 / 32.0, 19 / 32.0, 19 / 32.0, -3 / 32.0});
    assertThat(half[1]).containsExactly(new double[] {16 / 32.0, 19 / 32.0, -3 / 32.0, 0});
  }
}
