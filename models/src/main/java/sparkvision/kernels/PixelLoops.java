package sparkvision.kernels;

/**
 * Weighted sums of pixels, each a row of channels that lie side by side, and of whole rows of
 * pixels: what resizing, adaptive pools, depthwise convolutions and gathering need.
 *
 * <p>Places count elements from the first one of a value. Written twice, as {@link Loops} is: both
 * give the same bits.
 */
public interface PixelLoops {

  /** The vector API's if this JVM has it, else the plain ones. */
  static PixelLoops best() {
    return Choice.BEST;
  }

  /**
   * Pixel p of row becomes Σ weights[t]·x[at + pixels[t]·channels + c] over the t from starts[p] to
   * starts[p + 1].
   */
  void mixPixels(
      Rows x, int at, int channels, int[] starts, int[] pixels, float[] weights, float[] row);

  /**
   * y[at + g·stride + i] = Σ weights[g·terms + t]·rows[t][i] over the first {@code terms}, for i
   * &lt; count and g &lt; results: several rows from the same ones, which are read once.
   */
  void mixRows(
      float[][] rows,
      float[] weights,
      int terms,
      int count,
      Rows y,
      int at,
      int stride,
      int results);

  /** y[at + c] = Σ factors[own[t] + c]·x[places[t] + c] over the first {@code terms}. */
  void mixChannels(
      Rows x, int[] places, float[] factors, int[] own, int terms, int channels, Rows y, int at);

  /** sums[at + c] += Σ x[xAt + i·xStep + c]·y[yAt + i·yStep + c] over i &lt; count. */
  void products(
      Rows x,
      int xAt,
      int xStep,
      Rows y,
      int yAt,
      int yStep,
      int count,
      int channels,
      float[] sums,
      int at);

  /** y[yAt + i] += x[xAt + i] for i &lt; count. */
  void add(Rows x, int xAt, Rows y, int yAt, int count);

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final PixelLoops BEST = Vectors.best(PixelLoops.class, PlainPixelLoops::new);

    private Choice() {}
  }
}
