package sparkvision.kernels;

import java.util.Arrays;

/** The loops, one element after the other. */
final class PlainGridLoops implements GridLoops {

  /** After so many columns a float sum goes on in double precision. */
  static final int LONG = 4096;

  // exp(x) = 2ⁿ·exp(r) with n = round(x / log 2) and r = x − n·log 2.
  static final float LEAST_EXPONENT = -86; // below it the result would be subnormal
  static final float LOG2_E = 1.442695f;
  static final float ROUNDER = 0x1.8p23f; // added and taken away again, it leaves a whole number
  static final float LOG_2 = 0x1.62e43p-1f;
  static final float LOG_2_REST = -1.9046542e-9f; // what float32 leaves out of it
  // Cephes' expf: exp(r) = 1 + r + r²·(EXP_2 + EXP_3·r + ...).
  static final float EXP_2 = 0.5f;
  static final float EXP_3 = 0.16666666f;
  static final float EXP_4 = 0.041665796f;
  static final float EXP_5 = 0.008333452f;
  static final float EXP_6 = 0.0013981999f;
  static final float EXP_7 = 1.9875691e-4f;

  @Override
  public void combine(
      Arithmetic operation,
      Grid a,
      int aAt,
      Grid b,
      int bAt,
      Grid y,
      int yAt,
      int rows,
      int columns) {
    for (int row = 0; row < rows; row++) {
      combineRow(
          operation,
          a,
          aAt + row * a.stride(),
          b,
          bAt + row * b.stride(),
          y,
          yAt + row * y.stride(),
          0,
          columns);
    }
  }

  /** One row from column {@code first} on. */
  static void combineRow(
      Arithmetic operation,
      Grid a,
      int aAt,
      Grid b,
      int bAt,
      Grid y,
      int yAt,
      int first,
      int columns) {
    for (int c = first; c < columns; c++) {
      float left = load(a, aAt, c);
      float right = load(b, bAt, c);
      float result =
          switch (operation) {
            case ADD -> left + right;
            case SUBTRACT -> left - right;
            case MULTIPLY -> left * right;
            case DIVIDE -> left / right;
          };
      store(y, yAt, c, result);
    }
  }

  @Override
  public void scale(Grid x, int xAt, float factor, Grid y, int yAt, int rows, int columns) {
    for (int row = 0; row < rows; row++) {
      scaleRow(x, xAt + row * x.stride(), factor, y, yAt + row * y.stride(), 0, columns);
    }
  }

  static void scaleRow(Grid x, int xAt, float factor, Grid y, int yAt, int first, int columns) {
    for (int c = first; c < columns; c++) {
      store(y, yAt, c, factor * load(x, xAt, c));
    }
  }

  @Override
  public void softplus(Grid x, int xAt, Grid y, int yAt, int rows, int columns) {
    for (int row = 0; row < rows; row++) {
      softplusRow(x, xAt + row * x.stride(), y, yAt + row * y.stride(), 0, columns);
    }
  }

  static void softplusRow(Grid x, int xAt, Grid y, int yAt, int first, int columns) {
    for (int c = first; c < columns; c++) {
      float value = load(x, xAt, c);
      float u = exp(-Math.abs(value));
      store(y, yAt, c, Math.max(value, 0) + logOfOnePlus(u));
    }
  }

  /** log(1 + u) = 2·artanh(s) = 2·(s + s³/3 + s⁵/5 ...) with s = u / (2 + u), of u up to 1. */
  static float logOfOnePlus(float u) {
    float s = u / (u + 2);
    float square = s * s;
    float fourth = square * square;
    float first = Math.fma(1f / 3, square, 1);
    float second = Math.fma(1f / 7, square, 1f / 5);
    float third = Math.fma(1f / 11, square, 1f / 9);
    float last = Math.fma(1f / 15, square, 1f / 13);
    float sum =
        Math.fma(Math.fma(last, fourth, third), fourth * fourth, Math.fma(second, fourth, first));
    return (s + s) * sum;
  }

  @Override
  public void addColumns(
      Grid a,
      int aAt,
      Grid b,
      int bAt,
      int rows,
      int columns,
      double[] sums,
      int sumsAt,
      float[] room) {
    for (int tile = 0; tile < columns; tile += TILE) {
      int count = Math.min(TILE, columns - tile);
      for (int block = 0; block < rows; block += PlainLoops.BLOCK) {
        Arrays.fill(room, 0, count, 0);
        for (int row = block; row < Math.min(block + PlainLoops.BLOCK, rows); row++) {
          int from = aAt + row * a.stride() + tile * a.step();
          int with = b == null ? 0 : bAt + row * b.stride() + tile * b.step();
          addRow(a, from, b, with, 0, count, room);
        }
        flush(room, count, sums, sumsAt + tile);
      }
    }
  }

  /** room[c] += a·b. */
  static void addRow(Grid a, int aAt, Grid b, int bAt, int first, int columns, float[] room) {
    for (int c = first; c < columns; c++) {
      room[c] = plus(room[c], a, aAt, b, bAt, c);
    }
  }

  private static float plus(float sum, Grid a, int aAt, Grid b, int bAt, int c) {
    float value = load(a, aAt, c);
    return b == null ? sum + value : Math.fma(value, load(b, bAt, c), sum);
  }

  static void flush(float[] room, int count, double[] sums, int sumsAt) {
    for (int c = 0; c < count; c++) {
      sums[sumsAt + c] += room[c];
    }
  }

  @Override
  public double sum(Grid a, int aAt, Grid b, int bAt, int columns, float[] room) {
    double sum = 0;
    for (int block = 0; block < columns; block += LONG) {
      Arrays.fill(room, 0, PARTS, 0);
      addToParts(a, aAt, b, bAt, block, Math.min(block + LONG, columns), room);
      sum += folded(room);
    }
    return sum;
  }

  /** Column c goes to the sum c modulo {@link #PARTS}: so vectors can do many at once. */
  static void addToParts(Grid a, int aAt, Grid b, int bAt, int first, int end, float[] room) {
    for (int c = first; c < end; c++) {
      room[c % PARTS] = plus(room[c % PARTS], a, aAt, b, bAt, c);
    }
  }

  private static float folded(float[] parts) {
    return folded(parts, PARTS / 2);
  }

  /** The sum of the first parts, the second half onto the first, again and again. */
  static float folded(float[] parts, int half) {
    for (int count = half; count > 0; count /= 2) {
      for (int i = 0; i < count; i++) {
        parts[i] += parts[i + count];
      }
    }
    return parts[0];
  }

  @Override
  public void raiseColumns(Grid x, int xAt, int rows, int columns, float[] most, int mostAt) {
    for (int row = 0; row < rows; row++) {
      raiseRow(x, xAt + row * x.stride(), 0, columns, most, mostAt);
    }
  }

  static void raiseRow(Grid x, int xAt, int first, int columns, float[] most, int mostAt) {
    for (int c = first; c < columns; c++) {
      most[mostAt + c] = Math.max(most[mostAt + c], load(x, xAt, c));
    }
  }

  @Override
  public float max(Grid x, int xAt, int columns) {
    return max(x, xAt, 0, columns, Float.NEGATIVE_INFINITY);
  }

  static float max(Grid x, int xAt, int first, int columns, float least) {
    float most = least;
    for (int c = first; c < columns; c++) {
      most = Math.max(most, load(x, xAt, c));
    }
    return most;
  }

  @Override
  public void passToColumns(
      Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int columns) {
    passToColumns(x, xAt, most, dy, at, dx, dxAt, 0, columns);
  }

  static void passToColumns(
      Grid x,
      int xAt,
      float[] most,
      float[] dy,
      int at,
      Grid dx,
      int dxAt,
      int first,
      int columns) {
    for (int c = first; c < columns; c++) {
      boolean found = load(x, xAt, c) == most[at + c];
      store(dx, dxAt, c, found ? dy[at + c] : 0);
      if (found) {
        most[at + c] = Float.NaN;
      }
    }
  }

  @Override
  public void passToRow(
      Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int columns) {
    passToRow(x, xAt, most, dy, at, dx, dxAt, 0, columns);
  }

  static void passToRow(
      Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int first, int end) {
    for (int c = first; c < end; c++) {
      boolean found = load(x, xAt, c) == most[at];
      store(dx, dxAt, c, found ? dy[at] : 0);
      if (found) {
        most[at] = Float.NaN;
      }
    }
  }

  @Override
  public void rootMeanSquareGradient(
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
      float[] room) {
    Arrays.fill(room, 0, PARTS, 0);
    addProducts(x, xAt, dy, dyAt, weight, inverse, 0, columns, dWeight, room);
    float slope = -inverse * inverse * inverse * folded(room) / columns;
    rootMeanSquareRow(x, xAt, dy, dyAt, weight, inverse, slope, dx, dxAt, 0, columns);
  }

  static void addProducts(
      Grid x,
      int xAt,
      Grid dy,
      int dyAt,
      float[] weight,
      float inverse,
      int first,
      int columns,
      float[] dWeight,
      float[] room) {
    for (int c = first; c < columns; c++) {
      float product = load(x, xAt, c) * load(dy, dyAt, c);
      dWeight[c] = Math.fma(product, inverse, dWeight[c]);
      room[c % PARTS] = Math.fma(product, weight[c], room[c % PARTS]);
    }
  }

  static void rootMeanSquareRow(
      Grid x,
      int xAt,
      Grid dy,
      int dyAt,
      float[] weight,
      float inverse,
      float slope,
      Grid dx,
      int dxAt,
      int first,
      int columns) {
    for (int c = first; c < columns; c++) {
      float direct = load(dy, dyAt, c) * weight[c] * inverse;
      store(dx, dxAt, c, Math.fma(load(x, xAt, c), slope, direct));
    }
  }

  @Override
  public void read(Grid x, int xAt, int columns, float[] row) {
    for (int c = 0; c < columns; c++) {
      row[c] = load(x, xAt, c);
    }
  }

  @Override
  public void write(float[] row, Grid y, int yAt, int columns) {
    for (int c = 0; c < columns; c++) {
      store(y, yAt, c, row[c]);
    }
  }

  @Override
  public float product(float[] a, float[] b, int columns, float[] room) {
    Arrays.fill(room, 0, PARTS, 0);
    addProducts(a, b, 0, columns, room);
    return folded(room);
  }

  static void addProducts(float[] a, float[] b, int first, int columns, float[] room) {
    for (int c = first; c < columns; c++) {
      room[c % PARTS] = Math.fma(a[c], b[c], room[c % PARTS]);
    }
  }

  @Override
  public float logSumExp(float[] row, int columns, float[] room) {
    float most = Float.NEGATIVE_INFINITY;
    for (int c = 0; c < columns; c++) {
      most = Math.max(most, row[c]);
    }
    Arrays.fill(room, 0, PARTS, 0);
    for (int c = 0; c < columns; c++) {
      room[c % PARTS] += exp(row[c] - most);
    }
    return most + (float) Math.log(folded(room));
  }

  @Override
  public void softmaxGradient(
      float[] row, float logSumExp, float factor, float[] targets, int columns) {
    for (int c = 0; c < columns; c++) {
      row[c] = Math.fma(factor, exp(row[c] - logSumExp), -targets[c]);
    }
  }

  /** exp(x) of x up to 0, to about 1 in 2²³. */
  static float exp(float x) {
    float bounded = Math.max(x, LEAST_EXPONENT);
    float shifted = Math.fma(bounded, LOG2_E, ROUNDER);
    float n = shifted - ROUNDER;
    float r = Math.fma(n, -LOG_2_REST, Math.fma(n, -LOG_2, bounded));
    float sum = Math.fma(EXP_7, r, EXP_6);
    sum = Math.fma(sum, r, EXP_5);
    sum = Math.fma(sum, r, EXP_4);
    sum = Math.fma(sum, r, EXP_3);
    sum = Math.fma(sum, r, EXP_2);
    float series = Math.fma(sum, r * r, r) + 1;
    int power = Float.floatToRawIntBits(shifted) - Float.floatToRawIntBits(ROUNDER);
    return Float.intBitsToFloat(Float.floatToRawIntBits(series) + (power << 23));
  }

  static float load(Grid grid, int at, int column) {
    return PlainLoops.load(grid.rows(), 0, at + column * grid.step());
  }

  static void store(Grid grid, int at, int column, float value) {
    PlainLoops.store(grid.rows(), 0, at + column * grid.step(), value);
  }
}
