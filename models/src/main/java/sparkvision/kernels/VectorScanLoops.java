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
  private static final int FOUR = 4; // taps of Mamba's convolutions

  // A method for each loop: larger ones are not inlined whole (see Vectors). Constants are
  // broadcast where they are used: the compiler keeps them in registers, fields it reads again.

  private static FloatVector at(float[] numbers, int index) {
    return FloatVector.fromArray(FLOATS, numbers, index);
  }

  @Override
  public void silu(float[] m, int x, int count, int y) {
    for (int i = 0; i < count; i += LANES) {
      FloatVector value = at(m, x + i);
      value.mul(sigmoid(value)).intoArray(m, y + i);
    }
  }

  @Override
  public void siluGradient(float[] m, int x, int g, int count) {
    for (int i = 0; i < count; i += LANES) {
      at(m, g + i).mul(siluSlope(at(m, x + i))).intoArray(m, x + i);
    }
  }

  private static FloatVector sigmoid(FloatVector x) {
    FloatVector power = power(x.abs(), all(-LOG2_E));
    VectorMask<Float> negative = x.compare(VectorOperators.LT, 0);
    return all(1).blend(power, negative).div(power.add(1));
  }

  private static FloatVector siluSlope(FloatVector x) {
    FloatVector share = sigmoid(x);
    return share.mul(x.fma(all(1).sub(share), all(1)));
  }

  @Override
  public void convolve(
      float[] m, int x, int weight, int bias, int taps, int width, int tokens, int y) {
    for (int column = 0; column < width; column += LANES) {
      if (taps == FOUR) {
        int own = weight + column;
        convolveFour(m, x + column, own, bias + column, width, tokens, y + column);
        continue;
      }
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

  /** Every x is read once, and the weights are read before. */
  @Vectors.Alone
  private static void convolveFour(
      float[] m, int x, int weight, int bias, int width, int tokens, int y) {
    FloatVector shift = at(m, bias);
    FloatVector weight0 = at(m, weight);
    FloatVector weight1 = at(m, weight + width);
    FloatVector weight2 = at(m, weight + 2 * width);
    FloatVector weight3 = at(m, weight + 3 * width);
    FloatVector x0 = at(m, x);
    FloatVector x1 = at(m, x + width);
    FloatVector x2 = at(m, x + 2 * width);
    for (int i = 0; i < tokens * width; i += width) {
      FloatVector x3 = at(m, x + i + 3 * width);
      FloatVector sum = weight1.fma(x1, weight0.fma(x0, shift));
      weight3.fma(x3, weight2.fma(x2, sum)).intoArray(m, y + i);
      x0 = x1;
      x1 = x2;
      x2 = x3;
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
      int given = g + column;
      if (taps == FOUR) {
        goBackToInput(m, weight + column, given, width, tokens, ofX + column);
        goBackToWeight(m, x + column, given, width, tokens, ofWeight + column);
        continue;
      }
      for (int tap = 0; tap < taps; tap++) {
        int own = tap * width + column;
        goBack(m, x + own, weight + own, given, width, tokens, ofX + own, ofWeight + own);
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

  @Vectors.Alone
  private static void goBackToInput(float[] m, int weight, int g, int width, int tokens, int ofX) {
    FloatVector weight0 = at(m, weight);
    FloatVector weight1 = at(m, weight + width);
    FloatVector weight2 = at(m, weight + 2 * width);
    FloatVector weight3 = at(m, weight + 3 * width);
    FloatVector g1 = all(0); // of the token before, as the next ones of those before it
    FloatVector g2 = all(0);
    FloatVector g3 = all(0);
    for (int i = 0; i < (tokens + 3) * width; i += width) {
      FloatVector g0 = i < tokens * width ? at(m, g + i) : all(0);
      FloatVector sum = weight1.fma(g1, weight0.fma(g0, at(m, ofX + i)));
      weight3.fma(g3, weight2.fma(g2, sum)).intoArray(m, ofX + i);
      g3 = g2;
      g2 = g1;
      g1 = g0;
    }
  }

  @Vectors.Alone
  private static void goBackToWeight(float[] m, int x, int g, int width, int tokens, int ofWeight) {
    FloatVector sum0 = at(m, ofWeight);
    FloatVector sum1 = at(m, ofWeight + width);
    FloatVector sum2 = at(m, ofWeight + 2 * width);
    FloatVector sum3 = at(m, ofWeight + 3 * width);
    FloatVector x0 = at(m, x);
    FloatVector x1 = at(m, x + width);
    FloatVector x2 = at(m, x + 2 * width);
    for (int i = 0; i < tokens * width; i += width) {
      FloatVector x3 = at(m, x + i + 3 * width);
      FloatVector given = at(m, g + i);
      sum0 = given.fma(x0, sum0);
      sum1 = given.fma(x1, sum1);
      sum2 = given.fma(x2, sum2);
      sum3 = given.fma(x3, sum3);
      x0 = x1;
      x1 = x2;
      x2 = x3;
    }
    sum0.intoArray(m, ofWeight);
    sum1.intoArray(m, ofWeight + width);
    sum2.intoArray(m, ofWeight + 2 * width);
    sum3.intoArray(m, ofWeight + 3 * width);
  }

  @Override
  public void softplus(float[] m, Places p, int x, int shift, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      softplus(m, x + column, shift + column, width, tokens, p.row(column) + Places.DELTA);
    }
  }

  private static void softplus(float[] m, int x, int shift, int width, int tokens, int delta) {
    FloatVector own = at(m, shift);
    for (int t = 0; t < tokens; t++) {
      FloatVector value = at(m, x + t * width).add(own);
      value.intoArray(m, x + t * width);
      FloatVector power = power(value.abs(), all(-LOG2_E));
      value.max(0).add(VectorGridLoops.logOfOnePlus(power)).intoArray(m, delta + t * Places.ROW);
    }
  }

  @Override
  public void enter(float[] m, Places p, int u, int d, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      FloatVector through = at(m, d + column);
      int row = p.row(column);
      for (int t = 0; t < tokens; t++) {
        FloatVector input = at(m, u + t * width + column);
        int r = row + t * Places.ROW;
        input.mul(at(m, r + Places.DELTA)).intoArray(m, r + Places.DRIVE);
        input.mul(through).intoArray(m, r + Places.Y);
      }
    }
  }

  @Override
  public void scan(float[] m, Places p, int block, int tokens) {
    for (int first = 0; first < p.states; first += COLUMNS) {
      int count = Math.min(COLUMNS, p.states - first);
      for (int t = 0; t < tokens; t++) {
        int perToken = Places.perToken(first, t, tokens);
        for (int lane = 0; lane < COLUMNS; lane += LANES) {
          int row = p.row(block * COLUMNS + lane) + t * Places.ROW;
          int state = first * COLUMNS + lane;
          int a = p.a(block) + state;
          scan(m, row, p.b + perToken, p.c + perToken, a, p.h(block) + state, count);
        }
      }
    }
  }

  /** A token: the states do not wait for each other. */
  private static void scan(float[] m, int row, int b, int c, int a, int h, int count) {
    FloatVector step = at(m, row + Places.DELTA);
    FloatVector input = at(m, row + Places.DRIVE);
    FloatVector sum = at(m, row + Places.Y);
    for (int n = 0; n < count; n++) {
      int state = n * COLUMNS;
      FloatVector kept = power(step, at(m, a + state)).mul(at(m, h + state));
      FloatVector after = input.fma(all(m[b + n]), kept);
      after.intoArray(m, h + state);
      sum = after.fma(all(m[c + n]), sum);
    }
    sum.intoArray(m, row + Places.Y);
  }

  /** As {@link PlainScanLoops#power}. */
  private static FloatVector power(FloatVector x, FloatVector rate) {
    FloatVector shifted = x.fma(rate, all(ROUNDER));
    FloatVector r = x.fma(rate, all(ROUNDER).sub(shifted));
    FloatVector square = r.mul(r);
    FloatVector high = all(POWER_5).fma(r, all(POWER_4));
    FloatVector middle = all(POWER_3).fma(r, all(POWER_2));
    FloatVector low = all(POWER_1).fma(r, all(1));
    FloatVector series = high.fma(square, middle).fma(square, low);
    IntVector least = IntVector.broadcast(INTS, LEAST_POWER);
    IntVector power = shifted.reinterpretAsInts().max(least).lanewise(VectorOperators.LSHL, 23);
    return series.reinterpretAsInts().add(power).reinterpretAsFloats();
  }

  private static FloatVector all(float value) {
    return FloatVector.broadcast(FLOATS, value);
  }

  @Override
  public void sumDelta(float[] m, Places p, int width, int tokens, int sums) {
    for (int column = 0; column < width; column += LANES) {
      int delta = p.row(column) + Places.DELTA;
      FloatVector sum = at(m, sums + column);
      for (int t = 0; t < tokens; t++) {
        sum = sum.add(at(m, delta + t * Places.ROW));
      }
      sum.intoArray(m, sums + column);
    }
  }

  @Override
  public void add(float[] m, Places p, int x, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      int y = p.row(column) + Places.Y;
      for (int t = 0; t < tokens; t++) {
        int r = y + t * Places.ROW;
        at(m, r).add(at(m, x + t * width + column)).intoArray(m, r);
      }
    }
  }

  @Override
  public void leave(float[] m, Places p, int width, int tokens, int y) {
    for (int column = 0; column < width; column += LANES) {
      int row = p.row(column) + Places.Y;
      for (int t = 0; t < tokens; t++) {
        at(m, row + t * Places.ROW).intoArray(m, y + t * width + column);
      }
    }
  }

  @Override
  public void gate(float[] m, Places p, int z, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      int y = p.row(column) + Places.Y;
      for (int t = 0; t < tokens; t++) {
        int i = z + t * width + column;
        FloatVector value = at(m, i);
        at(m, y + t * Places.ROW).mul(value.mul(sigmoid(value))).intoArray(m, i);
      }
    }
  }

  @Override
  public void gateBack(float[] m, Places p, int z, int g, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      int row = p.row(column);
      for (int t = 0; t < tokens; t++) {
        int i = t * width + column;
        int r = row + t * Places.ROW;
        FloatVector value = at(m, z + i);
        FloatVector ofY = orZero(at(m, g + i)).mul(value.mul(sigmoid(value)));
        orZero(ofY).intoArray(m, r + Places.OF_Y);
        all(0).intoArray(m, r + Places.OF_DRIVE);
        all(0).intoArray(m, r + Places.OF_POWER);
      }
    }
  }

  private static FloatVector orZero(FloatVector gradient) {
    VectorMask<Float> small =
        gradient.abs().compare(VectorOperators.LT, PlainScanLoops.LEAST_GRADIENT);
    return gradient.blend(0, small);
  }

  /**
   * Two states after the other, so that what is kept of their tokens stays in the nearest cache; in
   * three loops, so that what each computes with stays in sixteen registers.
   */
  @Override
  public void scanBack(float[] m, Places p, int block, int tokens) {
    for (int n = 0; n < p.states; n += 2) {
      int perToken = Places.perToken(n, 0, tokens);
      for (int lane = 0; lane < COLUMNS; lane += LANES) {
        int row = p.row(block * COLUMNS + lane);
        int state = n * COLUMNS + lane;
        int a = p.a(block) + state;
        int parts = p.parts + lane;
        int gradients = p.ofStates + n * 2 * tokens * COLUMNS + lane;
        decays(m, row, a, tokens, parts);
        decays(m, row, a + COLUMNS, tokens, parts + 2 * COLUMNS);
        scanAgain(m, p, row, perToken, p.h(block) + state, tokens, parts, gradients);
        int ofH = p.ofH(block) + state;
        scanBack(m, p, row, perToken, a, tokens, parts, gradients, p.ofA(block) + state, ofH);
      }
    }
  }

  @Vectors.Alone
  private static void decays(float[] m, int row, int a, int tokens, int parts) {
    FloatVector rate = at(m, a);
    for (int t = 0; t < tokens; t++) {
      FloatVector step = at(m, row + Places.DELTA + t * Places.ROW);
      power(step, rate).intoArray(m, parts + t * 4 * COLUMNS);
    }
  }

  @Vectors.Alone
  private static void scanAgain(
      float[] m, Places p, int row, int perToken, int h, int tokens, int parts, int gradients) {
    int b = p.b + perToken;
    int c = p.c + perToken;
    FloatVector h0 = at(m, h);
    FloatVector h1 = at(m, h + COLUMNS);
    for (int t = 0; t < tokens; t++) {
      int r = row + t * Places.ROW;
      int part = parts + t * 4 * COLUMNS;
      int ofC = gradients + t * 4 * COLUMNS + COLUMNS;
      FloatVector input = at(m, r + Places.DRIVE);
      FloatVector ofY = at(m, r + Places.OF_Y);
      FloatVector kept = at(m, part).mul(h0);
      kept.intoArray(m, part + COLUMNS);
      h0 = input.fma(all(m[b + t * COLUMNS]), kept);
      ofY.fma(h0, at(m, ofC)).intoArray(m, ofC);
      FloatVector sum = h0.fma(all(m[c + t * COLUMNS]), at(m, r + Places.Y));
      kept = at(m, part + 2 * COLUMNS).mul(h1);
      kept.intoArray(m, part + 3 * COLUMNS);
      h1 = input.fma(all(m[b + t * COLUMNS + 1]), kept);
      ofY.fma(h1, at(m, ofC + 2 * COLUMNS)).intoArray(m, ofC + 2 * COLUMNS);
      h1.fma(all(m[c + t * COLUMNS + 1]), sum).intoArray(m, r + Places.Y);
    }
    h0.intoArray(m, h);
    h1.intoArray(m, h + COLUMNS);
  }

  private static void scanBack(
      float[] m,
      Places p,
      int row,
      int perToken,
      int a,
      int tokens,
      int parts,
      int gradients,
      int ofA,
      int ofH) {
    int b = p.b + perToken;
    int c = p.c + perToken;
    FloatVector a0 = at(m, a);
    FloatVector a1 = at(m, a + COLUMNS);
    FloatVector ofA0 = at(m, ofA);
    FloatVector ofA1 = at(m, ofA + COLUMNS);
    FloatVector ofH0 = at(m, ofH);
    FloatVector ofH1 = at(m, ofH + COLUMNS);
    for (int t = tokens - 1; t >= 0; t--) {
      int r = row + t * Places.ROW;
      int part = parts + t * 4 * COLUMNS;
      int ofB = gradients + t * 4 * COLUMNS;
      FloatVector step = at(m, r + Places.DELTA);
      FloatVector input = at(m, r + Places.DRIVE);
      FloatVector ofY = at(m, r + Places.OF_Y);
      FloatVector ofState = ofY.fma(all(m[c + t * COLUMNS]), ofH0);
      FloatVector ofExponent = ofState.mul(at(m, part + COLUMNS));
      ofH0 = ofState.mul(at(m, part));
      ofState.fma(input, at(m, ofB)).intoArray(m, ofB);
      FloatVector ofInput = ofState.fma(all(m[b + t * COLUMNS]), at(m, r + Places.OF_DRIVE));
      FloatVector ofPower = ofExponent.fma(a0, at(m, r + Places.OF_POWER));
      ofA0 = ofExponent.fma(step, ofA0);
      ofState = ofY.fma(all(m[c + t * COLUMNS + 1]), ofH1);
      ofExponent = ofState.mul(at(m, part + 3 * COLUMNS));
      ofH1 = ofState.mul(at(m, part + 2 * COLUMNS));
      ofState.fma(input, at(m, ofB + 2 * COLUMNS)).intoArray(m, ofB + 2 * COLUMNS);
      ofInput = ofState.fma(all(m[b + t * COLUMNS + 1]), ofInput);
      ofInput.intoArray(m, r + Places.OF_DRIVE);
      ofExponent.fma(a1, ofPower).intoArray(m, r + Places.OF_POWER);
      ofA1 = ofExponent.fma(step, ofA1);
    }
    ofA0.intoArray(m, ofA);
    ofA1.intoArray(m, ofA + COLUMNS);
    orZero(ofH0).intoArray(m, ofH);
    orZero(ofH1).intoArray(m, ofH + COLUMNS);
  }

  @Override
  public void carryBack(float[] m, Places p, int block, int tokens) {
    for (int n = 0; n < p.states; n++) {
      for (int lane = 0; lane < COLUMNS; lane += LANES) {
        int row = p.row(block * COLUMNS + lane);
        int state = n * COLUMNS + lane;
        int c = p.c + Places.perToken(n, 0, tokens);
        carryBack(m, row, c, p.a(block) + state, tokens, p.ofH(block) + state);
      }
    }
  }

  private static void carryBack(float[] m, int row, int c, int a, int tokens, int ofH) {
    FloatVector rate = at(m, a);
    FloatVector sum = at(m, ofH);
    for (int t = tokens - 1; t >= 0; t--) {
      int r = row + t * Places.ROW;
      FloatVector ofState = at(m, r + Places.OF_Y).fma(all(m[c + t * COLUMNS]), sum);
      sum = ofState.mul(power(at(m, r + Places.DELTA), rate));
    }
    orZero(sum).intoArray(m, ofH);
  }

  @Override
  public void gateGradient(float[] m, Places p, int z, int g, int width, int tokens) {
    for (int column = 0; column < width; column += LANES) {
      int y = p.row(column) + Places.Y;
      for (int t = 0; t < tokens; t++) {
        int i = t * width + column;
        FloatVector slope = siluSlope(at(m, z + i));
        at(m, g + i).mul(at(m, y + t * Places.ROW)).mul(slope).intoArray(m, z + i);
      }
    }
  }

  @Override
  public void enterGradient(float[] m, Places p, int u, int d, int width, int tokens, int ofD) {
    for (int column = 0; column < width; column += LANES) {
      enterGradient(m, p.row(column), u + column, d + column, width, tokens, ofD + column);
    }
  }

  private static void enterGradient(
      float[] m, int row, int u, int d, int width, int tokens, int ofD) {
    FloatVector through = at(m, d);
    FloatVector sum = at(m, ofD);
    for (int t = 0; t < tokens; t++) {
      int r = row + t * Places.ROW;
      int i = u + t * width;
      FloatVector input = at(m, i);
      FloatVector ofY = at(m, r + Places.OF_Y);
      FloatVector ofDrive = at(m, r + Places.OF_DRIVE);
      FloatVector ofDelta = ofDrive.fma(input, all(LN_2).mul(at(m, r + Places.OF_POWER)));
      ofDelta.intoArray(m, r + Places.OF_POWER);
      ofDrive.fma(at(m, r + Places.DELTA), ofY.mul(through)).intoArray(m, i);
      sum = ofY.fma(input, sum);
    }
    sum.intoArray(m, ofD);
  }

  @Override
  public void softplusGradient(float[] m, Places p, int x, int width, int tokens, int ofShift) {
    for (int column = 0; column < width; column += LANES) {
      int row = p.row(column) + Places.OF_POWER;
      FloatVector sum = at(m, ofShift + column);
      for (int t = 0; t < tokens; t++) {
        int i = x + t * width + column;
        FloatVector value = at(m, row + t * Places.ROW).mul(sigmoid(at(m, i)));
        value.intoArray(m, i);
        sum = sum.add(value);
      }
      sum.intoArray(m, ofShift + column);
    }
  }
}
