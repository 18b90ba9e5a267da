package sparkvision.data.volume;

import java.util.Arrays;
import org.apache.commons.math3.linear.MatrixUtils;
import org.apache.commons.math3.linear.RealMatrix;
import org.apache.commons.math3.linear.SingularValueDecomposition;

/**
 * Where voxels lie: takes voxel (x, y, z), counted from 0 at the centre of the first one, to
 * millimetres right, anterior and superior of an origin (RAS+, as NIfTI has it).
 *
 * <p>x is a volume's last axis (W), z its first (D).
 *
 * @param rows (3, 4), row by row: right, anterior, superior of x, y, z and 1
 */
@SuppressWarnings("ArrayRecordComponent") // a matrix, never compared
public record Affine(double[] rows) {

  private static final double SINGULAR = 1e-6;

  public Affine {
    if (rows.length != 12) {
      throw new IllegalArgumentException(
          "Cannot make an affine of " + rows.length + " numbers: it has 12");
    }
  }

  /** Axes along right, anterior and superior, the first voxel at the origin. */
  public static Affine ofSpacing(double x, double y, double z) {
    return new Affine(new double[] {x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0});
  }

  double at(int row, int column) {
    return rows[4 * row + column];
  }

  /** Millimetres (right, anterior, superior) of a voxel. */
  public double[] apply(double x, double y, double z) {
    double[] place = new double[3];
    for (int row = 0; row < 3; row++) {
      place[row] = at(row, 0) * x + at(row, 1) * y + at(row, 2) * z + at(row, 3);
    }
    return place;
  }

  /** Millimetres between neighbours along an axis: 0 is x, 2 is z. */
  public double spacing(int axis) {
    return Math.sqrt(
        at(0, axis) * at(0, axis) + at(1, axis) * at(1, axis) + at(2, axis) * at(2, axis));
  }

  /** Whether all numbers are finite and the axes span a space. */
  boolean isValid() {
    if (!Arrays.stream(rows).allMatch(Double::isFinite)) {
      return false;
    }
    double[] u = direction(0);
    double[] v = direction(1);
    double[] w = direction(2);
    double volume =
        u[0] * (v[1] * w[2] - v[2] * w[1])
            + u[1] * (v[2] * w[0] - v[0] * w[2])
            + u[2] * (v[0] * w[1] - v[1] * w[0]);
    return Math.abs(volume) > SINGULAR; // NaN where a spacing is 0
  }

  private double[] direction(int axis) {
    double spacing = spacing(axis);
    return new double[] {at(0, axis) / spacing, at(1, axis) / spacing, at(2, axis) / spacing};
  }

  /**
   * Which way the axes x, y and z run: 1, 2 and 3 for most nearly right, anterior and superior; -1,
   * -2 and -3 for left, posterior and inferior. Each occurs once.
   *
   * <p>As nibabel's {@code io_orientation}: shears are taken out by a polar decomposition, then
   * each axis takes the largest direction that is left.
   */
  int[] orientation() {
    RealMatrix directions = MatrixUtils.createRealMatrix(3, 3);
    for (int axis = 0; axis < 3; axis++) {
      directions.setColumn(axis, direction(axis));
    }
    SingularValueDecomposition svd = new SingularValueDecomposition(directions);
    RealMatrix rotation = svd.getU().multiply(svd.getVT());
    int[] orientation = new int[3];
    boolean[] taken = new boolean[3];
    for (int axis = 0; axis < 3; axis++) {
      int largest = -1;
      for (int row = 0; row < 3; row++) {
        if (!taken[row]
            && (largest < 0
                || Math.abs(rotation.getEntry(row, axis))
                    > Math.abs(rotation.getEntry(largest, axis)))) {
          largest = row;
        }
      }
      taken[largest] = true;
      orientation[axis] = rotation.getEntry(largest, axis) < 0 ? -1 - largest : 1 + largest;
    }
    return orientation;
  }

  /** The ends that x, y and z run to, such as {@code RAS} or {@code LPS}. */
  public String codes() {
    StringBuilder codes = new StringBuilder();
    for (int direction : orientation()) {
      codes.append((direction < 0 ? "LPI" : "RAS").charAt(Math.abs(direction) - 1));
    }
    return codes.toString();
  }
}
