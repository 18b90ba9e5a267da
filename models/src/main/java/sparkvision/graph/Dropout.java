package sparkvision.graph;

/**
 * Which elements a dropout keeps: a pure function of the graph's noise seed, the optimizer step and
 * the place in the graph, so that every engine drops the same ones.
 */
public final class Dropout {

  private Dropout() {}

  /**
   * Fills {@code mask} with 0 (dropped) or 1 / (1 − rate) (kept).
   *
   * @param seed the graph's {@link Graph#noiseSeed}
   * @param step how many optimizer steps were taken before; in the upper half how many gradients
   *     were accumulated since, so that those of one step drop different elements
   * @param index which dropout of the graph this is
   */
  public static void fill(float[] mask, long seed, long step, long index, double rate) {
    long stream = stream(seed, step, index);
    for (int i = 0; i < mask.length; i++) {
      mask[i] = factor(stream, i, rate);
    }
  }

  /** What the elements of one mask have in common, for {@link #factor}. */
  public static long stream(long seed, long step, long index) {
    return Seeds.of(Seeds.of(Seeds.of(seed, "dropout"), step), index);
  }

  /** One element of a mask, so that masks can be filled in parts and in any order. */
  public static float factor(long stream, long element, double rate) {
    double uniform = (Seeds.of(stream, element) >>> 11) * 0x1p-53;
    return uniform < rate ? 0 : (float) (1 / (1 - rate));
  }
}
