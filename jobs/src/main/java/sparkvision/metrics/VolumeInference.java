package sparkvision.metrics;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import sparkvision.data.volume.Volume;

/**
 * Predicts a volume of any size with a network of one size: in windows that overlap, whose scores
 * are averaged.
 *
 * <p>As MONAI's {@code sliding_window_inference}: windows start every (int) (window * (1 -
 * overlap)) voxels along each axis, at least one, and the last is moved back to end with the
 * volume; a volume smaller than the window is padded with 0 on both sides, the odd voxel after it.
 *
 * @param window voxels along D, H and W
 * @param overlap of neighbouring windows, a share of the window, 0..1 without 1; MONAI 0.25,
 *     nnU-Net 0.5
 * @param weighting of the voxels of a window
 */
public record VolumeInference(List<Integer> window, double overlap, Weighting weighting)
    implements Serializable {

  /** How much the voxels of a window count where windows overlap. */
  public enum Weighting {
    /** All alike. */
    CONSTANT,
    /**
     * By a Gaussian about the centre with a standard deviation of an eighth of each side, at least
     * 0.001.
     */
    GAUSSIAN
  }

  /** A network. */
  @FunctionalInterface
  public interface Predictor {
    /** Returns scores (classes, D, H, W) of a window (1, D, H, W). */
    float[] predict(float[] window);
  }

  private static final double SIGMA = 0.125;
  private static final float LEAST_WEIGHT = 1e-3f;

  public VolumeInference {
    if (window.size() != 3 || window.stream().anyMatch(side -> side < 1)) {
      throw new IllegalArgumentException("Invalid window: " + window + " (three numbers >= 1)");
    }
    if (!(overlap >= 0 && overlap < 1)) {
      throw new IllegalArgumentException("Invalid overlap: " + overlap + " (must be in 0..1, < 1)");
    }
    window = List.copyOf(window);
  }

  /**
   * Scores (classes, D, H, W) of all voxels: weighted means over the windows that hold each.
   *
   * @throws IllegalArgumentException if the predictor does not return a score for each class and
   *     voxel
   */
  public float[] predict(Volume volume, int classes, Predictor predictor) {
    int[] sizes = {volume.depth(), volume.height(), volume.width()};
    int[] before = new int[3];
    List<List<Integer>> starts = new ArrayList<>();
    for (int axis = 0; axis < 3; axis++) {
      before[axis] = Math.max(0, window.get(axis) - sizes[axis]) / 2;
      starts.add(starts(Math.max(sizes[axis], window.get(axis)), window.get(axis)));
    }
    float[] weights = weights();
    float[] scores = new float[Math.multiplyExact(classes, volume.voxels().length)];
    float[] sums = new float[volume.voxels().length];
    for (int d : starts.get(0)) {
      for (int h : starts.get(1)) {
        for (int w : starts.get(2)) {
          int[] corner = {d - before[0], h - before[1], w - before[2]};
          int[] places = places(sizes, corner);
          float[] seen = new float[weights.length];
          for (int i = 0; i < places.length; i++) {
            seen[i] = places[i] < 0 ? 0 : volume.voxels()[places[i]];
          }
          add(predictor.predict(seen), classes, places, weights, scores, sums);
        }
      }
    }
    for (int i = 0; i < scores.length; i++) {
      scores[i] /= sums[i % sums.length];
    }
    return scores;
  }

  private static void add(
      float[] predicted, int classes, int[] places, float[] weights, float[] scores, float[] sums) {
    if (predicted.length != classes * places.length) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot use prediction: %d scores, not %d classes of %d voxels",
              predicted.length, classes, places.length));
    }
    for (int i = 0; i < places.length; i++) {
      if (places[i] < 0) {
        continue;
      }
      sums[places[i]] += weights[i];
      for (int c = 0; c < classes; c++) {
        scores[c * sums.length + places[i]] += weights[i] * predicted[c * places.length + i];
      }
    }
  }

  private List<Integer> starts(int size, int side) {
    int step = size == side ? side : Math.max(1, (int) (side * (1 - overlap)));
    List<Integer> starts = new ArrayList<>();
    int start = 0;
    while (start + side < size) {
      starts.add(start);
      start += step;
    }
    starts.add(size - side);
    return starts;
  }

  /** The volume's voxel under each of a window, -1 where there is none. */
  private int[] places(int[] sizes, int[] corner) {
    int[] places = new int[window.get(0) * window.get(1) * window.get(2)];
    int at = 0;
    for (int d = corner[0]; d < corner[0] + window.get(0); d++) {
      for (int h = corner[1]; h < corner[1] + window.get(1); h++) {
        boolean rowInside = d >= 0 && d < sizes[0] && h >= 0 && h < sizes[1];
        for (int w = corner[2]; w < corner[2] + window.get(2); w++) {
          boolean inside = rowInside && w >= 0 && w < sizes[2];
          places[at++] = inside ? (d * sizes[1] + h) * sizes[2] + w : -1;
        }
      }
    }
    return places;
  }

  private float[] weights() {
    float[] weights = new float[window.get(0) * window.get(1) * window.get(2)];
    if (weighting == Weighting.CONSTANT) {
      Arrays.fill(weights, 1);
      return weights;
    }
    double[][] along = new double[3][];
    for (int axis = 0; axis < 3; axis++) {
      int side = window.get(axis);
      double sigma = SIGMA * side;
      along[axis] = new double[side];
      for (int i = 0; i < side; i++) {
        double from = i - (side - 1) / 2.0;
        along[axis][i] = Math.exp(-from * from / (2 * sigma * sigma));
      }
    }
    int at = 0;
    for (double d : along[0]) {
      for (double h : along[1]) {
        for (double w : along[2]) {
          weights[at++] = Math.max(LEAST_WEIGHT, (float) (d * h * w));
        }
      }
    }
    return weights;
  }

  /** The class of highest score of each voxel, of equal ones the first; (D, H, W). */
  public static int[] labels(float[] scores, int classes) {
    int[] labels = new int[scores.length / classes];
    for (int c = 1; c < classes; c++) {
      for (int i = 0; i < labels.length; i++) {
        if (scores[c * labels.length + i] > scores[labels[i] * labels.length + i]) {
          labels[i] = c;
        }
      }
    }
    return labels;
  }
}
