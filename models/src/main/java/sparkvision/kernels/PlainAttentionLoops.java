package sparkvision.kernels;

import java.util.Arrays;

/** The loops, one element after the other. */
final class PlainAttentionLoops implements AttentionLoops {

  @Override
  public void powersDown(
      Rows x, Rows y, int rows, int first, int end, float scale, float[] sums, float[] logs) {
    for (int c = first; c < end; c++) {
      float most = PlainLoops.load(x, 0, c) * scale;
      for (int row = 1; row < rows; row++) {
        most = Math.max(most, PlainLoops.load(x, row, c) * scale);
      }
      float sum = 0;
      for (int row = 0; row < rows; row++) {
        float power = PlainGridLoops.exp(Math.fma(PlainLoops.load(x, row, c), scale, -most));
        PlainLoops.store(y, row, c, power);
        sum += power;
      }
      sums[c] = sum;
      logs[c] = log(most, sum);
    }
  }

  /** log(exp(most)·sum). */
  static float log(float most, float sum) {
    return (float) (most + Math.log(sum));
  }

  @Override
  public void divideRows(
      Rows x, Rows y, int shift, int columns, int first, int end, float[] divisors) {
    for (int row = first; row < end; row++) {
      divide(x, y, row, shift + row, 0, columns, 1 / divisors[row]);
    }
  }

  static void divide(Rows x, Rows y, int row, int target, int first, int columns, float inverse) {
    for (int c = first; c < columns; c++) {
      PlainLoops.store(y, target, c, PlainLoops.load(x, row, c) * inverse);
    }
  }

  @Override
  public void mixRows(Rows x, Rows y, int columns, int first, int end, float[] ofX, float[] ofY) {
    for (int row = first; row < end; row++) {
      mix(x, y, row, 0, columns, ofX[row], ofY[row]);
    }
  }

  static void mix(Rows x, Rows y, int row, int first, int columns, float ofX, float ofY) {
    for (int c = first; c < columns; c++) {
      float kept = PlainLoops.load(y, row, c) * ofY;
      PlainLoops.store(y, row, c, Math.fma(PlainLoops.load(x, row, c), ofX, kept));
    }
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
}
