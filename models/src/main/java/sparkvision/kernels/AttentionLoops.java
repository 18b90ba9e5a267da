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
   * The softmax of scale·x down each column, but for the division by its sum: y = exp(scale·x −
   * most), where most is the largest of the column.
   *
   * @param y may be x
   * @param first the first column, a multiple of {@link #COLUMNS}, as is {@code end}
   * @param sums gets Σ y of each column
   * @param logs gets most + log Σ y of each column
   */
  void powersDown(
      Rows x, Rows y, int rows, int first, int end, float scale, float[] sums, float[] logs);

  /** y = x / divisor of the row; row 0 of x becomes row {@code shift} of y. */
  void divideRows(Rows x, Rows y, int shift, int columns, int first, int end, float[] divisors);

  /** y = ofX·x + ofY·y, with a factor for each row. */
  void mixRows(Rows x, Rows y, int columns, int first, int end, float[] ofX, float[] ofY);

  /** Σ x·y of each row from {@code first} to {@code end}. */
  void products(Rows x, Rows y, int columns, int first, int end, float[] sums);

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final AttentionLoops BEST =
        Vectors.best(AttentionLoops.class, PlainAttentionLoops::new);

    private Choice() {}
  }
}
