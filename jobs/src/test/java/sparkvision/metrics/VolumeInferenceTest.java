package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import sparkvision.data.volume.Affine;
import sparkvision.data.volume.Volume;
import sparkvision.metrics.VolumeInference.Weighting;

class VolumeInferenceTest {

  /** Voxel i is 7919 * i modulo 101. */
  private static Volume example() {
    float[] voxels = new float[7 * 9 * 4];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = i * 7919 % 101;
    }
    return new Volume(7, 9, 4, voxels, Affine.ofSpacing(1, 1, 1));
  }

  /** Scores that tell where in the window a voxel was: its value, and that times its index. */
  private static float[] valueAndPlace(float[] window) {
    float[] scores = new float[2 * window.length];
    for (int i = 0; i < window.length; i++) {
      scores[i] = window[i];
      scores[window.length + i] = window[i] * i;
    }
    return scores;
  }

  /** Against numpy in float64, after MONAI's monai/inferers/utils.py. */
  private static void check(
      VolumeInference inference,
      int windows,
      double sum,
      double first,
      double middle,
      double last) {
    int[] calls = {0};
    float[] scores =
        inference.predict(
            example(),
            2,
            window -> {
              calls[0]++;
              return valueAndPlace(window);
            });
    assertThat(calls[0]).isEqualTo(windows);
    int voxels = 7 * 9 * 4;
    double found = 0;
    for (int i = 0; i < voxels; i++) {
      assertThat(scores[i]).isCloseTo(example().voxels()[i], within(1e-4f));
      found += scores[voxels + i];
    }
    assertThat(found).isCloseTo(sum, within(0.05));
    assertThat((double) scores[voxels]).isCloseTo(first, within(1e-3));
    assertThat((double) scores[voxels + (3 * 9 + 4) * 4 + 2]).isCloseTo(middle, within(1e-3));
    assertThat((double) scores[voxels + voxels - 1]).isCloseTo(last, within(1e-3));
  }

  @Test
  void stitchesAsMonaiDoes() {
    check(
        new VolumeInference(List.of(3, 4, 6), 0.5, Weighting.GAUSSIAN),
        20,
        445624.548975646,
        0,
        581.2595511644952,
        6300);
    check(new VolumeInference(List.of(3, 4, 6), 0.5, Weighting.CONSTANT), 20, 444930, 0, 495, 6300);
    check(
        new VolumeInference(List.of(4, 4, 4), 0.25, Weighting.GAUSSIAN),
        6,
        395571.54964070837,
        0,
        450,
        5670);
  }

  @Test
  void aNetworkWithoutBordersSeesNoWindows() {
    VolumeInference inference = new VolumeInference(List.of(2, 5, 3), 0.9, Weighting.GAUSSIAN);
    float[] scores =
        inference.predict(
            example(),
            1,
            window -> {
              float[] doubled = window.clone();
              for (int i = 0; i < doubled.length; i++) {
                doubled[i] = 2 * doubled[i] + 1;
              }
              return doubled;
            });
    for (int i = 0; i < scores.length; i++) {
      assertThat(scores[i]).isCloseTo(2 * example().voxels()[i] + 1, within(1e-3f));
    }
  }

  @Test
  void labelsAreTheHighestScores() {
    float[] scores = {1, 5, 2, 2, 3, 2, 0, 6, 2};
    assertThat(VolumeInference.labels(scores, 3)).containsExactly(1, 2, 0);
  }

  @Test
  void refusesWhatItCannotStitch() {
    assertThatThrownBy(
            () ->
                new VolumeInference(List.of(7, 9, 4), 0, Weighting.CONSTANT)
                    .predict(example(), 2, window -> window))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot use prediction: 252 scores, not 2 classes of 252 voxels");
    assertThatThrownBy(() -> new VolumeInference(List.of(1, 2), 0, Weighting.CONSTANT))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid window: [1, 2] (three numbers >= 1)");
    assertThatThrownBy(() -> new VolumeInference(List.of(1, 2, 3), 1, Weighting.CONSTANT))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid overlap: 1.0 (must be in 0..1, < 1)");
  }
}
