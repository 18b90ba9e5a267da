package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DistanceTransformTest {

  @ParameterizedTest
  @ValueSource(doubles = {0.001, 0.05, 0.5, 1})
  void matchesNaiveSearch(double share) {
    Random random = new Random(5);
    for (int round = 0; round < 20; round++) {
      int[] sizes = {1 + random.nextInt(8), 1 + random.nextInt(8), 1 + random.nextInt(8)};
      double[] spacing = {random.nextDouble() * 3 + 0.1, 1, random.nextDouble() * 3 + 0.1};
      boolean[] set = new boolean[sizes[0] * sizes[1] * sizes[2]];
      for (int i = 0; i < set.length; i++) {
        set[i] = random.nextDouble() < share;
      }
      double[] squared = DistanceTransform.squared(set, sizes, spacing);
      for (int i = 0; i < set.length; i++) {
        double nearest = Double.POSITIVE_INFINITY;
        for (int j = 0; j < set.length; j++) {
          if (set[j]) {
            nearest = Math.min(nearest, squaredDistance(i, j, sizes, spacing));
          }
        }
        if (nearest == Double.POSITIVE_INFINITY) {
          assertThat(squared[i]).isEqualTo(nearest);
        } else {
          assertThat(squared[i]).isCloseTo(nearest, within(1e-9));
        }
      }
    }
  }

  private static double squaredDistance(int i, int j, int[] sizes, double[] spacing) {
    int slice = sizes[1] * sizes[2];
    double d = (i / slice - j / slice) * spacing[0];
    double h = (i / sizes[2] % sizes[1] - j / sizes[2] % sizes[1]) * spacing[1];
    double w = (i % sizes[2] - j % sizes[2]) * spacing[2];
    return d * d + h * h + w * w;
  }

  @Test
  void equalsScipysDistanceTransform() {
    double[] squared =
        DistanceTransform.squared(
            VolumeMetricsTest.ellipsoid(), VolumeMetricsTest.SIZES, VolumeMetricsTest.SPACING);
    double sum = 0;
    for (double value : squared) {
      sum += Math.sqrt(value);
    }
    assertThat(sum).isCloseTo(52380.67251418975, within(1e-6));
    assertThat(Math.sqrt(squared[0])).isCloseTo(13.215521177766696, within(1e-12));
    assertThat(Math.sqrt(squared[squared.length - 1])).isCloseTo(15.806644172625637, within(1e-12));
    assertThat(Math.sqrt(squared[(3 * 24 + 20) * 22 + 1]))
        .isCloseTo(8.112336284942828, within(1e-12));
  }

  @Test
  void aSurfaceIsWhatHasANeighbourOutside() {
    int[] sizes = {3, 4, 5};
    boolean[] all = new boolean[60];
    java.util.Arrays.fill(all, true);
    boolean[] surface = DistanceTransform.surface(all, sizes);
    int inner = 0;
    for (int i = 0; i < 60; i++) {
      boolean inside = i / 20 == 1 && i / 5 % 4 > 0 && i / 5 % 4 < 3 && i % 5 > 0 && i % 5 < 4;
      assertThat(surface[i]).isEqualTo(!inside);
      inner += inside ? 1 : 0;
    }
    assertThat(inner).isEqualTo(6);
    all[0] = false; // touches the inner ones at most by a corner
    assertThat(DistanceTransform.surface(all, sizes)[26]).isFalse();
    all[6] = false; // above one of them
    assertThat(DistanceTransform.surface(all, sizes)[26]).isTrue();
    assertThat(DistanceTransform.surface(all, sizes)[6]).isFalse();
  }
}
