package sparkvision.kernels;

import java.util.Arrays;

/** The loops, one element after the other. */
final class PlainAttentionLoops implements AttentionLoops {

  // exp(x) = 2ⁿ·exp(r) with n = round(x / log 2) and r = x − n·log 2.
  static final float LEAST_EXPONENT = -86; // below it the result would be subnormal
  static final float LOG2_E = 1.442695f;
  static final float ROUNDER = 0x1.8p23f; // added and taken away again, it leaves a whole number
  static final float LOG_2 = 0x1.62e43p-1f;
  static final float LOG_2_REST = -1.9046542e-9f; // what float32 leaves out of it
  static final float[] SERIES = {
    1.9875691e-4f, 1.3981999e-3f, 8.333452e-3f, 4.1665796e-2f, 0.16666666f, 0.5f
  }; // Cephes' expf, from the highest power on

  @Override
  public void softmaxDown(Rows x, Rows y, int rows, int first, int end, float scale, float[] logs) {
    for (int c = first; c < end; c++) {
      float most = PlainLoops.load(x, 0, c) * scale;
      for (int row = 1; row < rows; row++) {
        float value = PlainLoops.load(x, row, c) * scale;
        most = value > most ? value : most;
      }
      float sum = 0;
      for (int row = 0; row < rows; row++) {
        float power = exp(Math.fma(PlainLoops.load(x, row, c), scale, -most));
        PlainLoops.store(x, row, c, power);
        sum += power;
      }
      float inverse = 1 / sum;
      for (int row = 0; row < rows; row++) {
        PlainLoops.store(y, row, c, PlainLoops.load(x, row, c) * inverse);
      }
      logs[c] = log(most, sum);
    }
  }

  /** log(exp(most)·sum). */
  static float log(float most, float sum) {
    return (float) (most + Math.log(sum));
  }

  @Override
  public void products(Rows x, Rows y, int columns, int first, int end, float[] sums) {
    float[] parts = new float[COLUMNS];
    for (int row = first; row < end; row++) {
      Arrays.fill(parts, 0);
      addProducts(x, y, row, 0, columns, parts);
      sums[row] = folded(parts);
    }
  }

  /** Adds x·y of the columns from {@code first} on; every 16th goes to the same part. */
  static void addProducts(Rows x, Rows y, int row, int first, int columns, float[] parts) {
    for (int c = first; c < columns; c++) {
      int part = c % COLUMNS;
      parts[part] = Math.fma(PlainLoops.load(x, row, c), PlainLoops.load(y, row, c), parts[part]);
    }
  }

  /**
   * The sum of the parts, which are overwritten, in an order that a vector's width does not change.
   */
  static float folded(float[] parts) {
    for (int width = COLUMNS / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; i++) {
        parts[i] += parts[i + width];
      }
    }
    return parts[0];
  }

  /** exp(x) of x up to 0, to about 1 in 2²³. */
  static float exp(float x) {
    float bounded = x < LEAST_EXPONENT ? LEAST_EXPONENT : x;
    float shifted = Math.fma(bounded, LOG2_E, ROUNDER);
    float n = shifted - ROUNDER;
    float r = Math.fma(n, -LOG_2_REST, Math.fma(n, -LOG_2, bounded));
    float sum = SERIES[0];
    for (int i = 1; i < SERIES.length; i++) {
      sum = Math.fma(sum, r, SERIES[i]);
    }
    float series = Math.fma(sum, r * r, r) + 1;
    int power = Float.floatToRawIntBits(shifted) - Float.floatToRawIntBits(ROUNDER);
    return Float.intBitsToFloat(Float.floatToRawIntBits(series) + (power << 23));
  }
}
