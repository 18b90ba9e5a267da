package sparkvision.kernels;

import static sparkvision.kernels.PlainGridLoops.ROUNDER;
import static sparkvision.kernels.PlainScanLoops.LEAST_POWER;
import static sparkvision.kernels.PlainScanLoops.LN_2;
import static sparkvision.kernels.PlainScanLoops.POWER_1;
import static sparkvision.kernels.PlainScanLoops.POWER_2;
import static sparkvision.kernels.PlainScanLoops.POWER_3;
import static sparkvision.kernels.PlainScanLoops.POWER_4;
import static sparkvision.kernels.PlainScanLoops.POWER_5;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The loops, as many columns at once as the CPU's vectors hold. */
final class VectorScanLoops implements ScanLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();

  // A method for each loop: larger ones are not inlined whole (see Vectors). Constants are
  // broadcast where they are used: the compiler keeps them in registers, fields it reads again.

  private static FloatVector at(float[] array, int index) {
    return FloatVector.fromArray(FLOATS, array, index);
  }

  @Override
  public void softplus(float[] x, float[] shift, int width, int tokens, float[] raw, float[] y) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column += LANES) {
        int i = t * width + column;
        FloatVector value = at(x, i).add(at(shift, column));
        value.intoArray(raw, i);
        FloatVector power = power(value.abs(), all(-LOG2_E));
        value.max(0).add(VectorGridLoops.logOfOnePlus(power)).intoArray(y, i);
      }
    }
  }

  @Override
  public void softplusGradient(float[] raw, int width, int tokens, float[] g, float[] ofShift) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column += LANES) {
        int i = t * width + column;
        FloatVector value = at(g, i).mul(sigmoid(at(raw, i)));
        value.intoArray(g, i);
        at(ofShift, column).add(value).intoArray(ofShift, column);
      }
    }
  }

  private static FloatVector sigmoid(FloatVector x) {
    FloatVector power = power(x.abs(), all(-LOG2_E));
    VectorMask<Float> negative = x.compare(VectorOperators.LT, 0);
    return all(1).blend(power, negative).div(power.add(1));
  }

  @Override
  public void gate(float[] x, float[] z, int count, float[] y) {
    for (int i = 0; i < count; i += LANES) {
      FloatVector value = at(z, i);
      at(x, i).mul(value.mul(sigmoid(value))).intoArray(y, i);
    }
  }

  @Override
  public void gateGradient(float[] x, float[] z, float[] g, int count) {
    for (int i = 0; i < count; i += LANES) {
      FloatVector value = at(z, i);
      FloatVector share = sigmoid(value);
      FloatVector slope = share.mul(value.fma(all(1).sub(share), all(1)));
      at(g, i).mul(at(x, i)).mul(slope).intoArray(z, i);
    }
  }

  @Override
  public void dropSmall(float[] gradient, int count) {
    for (int i = 0; i < count; i += LANES) {
      orZero(at(gradient, i)).intoArray(gradient, i);
    }
  }

  @Override
  public void convolve(
      float[] x, float[] weight, float[] bias, int taps, int width, int tokens, float[] y) {
    for (int column = 0; column < width; column += LANES) {
      FloatVector shift = at(bias, column);
      for (int i = column; i < tokens * width; i += width) {
        FloatVector sum = shift;
        for (int tap = 0; tap < taps; tap++) {
          sum = at(weight, tap * width + column).fma(at(x, i + tap * width), sum);
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
      int width,
      int tokens,
      float[] ofX,
      float[] ofWeight,
      float[] ofBias) {
    for (int column = 0; column < width; column += LANES) {
      FloatVector sum = at(ofBias, column);
      for (int i = column; i < tokens * width; i += width) {
        sum = sum.add(at(g, i));
      }
      sum.intoArray(ofBias, column);
      for (int tap = 0; tap < taps; tap++) {
        goBack(x, weight, g, tap * width, column, width, tokens, ofX, ofWeight);
      }
    }
  }

  private static void goBack(
      float[] x,
      float[] weight,
      float[] g,
      int tap,
      int column,
      int width,
      int tokens,
      float[] ofX,
      float[] ofWeight) {
    FloatVector factor = at(weight, tap + column);
    FloatVector sum = at(ofWeight, tap + column);
    for (int i = column; i < tokens * width; i += width) {
      FloatVector given = at(g, i);
      factor.fma(given, at(ofX, i + tap)).intoArray(ofX, i + tap);
      sum = given.fma(at(x, i + tap), sum);
    }
    sum.intoArray(ofWeight, tap + column);
  }

  @Override
  public void enter(
      float[] u, float[] delta, float[] d, int width, int tokens, float[] drive, float[] y) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column += LANES) {
        int i = t * width + column;
        FloatVector input = at(u, i);
        input.mul(at(delta, i)).intoArray(drive, i);
        input.mul(at(d, column)).intoArray(y, i);
      }
    }
  }

  @Override
  public void enterGradient(
      float[] u,
      float[] delta,
      float[] d,
      int width,
      int tokens,
      Gradients g,
      float[] ofU,
      float[] ofD) {
    for (int column = 0; column < width; column += LANES) {
      enterGradient(u, delta, d, width, tokens, g.y, g.drive, g.delta, ofU, ofD, column);
    }
  }

  private static void enterGradient(
      float[] u,
      float[] delta,
      float[] d,
      int width,
      int tokens,
      float[] gY,
      float[] gDrive,
      float[] gDelta,
      float[] ofU,
      float[] ofD,
      int column) {
    FloatVector through = at(d, column);
    FloatVector sum = at(ofD, column);
    for (int i = column; i < tokens * width; i += width) {
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
      int column,
      int width,
      int tokens,
      float[] h,
      float[] y) {
    for (int first = 0; first < states; first += COLUMNS) {
      int count = Math.min(COLUMNS, states - first);
      for (int t = 0; t < tokens; t++) {
        int perToken = first * tokens + t * COLUMNS;
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int at = t * width + column + lane;
          int state = first * COLUMNS + lane;
          scan(delta, drive, a, b, c, count, perToken, h, y, at, state);
        }
      }
    }
  }

  /** A token: the states do not wait for each other. */
  private static void scan(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int count,
      int perToken,
      float[] h,
      float[] y,
      int at,
      int firstState) {
    FloatVector step = at(delta, at);
    FloatVector input = at(drive, at);
    FloatVector sum = at(y, at);
    for (int n = 0; n < count; n++) {
      int state = firstState + n * COLUMNS;
      FloatVector kept = power(step, at(a, state)).mul(at(h, state));
      FloatVector after = input.fma(all(b[perToken + n]), kept);
      after.intoArray(h, state);
      sum = after.fma(all(c[perToken + n]), sum);
    }
    sum.intoArray(y, at);
  }

  /** As {@link PlainScanLoops#power}. */
  private static FloatVector power(FloatVector x, FloatVector rate) {
    FloatVector shifted = x.fma(rate, all(ROUNDER));
    FloatVector r = x.fma(rate, all(ROUNDER).sub(shifted));
    FloatVector series = all(POWER_5).fma(r, all(POWER_4));
    series = series.fma(r, all(POWER_3));
    series = series.fma(r, all(POWER_2));
    series = series.fma(r, all(POWER_1));
    series = series.fma(r, all(1));
    IntVector least = IntVector.broadcast(INTS, LEAST_POWER);
    IntVector power = shifted.reinterpretAsInts().max(least).lanewise(VectorOperators.LSHL, 23);
    return series.reinterpretAsInts().add(power).reinterpretAsFloats();
  }

  private static FloatVector orZero(FloatVector gradient) {
    VectorMask<Float> small =
        gradient.abs().compare(VectorOperators.LT, PlainScanLoops.LEAST_GRADIENT);
    return gradient.blend(0, small);
  }

  private static FloatVector all(float value) {
    return FloatVector.broadcast(FLOATS, value);
  }

  @Override
  public void scanAgain(
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
      Gradients g) {
    for (int first = 0; first < states; first += COLUMNS) {
      int count = Math.min(COLUMNS, states - first);
      for (int t = 0; t < tokens; t++) {
        int perToken = first * tokens + t * COLUMNS;
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int at = t * width + column + lane;
          int state = first * COLUMNS + lane;
          int part = t * states * COLUMNS + state;
          scanAgain(delta, drive, a, b, c, count, perToken, h, y, g, at, state, part);
        }
      }
    }
  }

  private static void scanAgain(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int count,
      int perToken,
      float[] h,
      float[] y,
      Gradients g,
      int at,
      int firstState,
      int firstPart) {
    float[] decays = g.decays();
    float[] keeps = g.keeps();
    float[] gC = g.c;
    FloatVector step = at(delta, at);
    FloatVector input = at(drive, at);
    FloatVector ofY = orZero(at(g.y, at));
    FloatVector sum = at(y, at);
    for (int n = 0; n < count; n++) {
      int state = firstState + n * COLUMNS;
      int part = firstPart + n * COLUMNS;
      FloatVector decay = power(step, at(a, state));
      decay.intoArray(decays, part);
      FloatVector kept = decay.mul(at(h, state));
      kept.intoArray(keeps, part);
      FloatVector after = input.fma(all(b[perToken + n]), kept);
      after.intoArray(h, state);
      ofY.fma(after, at(gC, part)).intoArray(gC, part);
      sum = after.fma(all(c[perToken + n]), sum);
    }
    sum.intoArray(y, at);
  }

  @Override
  public void scanBack(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int states,
      int column,
      int width,
      int tokens,
      Gradients g) {
    for (int first = 0; first < states; first += COLUMNS) {
      int count = Math.min(COLUMNS, states - first);
      for (int t = tokens - 1; t >= 0; t--) {
        int perToken = first * tokens + t * COLUMNS;
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int at = t * width + column + lane;
          int state = first * COLUMNS + lane;
          int part = t * states * COLUMNS + state;
          scanBack(delta, drive, a, b, c, count, perToken, g, at, state, part);
        }
      }
    }
  }

  private static void scanBack(
      float[] delta,
      float[] drive,
      float[] a,
      float[] b,
      float[] c,
      int count,
      int perToken,
      Gradients g,
      int at,
      int firstState,
      int firstPart) {
    float[] decays = g.decays();
    float[] keeps = g.keeps();
    float[] gA = g.a;
    float[] gB = g.b;
    float[] gH = g.h;
    FloatVector step = at(delta, at);
    FloatVector input = at(drive, at);
    FloatVector ofY = orZero(at(g.y, at));
    FloatVector ofInput = at(g.drive, at);
    FloatVector ofStep = all(0);
    for (int n = 0; n < count; n++) {
      int state = firstState + n * COLUMNS;
      int part = firstPart + n * COLUMNS;
      FloatVector ofState = orZero(ofY.fma(all(c[perToken + n]), at(gH, state)));
      ofState.mul(at(decays, part)).intoArray(gH, state);
      ofState.fma(input, at(gB, part)).intoArray(gB, part);
      ofInput = ofState.fma(all(b[perToken + n]), ofInput);
      FloatVector ofExponent = ofState.mul(at(keeps, part));
      ofStep = ofExponent.fma(at(a, state), ofStep);
      ofExponent.fma(step, at(gA, state)).intoArray(gA, state);
    }
    ofInput.intoArray(g.drive, at);
    ofStep.fma(all(LN_2), at(g.delta, at)).intoArray(g.delta, at);
  }
}
