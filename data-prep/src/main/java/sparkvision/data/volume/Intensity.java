package sparkvision.data.volume;

import java.util.Arrays;
import sparkvision.data.DataException;
import sparkvision.data.SplitMix;

/** Changes of a volume's intensities, in place; statistics are over all voxels, in float64. */
final class Intensity {

  private static final double LOW_PERCENTILE = 0.5;
  private static final double HIGH_PERCENTILE = 99.5;

  private Intensity() {}

  /**
   * Clips to the 0.5th and 99.5th percentile, then subtracts the mean and divides by the standard
   * deviation (of the population).
   *
   * <p>nnU-Net clips CT to these percentiles, of the whole data set's foreground, and standardises
   * MRI by volume without clipping; here one volume is all there is to see.
   *
   * @see <a href="https://doi.org/10.1038/s41592-020-01008-z">Isensee et al., nnU-Net, 2021,
   *     supplementary note 2</a>
   * @throws DataException if the two percentiles are equal, so that nothing would be left
   */
  static void normalise(float[] voxels) {
    float[] sorted = voxels.clone();
    Arrays.sort(sorted);
    float low = (float) percentile(sorted, LOW_PERCENTILE);
    float high = (float) percentile(sorted, HIGH_PERCENTILE);
    if (low == high) {
      throw new DataException(
          String.format(
              "cannot be normalised: from percentile %s to %s all voxels are %s",
              LOW_PERCENTILE, HIGH_PERCENTILE, low));
    }
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = Math.min(Math.max(voxels[i], low), high);
    }
    double mean = mean(voxels);
    double std = std(voxels, mean);
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = (float) ((voxels[i] - mean) / std);
    }
  }

  /** Interpolated linearly between ranks, as numpy does. */
  private static double percentile(float[] sorted, double percent) {
    double rank = percent / 100 * (sorted.length - 1);
    int lower = (int) rank;
    int upper = Math.min(lower + 1, sorted.length - 1);
    return sorted[lower] + (rank - lower) * ((double) sorted[upper] - sorted[lower]);
  }

  /**
   * Adds Gaussian noise to each voxel; nnU-Net's {@code GaussianNoiseTransform}, which calls the
   * standard deviation a variance.
   */
  static void addNoise(float[] voxels, double std, SplitMix random) {
    // Box and Muller, 1958: two normal deviates of two uniform ones.
    for (int i = 0; i < voxels.length; i += 2) {
      double radius = std * Math.sqrt(-2 * Math.log(1 - random.unit()));
      double angle = 2 * Math.PI * random.unit();
      voxels[i] += (float) (radius * Math.cos(angle));
      if (i + 1 < voxels.length) {
        voxels[i + 1] += (float) (radius * Math.sin(angle));
      }
    }
  }

  /**
   * Every voxel v becomes factor * v + shift; nnU-Net's multiplicative brightness, and MONAI's
   * {@code ShiftIntensity}.
   */
  static void scaleAndShift(float[] voxels, double factor, double shift) {
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = (float) (factor * voxels[i] + shift);
    }
  }

  /**
   * Scales to 0..1, raises to a power and scales back, then restores mean and standard deviation;
   * nnU-Net's {@code GammaTransform} with {@code p_retain_stats} 1. Voxels that are all alike stay.
   */
  static void gamma(float[] voxels, double gamma) {
    float low = Float.POSITIVE_INFINITY;
    float high = Float.NEGATIVE_INFINITY;
    for (float voxel : voxels) {
      low = Math.min(low, voxel);
      high = Math.max(high, voxel);
    }
    if (low == high) {
      return;
    }
    double mean = mean(voxels);
    double std = std(voxels, mean);
    double range = (double) high - low;
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = (float) Math.pow((voxels[i] - low) / range, gamma);
    }
    double newMean = mean(voxels);
    double newStd = std(voxels, newMean);
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = (float) ((voxels[i] - newMean) / newStd * std + mean);
    }
  }

  private static double mean(float[] voxels) {
    double sum = 0;
    for (float voxel : voxels) {
      sum += voxel;
    }
    return sum / voxels.length;
  }

  private static double std(float[] voxels, double mean) {
    double sum = 0;
    for (float voxel : voxels) {
      sum += (voxel - mean) * (voxel - mean);
    }
    return Math.sqrt(sum / voxels.length);
  }
}
