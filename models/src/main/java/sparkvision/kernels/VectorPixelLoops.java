package sparkvision.kernels;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The loops, as many channels at once as the CPU's vectors hold. What is left over of the channels
 * is done by a last vector that reaches back over the one before it, where that does no harm.
 *
 * <p>No method with a loop returns a vector: one that the compiler does not inline would return it
 * as an object.
 */
final class VectorPixelLoops implements PixelLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();

  private final PlainPixelLoops plain = new PlainPixelLoops();

  @Override
  public void mixPixels(
      Rows x, int at, int channels, int[] starts, int[] pixels, float[] weights, float[] row) {
    if (channels < LANES) {
      plain.mixPixels(x, at, channels, starts, pixels, weights, row);
      return;
    }
    int last = channels - LANES;
    int pairs = channels / (2 * LANES) * (2 * LANES);
    for (int p = 0; p < starts.length - 1; p++) {
      int from = starts[p];
      int end = starts[p + 1];
      int to = p * channels;
      for (int c = 0; c < pairs; c += 2 * LANES) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = sum0;
        for (int t = from; t < end; t++) {
          int place = at + c + pixels[t] * channels;
          FloatVector weight = FloatVector.broadcast(FLOATS, weights[t]);
          sum0 = load(x, place).fma(weight, sum0);
          sum1 = load(x, place + LANES).fma(weight, sum1);
        }
        sum0.intoArray(row, to + c);
        sum1.intoArray(row, to + c + LANES);
      }
      for (int next = pairs; next < channels; next += LANES) {
        int c = Math.min(next, last);
        FloatVector sum = FloatVector.zero(FLOATS);
        for (int t = from; t < end; t++) {
          sum = fma(load(x, at + c + pixels[t] * channels), weights[t], sum);
        }
        sum.intoArray(row, to + c);
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
    int whole = FLOATS.loopBound(count);
    if (terms == 1) {
      float[] a = rows[0];
      for (int i = 0; i < whole; i += LANES) {
        FloatVector value = load(a, i);
        for (int g = 0; g < results; g++) {
          store(y, at + g * stride + i, mul(value, weights[g]));
        }
      }
    } else if (terms == 2) {
      float[] a = rows[0];
      float[] b = rows[1];
      for (int i = 0; i < whole; i += LANES) {
        FloatVector valueA = load(a, i);
        FloatVector valueB = load(b, i);
        for (int g = 0; g < results; g++) {
          FloatVector sum = fma(valueB, weights[2 * g + 1], mul(valueA, weights[2 * g]));
          store(y, at + g * stride + i, sum);
        }
      }
    } else {
      for (int i = 0; i < whole; i += LANES) {
        for (int g = 0; g < results; g++) {
          FloatVector sum = FloatVector.zero(FLOATS);
          for (int t = 0; t < terms; t++) {
            sum = fma(load(rows[t], i), weights[g * terms + t], sum);
          }
          store(y, at + g * stride + i, sum);
        }
      }
    }
    PlainPixelLoops.mixRows(rows, weights, terms, whole, count, y, at, stride, results);
  }

  @Override
  public void mixChannels(
      Rows x, int[] places, float[] factors, int[] own, int terms, int channels, Rows y, int at) {
    if (channels < LANES) {
      plain.mixChannels(x, places, factors, own, terms, channels, y, at);
      return;
    }
    int last = channels - LANES;
    for (int next = 0; next < channels; next += LANES) {
      int c = Math.min(next, last);
      FloatVector sum = FloatVector.zero(FLOATS);
      for (int t = 0; t < terms; t++) {
        sum = load(x, places[t] + c).fma(load(factors, own[t] + c), sum);
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
    int c = 0;
    // Several sums at once: one alone would wait for its own last addition.
    for (; c + 4 * LANES <= channels; c += 4 * LANES) {
      FloatVector sum0 = FloatVector.zero(FLOATS);
      FloatVector sum1 = sum0;
      FloatVector sum2 = sum0;
      FloatVector sum3 = sum0;
      int from = xAt + c;
      int other = yAt + c;
      for (int i = 0; i < count; i++) {
        sum0 = load(x, from).fma(load(y, other), sum0);
        sum1 = load(x, from + LANES).fma(load(y, other + LANES), sum1);
        sum2 = load(x, from + 2 * LANES).fma(load(y, other + 2 * LANES), sum2);
        sum3 = load(x, from + 3 * LANES).fma(load(y, other + 3 * LANES), sum3);
        from += xStep;
        other += yStep;
      }
      flush(sum0, sums, at + c);
      flush(sum1, sums, at + c + LANES);
      flush(sum2, sums, at + c + 2 * LANES);
      flush(sum3, sums, at + c + 3 * LANES);
    }
    for (; c + LANES <= channels; c += LANES) {
      FloatVector sum = FloatVector.zero(FLOATS);
      for (int i = 0; i < count; i++) {
        sum = load(x, xAt + i * xStep + c).fma(load(y, yAt + i * yStep + c), sum);
      }
      flush(sum, sums, at + c);
    }
    PlainPixelLoops.products(x, xAt, xStep, y, yAt, yStep, count, c, channels, sums, at);
  }

  private static void flush(FloatVector sum, float[] sums, int at) {
    FloatVector.fromArray(FLOATS, sums, at).add(sum).intoArray(sums, at);
  }

  @Override
  public void add(Rows x, int xAt, Rows y, int yAt, int count) {
    int whole = FLOATS.loopBound(count);
    for (int i = 0; i < whole; i += LANES) {
      store(y, yAt + i, load(y, yAt + i).add(load(x, xAt + i)));
    }
    PlainPixelLoops.add(x, xAt, y, yAt, whole, count);
  }

  private static FloatVector mul(FloatVector x, float weight) {
    return fma(x, weight, FloatVector.zero(FLOATS)); // as the plain loops do
  }

  private static FloatVector fma(FloatVector x, float weight, FloatVector sum) {
    return x.fma(FloatVector.broadcast(FLOATS, weight), sum);
  }

  private static FloatVector load(float[] row, int place) {
    return FloatVector.fromArray(FLOATS, row, place);
  }

  private static FloatVector load(Rows rows, int place) {
    return VectorLoops.load(rows, 0, place);
  }

  private static void store(Rows rows, int place, FloatVector value) {
    VectorLoops.store(rows, 0, place, value);
  }
}
