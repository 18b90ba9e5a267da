package sparkvision.kernels;

/** The loops, one element after the other. */
final class PlainPixelLoops implements PixelLoops {

  @Override
  public void mixPixels(
      Rows x, int at, int channels, int[] starts, int[] pixels, float[] weights, float[] row) {
    for (int p = 0; p < starts.length - 1; p++) {
      for (int c = 0; c < channels; c++) {
        float sum = 0;
        for (int t = starts[p]; t < starts[p + 1]; t++) {
          sum = Math.fma(load(x, at + pixels[t] * channels + c), weights[t], sum);
        }
        row[p * channels + c] = sum;
      }
    }
  }

  @Override
  public void mixRows(
      float[][] rows,
      float[] weights,
      int terms,
      int count,
      Rows y,
      int at,
      int stride,
      int results) {
    mixRows(rows, weights, terms, 0, count, y, at, stride, results);
  }

  /** The elements from {@code first} on. */
  static void mixRows(
      float[][] rows,
      float[] weights,
      int terms,
      int first,
      int count,
      Rows y,
      int at,
      int stride,
      int results) {
    for (int g = 0; g < results; g++) {
      for (int i = first; i < count; i++) {
        float sum = 0;
        for (int t = 0; t < terms; t++) {
          sum = Math.fma(rows[t][i], weights[g * terms + t], sum);
        }
        store(y, at + g * stride + i, sum);
      }
    }
  }

  @Override
  public void mixChannels(
      Rows x, int[] places, float[] factors, int[] own, int terms, int channels, Rows y, int at) {
    for (int c = 0; c < channels; c++) {
      float sum = 0;
      for (int t = 0; t < terms; t++) {
        sum = Math.fma(load(x, places[t] + c), factors[own[t] + c], sum);
      }
      store(y, at + c, sum);
    }
  }

  @Override
  public void products(
      Rows x,
      int xAt,
      int xStep,
      Rows y,
      int yAt,
      int yStep,
      int count,
      int channels,
      float[] sums,
      int at) {
    products(x, xAt, xStep, y, yAt, yStep, count, 0, channels, sums, at);
  }

  /** The channels from {@code first} on. */
  static void products(
      Rows x,
      int xAt,
      int xStep,
      Rows y,
      int yAt,
      int yStep,
      int count,
      int first,
      int channels,
      float[] sums,
      int at) {
    for (int c = first; c < channels; c++) {
      float sum = 0;
      for (int i = 0; i < count; i++) {
        sum = Math.fma(load(x, xAt + i * xStep + c), load(y, yAt + i * yStep + c), sum);
      }
      sums[at + c] += sum;
    }
  }

  @Override
  public void add(Rows x, int xAt, Rows y, int yAt, int count) {
    add(x, xAt, y, yAt, 0, count);
  }

  /** The elements from {@code first} on. */
  static void add(Rows x, int xAt, Rows y, int yAt, int first, int count) {
    for (int i = first; i < count; i++) {
      store(y, yAt + i, load(y, yAt + i) + load(x, xAt + i));
    }
  }

  private static float load(Rows rows, int place) {
    return PlainLoops.load(rows, 0, place);
  }

  private static void store(Rows rows, int place, float value) {
    PlainLoops.store(rows, 0, place, value);
  }
}
