package sparkvision.kernels;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The loops, as many columns at once as the CPU's vectors hold; what is left over, one by one.
 * Grids whose columns are neither neighbours nor all the same are left to the plain loops.
 */
final class VectorGridLoops implements GridLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();

  // Constants are kept as vectors: made where they are used, they would swell functions so much
  // that
  // the compiler gives up inlining, and vectors that are not inlined are objects on the heap.
  private static final FloatVector ONE = all(1);
  private static final FloatVector LEAST_EXPONENT = all(PlainGridLoops.LEAST_EXPONENT);
  private static final FloatVector LOG2_E = all(PlainGridLoops.LOG2_E);
  private static final FloatVector ROUNDER = all(PlainGridLoops.ROUNDER);
  private static final IntVector ROUNDER_BITS = ROUNDER.reinterpretAsInts();
  private static final FloatVector LOG_2 = all(-PlainGridLoops.LOG_2);
  private static final FloatVector LOG_2_REST = all(-PlainGridLoops.LOG_2_REST);
  private static final FloatVector EXP_2 = all(PlainGridLoops.EXP_2);
  private static final FloatVector EXP_3 = all(PlainGridLoops.EXP_3);
  private static final FloatVector EXP_4 = all(PlainGridLoops.EXP_4);
  private static final FloatVector EXP_5 = all(PlainGridLoops.EXP_5);
  private static final FloatVector EXP_6 = all(PlainGridLoops.EXP_6);
  private static final FloatVector EXP_7 = all(PlainGridLoops.EXP_7);
  private static final FloatVector THIRD = all(1f / 3);
  private static final FloatVector FIFTH = all(1f / 5);
  private static final FloatVector SEVENTH = all(1f / 7);
  private static final FloatVector NINTH = all(1f / 9);
  private static final FloatVector ELEVENTH = all(1f / 11);
  private static final FloatVector THIRTEENTH = all(1f / 13);
  private static final FloatVector FIFTEENTH = all(1f / 15);

  private static FloatVector all(float value) {
    return FloatVector.broadcast(FLOATS, value);
  }

  private final PlainGridLoops plain = new PlainGridLoops();

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
    boolean somethingRuns = a.step() == 1 || b.step() == 1;
    if (!a.isPlain() || !b.isPlain() || !somethingRuns || y.step() != 1) {
      plain.combine(operation, a, aAt, b, bAt, y, yAt, rows, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int row = 0; row < rows; row++) {
      int left = aAt + row * a.stride();
      int right = bAt + row * b.stride();
      int to = yAt + row * y.stride();
      if (a.step() == 0) {
        FloatVector repeated = all(PlainGridLoops.load(a, left, 0));
        for (int c = 0; c < whole; c += LANES) {
          store(y, to + c, combine(operation, repeated, load(b, right + c)));
        }
      } else if (b.step() == 0) {
        FloatVector repeated = all(PlainGridLoops.load(b, right, 0));
        for (int c = 0; c < whole; c += LANES) {
          store(y, to + c, combine(operation, load(a, left + c), repeated));
        }
      } else {
        for (int c = 0; c < whole; c += LANES) {
          store(y, to + c, combine(operation, load(a, left + c), load(b, right + c)));
        }
      }
      PlainGridLoops.combineRow(operation, a, left, b, right, y, to, whole, columns);
    }
  }

  private static FloatVector combine(Arithmetic operation, FloatVector a, FloatVector b) {
    return switch (operation) {
      case ADD -> a.add(b);
      case SUBTRACT -> a.sub(b);
      case MULTIPLY -> a.mul(b);
      case DIVIDE -> a.div(b);
    };
  }

  @Override
  public void scale(Grid x, int xAt, float factor, Grid y, int yAt, int rows, int columns) {
    if (!x.isPlain() || y.step() != 1) {
      plain.scale(x, xAt, factor, y, yAt, rows, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int row = 0; row < rows; row++) {
      int from = xAt + row * x.stride();
      int to = yAt + row * y.stride();
      if (x.step() == 0) {
        FloatVector repeated = all(factor * PlainGridLoops.load(x, from, 0));
        for (int c = 0; c < whole; c += LANES) {
          store(y, to + c, repeated);
        }
      } else {
        for (int c = 0; c < whole; c += LANES) {
          store(y, to + c, load(x, from + c).mul(factor));
        }
      }
      PlainGridLoops.scaleRow(x, from, factor, y, to, whole, columns);
    }
  }

  @Override
  public void softplus(Grid x, int xAt, Grid y, int yAt, int rows, int columns) {
    if (x.step() != 1 || y.step() != 1) {
      plain.softplus(x, xAt, y, yAt, rows, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int row = 0; row < rows; row++) {
      int from = xAt + row * x.stride();
      int to = yAt + row * y.stride();
      for (int c = 0; c < whole; c += LANES) {
        FloatVector value = load(x, from + c);
        FloatVector u = exp(value.abs().neg());
        store(y, to + c, value.max(0).add(logOfOnePlus(u)));
      }
      PlainGridLoops.softplusRow(x, from, y, to, whole, columns);
    }
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
    if (a.step() != 1 || (b != null && !b.isPlain())) {
      plain.addColumns(a, aAt, b, bAt, rows, columns, sums, sumsAt, room);
      return;
    }
    for (int tile = 0; tile < columns; tile += TILE) {
      int count = Math.min(TILE, columns - tile);
      for (int block = 0; block < rows; block += PlainLoops.BLOCK) {
        Arrays.fill(room, 0, count, 0);
        for (int row = block; row < Math.min(block + PlainLoops.BLOCK, rows); row++) {
          int from = aAt + row * a.stride() + tile;
          int with = b == null ? 0 : bAt + row * b.stride() + tile * b.step();
          addRow(a, from, b, with, count, room);
        }
        PlainGridLoops.flush(room, count, sums, sumsAt + tile);
      }
    }
  }

  private static void addRow(Grid a, int aAt, Grid b, int bAt, int columns, float[] room) {
    int whole = FLOATS.loopBound(columns);
    if (b == null) {
      for (int c = 0; c < whole; c += LANES) {
        FloatVector.fromArray(FLOATS, room, c).add(load(a, aAt + c)).intoArray(room, c);
      }
    } else if (b.step() == 0) {
      FloatVector repeated = all(PlainGridLoops.load(b, bAt, 0));
      for (int c = 0; c < whole; c += LANES) {
        load(a, aAt + c).fma(repeated, FloatVector.fromArray(FLOATS, room, c)).intoArray(room, c);
      }
    } else {
      for (int c = 0; c < whole; c += LANES) {
        load(a, aAt + c)
            .fma(load(b, bAt + c), FloatVector.fromArray(FLOATS, room, c))
            .intoArray(room, c);
      }
    }
    PlainGridLoops.addRow(a, aAt, b, bAt, whole, columns, room);
  }

  @Override
  public double sum(Grid a, int aAt, Grid b, int bAt, int columns, float[] room) {
    if (a.step() != 1 || (b != null && b.step() != 1)) {
      return plain.sum(a, aAt, b, bAt, columns, room);
    }
    double sum = 0;
    for (int block = 0; block < columns; block += PlainGridLoops.LONG) {
      int end = Math.min(block + PlainGridLoops.LONG, columns);
      int whole = block + FLOATS.loopBound(end - block);
      int half = clear(room, end - block);
      if (b == null) {
        for (int c = block; c < whole; c += LANES) {
          int part = c % PARTS;
          FloatVector.fromArray(FLOATS, room, part).add(load(a, aAt + c)).intoArray(room, part);
        }
      } else {
        for (int c = block; c < whole; c += LANES) {
          int part = c % PARTS;
          load(a, aAt + c)
              .fma(load(b, bAt + c), FloatVector.fromArray(FLOATS, room, part))
              .intoArray(room, part);
        }
      }
      PlainGridLoops.addToParts(a, aAt, b, bAt, whole, end, room);
      sum += folded(room, half);
    }
    return sum;
  }

  @Override
  public void raiseColumns(Grid x, int xAt, int rows, int columns, float[] most, int mostAt) {
    if (x.step() != 1) {
      plain.raiseColumns(x, xAt, rows, columns, most, mostAt);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int row = 0; row < rows; row++) {
      int from = xAt + row * x.stride();
      for (int c = 0; c < whole; c += LANES) {
        FloatVector.fromArray(FLOATS, most, mostAt + c)
            .max(load(x, from + c))
            .intoArray(most, mostAt + c);
      }
      PlainGridLoops.raiseRow(x, from, whole, columns, most, mostAt);
    }
  }

  @Override
  public float max(Grid x, int xAt, int columns) {
    if (x.step() != 1) {
      return plain.max(x, xAt, columns);
    }
    int whole = FLOATS.loopBound(columns);
    FloatVector most = all(Float.NEGATIVE_INFINITY);
    for (int c = 0; c < whole; c += LANES) {
      most = most.max(load(x, xAt + c));
    }
    return PlainGridLoops.max(x, xAt, whole, columns, most.reduceLanes(VectorOperators.MAX));
  }

  @Override
  public void passToColumns(
      Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int columns) {
    if (x.step() != 1 || dx.step() != 1) {
      plain.passToColumns(x, xAt, most, dy, at, dx, dxAt, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int c = 0; c < whole; c += LANES) {
      FloatVector largest = FloatVector.fromArray(FLOATS, most, at + c);
      VectorMask<Float> found = load(x, xAt + c).compare(VectorOperators.EQ, largest);
      FloatVector passed = FloatVector.fromArray(FLOATS, dy, at + c);
      store(dx, dxAt + c, FloatVector.zero(FLOATS).blend(passed, found));
      largest.blend(Float.NaN, found).intoArray(most, at + c);
    }
    PlainGridLoops.passToColumns(x, xAt, most, dy, at, dx, dxAt, whole, columns);
  }

  @Override
  public void passToRow(
      Grid x, int xAt, float[] most, float[] dy, int at, Grid dx, int dxAt, int columns) {
    if (x.step() != 1 || dx.step() != 1) {
      plain.passToRow(x, xAt, most, dy, at, dx, dxAt, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int c = 0; c < whole; c += LANES) {
      if (load(x, xAt + c).compare(VectorOperators.EQ, most[at]).anyTrue()) {
        PlainGridLoops.passToRow(x, xAt, most, dy, at, dx, dxAt, c, c + LANES);
      } else {
        store(dx, dxAt + c, FloatVector.zero(FLOATS));
      }
    }
    PlainGridLoops.passToRow(x, xAt, most, dy, at, dx, dxAt, whole, columns);
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
    int whole = FLOATS.loopBound(columns);
    int half = clear(room, columns);
    for (int c = 0; c < whole; c += LANES) {
      int part = c % PARTS;
      FloatVector product = load(x, xAt + c).mul(load(dy, dyAt + c));
      product.fma(all(inverse), FloatVector.fromArray(FLOATS, dWeight, c)).intoArray(dWeight, c);
      product
          .fma(FloatVector.fromArray(FLOATS, weight, c), FloatVector.fromArray(FLOATS, room, part))
          .intoArray(room, part);
    }
    PlainGridLoops.addProducts(x, xAt, dy, dyAt, weight, inverse, whole, columns, dWeight, room);
    float slope = -inverse * inverse * inverse * folded(room, half) / columns;
    FloatVector slopes = all(slope);
    for (int c = 0; c < whole; c += LANES) {
      FloatVector direct =
          load(dy, dyAt + c).mul(FloatVector.fromArray(FLOATS, weight, c)).mul(inverse);
      store(dx, dxAt + c, load(x, xAt + c).fma(slopes, direct));
    }
    PlainGridLoops.rootMeanSquareRow(
        x, xAt, dy, dyAt, weight, inverse, slope, dx, dxAt, whole, columns);
  }

  @Override
  public void read(Grid x, int xAt, int columns, float[] row) {
    if (x.step() != 1) {
      plain.read(x, xAt, columns, row);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int c = 0; c < whole; c += LANES) {
      load(x, xAt + c).intoArray(row, c);
    }
    for (int c = whole; c < columns; c++) {
      row[c] = PlainGridLoops.load(x, xAt, c);
    }
  }

  @Override
  public void write(float[] row, Grid y, int yAt, int columns) {
    if (y.step() != 1) {
      plain.write(row, y, yAt, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    for (int c = 0; c < whole; c += LANES) {
      store(y, yAt + c, FloatVector.fromArray(FLOATS, row, c));
    }
    for (int c = whole; c < columns; c++) {
      PlainGridLoops.store(y, yAt, c, row[c]);
    }
  }

  @Override
  public float product(float[] a, float[] b, int columns, float[] room) {
    int half = clear(room, columns);
    int whole = FLOATS.loopBound(columns);
    for (int c = 0; c < whole; c += LANES) {
      int part = c % PARTS;
      FloatVector.fromArray(FLOATS, a, c)
          .fma(FloatVector.fromArray(FLOATS, b, c), FloatVector.fromArray(FLOATS, room, part))
          .intoArray(room, part);
    }
    PlainGridLoops.addProducts(a, b, whole, columns, room);
    return folded(room, half);
  }

  @Override
  public float logSumExp(float[] row, int columns, float[] room) {
    int whole = FLOATS.loopBound(columns);
    if (whole < columns) {
      Arrays.fill(row, columns, whole + LANES, Float.NEGATIVE_INFINITY);
    }
    FloatVector largest = all(Float.NEGATIVE_INFINITY);
    for (int c = 0; c < columns; c += LANES) {
      largest = largest.max(FloatVector.fromArray(FLOATS, row, c));
    }
    float most = largest.reduceLanes(VectorOperators.MAX);
    int half = clear(room, columns);
    FloatVector shift = all(most);
    for (int c = 0; c < columns; c += LANES) {
      FloatVector value = FloatVector.fromArray(FLOATS, row, c);
      VectorMask<Float> nothing = value.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY);
      int part = c % PARTS;
      FloatVector.fromArray(FLOATS, room, part)
          .add(exp(value.sub(shift)).blend(0, nothing))
          .intoArray(room, part);
    }
    return most + (float) Math.log(folded(room, half));
  }

  @Override
  public void softmaxGradient(
      float[] row, float logSumExp, float factor, float[] targets, int columns) {
    FloatVector shift = all(logSumExp);
    FloatVector factors = all(factor);
    for (int c = 0; c < columns; c += LANES) { // to the end of the last vector
      FloatVector probabilities = exp(FloatVector.fromArray(FLOATS, row, c).sub(shift));
      FloatVector target = FloatVector.fromArray(FLOATS, targets, c);
      factors.fma(probabilities, target.neg()).intoArray(row, c);
    }
  }

  /** Clears as many parts as sums of so many columns use; returns half of their number. */
  private static int clear(float[] room, int columns) {
    int used = Math.max(LANES, Math.min(PARTS, Integer.highestOneBit(2 * columns - 1)));
    Arrays.fill(room, 0, used, 0);
    return used / 2;
  }

  /** exp(x) of x up to 0, as {@link PlainGridLoops#exp}. */
  static FloatVector exp(FloatVector x) {
    FloatVector bounded = x.max(LEAST_EXPONENT);
    FloatVector shifted = bounded.fma(LOG2_E, ROUNDER);
    FloatVector n = shifted.sub(ROUNDER);
    FloatVector r = n.fma(LOG_2_REST, n.fma(LOG_2, bounded));
    FloatVector sum = EXP_7.fma(r, EXP_6);
    sum = sum.fma(r, EXP_5);
    sum = sum.fma(r, EXP_4);
    sum = sum.fma(r, EXP_3);
    sum = sum.fma(r, EXP_2);
    IntVector power =
        shifted.reinterpretAsInts().sub(ROUNDER_BITS).lanewise(VectorOperators.LSHL, 23);
    return sum.fma(r.mul(r), r).add(ONE).reinterpretAsInts().add(power).reinterpretAsFloats();
  }

  /** As {@link PlainGridLoops#folded}; parts that were never added to change nothing. */
  private static float folded(float[] parts, int half) {
    int count = half;
    for (; count >= LANES; count /= 2) {
      for (int i = 0; i < count; i += LANES) {
        FloatVector.fromArray(FLOATS, parts, i)
            .add(FloatVector.fromArray(FLOATS, parts, i + count))
            .intoArray(parts, i);
      }
    }
    return PlainGridLoops.folded(parts, count);
  }

  static FloatVector logOfOnePlus(FloatVector u) {
    FloatVector s = u.div(u.add(2));
    FloatVector square = s.mul(s);
    FloatVector fourth = square.mul(square);
    FloatVector first = THIRD.fma(square, ONE);
    FloatVector second = SEVENTH.fma(square, FIFTH);
    FloatVector third = ELEVENTH.fma(square, NINTH);
    FloatVector last = FIFTEENTH.fma(square, THIRTEENTH);
    FloatVector sum = last.fma(fourth, third).fma(fourth.mul(fourth), second.fma(fourth, first));
    return s.add(s).mul(sum);
  }

  private static FloatVector load(Grid grid, int at) {
    return VectorLoops.load(grid.rows(), 0, at);
  }

  private static void store(Grid grid, int at, FloatVector value) {
    VectorLoops.store(grid.rows(), 0, at, value);
  }
}
