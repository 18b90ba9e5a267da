package sparkvision.kernels;

/**
 * The loops over memory that oneDNN has not: what batch norm and its gradient need, on rows that
 * may be parts of wider ones.
 *
 * <p>Every method works on the rows from {@code first} (inclusive) to {@code end} (exclusive), so
 * that the members of a {@link Team} share them; arrays hold a number per channel. Written twice:
 * with the vector API, and plainly for a JVM that was started without it. Both give the same bits.
 *
 * <p>g stands for dy where the activation let the value through, else 0.
 */
public interface Loops {

  /** The vector API's if this JVM has it, else the plain ones. */
  static Loops best() {
    return Choice.BEST;
  }

  /** Copies a row to the heap. */
  default void firstRow(Rows x, int channels, float[] row) {
    for (int c = 0; c < channels; c++) {
      row[c] = PlainLoops.load(x, 0, c);
    }
  }

  /** Adds Σ (x − shift) and Σ (x − shift)². */
  void moments(
      Rows x, int channels, int first, int end, float[] shift, double[] sums, double[] squares);

  /** Adds Σ x. */
  void sums(Rows x, int channels, int first, int end, double[] sums);

  /** y = x·scale + shift, and max(y, 0) with {@code relu}. */
  void scale(
      Rows x, Rows y, int channels, int first, int end, float[] scale, float[] shift, boolean relu);

  /**
   * Adds Σ g and Σ g·(x − mean). Unless {@code into} is null, also writes g·scale there, or adds it
   * if {@code adding}.
   */
  void gradientSums(
      Rows x,
      Rows dy,
      Rows into,
      boolean adding,
      int channels,
      int first,
      int end,
      float[] scale,
      float[] shift,
      float[] mean,
      boolean relu,
      double[] sums,
      double[] products);

  /** dx = g·scale − lift − slope·(x − mean). */
  void gradient(
      Rows x,
      Rows dy,
      Rows dx,
      int channels,
      int first,
      int end,
      float[] scale,
      float[] shift,
      float[] mean,
      float[] lift,
      float[] slope,
      boolean relu);

  /** y = x − lift − slope·(reference − mean). */
  void settle(
      Rows x,
      Rows reference,
      Rows y,
      int channels,
      int first,
      int end,
      float[] mean,
      float[] lift,
      float[] slope);

  /** y = x, or y + x if {@code adding}. */
  void copy(Rows x, Rows y, boolean adding, int channels, int first, int end);

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final Loops BEST = Vectors.best(Loops.class, PlainLoops::new);

    private Choice() {}
  }
}
