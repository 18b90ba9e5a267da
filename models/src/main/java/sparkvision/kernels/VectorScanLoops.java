package sparkvision.kernels;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/** The loops, as many columns at once as the CPU's vectors hold. */
final class VectorScanLoops implements ScanLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();
  private static final FloatVector ONE = FloatVector.broadcast(FLOATS, 1);
  private static final VectorShuffle<Float> BY_EIGHT = rotation(8);
  private static final VectorShuffle<Float> BY_FOUR = rotation(4);
  private static final VectorShuffle<Float> BY_TWO = rotation(2);
  private static final VectorShuffle<Float> BY_ONE = rotation(1);

  // A method for each loop: in larger ones the compiler leaves vectors on the heap.

  @Override
  public void load(
      Rows x, int row, int step, int column, int width, int tokens, float[] block, int blockAt) {
    int whole = FLOATS.loopBound(width);
    for (int t = 0; t < tokens; t++) {
      int at = blockAt + t * COLUMNS;
      int from = row + t * step;
      for (int c = 0; c < whole; c += LANES) {
        VectorLoops.load(x, from, column + c).intoArray(block, at + c);
      }
      for (int c = whole; c < width; c++) {
        block[at + c] = PlainLoops.load(x, from, column + c);
      }
      if (width < COLUMNS) {
        Arrays.fill(block, at + width, at + COLUMNS, 0);
      }
    }
  }

  @Override
  public void store(
      float[] block, int blockAt, Rows y, int row, int step, int column, int width, int tokens) {
    int whole = FLOATS.loopBound(width);
    for (int t = 0; t < tokens; t++) {
      int to = row + t * step;
      for (int c = 0; c < whole; c += LANES) {
        VectorLoops.store(y, to, column + c, at(block, blockAt + t * COLUMNS + c));
      }
      for (int c = whole; c < width; c++) {
        PlainLoops.store(y, to, column + c, block[blockAt + t * COLUMNS + c]);
      }
    }
  }

  private static FloatVector at(float[] array, int index) {
    return FloatVector.fromArray(FLOATS, array, index);
  }

  @Override
  public void softplus(float[] x, float[] shift, int tokens, float[] raw, float[] y) {
    for (int i = 0; i < tokens * COLUMNS; i += LANES) {
      FloatVector value = at(x, i).add(at(shift, i % COLUMNS));
      value.intoArray(raw, i);
      FloatVector power = VectorGridLoops.exp(value.abs().neg());
      value.max(0).add(VectorGridLoops.logOfOnePlus(power)).intoArray(y, i);
    }
  }

  @Override
  public void softplusGradient(float[] raw, int tokens, float[] g) {
    for (int i = 0; i < tokens * COLUMNS; i += LANES) {
      at(g, i).mul(sigmoid(at(raw, i))).intoArray(g, i);
    }
  }

  private static FloatVector sigmoid(FloatVector x) {
    FloatVector power = VectorGridLoops.exp(x.abs().neg());
    VectorMask<Float> negative = x.compare(VectorOperators.LT, 0);
    return ONE.blend(power, negative).div(power.add(1));
  }

  @Override
  public void gate(float[] x, float[] z, int tokens, float[] y) {
    for (int i = 0; i < tokens * COLUMNS; i += LANES) {
      FloatVector value = at(z, i);
      at(x, i).mul(value.mul(sigmoid(value))).intoArray(y, i);
    }
  }

  @Override
  public void gateGradient(float[] x, float[] z, float[] g, int tokens) {
    for (int i = 0; i < tokens * COLUMNS; i += LANES) {
      FloatVector value = at(z, i);
      FloatVector share = sigmoid(value);
      FloatVector slope = share.mul(value.fma(ONE.sub(share), ONE));
      at(g, i).mul(at(x, i)).mul(slope).intoArray(z, i);
    }
  }

  @Override
  public void convolve(float[] x, float[] weight, float[] bias, int taps, int tokens, float[] y) {
    for (int column = 0; column < COLUMNS; column += LANES) {
      FloatVector shift = at(bias, column);
      for (int i = column; i < tokens * COLUMNS; i += COLUMNS) {
        FloatVector sum = shift;
        for (int tap = 0; tap < taps; tap++) {
          sum = at(weight, tap * COLUMNS + column).fma(at(x, i + tap * COLUMNS), sum);
        }
        sum.intoArray(y, i);
      }
    }
  }

  @Override
  public void convolveGradient(
      float[] x,
      float[] weight,
      float[] g,
      int taps,
      int tokens,
      float[] ofX,
      float[] ofWeight,
      float[] ofBias) {
    for (int column = 0; column < COLUMNS; column += LANES) {
      addColumn(g, column, tokens, ofBias);
      for (int tap = 0; tap < taps; tap++) {
        goBack(x, weight, g, tap * COLUMNS, column, tokens, ofX, ofWeight);
      }
    }
  }

  private static void addColumn(float[] g, int column, int tokens, float[] sums) {
    FloatVector sum = at(sums, column);
    for (int i = column; i < tokens * COLUMNS; i += COLUMNS) {
      sum = sum.add(at(g, i));
    }
    sum.intoArray(sums, column);
  }

  private static void goBack(
      float[] x,
      float[] weight,
      float[] g,
      int tap,
      int column,
      int tokens,
      float[] ofX,
      float[] ofWeight) {
    FloatVector factor = at(weight, tap + column);
    FloatVector sum = at(ofWeight, tap + column);
    for (int i = column; i < tokens * COLUMNS; i += COLUMNS) {
      FloatVector given = at(g, i);
      factor.fma(given, at(ofX, i + tap)).intoArray(ofX, i + tap);
      sum = given.fma(at(x, i + tap), sum);
    }
    sum.intoArray(ofWeight, tap + column);
  }

  @Override
  public void scan(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int tokens,
      float[] h,
      float[] y) {
    for (int column = 0; column < COLUMNS; column += LANES) {
      int n = 0;
      for (; n + 1 < states; n += 2) {
        scanTwo(delta, drive, a, b, c, n, tokens, h, y, column);
      }
      if (n < states) {
        scanOne(delta, drive, a, b, c, n, tokens, h, y, column);
      }
    }
  }

  private static void scanTwo(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int n,
      int tokens,
      float[] h,
      float[] y,
      int column) {
    FloatVector a0 = at(a, n * COLUMNS + column);
    FloatVector a1 = at(a, (n + 1) * COLUMNS + column);
    FloatVector h0 = at(h, n * COLUMNS + column);
    FloatVector h1 = at(h, (n + 1) * COLUMNS + column);
    int first = PlainScanLoops.perToken(n, tokens);
    int second = PlainScanLoops.perToken(n + 1, tokens);
    for (int t = 0; t < tokens; t++) {
      int i = t * COLUMNS;
      FloatVector step = at(delta, i + column);
      FloatVector input = at(drive, i + column);
      h0 = VectorGridLoops.exp(step.mul(a0)).fma(h0, input.mul(b[first + i]));
      h1 = VectorGridLoops.exp(step.mul(a1)).fma(h1, input.mul(b[second + i]));
      FloatVector sum = h0.fma(all(c[first + i]), at(y, i + column));
      h1.fma(all(c[second + i]), sum).intoArray(y, i + column);
    }
    h0.intoArray(h, n * COLUMNS + column);
    h1.intoArray(h, (n + 1) * COLUMNS + column);
  }

  private static void scanOne(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int n,
      int tokens,
      float[] h,
      float[] y,
      int column) {
    FloatVector rate = at(a, n * COLUMNS + column);
    FloatVector state = at(h, n * COLUMNS + column);
    int first = PlainScanLoops.perToken(n, tokens);
    for (int t = 0; t < tokens; t++) {
      int i = t * COLUMNS;
      FloatVector decay = VectorGridLoops.exp(at(delta, i + column).mul(rate));
      state = decay.fma(state, at(drive, i + column).mul(b[first + i]));
      state.fma(all(c[first + i]), at(y, i + column)).intoArray(y, i + column);
    }
    state.intoArray(h, n * COLUMNS + column);
  }

  private static FloatVector all(float value) {
    return FloatVector.broadcast(FLOATS, value);
  }

  @Override
  public void scanGradient(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int tokens,
      float[] h,
      float[] y,
      Gradients g) {
    for (int n = 0; n < states; n++) {
      for (int column = 0; column < COLUMNS; column += LANES) {
        remember(delta, drive, a, b, c, n, tokens, h, y, g.decays(), g.history(), column);
        goBack(delta, drive, a, b, c, n, tokens, g, column);
      }
    }
  }

  private static void remember(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int n,
      int tokens,
      float[] h,
      float[] y,
      float[] decays,
      float[] history,
      int column) {
    FloatVector rate = at(a, n * COLUMNS + column);
    FloatVector state = at(h, n * COLUMNS + column);
    state.intoArray(history, column);
    int first = PlainScanLoops.perToken(n, tokens);
    for (int t = 0; t < tokens; t++) {
      int i = t * COLUMNS;
      FloatVector decay = VectorGridLoops.exp(at(delta, i + column).mul(rate));
      decay.intoArray(decays, i + column);
      state = decay.fma(state, at(drive, i + column).mul(b[first + i]));
      state.intoArray(history, i + COLUMNS + column);
      state.fma(all(c[first + i]), at(y, i + column)).intoArray(y, i + column);
    }
  }

  private static void goBack(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int n,
      int tokens,
      Gradients g,
      int column) {
    float[] decays = g.decays();
    float[] history = g.history();
    float[] gY = g.y;
    float[] gB = g.b;
    float[] gC = g.c;
    float[] gDrive = g.drive;
    float[] gDelta = g.delta;
    int state = n * COLUMNS + column;
    int first = PlainScanLoops.perToken(n, tokens);
    int parts = n * tokens * COLUMNS + column;
    FloatVector rate = at(a, state);
    FloatVector ofRate = at(g.a, state);
    FloatVector later = at(g.h, state);
    for (int t = tokens - 1; t >= 0; t--) {
      int i = t * COLUMNS;
      int at = i + column;
      FloatVector ofY = at(gY, at);
      FloatVector ofState = ofY.fma(all(c[first + i]), later);
      ofY.fma(at(history, at + COLUMNS), at(gC, parts + i)).intoArray(gC, parts + i);
      ofState.fma(at(drive, at), at(gB, parts + i)).intoArray(gB, parts + i);
      ofState.fma(all(b[first + i]), at(gDrive, at)).intoArray(gDrive, at);
      later = ofState.mul(at(decays, at));
      FloatVector ofExponent = later.mul(at(history, at));
      ofExponent.fma(rate, at(gDelta, at)).intoArray(gDelta, at);
      ofRate = ofExponent.fma(at(delta, at), ofRate);
    }
    ofRate.intoArray(g.a, state);
    later.intoArray(g.h, state);
  }

  @Override
  public void fold(float[] block, int first, int rows, float[] sums, int at) {
    for (int row = 0; row < rows; row++) {
      FloatVector sum = folding(block, (first + row) * COLUMNS);
      sum = LANES > 8 ? sum.add(sum.rearrange(BY_EIGHT)) : sum;
      sum = LANES > 4 ? sum.add(sum.rearrange(BY_FOUR)) : sum;
      sum = sum.add(sum.rearrange(BY_TWO));
      // Every lane has the whole sum; the next row overwrites all but the first.
      sum.add(sum.rearrange(BY_ONE)).intoArray(sums, at + row);
    }
  }

  /** A row as one vector: of vectors narrower than it, the sum of those that are folded first. */
  private static FloatVector folding(float[] block, int at) {
    if (LANES == 4) {
      return at(block, at).add(at(block, at + 8)).add(at(block, at + 4).add(at(block, at + 12)));
    }
    return LANES == 8 ? at(block, at).add(at(block, at + 8)) : at(block, at);
  }

  private static VectorShuffle<Float> rotation(int lanes) {
    return VectorShuffle.iota(FLOATS, lanes % LANES, 1, true);
  }
}
