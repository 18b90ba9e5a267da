package sparkvision.kernels;

import java.util.Arrays;

/** The transforms of tiles, one number at a time. */
final class PlainTileLoops implements TileLoops {

  @Override
  public void input(Strip x, int tiles, int channels, float[] between, Rows v, int at, int step) {
    int pitch = (2 * tiles + 2) * channels;
    clearOutside(x, 4, pitch, channels, between);
    Rows[] d = x.rows;
    int[] from = x.places;
    for (int i = 0; i < (x.end - x.first) * channels; i++) {
      float d1 = d[1].get(from[1] + i);
      float d2 = d[2].get(from[2] + i);
      int to = x.first * channels + i;
      between[to] = d[0].get(from[0] + i) - d2;
      between[to + pitch] = d1 + d2;
      between[to + 2 * pitch] = d2 - d1;
      between[to + 3 * pitch] = d1 - d[3].get(from[3] + i);
    }
    for (int row = 0; row < 4; row++) {
      for (int t = 0; t < tiles; t++) {
        for (int c = 0; c < channels; c++) {
          int e = row * pitch + 2 * t * channels + c;
          float e1 = between[e + channels];
          float e2 = between[e + 2 * channels];
          int to = at + 4 * row * step + t * channels + c;
          v.set(to, between[e] - e2);
          v.set(to + step, e1 + e2);
          v.set(to + 2 * step, e2 - e1);
          v.set(to + 3 * step, e1 - between[e + 3 * channels]);
        }
      }
    }
  }

  /** Zeros for the columns that the map does not have, in each of some rows. */
  static void clearOutside(Strip x, int rows, int pitch, int channels, float[] between) {
    for (int row = 0; row < rows; row++) {
      int begin = row * pitch;
      Arrays.fill(between, begin, begin + x.first * channels, 0);
      Arrays.fill(between, begin + x.end * channels, begin + pitch, 0);
    }
  }

  @Override
  public void output(
      Rows m,
      int at,
      int step,
      int tiles,
      int channels,
      float[] between,
      float[] scale,
      float[] shift,
      boolean relu,
      Rows y,
      int[] places,
      int columns) {
    int pitch = tiles * channels;
    for (int column = 0; column < 4; column++) {
      for (int i = 0; i < pitch; i++) {
        int from = at + column * step + i;
        float m1 = m.get(from + 4 * step);
        float m2 = m.get(from + 8 * step);
        between[column * pitch + i] = m.get(from) + m1 + m2;
        between[(4 + column) * pitch + i] = m1 - m2 - m.get(from + 12 * step);
      }
    }
    for (int row = 0; row < 2; row++) {
      for (int t = 0; places[row] >= 0 && t < tiles; t++) {
        for (int c = 0; c < channels; c++) {
          int n = 4 * row * pitch + t * channels + c;
          float n1 = between[n + pitch];
          float n2 = between[n + 2 * pitch];
          int to = places[row] + 2 * t * channels + c;
          y.set(to, finish(between[n] + n1 + n2, scale[c], shift[c], relu));
          if (2 * t + 1 < columns) {
            float right = n1 - n2 - between[n + 3 * pitch];
            y.set(to + channels, finish(right, scale[c], shift[c], relu));
          }
        }
      }
    }
  }

  private static float finish(float sum, float scale, float shift, boolean relu) {
    float value = Math.fma(sum, scale, shift);
    return relu ? Math.max(value, 0) : value;
  }

  @Override
  public void gradient(
      Strip dy, int tiles, int channels, float[] between, Rows v, int at, int step) {
    int pitch = 2 * tiles * channels;
    clearOutside(dy, 4, pitch, channels, between);
    for (int i = 0; i < (dy.end - dy.first) * channels; i++) {
      float upper = dy.rows[0].get(dy.places[0] + i);
      float lower = dy.rows[1].get(dy.places[1] + i);
      int to = dy.first * channels + i;
      between[to] = upper;
      between[to + pitch] = upper + lower;
      between[to + 2 * pitch] = upper - lower;
      between[to + 3 * pitch] = -lower;
    }
    for (int row = 0; row < 4; row++) {
      for (int t = 0; t < tiles; t++) {
        for (int c = 0; c < channels; c++) {
          int e = row * pitch + 2 * t * channels + c;
          float left = between[e];
          float right = between[e + channels];
          int to = at + 4 * row * step + t * channels + c;
          v.set(to, left);
          v.set(to + step, left + right);
          v.set(to + 2 * step, left - right);
          v.set(to + 3 * step, -right);
        }
      }
    }
  }
}
