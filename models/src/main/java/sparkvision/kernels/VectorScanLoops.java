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

  private static FloatVector at(float[] numbers, int index) {
    return FloatVector.fromArray(FLOATS, numbers, index);
  }

  @Override
  public void softplus(float[] m, int x, int shift, int width, int tokens, int raw, int y) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column += LANES) {
        int i = t * width + column;
        FloatVector value = at(m, x + i).add(at(m, shift + column));
        value.intoArray(m, raw + i);
        FloatVector power = power(value.abs(), all(-LOG2_E));
        value.max(0).add(VectorGridLoops.logOfOnePlus(power)).intoArray(m, y + i);
      }
    }
  }

  @Override
  public void softplusGradient(float[] m, int raw, int width, int tokens, int g, int ofShift) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column += LANES) {
        int i = t * width + column;
        FloatVector value = at(m, g + i).mul(sigmoid(at(m, raw + i)));
        value.intoArray(m, g + i);
        at(m, ofShift + column).add(value).intoArray(m, ofShift + column);
      }
    }
  }

  private static FloatVector sigmoid(FloatVector x) {
    FloatVector power = power(x.abs(), all(-LOG2_E));
    VectorMask<Float> negative = x.compare(VectorOperators.LT, 0);
    return all(1).blend(power, negative).div(power.add(1));
  }

  @Override
  public void gate(float[] m, int x, int z, int count, int y) {
    for (int i = 0; i < count; i += LANES) {
      FloatVector value = at(m, z + i);
      at(m, x + i).mul(value.mul(sigmoid(value))).intoArray(m, y + i);
    }
  }

  @Override
  public void gateGradient(float[] m, int x, int z, int g, int count) {
    for (int i = 0; i < count; i += LANES) {
      FloatVector value = at(m, z + i);
      FloatVector share = sigmoid(value);
      FloatVector slope = share.mul(value.fma(all(1).sub(share), all(1)));
      at(m, g + i).mul(at(m, x + i)).mul(slope).intoArray(m, z + i);
    }
  }

  @Override
  public void add(float[] m, int x, int count, int y) {
    for (int i = 0; i < count; i += LANES) {
      at(m, y + i).add(at(m, x + i)).intoArray(m, y + i);
    }
  }

  @Override
  public void dropSmall(float[] m, int gradient, int count) {
    for (int i = gradient; i < gradient + count; i += LANES) {
      orZero(at(m, i)).intoArray(m, i);
    }
  }

  @Override
  public void convolve(
      float[] m, int x, int weight, int bias, int taps, int width, int tokens, int y) {
    for (int column = 0; column < width; column += LANES) {
      FloatVector shift = at(m, bias + column);
      for (int i = column; i < tokens * width; i += width) {
        FloatVector sum = shift;
        for (int tap = 0; tap < taps; tap++) {
          sum = at(m, weight + tap * width + column).fma(at(m, x + i + tap * width), sum);
        }
        sum.intoArray(m, y + i);
      }
    }
  }

  @Override
  public void convolveGradient(
      float[] m,
      int x,
      int weight,
      int g,
      int taps,
      int width,
      int tokens,
      int ofX,
      int ofWeight,
      int ofBias) {
    for (int column = 0; column < width; column += LANES) {
      FloatVector sum = at(m, ofBias + column);
      for (int i = column; i < tokens * width; i += width) {
        sum = sum.add(at(m, g + i));
      }
      sum.intoArray(m, ofBias + column);
      for (int tap = 0; tap < taps; tap++) {
        int own = tap * width + column;
        goBack(m, x + own, weight + own, g + column, width, tokens, ofX + own, ofWeight + own);
      }
    }
  }

  private static void goBack(
      float[] m, int x, int weight, int g, int width, int tokens, int ofX, int ofWeight) {
    FloatVector factor = at(m, weight);
    FloatVector sum = at(m, ofWeight);
    for (int i = 0; i < tokens * width; i += width) {
      FloatVector given = at(m, g + i);
      factor.fma(given, at(m, ofX + i)).intoArray(m, ofX + i);
      sum = given.fma(at(m, x + i), sum);
    }
    sum.intoArray(m, ofWeight);
  }

  @Override
  public void enter(float[] m, Places p, int width, int tokens) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column += LANES) {
        int i = t * width + column;
        FloatVector input = at(m, p.u + i);
        input.mul(at(m, p.delta + i)).intoArray(m, p.drive + i);
        input.mul(at(m, p.d + column)).intoArray(m, p.y + i);
      }
    }
  }

  @Override
  public void enterGradient(float[] m, Places p, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      enterGradient(m, p, width, tokens, column);
    }
  }

  private static void enterGradient(float[] m, Places p, int width, int tokens, int column) {
    FloatVector through = at(m, p.d + column);
    FloatVector sum = at(m, p.ofD + column);
    for (int i = column; i < tokens * width; i += width) {
      FloatVector input = at(m, p.u + i);
      FloatVector ofY = at(m, p.ofY + i);
      FloatVector ofDrive = at(m, p.ofDrive + i);
      ofDrive.fma(at(m, p.delta + i), ofY.mul(through)).intoArray(m, p.ofU + i);
      ofDrive.fma(input, at(m, p.ofDelta + i)).intoArray(m, p.ofDelta + i);
      sum = ofY.fma(input, sum);
    }
    sum.intoArray(m, p.ofD + column);
  }

  @Override
  public void scan(float[] m, Places p, int block, int width, int tokens) {
    for (int first = 0; first < p.states; first += COLUMNS) {
      int count = Math.min(COLUMNS, p.states - first);
      for (int t = 0; t < tokens; t++) {
        int perToken = first * tokens + t * COLUMNS;
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int i = t * width + block * COLUMNS + lane;
          int state = first * COLUMNS + lane;
          scan(
              m,
              p.delta + i,
              p.drive + i,
              p.y + i,
              p.b + perToken,
              p.c + perToken,
              p.a(block) + state,
              p.h(block) + state,
              count);
        }
      }
    }
  }

  /** A token: the states do not wait for each other. */
  private static void scan(
      float[] m, int delta, int drive, int y, int b, int c, int a, int h, int count) {
    FloatVector step = at(m, delta);
    FloatVector input = at(m, drive);
    FloatVector sum = at(m, y);
    for (int n = 0; n < count; n++) {
      int state = n * COLUMNS;
      FloatVector kept = power(step, at(m, a + state)).mul(at(m, h + state));
      FloatVector after = input.fma(all(m[b + n]), kept);
      after.intoArray(m, h + state);
      sum = after.fma(all(m[c + n]), sum);
    }
    sum.intoArray(m, y);
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
  public void scanAgain(float[] m, Places p, int block, int width, int tokens) {
    for (int first = 0; first < p.states; first += COLUMNS) {
      int count = Math.min(COLUMNS, p.states - first);
      for (int t = 0; t < tokens; t++) {
        int perToken = first * tokens + t * COLUMNS;
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int i = t * width + block * COLUMNS + lane;
          int state = first * COLUMNS + lane;
          scanAgain(m, p, i, perToken, p.a(block) + state, p.h(block) + state, t, state, count);
        }
      }
    }
  }

  private static void scanAgain(
      float[] m, Places p, int i, int perToken, int a, int h, int t, int firstState, int count) {
    int b = p.b + perToken;
    int c = p.c + perToken;
    int firstPart = t * p.states * COLUMNS + firstState;
    int decays = p.decays + firstPart;
    int keeps = p.keeps + firstPart;
    int ofC = p.ofC + firstPart;
    FloatVector step = at(m, p.delta + i);
    FloatVector input = at(m, p.drive + i);
    FloatVector ofY = orZero(at(m, p.ofY + i));
    FloatVector sum = at(m, p.y + i);
    for (int n = 0; n < count; n++) {
      int state = n * COLUMNS;
      FloatVector decay = power(step, at(m, a + state));
      decay.intoArray(m, decays + state);
      FloatVector kept = decay.mul(at(m, h + state));
      kept.intoArray(m, keeps + state);
      FloatVector after = input.fma(all(m[b + n]), kept);
      after.intoArray(m, h + state);
      ofY.fma(after, at(m, ofC + state)).intoArray(m, ofC + state);
      sum = after.fma(all(m[c + n]), sum);
    }
    sum.intoArray(m, p.y + i);
  }

  @Override
  public void scanBack(float[] m, Places p, int block, int width, int tokens) {
    for (int first = 0; first < p.states; first += COLUMNS) {
      int count = Math.min(COLUMNS, p.states - first);
      for (int t = tokens - 1; t >= 0; t--) {
        int perToken = first * tokens + t * COLUMNS;
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int i = t * width + block * COLUMNS + lane;
          int state = first * COLUMNS + lane;
          scanBack(m, p, block, i, perToken, t, state, count);
        }
      }
    }
  }

  private static void scanBack(
      float[] m, Places p, int block, int i, int perToken, int t, int firstState, int count) {
    int a = p.a(block) + firstState;
    int b = p.b + perToken;
    int c = p.c + perToken;
    int firstPart = t * p.states * COLUMNS + firstState;
    int decays = p.decays + firstPart;
    int keeps = p.keeps + firstPart;
    int ofA = p.ofA(block) + firstState;
    int ofB = p.ofB + firstPart;
    int ofH = p.ofH(block) + firstState;
    FloatVector step = at(m, p.delta + i);
    FloatVector input = at(m, p.drive + i);
    FloatVector ofY = orZero(at(m, p.ofY + i));
    FloatVector ofInput = at(m, p.ofDrive + i);
    FloatVector ofStep = all(0);
    for (int n = 0; n < count; n++) {
      int state = n * COLUMNS;
      FloatVector ofState = orZero(ofY.fma(all(m[c + n]), at(m, ofH + state)));
      ofState.mul(at(m, decays + state)).intoArray(m, ofH + state);
      ofState.fma(input, at(m, ofB + state)).intoArray(m, ofB + state);
      ofInput = ofState.fma(all(m[b + n]), ofInput);
      FloatVector ofExponent = ofState.mul(at(m, keeps + state));
      ofStep = ofExponent.fma(at(m, a + state), ofStep);
      ofExponent.fma(step, at(m, ofA + state)).intoArray(m, ofA + state);
    }
    ofInput.intoArray(m, p.ofDrive + i);
    ofStep.fma(all(LN_2), at(m, p.ofDelta + i)).intoArray(m, p.ofDelta + i);
  }
}
