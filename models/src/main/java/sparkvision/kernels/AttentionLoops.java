package sparkvision.kernels;

/**
 * The loops of attention beside its products, as {@link Loops}: written twice, with the same bits.
 */
public interface AttentionLoops {

  /** How many columns members may be given at a time. */
  int COLUMNS = 16;

  /** The vector API's if this JVM has it, else the plain ones. */
  static AttentionLoops best() {
    return Choice.BEST;
  }

  /**
   * y = the softmax of scale·x down each column from {@code first} to {@code end}, multiples of
   * {@link #COLUMNS}. x is overwritten and may be y.
   *
   * @param logs gets log Σ exp(scale·x) of each column
   */
  void softmaxDown(Rows x, Rows y, int rows, int first, int end, float scale, float[] logs);

  /** Σ x·y of each row from {@code first} to {@code end}. */
  void products(Rows x, Rows y, int columns, int first, int end, float[] sums);

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final AttentionLoops BEST =
        Loops.best() instanceof PlainLoops ? new PlainAttentionLoops() : vector();

    private Choice() {}

    private static AttentionLoops vector() {
      try { // by name, as for Loops
        return Class.forName("sparkvision.kernels.VectorAttentionLoops")
            .asSubclass(AttentionLoops.class)
            .getDeclaredConstructor()
            .newInstance();
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException("Cannot load the vector loops: " + e, e);
      }
    }
  }
}
