package sparkvision.kernels;

/** The loops, one element after the other. */
final class PlainScanLoops implements ScanLoops {

  static final float LN_2 = 0.6931472f;
  // Numbers below 2⁻¹²⁶ cost a processor a hundred cycles each. A gradient that fades over tokens
  // would soon be one: it ends at 2⁻⁷⁸, powers at 2⁻⁴⁸, so that products of both are none either.
  static final int LEAST_POWER = Float.floatToRawIntBits(PlainGridLoops.ROUNDER) - 48;
  static final float LEAST_GRADIENT = 0x1p-78f;
  // 2ʳ = 1 + POWER_1·r + ... of r up to 1/2, where no such series of five terms has a smaller
  // largest relative error: 9.2e-8.
  static final float POWER_1 = 0.693147f;
  static final float POWER_2 = 0.24022242f;
  static final float POWER_3 = 0.055507336f;
  static final float POWER_4 = 0.009671513f;
  static final float POWER_5 = 0.0013264727f;

  @Override
  public void silu(float[] m, int x, int count, int y) {
    for (int i = 0; i < count; i++) {
      m[y + i] = m[x + i] * sigmoid(m[x + i]);
    }
  }

  @Override
  public void siluGradient(float[] m, int x, int g, int count) {
    for (int i = 0; i < count; i++) {
      m[x + i] = m[g + i] * siluSlope(m[x + i]);
    }
  }

  private static float sigmoid(float x) {
    float power = power(Math.abs(x), -LOG2_E);
    return (x < 0 ? power : 1) / (power + 1);
  }

  private static float siluSlope(float x) {
    float share = sigmoid(x);
    return share * Math.fma(x, 1 - share, 1);
  }

  @Override
  public void convolve(
      float[] m, int x, int weight, int bias, int taps, int width, int tokens, int y) {
    for (int i = 0; i < tokens * width; i++) {
      float sum = m[bias + i % width];
      for (int tap = 0; tap < taps; tap++) {
        sum = Math.fma(m[weight + tap * width + i % width], m[x + i + tap * width], sum);
      }
      m[y + i] = sum;
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
    for (int i = 0; i < tokens * width; i++) {
      m[ofBias + i % width] += m[g + i];
    }
    for (int tap = 0; tap < taps; tap++) {
      for (int i = 0; i < tokens * width; i++) {
        int from = i + tap * width;
        int own = tap * width + i % width;
        m[ofX + from] = Math.fma(m[weight + own], m[g + i], m[ofX + from]);
        m[ofWeight + own] = Math.fma(m[g + i], m[x + from], m[ofWeight + own]);
      }
    }
  }

  /** What is done with a number of a row and those of its token and channel. */
  private interface Each {
    void run(int i, int column, int places);
  }

  private static void each(Places p, int width, int tokens, Each each) {
    for (int t = 0; t < tokens; t++) {
      for (int column = 0; column < width; column++) {
        each.run(t * width + column, column, p.row(column) + t * Places.ROW);
      }
    }
  }

  @Override
  public void softplus(float[] m, Places p, int x, int shift, int width, int tokens) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> {
          float value = m[x + i] + m[shift + column];
          m[x + i] = value;
          m[r + Places.DELTA] =
              Math.max(value, 0) + PlainGridLoops.logOfOnePlus(power(Math.abs(value), -LOG2_E));
        });
  }

  @Override
  public void enter(float[] m, Places p, int u, int d, int width, int tokens) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> {
          m[r + Places.DRIVE] = m[u + i] * m[r + Places.DELTA];
          m[r + Places.Y] = m[u + i] * m[d + column];
        });
  }

  @Override
  public void scan(float[] m, Places p, int block, int tokens) {
    for (int t = 0; t < tokens; t++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        int row = p.row(block * COLUMNS + lane) + t * Places.ROW;
        for (int n = 0; n < p.states; n++) {
          int h = p.h(block) + n * COLUMNS + lane;
          int perToken = Places.perToken(n, t, tokens);
          float kept = power(m[row + Places.DELTA], m[p.a(block) + n * COLUMNS + lane]) * m[h];
          m[h] = Math.fma(m[row + Places.DRIVE], m[p.b + perToken], kept);
          m[row + Places.Y] = Math.fma(m[h], m[p.c + perToken], m[row + Places.Y]);
        }
      }
    }
  }

  /**
   * 2ˣ of x = a·b up to 0 as 2ⁿ·2ʳ with the whole number n that is next to x; what would be less
   * than 2⁻⁴⁸ is about that. 2⁰ is exactly 1.
   */
  static float power(float a, float b) {
    float shifted = Math.fma(a, b, PlainGridLoops.ROUNDER);
    float r = Math.fma(a, b, PlainGridLoops.ROUNDER - shifted);
    float square = r * r;
    float high = Math.fma(POWER_5, r, POWER_4);
    float middle = Math.fma(POWER_3, r, POWER_2);
    float low = Math.fma(POWER_1, r, 1);
    float series = Math.fma(Math.fma(high, square, middle), square, low);
    int power = Math.max(Float.floatToRawIntBits(shifted), LEAST_POWER) << 23;
    return Float.intBitsToFloat(Float.floatToRawIntBits(series) + power);
  }

  @Override
  public void sumDelta(float[] m, Places p, int width, int tokens, int sums) {
    each(p, width, tokens, (i, column, r) -> m[sums + column] += m[r + Places.DELTA]);
  }

  @Override
  public void add(float[] m, Places p, int x, int width, int tokens) {
    each(p, width, tokens, (i, column, r) -> m[r + Places.Y] += m[x + i]);
  }

  @Override
  public void leave(float[] m, Places p, int width, int tokens, int y) {
    each(p, width, tokens, (i, column, r) -> m[y + i] = m[r + Places.Y]);
  }

  @Override
  public void gate(float[] m, Places p, int z, int width, int tokens) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> m[z + i] = m[r + Places.Y] * (m[z + i] * sigmoid(m[z + i])));
  }

  @Override
  public void gateBack(float[] m, Places p, int z, int g, int width, int tokens) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> {
          m[r + Places.OF_Y] = orZero(orZero(m[g + i]) * (m[z + i] * sigmoid(m[z + i])));
          m[r + Places.OF_DRIVE] = 0;
          m[r + Places.OF_POWER] = 0;
        });
  }

  private static float orZero(float gradient) {
    return Math.abs(gradient) < LEAST_GRADIENT ? 0 : gradient;
  }

  @Override
  public void scanBack(float[] m, Places p, int block, int tokens) {
    for (int n = 0; n < p.states; n++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        scanAgain(m, p, block, n, lane, tokens);
        for (int t = tokens - 1; t >= 0; t--) {
          scanBack(m, p, block, n, lane, tokens, t);
        }
        int ofH = p.ofH(block) + n * COLUMNS + lane;
        m[ofH] = orZero(m[ofH]);
      }
    }
  }

  private static void scanAgain(float[] m, Places p, int block, int n, int lane, int tokens) {
    float a = m[p.a(block) + n * COLUMNS + lane];
    int h = p.h(block) + n * COLUMNS + lane;
    for (int t = 0; t < tokens; t++) {
      int row = p.row(block * COLUMNS + lane) + t * Places.ROW;
      int part = p.parts + (t * 4 + n % 2 * 2) * COLUMNS + lane;
      int ofC = p.ofStates + (Places.ofB(n, t, tokens) + 1) * COLUMNS + lane;
      int perToken = Places.perToken(n, t, tokens);
      m[part] = power(m[row + Places.DELTA], a);
      m[part + COLUMNS] = m[part] * m[h];
      m[h] = Math.fma(m[row + Places.DRIVE], m[p.b + perToken], m[part + COLUMNS]);
      m[ofC] = Math.fma(m[row + Places.OF_Y], m[h], m[ofC]);
      m[row + Places.Y] = Math.fma(m[h], m[p.c + perToken], m[row + Places.Y]);
    }
  }

  private static void scanBack(float[] m, Places p, int block, int n, int lane, int tokens, int t) {
    int row = p.row(block * COLUMNS + lane) + t * Places.ROW;
    int part = p.parts + (t * 4 + n % 2 * 2) * COLUMNS + lane;
    int ofB = p.ofStates + Places.ofB(n, t, tokens) * COLUMNS + lane;
    int perToken = Places.perToken(n, t, tokens);
    int state = n * COLUMNS + lane;
    int ofA = p.ofA(block) + state;
    int ofH = p.ofH(block) + state;
    float ofState = Math.fma(m[row + Places.OF_Y], m[p.c + perToken], m[ofH]);
    float ofExponent = ofState * m[part + COLUMNS];
    m[ofH] = ofState * m[part];
    m[ofB] = Math.fma(ofState, m[row + Places.DRIVE], m[ofB]);
    m[row + Places.OF_DRIVE] = Math.fma(ofState, m[p.b + perToken], m[row + Places.OF_DRIVE]);
    m[row + Places.OF_POWER] =
        Math.fma(ofExponent, m[p.a(block) + state], m[row + Places.OF_POWER]);
    m[ofA] = Math.fma(ofExponent, m[row + Places.DELTA], m[ofA]);
  }

  @Override
  public void carryBack(float[] m, Places p, int block, int tokens) {
    for (int n = 0; n < p.states; n++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        float a = m[p.a(block) + n * COLUMNS + lane];
        int ofH = p.ofH(block) + n * COLUMNS + lane;
        for (int t = tokens - 1; t >= 0; t--) {
          int row = p.row(block * COLUMNS + lane) + t * Places.ROW;
          float c = m[p.c + Places.perToken(n, t, tokens)];
          m[ofH] = Math.fma(m[row + Places.OF_Y], c, m[ofH]) * power(m[row + Places.DELTA], a);
        }
        m[ofH] = orZero(m[ofH]);
      }
    }
  }

  @Override
  public void gateGradient(float[] m, Places p, int z, int g, int width, int tokens) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> m[z + i] = m[g + i] * m[r + Places.Y] * siluSlope(m[z + i]));
  }

  @Override
  public void enterGradient(float[] m, Places p, int u, int d, int width, int tokens, int ofD) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> {
          float ofY = m[r + Places.OF_Y];
          float ofDrive = m[r + Places.OF_DRIVE];
          float input = m[u + i];
          m[r + Places.OF_POWER] = Math.fma(ofDrive, input, LN_2 * m[r + Places.OF_POWER]);
          m[u + i] = Math.fma(ofDrive, m[r + Places.DELTA], ofY * m[d + column]);
          m[ofD + column] = Math.fma(ofY, input, m[ofD + column]);
        });
  }

  @Override
  public void softplusGradient(float[] m, Places p, int x, int width, int tokens, int ofShift) {
    each(
        p,
        width,
        tokens,
        (i, column, r) -> {
          m[x + i] = m[r + Places.OF_POWER] * sigmoid(m[x + i]);
          m[ofShift + column] += m[x + i];
        });
  }
}
