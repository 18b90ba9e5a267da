package sparkvision.kernels;

/**
 * The transforms of Winograd's minimal filtering F(2 x 2, 3 x 3), for some tiles that stand side by
 * side in a map. The transform of a tile has 16 parts, numbered row by row.
 *
 * <p>A pixel is a row of channels that lie side by side, a multiple of {@link #CHANNELS}; the
 * pixels of a row of the map lie side by side too. Places count elements from the first one of a
 * value. Channel c of part k of tile t lies at {@code at + k·step + t·channels + c}. Both
 * dimensions are transformed one after the other; what is between lies in {@code between}, on the
 * heap, since that is faster. Written twice, as {@link Loops} is: both give the same bits.
 *
 * @see <a href="https://arxiv.org/abs/1509.09308">Lavin and Gray, Fast Algorithms for Convolutional
 *     Neural Networks, 2016, section 4.1: Bᵀ, Aᵀ</a>
 */
public interface TileLoops {

  /** No CPU's vectors hold more numbers. */
  int CHANNELS = 16;

  /** The vector API's if this JVM has it, else the plain ones. */
  static TileLoops best() {
    return Choice.BEST;
  }

  /** Room for {@code between}. */
  static int between(int tiles, int channels) {
    return 4 * (2 * tiles + 2) * channels;
  }

  /**
   * The pixels that some tiles ask for: as many rows as a tile has, each in a map or zeros. Of the
   * columns those from {@code first} (inclusive) to {@code end} (exclusive) are there; the others
   * are zeros too.
   */
  final class Strip {
    /** What holds each row. */
    public final Rows[] rows;

    /** Where column {@code first} of each row lies. */
    public final int[] places;

    public int first;
    public int end;

    public Strip(int rows) {
      this.rows = new Rows[rows];
      this.places = new int[rows];
    }
  }

  /** v = Bᵀ·d·B of 4 x 4 pixels d, whose tiles begin two pixels apart. */
  void input(Strip x, int tiles, int channels, float[] between, Rows v, int at, int step);

  /**
   * The 2 x 2 pixels y = scale·(Aᵀ·m·A) + shift, and max(y, 0) with {@code relu}.
   *
   * @param places of the first pixel in both rows of the result; the second may be negative: there
   *     is none
   * @param columns of the result; one less than the tiles make if the last is left out
   */
  void output(
      Rows m,
      int at,
      int step,
      int tiles,
      int channels,
      float[] between,
      float[] scale,
      float[] shift,
      boolean relu,
      Rows y,
      int[] places,
      int columns);

  /** v = A·g·Aᵀ of 2 x 2 pixels g. */
  void gradient(Strip dy, int tiles, int channels, float[] between, Rows v, int at, int step);

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final TileLoops BEST = Vectors.best(TileLoops.class, PlainTileLoops::new);

    private Choice() {}
  }
}
