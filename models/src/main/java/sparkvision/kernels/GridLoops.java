package sparkvision.kernels;

/**
 * Arithmetic with broadcasting, reductions and cross-entropy: what oneDNN has no fast code for.
 *
 * <p>Every method works on a part of its grids: so many rows and columns from the element {@code
 * at} on. Sums are made in float32, but never of many elements: those go on in double precision.
 * Written twice, as {@link Loops} is: both give the same bits.
 */
public interface GridLoops {

  /** How many partial sums {@link #sum} and {@link #logSumExp} want room for. */
  int PARTS = 64;

  /** How many columns {@link #addColumns} sums up at a time and wants room for. */
  int TILE = 1024;

  /** The vector API's if this JVM has it, else the plain ones. */
  static GridLoops best() {
    return Choice.BEST;
  }

  // Element by element.

  /** y = a ∘ b. */
  void combine(
      Arithmetic operation,
      Grid a,
      int aAt,
      Grid b,
      int bAt,
      Grid y,
      int yAt,
      int rows,
      int columns);

  /** y = factor·x. */
  void scale(Grid x, int xAt, float factor, Grid y, int yAt, int rows, int columns);

  /** y = log(1 + exp(x)), exact where that is next to nothing. */
  void softplus(Grid x, int xAt, Grid y, int yAt, int rows, int columns);

  // Reductions.

  /**
   * Adds the sum of each column of a·b, or of a if b is null, to {@code sums} from {@code sumsAt}
   * on.
   *
   * @param room for {@link #TILE} numbers
   */
  void addColumns(
      Grid a,
      int aAt,
      Grid b,
      int bAt,
      int rows,
      int columns,
      double[] sums,
      int sumsAt,
      float[] room);

  /**
   * The sum of one row of a·b, or of a if b is null.
   *
   * @param room for {@link #PARTS} numbers
   */
  double sum(Grid a, int aAt, Grid b, int bAt, int columns, float[] room);

  /** Raises {@code most}, from {@code mostAt} on, to the largest element of each column. */
  void raiseColumns(Grid x, int xAt, int rows, int columns, float[] most, int mostAt);

  /** The largest element of one row. */
  float max(Grid x, int xAt, int columns);

  /**
   * The gradient of maxima, of one row: dx = dy where x is the maximum of its column, else 0. The
   * maximum is then made NaN, which equals nothing: only the first one gets the gradient.
   */
  void passToColumns(
      Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int columns);

  /** The gradient of the maximum {@code most[at]} of a row, as {@link #passToColumns}. */
  void passToRow(Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int columns);

  // Of rows.

  /**
   * The gradient of the root-mean-square norm of one row, y = inverse·x·weight: dx =
   * inverse·dy·weight − inverse³·Σ dy·weight·x / columns·x. Adds inverse·dy·x to {@code dWeight}.
   *
   * @param room for {@link #PARTS} numbers
   */
  void rootMeanSquareGradient(
      Grid x,
      int xAt,
      Grid dy,
      int dyAt,
      float[] weight,
      float inverse,
      Grid dx,
      int dxAt,
      int columns,
      float[] dWeight,
      float[] room);

  // Cross-entropy: rows of logits on the heap, in arrays of a length that is a multiple of PARTS.

  /** Copies a row to the heap. */
  void read(Grid x, int xAt, int columns, float[] row);

  /** Copies a row from the heap. */
  void write(float[] row, Grid y, int yAt, int columns);

  /** Σ a·b of the first elements. */
  float product(float[] a, float[] b, int columns, float[] room);

  /** log Σ exp(row) of the first elements. */
  float logSumExp(float[] row, int columns, float[] room);

  /** row becomes factor·exp(row − logSumExp) − targets; what is behind the columns is lost. */
  void softmaxGradient(float[] row, float logSumExp, float factor, float[] targets, int columns);

  /** Where {@link #best} is looked up once. */
  final class Choice {
    private static final GridLoops BEST = Vectors.best(GridLoops.class, PlainGridLoops::new);

    private Choice() {}
  }
}
