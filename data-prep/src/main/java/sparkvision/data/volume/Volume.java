package sparkvision.data.volume;

import java.util.Arrays;

/**
 * Voxels of one channel in space.
 *
 * <p>D, H and W are NIfTI's z, y and x, whose order in memory stays as it is: brought to RAS, D
 * counts axial slices upwards, H goes from posterior to anterior and W from left to right.
 *
 * @param depth D, slices; of a clip, frames
 * @param height H
 * @param width W
 * @param voxels (D, H, W)
 * @param affine where they lie
 */
@SuppressWarnings("ArrayRecordComponent") // carried along, never compared
public record Volume(int depth, int height, int width, float[] voxels, Affine affine) {

  private static final int[] RAS = {1, 2, 3};

  public Volume {
    if (depth < 1 || height < 1 || width < 1) {
      throw new IllegalArgumentException(
          String.format("Cannot make a volume of %d x %d x %d voxels", depth, height, width));
    }
    if ((long) depth * height * width != voxels.length) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot make a volume of %d x %d x %d voxels: there are %d",
              depth, height, width, voxels.length));
    }
  }

  /** Millimetres between neighbours along D, H and W. */
  public double[] spacing() {
    return new double[] {affine.spacing(2), affine.spacing(1), affine.spacing(0)};
  }

  /**
   * The same volume with its axes swapped and reversed so that x, y and z run most nearly right,
   * anterior and superior. No voxel changes its value or its place in space.
   */
  public Volume toRas() {
    int[] orientation = affine.orientation();
    if (Arrays.equals(orientation, RAS)) {
      return this;
    }
    int[] sizes = {width, height, depth};
    int[] strides = {1, width, width * height};
    int[] newSizes = new int[3];
    int[] newStrides = new int[3];
    int first = 0; // voxel that becomes the new first one
    double[] rows = new double[12];
    double[] corner = new double[3];
    for (int axis = 0; axis < 3; axis++) {
      int target = Math.abs(orientation[axis]) - 1;
      boolean reversed = orientation[axis] < 0;
      newSizes[target] = sizes[axis];
      newStrides[target] = reversed ? -strides[axis] : strides[axis];
      if (reversed) {
        corner[axis] = sizes[axis] - 1;
        first += (sizes[axis] - 1) * strides[axis];
      }
      for (int row = 0; row < 3; row++) {
        rows[4 * row + target] = reversed ? -affine.at(row, axis) : affine.at(row, axis);
      }
    }
    double[] origin = affine.apply(corner[0], corner[1], corner[2]);
    for (int row = 0; row < 3; row++) {
      rows[4 * row + 3] = origin[row];
    }

    float[] moved = new float[voxels.length];
    int at = 0;
    for (int z = 0; z < newSizes[2]; z++) {
      for (int y = 0; y < newSizes[1]; y++) {
        int from = first + z * newStrides[2] + y * newStrides[1];
        for (int x = 0; x < newSizes[0]; x++) {
          moved[at++] = voxels[from];
          from += newStrides[0];
        }
      }
    }
    return new Volume(newSizes[2], newSizes[1], newSizes[0], moved, new Affine(rows));
  }
}
