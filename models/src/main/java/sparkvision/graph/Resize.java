package sparkvision.graph;

/**
 * How a resized picture gets its values: the ways of PyTorch's {@code interpolate}.
 *
 * <p>All but {@link #NEAREST} place pixel i of the output, of s, at (i + ½)·n/s − ½ of the input's
 * n pixels, or with aligned corners at i·(n − 1)/(s − 1), so that the first and the last pixel stay
 * where they are. Every way is separable: one matrix per axis.
 */
public enum Resize {
  /** Pixel ⌊i·n/s⌋. */
  NEAREST("nearest", false),
  /** Bilinear or trilinear; positions below 0 count as 0. */
  LINEAR("linear", false),
  LINEAR_ALIGNED("linear", true),
  /**
   * Bicubic with a = −0.75; pixels outside repeat the border. For two spatial axes.
   *
   * @see <a href="https://doi.org/10.1109/TASSP.1981.1163711">Keys, Cubic Convolution Interpolation
   *     for Digital Image Processing, 1981, section 3</a>
   */
  CUBIC("cubic", false),
  CUBIC_ALIGNED("cubic", true);

  private static final double CUBIC_A = -0.75;

  private final String mode;
  private final boolean alignCorners;

  Resize(String mode, boolean alignCorners) {
    this.mode = mode;
    this.alignCorners = alignCorners;
  }

  String mode() {
    return mode;
  }

  boolean alignCorners() {
    return alignCorners;
  }

  /** The way that a node of kind {@link Node.Kind#RESIZE} asks for. */
  public static Resize of(Node node) {
    for (Resize way : values()) {
      if (way.mode.equals(node.text("mode"))
          && way.alignCorners == (node.integer("align-corners") == 1)) {
        return way;
      }
    }
    throw new IllegalStateException("Invalid mode: " + node.text("mode"));
  }

  /**
   * The weight of each of {@code in} pixels in each of {@code out}, along one axis.
   *
   * @return {@code out} rows of {@code in} weights that sum to 1
   */
  public double[][] weights(long in, long out) {
    double[][] weights = new double[Math.toIntExact(out)][Math.toIntExact(in)];
    for (int i = 0; i < out; i++) {
      double[] row = weights[i];
      if (this == NEAREST) {
        row[(int) (i * in / out)] = 1;
        continue;
      }
      double place = place(i, in, out);
      if (mode.equals("linear")) {
        place = Math.max(0, place);
        int left = (int) Math.min((long) place, in - 1);
        row[left] += 1 - (place - left);
        row[(int) Math.min(left + 1L, in - 1)] += place - left;
        continue;
      }
      int left = (int) Math.floor(place);
      for (int tap = left - 1; tap <= left + 2; tap++) {
        row[(int) Math.max(0, Math.min(tap, in - 1))] += cubic(Math.abs(place - tap));
      }
    }
    return weights;
  }

  private double place(long i, long in, long out) {
    if (alignCorners) {
      return out == 1 ? 0 : i * (in - 1.0) / (out - 1);
    }
    return (i + 0.5) * in / out - 0.5;
  }

  private static double cubic(double distance) {
    double d = distance;
    if (d <= 1) {
      return ((CUBIC_A + 2) * d - (CUBIC_A + 3)) * d * d + 1;
    }
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * CUBIC_A : 0;
  }
}
