package sparkvision.data.volume;

import java.util.Arrays;
import sparkvision.data.DataException;

/**
 * Brings a volume to another spacing.
 *
 * <p><b>Conventions.</b> An axis of n voxels at spacing s becomes round(n * s / s') voxels, at
 * least one, at spacing s' exactly; its directions stay. The centre of the volume stays where it
 * is, so new voxel i lies at old coordinate (n - 1) / 2 + (i - (n' - 1) / 2) * s' / s, where voxel
 * centres have whole coordinates. Coordinates beyond the outermost centres take the outermost
 * voxel. There is no smoothing before voxels are made larger, as in nnU-Net and MONAI.
 */
public final class Resampling {

  private Resampling() {}

  /**
   * Resamples intensities, trilinearly.
   *
   * @param spacing millimetres along D, H and W
   * @throws DataException if the result would have more voxels than a volume can
   */
  public static Volume linear(Volume volume, double[] spacing) {
    return resample(volume, spacing, false);
  }

  /**
   * Resamples labels: the nearest voxel; halfway, the one of higher index.
   *
   * @param spacing millimetres along D, H and W
   * @throws DataException if the result would have more voxels than a volume can
   */
  public static Volume nearest(Volume volume, double[] spacing) {
    return resample(volume, spacing, true);
  }

  private static Volume resample(Volume volume, double[] spacing, boolean nearest) {
    int[] sizes = {volume.depth(), volume.height(), volume.width()};
    double[] old = volume.spacing();
    double[] steps = new double[3];
    double[] starts = new double[3];
    int[] newSizes = new int[3];
    double voxels = 1;
    for (int axis = 0; axis < 3; axis++) {
      steps[axis] = spacing[axis] / old[axis];
      double size = Math.max(1, Math.rint(sizes[axis] / steps[axis]));
      voxels *= size;
      if (!(voxels <= Nifti.MAX_VOXELS)) {
        throw new DataException(
            String.format(
                "too large at spacing %s mm: its %s voxels have spacing %s mm",
                Arrays.toString(spacing), Arrays.toString(sizes), Arrays.toString(old)));
      }
      newSizes[axis] = (int) size;
      starts[axis] = (sizes[axis] - 1) / 2.0 - (size - 1) / 2 * steps[axis];
    }

    float[] values = volume.voxels();
    for (int axis = 2; axis >= 0; axis--) {
      int inner = 1;
      for (int after = axis + 1; after < 3; after++) {
        inner *= newSizes[after];
      }
      values =
          along(values, sizes[axis], newSizes[axis], inner, starts[axis], steps[axis], nearest);
    }
    return new Volume(
        newSizes[0], newSizes[1], newSizes[2], values, affine(volume.affine(), starts, steps));
  }

  /** Resamples the middle axis of (outer, size, inner) to (outer, newSize, inner). */
  private static float[] along(
      float[] values,
      int size,
      int newSize,
      int inner,
      double start,
      double step,
      boolean nearest) {
    if (size == newSize && step == 1) {
      return values;
    }
    int outer = values.length / (size * inner);
    float[] result = new float[outer * newSize * inner];
    for (int i = 0; i < newSize; i++) {
      double place = Math.min(Math.max(start + i * step, 0), size - 1);
      int lower = (int) (nearest ? place + 0.5 : place);
      int upper = nearest ? lower : Math.min(lower + 1, size - 1);
      double weight = place - lower;
      for (int o = 0; o < outer; o++) {
        int to = (o * newSize + i) * inner;
        int from = (o * size + lower) * inner;
        if (upper == lower) {
          System.arraycopy(values, from, result, to, inner);
          continue;
        }
        int next = (o * size + upper) * inner;
        for (int k = 0; k < inner; k++) {
          double value = values[from + k];
          result[to + k] = (float) (value + weight * (values[next + k] - value));
        }
      }
    }
    return result;
  }

  private static Affine affine(Affine old, double[] starts, double[] steps) {
    double[] rows = new double[12];
    double[] origin = old.apply(starts[2], starts[1], starts[0]);
    for (int row = 0; row < 3; row++) {
      for (int axis = 0; axis < 3; axis++) {
        rows[4 * row + axis] = old.at(row, axis) * steps[2 - axis];
      }
      rows[4 * row + 3] = origin[row];
    }
    return new Affine(rows);
  }
}
