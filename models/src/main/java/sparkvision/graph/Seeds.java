package sparkvision.graph;

/** Seeds made from seeds, so that every random choice has its own stream. */
final class Seeds {

  private static final long GOLDEN_GAMMA = 0x9E3779B97F4A7C15L;

  private Seeds() {}

  static long of(long seed, String name) {
    long mixed = seed;
    for (int i = 0; i < name.length(); i++) {
      mixed = of(mixed, name.charAt(i));
    }
    return mixed;
  }

  /**
   * One step of SplitMix64 after adding {@code value}.
   *
   * @see <a href="https://doi.org/10.1145/2660193.2660195">Steele et al., Fast Splittable
   *     Pseudorandom Number Generators, 2014, figure 16</a>
   */
  static long of(long seed, long value) {
    long z = (seed ^ value) * GOLDEN_GAMMA + GOLDEN_GAMMA;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
