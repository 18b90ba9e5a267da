package sparkvision.kernels;

/**
 * The loops of the selective scan, as {@link Loops}: written twice, with the same bits.
 *
 * <p>They work on <em>blocks</em>, tokens x {@link #COLUMNS} numbers: some tokens of as many
 * channels. A scan has its numbers per channel and state in blocks of states x columns, and those
 * per token and state as blocks of tokens x columns, one after the other, of which each has the
 * next states as its columns.
 */
public interface ScanLoops {

  /** Columns of a block. */
  int COLUMNS = 16;

  /** Times a number, the exponent of 2 that has the number's exponential. */
  float LOG2_E = 1.442695f;

  /** The vector API's if this JVM has it, else the plain ones. */
  static ScanLoops best() {
    return Choice.BEST;
  }

  /**
   * Takes a block out of rows that are {@code width} numbers long.
   *
   * @param at where the block's first row begins
   */
  void take(float[] rows, int at, int width, int tokens, float[] block, int blockAt);

  /** Puts a block to where {@link #take} would find it. */
  void put(float[] block, int blockAt, int tokens, float[] rows, int at, int width);

  /** raw = x + shift of the column; y = log(1 + exp(raw)). */
  void softplus(float[] x, float[] shift, int tokens, float[] raw, float[] y);

  /** Multiplies g by the slope of softplus at {@code raw}; {@code ofShift} grows by its columns. */
  void softplusGradient(float[] raw, int tokens, float[] g, float[] ofShift);

  /** y = x·silu(z). */
  void gate(float[] x, float[] z, int tokens, float[] y);

  /** z becomes the gradient with respect to z of what {@link #gate} gave, whose gradient is g. */
  void gateGradient(float[] x, float[] z, float[] g, int tokens);

  /** What of a gradient is nearer to zero than 2⁻⁷⁸ becomes zero. */
  void dropSmall(float[] gradient, int tokens);

  /**
   * y_t = bias + Σ weight_i·x_{t + i}.
   *
   * @param x a block with {@code taps} − 1 tokens more than y
   * @param weight a block of taps
   */
  void convolve(float[] x, float[] weight, float[] bias, int taps, int tokens, float[] y);

  /**
   * The gradients of {@link #convolve}.
   *
   * @param g that of y
   * @param ofX grows, as the others, by the gradient of x
   */
  void convolveGradient(
      float[] x,
      float[] weight,
      float[] g,
      int taps,
      int tokens,
      float[] ofX,
      float[] ofWeight,
      float[] ofBias);

  /** drive = delta·u; y = d·u, where d belongs to the column. */
  void enter(float[] u, float[] delta, float[] d, int tokens, float[] drive, float[] y);

  /**
   * The gradients of {@link #enter}.
   *
   * @param g has those of y and drive; {@code delta} grows
   * @param ofD grows by the gradient of d
   */
  void enterGradient(
      float[] u, float[] delta, float[] d, int tokens, Gradients g, float[] ofU, float[] ofD);

  /**
   * h_t = exp(delta_t·a)·h_{t−1} + drive_t·b_t, and y_t grows by c_t·h_t, token by token.
   *
   * @param delta at least 0
   * @param drive the input times delta
   * @param a times {@link #LOG2_E}; at most 0, a block of states
   * @param b per token and state, as c
   * @param h the states before the first token, a block; becomes that of the last one
   */
  void scan(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int tokens,
      float[] h,
      float[] y);

  /** What {@link #scanBack} takes and gives, beside what {@link #scan} takes. */
  final class Gradients {
    /** The gradient of y, a block. */
    public final float[] y;

    /** Grow by the gradients of delta and drive, blocks. */
    public final float[] delta;

    public final float[] drive;

    /** Grows by the gradient of a, a block of states. */
    public float[] a;

    /** What the tokens behind these say of the gradient of h; becomes what these say. */
    public float[] h;

    /**
     * Grow by the gradients of b and c: a block of states for each token, to be {@link #fold}ed.
     */
    public final float[] b;

    public final float[] c;

    private final float[] decays;
    private final float[] keeps;

    public Gradients(int states, int tokens) {
      int block = tokens * COLUMNS;
      y = new float[block];
      delta = new float[block];
      drive = new float[block];
      b = new float[states * block];
      c = new float[states * block];
      decays = new float[states * block];
      keeps = new float[states * block];
    }

    /** exp(delta_t·a), laid out as the gradients of b and c. */
    float[] decays() {
      return decays;
    }

    /** exp(delta_t·a)·h_{t−1}. */
    float[] keeps() {
      return keeps;
    }
  }

  /** As {@link #scan}; {@code gradients} keeps what {@link #scanBack} needs, and its c grows. */
  void scanAgain(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int tokens,
      float[] h,
      float[] y,
      Gradients gradients);

  /** The other gradients of {@link #scan}, after {@link #scanAgain}. */
  void scanBack(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int tokens,
      Gradients gradients);

  /** The sum of every row of a block: faster number by number than across a vector. */
  static void fold(float[] block, int first, int rows, float[] sums, int at) {
    for (int row = 0; row < rows; row++) {
      int i = (first + row) * COLUMNS;
      float a = block[i] + block[i + 8] + (block[i + 4] + block[i + 12]);
      float b = block[i + 1] + block[i + 9] + (block[i + 5] + block[i + 13]);
      float c = block[i + 2] + block[i + 10] + (block[i + 6] + block[i + 14]);
      float d = block[i + 3] + block[i + 11] + (block[i + 7] + block[i + 15]);
      sums[at + row] = a + c + (b + d);
    }
  }

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final ScanLoops BEST = Vectors.best(ScanLoops.class, PlainScanLoops::new);

    private Choice() {}
  }
}
