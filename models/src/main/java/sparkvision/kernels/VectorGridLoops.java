package sparkvision.kernels;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
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
        FloatVector repeated = FloatVector.broadcast(FLOATS, PlainGridLoops.load(a, left, 0));
        for (int c = 0; c < whole; c += LANES) {
          store(y, to + c, combine(operation, repeated, load(b, right + c)));
        }
      } else if (b.step() == 0) {
        FloatVector repeated = FloatVector.broadcast(FLOATS, PlainGridLoops.load(b, right, 0));
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
        FloatVector repeated =
            FloatVector.broadcast(FLOATS, factor * PlainGridLoops.load(x, from, 0));
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
        FloatVector s = u.div(u.add(2));
        FloatVector sum = series(s.mul(s), PlainGridLoops.LOG_SERIES);
        store(y, to + c, s.add(s).fma(sum, value.max(0)));
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
      FloatVector repeated = FloatVector.broadcast(FLOATS, PlainGridLoops.load(b, bAt, 0));
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
      Arrays.fill(room, 0, PARTS, 0);
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
      sum += PlainGridLoops.folded(room);
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
    FloatVector most = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
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
    plain.passToRow(x, xAt, most, dy, at, dx, dxAt, columns);
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
    Arrays.fill(room, 0, PARTS, 0);
    for (int c = 0; c < whole; c += LANES) {
      int part = c % PARTS;
      FloatVector product = load(x, xAt + c).mul(load(dy, dyAt + c));
      product
          .fma(FloatVector.broadcast(FLOATS, inverse), FloatVector.fromArray(FLOATS, dWeight, c))
          .intoArray(dWeight, c);
      product
          .fma(FloatVector.fromArray(FLOATS, weight, c), FloatVector.fromArray(FLOATS, room, part))
          .intoArray(room, part);
    }
    PlainGridLoops.addProducts(x, xAt, dy, dyAt, weight, inverse, whole, columns, dWeight, room);
    float slope = -inverse * inverse * inverse * PlainGridLoops.folded(room) / columns;
    FloatVector slopes = FloatVector.broadcast(FLOATS, slope);
    for (int c = 0; c < whole; c += LANES) {
      FloatVector direct =
          load(dy, dyAt + c).mul(FloatVector.fromArray(FLOATS, weight, c)).mul(inverse);
      store(dx, dxAt + c, load(x, xAt + c).fma(slopes, direct));
    }
    PlainGridLoops.rootMeanSquareRow(
        x, xAt, dy, dyAt, weight, inverse, slope, dx, dxAt, whole, columns);
  }

  @Override
  public float logSumExp(Grid x, int xAt, int columns, float[] room) {
    if (x.step() != 1) {
      return plain.logSumExp(x, xAt, columns, room);
    }
    float most = max(x, xAt, columns);
    int whole = FLOATS.loopBound(columns);
    Arrays.fill(room, 0, PARTS, 0);
    for (int c = 0; c < whole; c += LANES) {
      int part = c % PARTS;
      FloatVector.fromArray(FLOATS, room, part)
          .add(exp(load(x, xAt + c).sub(most)))
          .intoArray(room, part);
    }
    PlainGridLoops.addExponentials(x, xAt, most, whole, columns, room);
    return most + (float) Math.log(PlainGridLoops.folded(room));
  }

  @Override
  public void logitsGradient(
      Grid x,
      int xAt,
      float logSumExp,
      float factor,
      float[] targets,
      Grid dx,
      int dxAt,
      int columns) {
    if (x.step() != 1 || dx.step() != 1) {
      plain.logitsGradient(x, xAt, logSumExp, factor, targets, dx, dxAt, columns);
      return;
    }
    int whole = FLOATS.loopBound(columns);
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    for (int c = 0; c < whole; c += LANES) {
      FloatVector probabilities = exp(load(x, xAt + c).sub(logSumExp));
      FloatVector target = FloatVector.fromArray(FLOATS, targets, c);
      store(dx, dxAt + c, factors.fma(probabilities, target.neg()));
    }
    PlainGridLoops.logitsGradient(x, xAt, logSumExp, factor, targets, dx, dxAt, whole, columns);
  }

  private static FloatVector exp(FloatVector x) {
    FloatVector bounded = x.max(PlainGridLoops.LEAST_EXPONENT);
    FloatVector shifted =
        bounded.fma(
            FloatVector.broadcast(FLOATS, PlainGridLoops.LOG2_E),
            FloatVector.broadcast(FLOATS, PlainGridLoops.ROUNDER));
    FloatVector n = shifted.sub(PlainGridLoops.ROUNDER);
    FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -PlainGridLoops.LOG_2), bounded);
    r = n.fma(FloatVector.broadcast(FLOATS, -PlainGridLoops.LOG_2_REST), r);
    FloatVector sum = series(r, PlainGridLoops.EXP_SERIES);
    FloatVector series = sum.fma(r.mul(r), r).add(1);
    return series
        .reinterpretAsInts()
        .add(
            shifted
                .reinterpretAsInts()
                .sub(Float.floatToRawIntBits(PlainGridLoops.ROUNDER))
                .lanewise(VectorOperators.LSHL, 23))
        .reinterpretAsFloats();
  }

  /** A polynomial, from the highest power on. */
  private static FloatVector series(FloatVector x, float[] factors) {
    FloatVector sum = FloatVector.broadcast(FLOATS, factors[0]);
    for (int i = 1; i < factors.length; i++) {
      sum = sum.fma(x, FloatVector.broadcast(FLOATS, factors[i]));
    }
    return sum;
  }

  private static FloatVector load(Grid grid, int at) {
    return VectorLoops.load(grid.rows(), 0, at);
  }

  private static void store(Grid grid, int at, FloatVector value) {
    VectorLoops.store(grid.rows(), 0, at, value);
  }
}
