package sparkvision.kernels;

/**
 * The loops of the selective scan, as {@link Loops}: written twice, with the same bits.
 *
 * <p>They work on <em>rows</em>: a row per token, of {@code width} numbers, one per channel; what
 * belongs to channels alone is one such row. A scan takes {@link #COLUMNS} of the channels. It has
 * its numbers per channel and state in a <em>block</em> of states x columns, and those per token
 * and state as blocks of tokens x columns, one after the other, of which each has the next states
 * as its columns.
 */
public interface ScanLoops {

  /** Columns of a block, of which a width is a multiple. */
  int COLUMNS = 16;

  /**
   * States that the backward pass takes at once, so that what it keeps stays in the first cache.
   */
  int PASS = 8;

  /** Times a number, the exponent of 2 that has the number's exponential. */
  float LOG2_E = 1.442695f;

  /** The vector API's if this JVM has it, else the plain ones. */
  static ScanLoops best() {
    return Choice.BEST;
  }

  /** raw = x + shift of the column; y = log(1 + exp(raw)). */
  void softplus(float[] x, float[] shift, int width, int tokens, float[] raw, float[] y);

  /** Multiplies g by the slope of softplus at {@code raw}; {@code ofShift} grows by its columns. */
  void softplusGradient(float[] raw, int width, int tokens, float[] g, float[] ofShift);

  /** y = x·silu(z), of the first {@code count} numbers, a multiple of {@link #COLUMNS}. */
  void gate(float[] x, float[] z, int count, float[] y);

  /** z becomes the gradient with respect to z of what {@link #gate} gave, whose gradient is g. */
  void gateGradient(float[] x, float[] z, float[] g, int count);

  /** What of a gradient is nearer to zero than 2⁻⁷⁸ becomes zero. */
  void dropSmall(float[] gradient, int count);

  /**
   * y_t = bias + Σ weight_i·x_{t + i}.
   *
   * @param x {@code taps} − 1 rows more than y
   * @param weight a row per tap
   */
  void convolve(
      float[] x, float[] weight, float[] bias, int taps, int width, int tokens, float[] y);

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
      int width,
      int tokens,
      float[] ofX,
      float[] ofWeight,
      float[] ofBias);

  /** drive = delta·u; y = d·u, where d belongs to the column. */
  void enter(float[] u, float[] delta, float[] d, int width, int tokens, float[] drive, float[] y);

  /**
   * The gradients of {@link #enter}.
   *
   * @param g has those of y and drive; {@code delta} grows
   * @param ofD grows by the gradient of d
   */
  void enterGradient(
      float[] u,
      float[] delta,
      float[] d,
      int width,
      int tokens,
      Gradients g,
      float[] ofU,
      float[] ofD);

  /**
   * h_t = exp(delta_t·a)·h_{t−1} + drive_t·b_t, and y_t grows by c_t·h_t, token by token.
   *
   * @param delta at least 0
   * @param drive the input times delta
   * @param a times {@link #LOG2_E}; at most 0, a block of states
   * @param b per token and state, as c
   * @param column the first of the channels
   * @param h the states before the first token, a block; becomes that of the last one
   */
  void scan(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int column,
      int width,
      int tokens,
      float[] h,
      float[] y);

  /** What {@link #scanBack} takes and gives, beside what {@link #scan} takes. */
  final class Gradients {
    /** The gradient of y, rows. */
    public final float[] y;

    /** Grow by the gradients of delta and drive, rows. */
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

    /** For at most so much. */
    public Gradients(int states, int width, int tokens) {
      y = new float[tokens * width];
      delta = new float[tokens * width];
      drive = new float[tokens * width];
      b = new float[tokens * states * COLUMNS];
      c = new float[tokens * states * COLUMNS];
      decays = new float[tokens * states * COLUMNS];
      keeps = new float[tokens * states * COLUMNS];
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
      int column,
      int width,
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
      int column,
      int width,
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
