package sparkvision.kernels;

/**
 * The loops of the selective scan, as {@link Loops}: written twice, with the same bits.
 *
 * <p>All numbers are in one array, and an index says where some of them begin (see {@link Room}).
 *
 * <p>What is read and written is in <em>rows</em>: a row per token, of {@code width} numbers, one
 * per channel; what belongs to channels alone is one such row. What a scan computes with is in
 * {@link Places}, by blocks of {@link #COLUMNS} channels.
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

  /** y = silu(x), {@code count} times, a multiple of {@link #COLUMNS}. */
  void silu(float[] numbers, int x, int count, int y);

  /** x becomes the gradient with respect to x of {@link #silu}, whose own is g. */
  void siluGradient(float[] numbers, int x, int g, int count);

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

    /**
     * Numbers of a token in a block: {@link #COLUMNS} of each of the next ones, by channel; a power
     * of two, since an index that grows by such a one is checked once for a loop.
     */
    static final int ROW = 8 * COLUMNS;

    static final int DELTA = 0; // at least 0
    static final int DRIVE = COLUMNS; // the input times delta
    static final int Y = 2 * COLUMNS;
    static final int OF_Y = 3 * COLUMNS; // the gradient of y, as the next ones of others
    static final int OF_DRIVE = 4 * COLUMNS;
    static final int OF_POWER = 5 * COLUMNS; // that of delta through its decays, over ln 2

    /** States, an even number: one more than there are, with zeros, if that is odd. */
    public final int states;

    /** Per token and state: a block's row for a token, of which each has the next states. */
    public final int b;

    public final int c;

    /**
     * The gradients of b and c, which grow: rows of a block, in the order of {@link #ofB}, to be
     * {@link #fold}ed.
     */
    public final int ofStates;

    // In the order of ofStates, but of two states: 2^(delta_t·a) and 2^(delta_t·a)·h_{t−1}.
    final int parts;

    private final int tokens;
    private final int rows;
    private final int[] blocks; // a, h, and their gradients
    private final int numbersOfStates;

    /** Rows of a token in {@link #ofStates}. */
    public static int ofStatesPerToken(int states) {
      return 2 * (states + states % 2);
    }

    /**
     * The row of a state's b, before that of its c: one token after the other for two states, then
     * for the next two.
     */
    public static int ofB(int state, int t, int tokens) {
      return (state / 2 * tokens + t) * 4 + state % 2 * 2;
    }

    /** For at most so many tokens of so many blocks of channels. */
    public Places(Room room, int states, int blocks, int tokens) {
      this.states = states + states % 2;
      this.tokens = tokens;
      int perToken = (states + COLUMNS - 1) / COLUMNS * tokens * COLUMNS;
      this.b = room.add(perToken);
      this.c = room.add(perToken);
      this.rows = room.add(blocks * tokens * ROW);
      this.parts = room.add(tokens * 4 * COLUMNS);
      this.ofStates = room.add(tokens * ofStatesPerToken(states) * COLUMNS);
      this.blocks = new int[blocks];
      this.numbersOfStates = this.states * COLUMNS + 2 * COLUMNS;
      for (int block = 0; block < blocks; block++) {
        this.blocks[block] = room.add(4 * numbersOfStates);
      }
    }

    /** a times {@link #LOG2_E}, at most 0: a row per state, as the next ones. */
    public int a(int block) {
      return blocks[block];
    }

    /** The states before the first token; become those of the last one. */
    public int h(int block) {
      return blocks[block] + numbersOfStates;
    }

    public int ofA(int block) {
      return blocks[block] + 2 * numbersOfStates;
    }

    /** What the tokens behind these say of the gradient of h; becomes what these say. */
    public int ofH(int block) {
      return blocks[block] + 3 * numbersOfStates;
    }

    /** The numbers of a channel of the first token. */
    int row(int column) {
      return rows + column / COLUMNS * tokens * ROW + column % COLUMNS;
    }

    /** What belongs to a token and a state, from b or from c, is so far behind their first. */
    static int perToken(int state, int t, int tokens) {
      return (state / COLUMNS * tokens + t) * COLUMNS + state % COLUMNS;
    }
  }

  /** x grows by the shift of its column; delta = log(1 + exp(x)). */
  void softplus(float[] numbers, Places at, int x, int shift, int width, int tokens);

  /** drive = delta·u; y = d·u. */
  void enter(float[] numbers, Places at, int u, int d, int width, int tokens);

  /**
   * h_t = exp(delta_t·a)·h_{t−1} + drive_t·b_t, and y_t grows by c_t·h_t, token by token: of a
   * block.
   */
  void scan(float[] numbers, Places at, int block, int tokens);

  /** Sums grow by the deltas of their columns. */
  void sumDelta(float[] numbers, Places at, int width, int tokens, int sums);

  /** y grows by x. */
  void add(float[] numbers, Places at, int x, int width, int tokens);

  /** Writes y down. */
  void leave(float[] numbers, Places at, int width, int tokens, int y);

  /** z becomes y·silu(z). */
  void gate(float[] numbers, Places at, int z, int width, int tokens);

  /**
   * Before {@link #scanBack}: the gradient of y from g, that of what {@link #gate} gave; what is
   * nearer to zero than 2⁻⁷⁸ becomes zero. Those of drive and delta begin at zero.
   */
  void gateBack(float[] numbers, Places at, int z, int g, int width, int tokens);

  /** {@link #scan} of a block and, from the last token to the first, its gradients. */
  void scanBack(float[] numbers, Places at, int block, int tokens);

  /** What {@link #scanBack} does to the gradient of h, and nothing else. */
  void carryBack(float[] numbers, Places at, int block, int tokens);

  /** z becomes its gradient, as {@link #gate} with that of g implies. */
  void gateGradient(float[] numbers, Places at, int z, int g, int width, int tokens);

  /**
   * The gradients of {@link #enter}: u becomes its own, and that of d grows; OF_POWER becomes
   * delta's.
   */
  void enterGradient(float[] numbers, Places at, int u, int d, int width, int tokens, int ofD);

  /** x becomes its gradient, as {@link #softplus} implies; {@code ofShift} grows by its columns. */
  void softplusGradient(float[] numbers, Places at, int x, int width, int tokens, int ofShift);

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
