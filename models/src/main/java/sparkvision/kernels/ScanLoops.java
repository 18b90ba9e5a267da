package sparkvision.kernels;

/**
 * The loops of the selective scan, as {@link Loops}: written twice, with the same bits.
 *
 * <p>All numbers are in one array, and an index says where some of them begin (see {@link Room}).
 *
 * <p>The loops work on <em>rows</em>: a row per token, of {@code width} numbers, one per channel;
 * what belongs to channels alone is one such row. A scan takes a block of {@link #COLUMNS}
 * channels. It has its numbers per channel and state as rows of as many columns, a row per state,
 * and those per token and state as one such block after the other, a row per token, of which each
 * has the next states as its columns.
 */
public interface ScanLoops {

  /** Columns of a block, of which a width is a multiple. */
  int COLUMNS = 16;

  /** Times a number, the exponent of 2 that has the number's exponential. */
  float LOG2_E = 1.442695f;

  /** The vector API's if this JVM has it, else the plain ones. */
  static ScanLoops best() {
    return Choice.BEST;
  }

  /** raw = x + shift of the column; y = log(1 + exp(raw)). */
  void softplus(float[] numbers, int x, int shift, int width, int tokens, int raw, int y);

  /** Multiplies g by the slope of softplus at {@code raw}; {@code ofShift} grows by its columns. */
  void softplusGradient(float[] numbers, int raw, int width, int tokens, int g, int ofShift);

  /** y = x·silu(z), {@code count} times, a multiple of {@link #COLUMNS}. */
  void gate(float[] numbers, int x, int z, int count, int y);

  /** z becomes the gradient with respect to z of what {@link #gate} gave, whose gradient is g. */
  void gateGradient(float[] numbers, int x, int z, int g, int count);

  /** y grows by x, {@code count} times. */
  void add(float[] numbers, int x, int count, int y);

  /** What of a gradient is nearer to zero than 2⁻⁷⁸ becomes zero. */
  void dropSmall(float[] numbers, int gradient, int count);

  /**
   * y_t = bias + Σ weight_i·x_{t + i}.
   *
   * @param x {@code taps} − 1 rows more than y
   * @param weight a row per tap
   */
  void convolve(
      float[] numbers, int x, int weight, int bias, int taps, int width, int tokens, int y);

  /**
   * The gradients of {@link #convolve}.
   *
   * @param g that of y
   * @param ofX grows, as the others, by the gradient of x
   */
  void convolveGradient(
      float[] numbers,
      int x,
      int weight,
      int g,
      int taps,
      int width,
      int tokens,
      int ofX,
      int ofWeight,
      int ofBias);

  /** Where a scan of some tokens has its numbers. */
  final class Places {
    final int states;

    /** The input. */
    public final int u;

    /** At least 0. */
    public final int delta;

    /** The input times delta. */
    public final int drive;

    public final int y;

    /** A number per channel, as its gradient: what of the input goes to y directly. */
    public final int d;

    /** Per token and state. */
    public final int b;

    public final int c;

    // Gradients: that of y is given, the others grow, but that of u is written.

    public final int ofY;
    public final int ofU;
    public final int ofDelta;
    public final int ofDrive;
    public final int ofD;

    /**
     * The gradient of b: a block's row for each token and state, to be {@link #fold}ed, as that of
     * c.
     */
    public final int ofB;

    public final int ofC;

    // As the gradients of b and c.
    final int decays; // exp(delta_t·a)
    final int keeps; // exp(delta_t·a)·h_{t−1}

    private final int[] blocks; // a, h, and their gradients
    private final int numbersOfState;

    /** For at most so many tokens of so many blocks of channels. */
    public Places(Room room, int states, int blocks, int tokens) {
      int width = blocks * COLUMNS;
      int rows = tokens * width;
      int perState = tokens * states * COLUMNS;
      int perToken = (states + COLUMNS - 1) / COLUMNS * tokens * COLUMNS;
      this.states = states;
      this.u = room.add(rows);
      this.delta = room.add(rows);
      this.drive = room.add(rows);
      this.y = room.add(rows);
      this.d = room.add(width);
      this.b = room.add(perToken);
      this.c = room.add(perToken);
      this.ofY = room.add(rows);
      this.ofU = room.add(rows);
      this.ofDelta = room.add(rows);
      this.ofDrive = room.add(rows);
      this.ofD = room.add(width);
      this.ofB = room.add(perState);
      this.ofC = room.add(perState);
      this.decays = room.add(perState);
      this.keeps = room.add(perState);
      this.blocks = new int[blocks];
      this.numbersOfState = states * COLUMNS + 2 * COLUMNS;
      for (int block = 0; block < blocks; block++) {
        this.blocks[block] = room.add(4 * numbersOfState);
      }
    }

    /** a times {@link #LOG2_E}, at most 0: a row per state, as the next ones. */
    public int a(int block) {
      return blocks[block];
    }

    /** The states before the first token; become those of the last one. */
    public int h(int block) {
      return blocks[block] + numbersOfState;
    }

    public int ofA(int block) {
      return blocks[block] + 2 * numbersOfState;
    }

    /** What the tokens behind these say of the gradient of h; becomes what these say. */
    public int ofH(int block) {
      return blocks[block] + 3 * numbersOfState;
    }
  }

  /** drive = delta·u; y = d·u. */
  void enter(float[] numbers, Places at, int width, int tokens);

  /** The gradients of {@link #enter}, of which that of y and of drive are known. */
  void enterGradient(float[] numbers, Places at, int width, int tokens);

  /** h_t = exp(delta_t·a)·h_{t−1} + drive_t·b_t, and y_t grows by c_t·h_t, token by token. */
  void scan(float[] numbers, Places at, int block, int width, int tokens);

  /** As {@link #scan}; keeps what {@link #scanBack} needs, and the gradient of c grows. */
  void scanAgain(float[] numbers, Places at, int block, int width, int tokens);

  /** The other gradients of {@link #scan}, after {@link #scanAgain}. */
  void scanBack(float[] numbers, Places at, int block, int width, int tokens);

  /** The sum of each of {@code count} rows: faster number by number than across a vector. */
  static void fold(float[] numbers, int rows, int count, float[] sums) {
    for (int row = 0; row < count; row++) {
      int i = rows + row * COLUMNS;
      float a = numbers[i] + numbers[i + 8] + (numbers[i + 4] + numbers[i + 12]);
      float b = numbers[i + 1] + numbers[i + 9] + (numbers[i + 5] + numbers[i + 13]);
      float c = numbers[i + 2] + numbers[i + 10] + (numbers[i + 6] + numbers[i + 14]);
      float d = numbers[i + 3] + numbers[i + 11] + (numbers[i + 7] + numbers[i + 15]);
      sums[row] = a + c + (b + d);
    }
  }

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final ScanLoops BEST = Vectors.best(ScanLoops.class, PlainScanLoops::new);

    private Choice() {}
  }
}
