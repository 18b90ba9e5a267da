package sparkvision.engine;

import java.util.Arrays;

/**
 * New values along one axis, each a weighted sum of the old ones: what resizing and adaptive means
 * do to every spatial axis in turn.
 */
final class Resampling {

  private final double[][] weights; // (new, old), mostly zeros
  private final int[] first; // where a row's weights begin
  private final int[] end;

  Resampling(double[][] weights) {
    this.weights = weights;
    this.first = new int[weights.length];
    this.end = new int[weights.length];
    for (int i = 0; i < weights.length; i++) {
      int last = weights[i].length - 1;
      while (first[i] < last && weights[i][first[i]] == 0) {
        first[i]++;
      }
      while (last > first[i] && weights[i][last] == 0) {
        last--;
      }
      end[i] = last + 1;
    }
  }

  /** The means of {@code out} bins; bin i is [⌊i·in/out⌋, ⌈(i + 1)·in/out⌉). */
  static Resampling means(long in, long out) {
    double[][] weights = new double[(int) out][(int) in];
    for (int i = 0; i < out; i++) {
      int begin = binBegin(i, in, out);
      int end = binEnd(i, in, out);
      Arrays.fill(weights[i], begin, end, 1.0 / (end - begin));
    }
    return new Resampling(weights);
  }

  static int binBegin(long i, long in, long out) {
    return (int) (i * in / out);
  }

  static int binEnd(long i, long in, long out) {
    return (int) (((i + 1) * in + out - 1) / out);
  }

  /** (old, inner) many times over → (new, inner) as often. */
  double[] apply(double[] x, int inner) {
    int in = weights[0].length;
    int out = weights.length;
    int outer = x.length / (in * inner);
    double[] y = new double[outer * out * inner];
    for (int o = 0; o < outer; o++) {
      for (int i = 0; i < out; i++) {
        for (int j = first[i]; j < end[i]; j++) {
          for (int k = 0; k < inner; k++) {
            y[(o * out + i) * inner + k] += weights[i][j] * x[(o * in + j) * inner + k];
          }
        }
      }
    }
    return y;
  }

  /** The gradient of what {@link #apply} was given, from that of what it returned. */
  double[] gradient(double[] dy, int inner) {
    int in = weights[0].length;
    int out = weights.length;
    int outer = dy.length / (out * inner);
    double[] dx = new double[outer * in * inner];
    for (int o = 0; o < outer; o++) {
      for (int i = 0; i < out; i++) {
        for (int j = first[i]; j < end[i]; j++) {
          for (int k = 0; k < inner; k++) {
            dx[(o * in + j) * inner + k] += weights[i][j] * dy[(o * out + i) * inner + k];
          }
        }
      }
    }
    return dx;
  }
}
