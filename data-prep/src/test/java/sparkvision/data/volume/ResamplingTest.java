package sparkvision.data.volume;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import sparkvision.data.DataException;

final class ResamplingTest {

  private static final double[] SPACING = {1, 1.3, 0.8};

  /** Voxel i is 7919 * i modulo 101; spacing 2.5, 1, 1.5 along D, H and W. */
  static Volume example() {
    float[] voxels = new float[3 * 4 * 5];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = i * 7919 % 101;
    }
    return new Volume(3, 4, 5, voxels, Affine.ofSpacing(1.5, 1, 2.5));
  }

  @Test
  void linearEqualsScipysMapCoordinates() {
    Volume result = Resampling.linear(example(), SPACING);
    assertThat(new int[] {result.depth(), result.height(), result.width()})
        .containsExactly(8, 3, 9);
    double sum = 0;
    for (float voxel : result.voxels()) {
      sum += voxel;
    }
    assertThat(sum).isCloseTo(10696.048, within(1e-3));
    assertThat(at(result, 0, 0, 0)).isCloseTo(0.6f, within(1e-5f));
    assertThat(at(result, 3, 1, 4)).isCloseTo(96.1f, within(1e-5f));
    assertThat(at(result, 7, 2, 8)).isCloseTo(95.4f, within(1e-5f));
    assertThat(at(result, 5, 0, 2)).isCloseTo(58.066666f, within(1e-5f));
  }

  @Test
  void nearestTakesOldValuesOnly() {
    Volume result = Resampling.nearest(example(), SPACING);
    double sum = 0;
    for (float voxel : result.voxels()) {
      sum += voxel;
    }
    assertThat(sum).isEqualTo(10577);
    assertThat(at(result, 3, 1, 4)).isEqualTo(100);
    assertThat(at(result, 6, 2, 6)).isEqualTo(55);
    assertThat(at(result, 5, 0, 2)).isEqualTo(65);
  }

  @Test
  void aVolumeThatIsLinearInSpaceStaysSo() {
    Affine affine = new Affine(new double[] {0, 2, 0.1, 5, 1.5, 0, 0, 6, 0, -0.2, 3, 7});
    Volume old = ofPlaces(9, 8, 7, affine);
    Volume result = Resampling.linear(old, new double[] {2, 1.7, 1.1});
    assertThat(result.spacing()).containsExactly(new double[] {2, 1.7, 1.1}, within(1e-12));
    Volume expected = ofPlaces(result.depth(), result.height(), result.width(), result.affine());
    int inside = 0;
    for (int d = 1; d < result.depth() - 1; d++) {
      for (int h = 1; h < result.height() - 1; h++) {
        for (int w = 1; w < result.width() - 1; w++) {
          assertThat(at(result, d, h, w)).isCloseTo(at(expected, d, h, w), within(1e-4f));
          inside++;
        }
      }
    }
    assertThat(inside).isEqualTo(12 * 7 * 8);
  }

  /** Each voxel tells where it lies, as one number. */
  private static Volume ofPlaces(int depth, int height, int width, Affine affine) {
    float[] voxels = new float[depth * height * width];
    for (int i = 0; i < voxels.length; i++) {
      int slice = i / (width * height);
      double[] place = affine.apply(i % width, i / width % height, slice);
      voxels[i] = (float) (place[0] + 2 * place[1] + 3 * place[2]);
    }
    return new Volume(depth, height, width, voxels, affine);
  }

  @Test
  void theSameSpacingChangesNothing() {
    Volume volume = example();
    Volume result = Resampling.linear(volume, volume.spacing());
    assertThat(result.voxels()).isEqualTo(volume.voxels());
    assertThat(result.affine().rows()).isEqualTo(volume.affine().rows());
  }

  @Test
  void refusesResultsThatNobodyCanHold() {
    assertThatThrownBy(() -> Resampling.linear(example(), new double[] {1e-3, 1e-3, 1e-3}))
        .isInstanceOf(DataException.class)
        .hasMessage(
            "too large at spacing [0.001, 0.001, 0.001] mm: its [3, 4, 5] voxels have spacing"
                + " [2.5, 1.0, 1.5] mm");
  }

  private static float at(Volume volume, int d, int h, int w) {
    return volume.voxels()[(d * volume.height() + h) * volume.width() + w];
  }
}
