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
    long stream = Seeds.of(Seeds.of(Seeds.of(seed, "dropout"), step), index);
    float kept = (float) (1 / (1 - rate));
    for (int i = 0; i < mask.length; i++) {
      double uniform = (Seeds.of(stream, i) >>> 11) * 0x1p-53;
      mask[i] = uniform < rate ? 0 : kept;
    }
  }
}
