package sparkvision.kernels;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The loops, as many columns at once as the CPU's vectors hold. */
final class VectorScanLoops implements ScanLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();
  private static final FloatVector ONE = all(1);
  private static final FloatVector LOG2_E = all(PlainScanLoops.LOG2_E);
  private static final FloatVector MINUS_LOG2_E = all(-PlainScanLoops.LOG2_E);
  private static final FloatVector ROUNDER = all(PlainGridLoops.ROUNDER);
  private static final IntVector LEAST_POWER =
      IntVector.broadcast(IntVector.SPECIES_PREFERRED, PlainScanLoops.LEAST_POWER);
  private static final FloatVector POWER_1 = all(PlainScanLoops.POWER_1);
  private static final FloatVector POWER_2 = all(PlainScanLoops.POWER_2);
  private static final FloatVector POWER_3 = all(PlainScanLoops.POWER_3);
  private static final FloatVector POWER_4 = all(PlainScanLoops.POWER_4);
  private static final FloatVector POWER_5 = all(PlainScanLoops.POWER_5);

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
      FloatVector power = power(value.abs().mul(MINUS_LOG2_E));
      value.max(0).add(VectorGridLoops.logOfOnePlus(power)).intoArray(y, i);
    }
  }

  @Override
  public void softplusGradient(float[] raw, int tokens, float[] g, float[] ofShift) {
    for (int i = 0; i < tokens * COLUMNS; i += LANES) {
      at(g, i).mul(sigmoid(at(raw, i))).intoArray(g, i);
    }
    for (int column = 0; column < COLUMNS; column += LANES) {
      addColumn(g, column, tokens, ofShift);
    }
  }

  private static FloatVector sigmoid(FloatVector x) {
    FloatVector power = power(x.abs().mul(MINUS_LOG2_E));
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
  public void enter(float[] u, float[] delta, float[] d, int tokens, float[] drive, float[] y) {
    for (int i = 0; i < tokens * COLUMNS; i += LANES) {
      FloatVector input = at(u, i);
      input.mul(at(delta, i)).intoArray(drive, i);
      input.mul(at(d, i % COLUMNS)).intoArray(y, i);
    }
  }

  @Override
  public void enterGradient(
      float[] u, float[] delta, float[] d, int tokens, Gradients g, float[] ofU, float[] ofD) {
    for (int column = 0; column < COLUMNS; column += LANES) {
      enterGradient(u, delta, at(d, column), tokens, g.y, g.drive, g.delta, ofU, ofD, column);
    }
  }

  private static void enterGradient(
      float[] u,
      float[] delta,
      FloatVector through,
      int tokens,
      float[] gY,
      float[] gDrive,
      float[] gDelta,
      float[] ofU,
      float[] ofD,
      int column) {
    FloatVector sum = at(ofD, column);
    for (int i = column; i < tokens * COLUMNS; i += COLUMNS) {
      FloatVector input = at(u, i);
      FloatVector ofY = at(gY, i);
      FloatVector ofDrive = at(gDrive, i);
      ofDrive.fma(at(delta, i), ofY.mul(through)).intoArray(ofU, i);
      ofDrive.fma(input, at(gDelta, i)).intoArray(gDelta, i);
      sum = ofY.fma(input, sum);
    }
    sum.intoArray(ofD, column);
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
      float[] y,
      float[] decays) {
    for (int n = 0; n < states; n++) {
      for (int column = 0; column < COLUMNS; column += LANES) {
        decay(delta, a, n, tokens, decays, column);
        recur(drive, b, c, n, tokens, h, y, decays, column);
      }
    }
  }

  /** Two tokens at a time, after an odd number one too many; with four the compiler gives up. */
  private static void decay(
      float[] delta, float[] a, int n, int tokens, float[] decays, int column) {
    FloatVector rate = at(a, n * COLUMNS + column).mul(LOG2_E);
    int end = tokens * COLUMNS;
    for (int i = column; i < end; i += 2 * COLUMNS) {
      FloatVector first = power(at(delta, i).mul(rate));
      FloatVector second = power(at(delta, i + COLUMNS).mul(rate));
      first.intoArray(decays, i);
      second.intoArray(decays, i + COLUMNS);
    }
  }

  /** As {@link PlainScanLoops#power}. */
  private static FloatVector power(FloatVector x) {
    FloatVector shifted = x.add(ROUNDER);
    FloatVector r = x.sub(shifted.sub(ROUNDER));
    FloatVector series = POWER_5.fma(r, POWER_4);
    series = series.fma(r, POWER_3);
    series = series.fma(r, POWER_2);
    series = series.fma(r, POWER_1);
    series = series.fma(r, ONE);
    IntVector power =
        shifted.reinterpretAsInts().max(LEAST_POWER).lanewise(VectorOperators.LSHL, 23);
    return series.reinterpretAsInts().add(power).reinterpretAsFloats();
  }

  private static void recur(
      float[] drive,
      float[] b,
      float[] c,
      int n,
      int tokens,
      float[] h,
      float[] y,
      float[] decays,
      int column) {
    FloatVector state = at(h, n * COLUMNS + column);
    int first = PlainScanLoops.perToken(n, tokens);
    for (int t = 0; t < tokens; t++) {
      int i = t * COLUMNS;
      int at = i + column;
      state = at(decays, at).fma(state, at(drive, at).mul(b[first + i]));
      state.fma(all(c[first + i]), at(y, at)).intoArray(y, at);
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
        decay(delta, a, n, tokens, g.decays(), column);
        remember(drive, b, c, n, tokens, h, y, g.decays(), g.history(), column);
        goBack(delta, drive, a, b, c, n, tokens, g, column);
      }
    }
  }

  private static void remember(
      float[] drive,
      float[] b,
      float[] c,
      int n,
      int tokens,
      float[] h,
      float[] y,
      float[] decays,
      float[] history,
      int column) {
    FloatVector state = at(h, n * COLUMNS + column);
    state.intoArray(history, column);
    int first = PlainScanLoops.perToken(n, tokens);
    for (int t = 0; t < tokens; t++) {
      int i = t * COLUMNS;
      int at = i + column;
      state = at(decays, at).fma(state, at(drive, at).mul(b[first + i]));
      state.intoArray(history, at + COLUMNS);
      state.fma(all(c[first + i]), at(y, at)).intoArray(y, at);
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
}
