package sparkvision.data.volume;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import sparkvision.data.DataException;
import sparkvision.data.SplitMix;

final class IntensityTest {

  @Test
  void normalisationEqualsNumpys() {
    float[] voxels = ResamplingTest.example().voxels();
    Intensity.normalise(voxels);
    assertThat(voxels[0]).isCloseTo(-1.6659068f, within(1e-6f));
    assertThat(voxels[1]).isCloseTo(-0.2945182f, within(1e-6f));
    assertThat(voxels[59]).isCloseTo(1.5720091f, within(1e-6f));
  }

  @Test
  void nothingIsNormalisedAway() {
    float[] voxels = new float[1000];
    voxels[7] = 3;
    assertThatThrownBy(() -> Intensity.normalise(voxels))
        .isInstanceOf(DataException.class)
        .hasMessage("cannot be normalised: from percentile 0.5 to 99.5 all voxels are 0.0");
  }

  @Test
  void gammaEqualsNumpysAndKeepsMeanAndDeviation() {
    float[] voxels = ResamplingTest.example().voxels();
    Intensity.gamma(voxels, 0.7);
    assertThat(voxels[0]).isCloseTo(-13.079122f, within(1e-4f));
    assertThat(voxels[1]).isCloseTo(44.571213f, within(1e-4f));
    assertThat(voxels[59]).isCloseTo(91.49952f, within(1e-4f));
  }

  @Test
  void gammaLeavesVoxelsThatAreAllAlike() {
    float[] voxels = {0.1f, 0.1f, 0.1f};
    Intensity.gamma(voxels, 2);
    assertThat(voxels).containsOnly(0.1f);
  }

  @Test
  void noiseIsNormal() {
    float[] voxels = new float[100_001];
    Arrays.fill(voxels, 5);
    Intensity.addNoise(voxels, 2, new SplitMix(4));
    double mean = 0;
    double square = 0;
    int withinOne = 0;
    int withinTwo = 0;
    for (float voxel : voxels) {
      double deviate = (voxel - 5) / 2;
      mean += deviate / voxels.length;
      square += deviate * deviate / voxels.length;
      withinOne += Math.abs(deviate) < 1 ? 1 : 0;
      withinTwo += Math.abs(deviate) < 2 ? 1 : 0;
    }
    assertThat(mean).isCloseTo(0, within(0.01));
    assertThat(square).isCloseTo(1, within(0.01));
    assertThat((double) withinOne / voxels.length).isCloseTo(0.6827, within(0.005));
    assertThat((double) withinTwo / voxels.length).isCloseTo(0.9545, within(0.005));
  }

  @Test
  void scalesAndShifts() {
    float[] voxels = {1, -2, 0};
    Intensity.scaleAndShift(voxels, 1.5, 0.25);
    assertThat(voxels).containsExactly(1.75f, -2.75f, 0.25f);
  }
}
