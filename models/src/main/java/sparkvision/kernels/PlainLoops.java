package sparkvision.kernels;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** The loops, one element after the other. */
final class PlainLoops implements Loops {

  /** After this many rows float sums go into double ones, so that long sums stay exact. */
  static final int BLOCK = 256;

  @Override
  public void moments(
      Rows x, int channels, int first, int end, float[] shift, double[] sums, double[] squares) {
    float[] sum = new float[channels];
    float[] square = new float[channels];
    for (int block = first; block < end; block += BLOCK) {
      for (int row = block; row < Math.min(block + BLOCK, end); row++) {
        for (int c = 0; c < channels; c++) {
          float value = load(x, row, c);
          float difference = value - shift[c];
          sum[c] += difference;
          square[c] = Math.fma(difference, difference, square[c]);
        }
      }
      flush(sum, sums);
      flush(square, squares);
    }
  }

  @Override
  public void sums(Rows x, int channels, int first, int end, double[] sums) {
    float[] sum = new float[channels];
    for (int block = first; block < end; block += BLOCK) {
      for (int row = block; row < Math.min(block + BLOCK, end); row++) {
        for (int c = 0; c < channels; c++) {
          sum[c] += load(x, row, c);
        }
      }
      flush(sum, sums);
    }
  }

  @Override
  public void scale(
      Rows x,
      Rows y,
      int channels,
      int first,
      int end,
      float[] scale,
      float[] shift,
      boolean relu) {
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c++) {
        float value = Math.fma(load(x, row, c), scale[c], shift[c]);
        store(y, row, c, relu ? Math.max(value, 0) : value);
      }
    }
  }

  @Override
  public void gradientSums(
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
      double[] products) {
    float[] sum = new float[channels];
    float[] product = new float[channels];
    for (int block = first; block < end; block += BLOCK) {
      for (int row = block; row < Math.min(block + BLOCK, end); row++) {
        for (int c = 0; c < channels; c++) {
          float value = load(x, row, c);
          float g = passed(value, load(dy, row, c), scale[c], shift[c], relu);
          sum[c] += g;
          product[c] = Math.fma(g, value - mean[c], product[c]);
          if (into != null) {
            store(into, row, c, adding ? Math.fma(g, scale[c], load(into, row, c)) : g * scale[c]);
          }
        }
      }
      flush(sum, sums);
      flush(product, products);
    }
  }

  @Override
  public void gradient(
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
      boolean relu) {
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c++) {
        float value = load(x, row, c);
        float g = passed(value, load(dy, row, c), scale[c], shift[c], relu);
        store(dx, row, c, Math.fma(-slope[c], value - mean[c], Math.fma(g, scale[c], -lift[c])));
      }
    }
  }

  @Override
  public void settle(
      Rows x,
      Rows reference,
      Rows y,
      int channels,
      int first,
      int end,
      float[] mean,
      float[] lift,
      float[] slope) {
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c++) {
        float difference = load(reference, row, c) - mean[c];
        store(y, row, c, Math.fma(-slope[c], difference, load(x, row, c) - lift[c]));
      }
    }
  }

  @Override
  public void copy(Rows x, Rows y, boolean adding, int channels, int first, int end) {
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c++) {
        float value = load(x, row, c);
        store(y, row, c, adding ? load(y, row, c) + value : value);
      }
    }
  }

  private static float passed(float x, float dy, float scale, float shift, boolean relu) {
    return !relu || Math.fma(x, scale, shift) > 0 ? dy : 0;
  }

  static void flush(float[] part, double[] total) {
    for (int c = 0; c < part.length; c++) {
      total[c] += part[c];
    }
    Arrays.fill(part, 0);
  }

  static float load(Rows rows, int row, int column) {
    int index = row * rows.stride() + column;
    ByteBuffer data = rows.data();
    return rows.isBfloat16()
        ? Bfloat16.toFloat(data.getShort(index * 2))
        : data.getFloat(index * 4);
  }

  static void store(Rows rows, int row, int column, float value) {
    int index = row * rows.stride() + column;
    if (rows.isBfloat16()) {
      rows.data().putShort(index * 2, Bfloat16.of(value));
    } else {
      rows.data().putFloat(index * 4, value);
    }
  }
}
