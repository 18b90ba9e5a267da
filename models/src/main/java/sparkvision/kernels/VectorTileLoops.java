package sparkvision.kernels;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** The transforms of tiles, as many channels at once as the CPU's vectors hold. */
final class VectorTileLoops implements TileLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();

  @Override
  public void input(Strip x, int tiles, int channels, float[] between, Rows v, int at, int step) {
    int pitch = (2 * tiles + 2) * channels;
    PlainTileLoops.clearOutside(x, 4, pitch, channels, between);
    inputDown(x, channels, between, pitch);
    for (int row = 0; row < 4; row++) {
      for (int t = 0; t < tiles; t++) {
        int from = row * pitch + 2 * t * channels;
        int to = at + 4 * row * step + t * channels;
        inputAcross(between, from, channels, v, to, step);
      }
    }
  }

  private static void inputDown(Strip x, int channels, float[] between, int pitch) {
    Rows r0 = x.rows[0];
    Rows r1 = x.rows[1];
    Rows r2 = x.rows[2];
    Rows r3 = x.rows[3];
    int p0 = x.places[0];
    int p1 = x.places[1];
    int p2 = x.places[2];
    int p3 = x.places[3];
    int to = x.first * channels;
    int count = (x.end - x.first) * channels;
    for (int i = 0; i < count; i += LANES) {
      FloatVector d1 = load(r1, p1 + i);
      FloatVector d2 = load(r2, p2 + i);
      load(r0, p0 + i).sub(d2).intoArray(between, to + i);
      d1.add(d2).intoArray(between, to + pitch + i);
      d2.sub(d1).intoArray(between, to + 2 * pitch + i);
      d1.sub(load(r3, p3 + i)).intoArray(between, to + 3 * pitch + i);
    }
  }

  private static void inputAcross(
      float[] between, int from, int channels, Rows v, int to, int step) {
    for (int c = 0; c < channels; c += LANES) {
      FloatVector e0 = load(between, from + c);
      FloatVector e1 = load(between, from + channels + c);
      FloatVector e2 = load(between, from + 2 * channels + c);
      FloatVector e3 = load(between, from + 3 * channels + c);
      store(v, to + c, e0.sub(e2));
      store(v, to + step + c, e1.add(e2));
      store(v, to + 2 * step + c, e2.sub(e1));
      store(v, to + 3 * step + c, e1.sub(e3));
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
      outputDown(m, at + column * step, step, between, column * pitch, pitch);
    }
    for (int row = 0; row < 2; row++) {
      for (int t = 0; places[row] >= 0 && t < tiles; t++) {
        int from = 4 * row * pitch + t * channels;
        int to = places[row] + 2 * t * channels;
        outputLeft(between, from, pitch, channels, scale, shift, relu, y, to);
        if (2 * t + 1 < columns) {
          outputRight(between, from, pitch, channels, scale, shift, relu, y, to + channels);
        }
      }
    }
  }

  private static void outputDown(Rows m, int from, int step, float[] between, int to, int pitch) {
    for (int i = 0; i < pitch; i += LANES) {
      FloatVector m1 = load(m, from + 4 * step + i);
      FloatVector m2 = load(m, from + 8 * step + i);
      load(m, from + i).add(m1).add(m2).intoArray(between, to + i);
      m1.sub(m2).sub(load(m, from + 12 * step + i)).intoArray(between, to + 4 * pitch + i);
    }
  }

  private static void outputLeft(
      float[] between,
      int from,
      int pitch,
      int channels,
      float[] scale,
      float[] shift,
      boolean relu,
      Rows y,
      int to) {
    for (int c = 0; c < channels; c += LANES) {
      FloatVector sum =
          load(between, from + c)
              .add(load(between, from + pitch + c))
              .add(load(between, from + 2 * pitch + c));
      FloatVector value = sum.fma(load(scale, c), load(shift, c));
      store(y, to + c, relu ? value.max(0) : value);
    }
  }

  private static void outputRight(
      float[] between,
      int from,
      int pitch,
      int channels,
      float[] scale,
      float[] shift,
      boolean relu,
      Rows y,
      int to) {
    for (int c = 0; c < channels; c += LANES) {
      FloatVector sum =
          load(between, from + pitch + c)
              .sub(load(between, from + 2 * pitch + c))
              .sub(load(between, from + 3 * pitch + c));
      FloatVector value = sum.fma(load(scale, c), load(shift, c));
      store(y, to + c, relu ? value.max(0) : value);
    }
  }

  @Override
  public void gradient(
      Strip dy, int tiles, int channels, float[] between, Rows v, int at, int step) {
    int pitch = 2 * tiles * channels;
    PlainTileLoops.clearOutside(dy, 4, pitch, channels, between);
    gradientDown(dy, channels, between, pitch);
    for (int row = 0; row < 4; row++) {
      for (int t = 0; t < tiles; t++) {
        int from = row * pitch + 2 * t * channels;
        int to = at + 4 * row * step + t * channels;
        gradientAcross(between, from, channels, v, to, step);
      }
    }
  }

  private static void gradientDown(Strip dy, int channels, float[] between, int pitch) {
    Rows r0 = dy.rows[0];
    Rows r1 = dy.rows[1];
    int p0 = dy.places[0];
    int p1 = dy.places[1];
    int to = dy.first * channels;
    int count = (dy.end - dy.first) * channels;
    for (int i = 0; i < count; i += LANES) {
      FloatVector upper = load(r0, p0 + i);
      FloatVector lower = load(r1, p1 + i);
      upper.intoArray(between, to + i);
      upper.add(lower).intoArray(between, to + pitch + i);
      upper.sub(lower).intoArray(between, to + 2 * pitch + i);
      lower.neg().intoArray(between, to + 3 * pitch + i);
    }
  }

  private static void gradientAcross(
      float[] between, int from, int channels, Rows v, int to, int step) {
    for (int c = 0; c < channels; c += LANES) {
      FloatVector left = load(between, from + c);
      FloatVector right = load(between, from + channels + c);
      store(v, to + c, left);
      store(v, to + step + c, left.add(right));
      store(v, to + 2 * step + c, left.sub(right));
      store(v, to + 3 * step + c, right.neg());
    }
  }

  private static FloatVector load(float[] numbers, int place) {
    return FloatVector.fromArray(FLOATS, numbers, place);
  }

  private static FloatVector load(Rows rows, int place) {
    return VectorLoops.load(rows, 0, place);
  }

  private static void store(Rows rows, int place, FloatVector value) {
    VectorLoops.store(rows, 0, place, value);
  }
}
