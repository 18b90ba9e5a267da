package sparkvision.metrics;

/**
 * The exact Euclidean distance transform of a volume, one axis after the other, in linear time.
 *
 * @see <a href="https://doi.org/10.4086/toc.2012.v008a019">Felzenszwalb, Huttenlocher, Distance
 *     Transforms of Sampled Functions, 2012, algorithm 1</a>
 */
final class DistanceTransform {

  private DistanceTransform() {}

  /**
   * The squared distance of every voxel from the nearest that is set; infinite where none is.
   *
   * @param set (D, H, W)
   * @param sizes D, H, W
   * @param spacing millimetres along D, H and W
   */
  static double[] squared(boolean[] set, int[] sizes, double[] spacing) {
    double[] distances = new double[set.length];
    for (int i = 0; i < set.length; i++) {
      distances[i] = set[i] ? 0 : Double.POSITIVE_INFINITY;
    }
    int inner = 1;
    for (int axis = 2; axis >= 0; axis--) {
      Line line = new Line(sizes[axis], spacing[axis]);
      for (int start = 0; start < distances.length; start += inner * sizes[axis]) {
        for (int i = 0; i < inner; i++) {
          line.transform(distances, start + i, inner);
        }
      }
      inner *= sizes[axis];
    }
    return distances;
  }

  /** The lower envelope of parabolas that stand on a line of samples. */
  private static final class Line {
    private final double squaredSpacing;
    private final double[] heights;
    private final int[] roots; // of the envelope's parabolas, ascending
    private final double[] starts; // where each begins to be the lowest

    Line(int size, double spacing) {
      squaredSpacing = spacing * spacing;
      heights = new double[size];
      roots = new int[size];
      starts = new double[size];
    }

    /** Replaces a line of squared distances by those that moves along it make. */
    void transform(double[] values, int first, int step) {
      int last = -1;
      for (int q = 0; q < heights.length; q++) {
        heights[q] = values[first + q * step];
        if (heights[q] == Double.POSITIVE_INFINITY) {
          continue;
        }
        while (last >= 0 && crossing(roots[last], q) <= starts[last]) {
          last--;
        }
        last++;
        roots[last] = q;
        starts[last] = last == 0 ? Double.NEGATIVE_INFINITY : crossing(roots[last - 1], q);
      }
      if (last < 0) {
        return;
      }
      int lowest = 0;
      for (int q = 0; q < heights.length; q++) {
        while (lowest < last && starts[lowest + 1] < q) {
          lowest++;
        }
        double along = q - roots[lowest];
        values[first + q * step] = squaredSpacing * along * along + heights[roots[lowest]];
      }
    }

    /** Where the parabola of {@code right} passes below that of {@code left}. */
    private double crossing(int left, int right) {
      return (left + right) / 2.0
          + (heights[right] - heights[left]) / (2 * squaredSpacing * (right - left));
    }
  }

  /**
   * Whether voxels are set and have one of their six neighbours not set; what lies outside counts
   * as not set.
   */
  static boolean[] surface(boolean[] set, int[] sizes) {
    boolean[] surface = new boolean[set.length];
    int slice = sizes[1] * sizes[2];
    int at = 0;
    for (int d = 0; d < sizes[0]; d++) {
      for (int h = 0; h < sizes[1]; h++) {
        for (int w = 0; w < sizes[2]; w++, at++) {
          boolean inside =
              d > 0
                  && d < sizes[0] - 1
                  && h > 0
                  && h < sizes[1] - 1
                  && w > 0
                  && w < sizes[2] - 1
                  && set[at - slice]
                  && set[at + slice]
                  && set[at - sizes[2]]
                  && set[at + sizes[2]]
                  && set[at - 1]
                  && set[at + 1];
          surface[at] = set[at] && !inside;
        }
      }
    }
    return surface;
  }
}
