package sparkvision.data;

import java.nio.charset.StandardCharsets;

/**
 * A keyed stream of random numbers: SplitMix64 started from a hash of its key, so that equal keys
 * give equal streams on every machine and Java version.
 *
 * @see <a href="https://doi.org/10.1145/2660193.2660195">Steele, Lea, Flood, Fast Splittable
 *     Pseudorandom Number Generators, 2014, figure 16</a>
 */
public final class SplitMix {

  private static final long GOLDEN = 0x9E3779B97F4A7C15L;

  private long state;

  /** The stream of a key; its parts are mixed in one after the other, so their order matters. */
  public SplitMix(long... key) {
    for (long part : key) {
      state = mix(state + GOLDEN + mix(part));
    }
  }

  /** 64-bit FNV-1a of the UTF-8 bytes, finished by the SplitMix64 mixer. */
  public static long hash(String text) {
    long hash = 0xCBF29CE484222325L;
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      hash = (hash ^ (b & 0xFF)) * 0x100000001B3L;
    }
    return mix(hash);
  }

  /** The next 64 bits. */
  public long next() {
    state += GOLDEN;
    return mix(state);
  }

  /** Uniform in 0..bound-1, without bias; {@code bound} >= 1. */
  public int below(int bound) {
    long bits = next() >>> 1;
    long value = bits % bound;
    while (bits - value + (bound - 1) < 0) { // the last, incomplete run of multiples: draw again
      bits = next() >>> 1;
      value = bits % bound;
    }
    return (int) value;
  }

  /** Uniform in [0, 1), 53 bits. */
  public double unit() {
    return (next() >>> 11) * 0x1p-53;
  }

  /** Uniform in [from, to). */
  public double between(double from, double to) {
    return from + unit() * (to - from);
  }

  /**
   * Standard normal, by Marsaglia's polar method; equal on every machine, as StrictMath is.
   *
   * @see <a href="https://doi.org/10.1137/1006063">Marsaglia and Bray, A Convenient Method for
   *     Generating Normal Variables, 1964</a>
   */
  public double gaussian() {
    while (true) {
      double x = between(-1, 1);
      double y = between(-1, 1);
      double square = x * x + y * y;
      if (square > 0 && square < 1) {
        return x * Math.sqrt(-2 * StrictMath.log(square) / square);
      }
    }
  }

  /**
   * Beta(a, b) by Jöhnk's method; quick as long as a + b is small, as it is for mixing.
   *
   * @param a above 0
   * @param b above 0
   * @see <a href="https://doi.org/10.1007/BF02613706">Jöhnk, Erzeugung von betaverteilten und
   *     gammaverteilten Zufallszahlen, 1964</a>
   */
  public double beta(double a, double b) {
    while (true) {
      double x = StrictMath.pow(unit(), 1 / a);
      double y = StrictMath.pow(unit(), 1 / b);
      if (x + y > 0 && x + y <= 1) {
        return x / (x + y);
      }
    }
  }

  /** Fisher-Yates over {@code values[from..to)}. */
  public void shuffle(int[] values, int from, int to) {
    for (int i = to - 1; i > from; i--) {
      int j = from + below(i - from + 1);
      int swap = values[i];
      values[i] = values[j];
      values[j] = swap;
    }
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
