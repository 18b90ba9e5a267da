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
  public void softplus(float[] m, int x, int shift, int width, int tokens, int raw, int y) {
    for (int i = 0; i < tokens * width; i++) {
      float value = m[x + i] + m[shift + i % width];
      m[raw + i] = value;
      m[y + i] = Math.max(value, 0) + PlainGridLoops.logOfOnePlus(power(Math.abs(value), -LOG2_E));
    }
  }

  @Override
  public void softplusGradient(float[] m, int raw, int width, int tokens, int g, int ofShift) {
    for (int i = 0; i < tokens * width; i++) {
      m[g + i] *= sigmoid(m[raw + i]);
      m[ofShift + i % width] += m[g + i];
    }
  }

  private static float sigmoid(float x) {
    float power = power(Math.abs(x), -LOG2_E);
    return (x < 0 ? power : 1) / (power + 1);
  }

  @Override
  public void gate(float[] m, int x, int z, int count, int y) {
    for (int i = 0; i < count; i++) {
      m[y + i] = m[x + i] * (m[z + i] * sigmoid(m[z + i]));
    }
  }

  @Override
  public void gateGradient(float[] m, int x, int z, int g, int count) {
    for (int i = 0; i < count; i++) {
      float share = sigmoid(m[z + i]);
      float slope = share * Math.fma(m[z + i], 1 - share, 1);
      m[z + i] = m[g + i] * m[x + i] * slope;
    }
  }

  @Override
  public void add(float[] m, int x, int count, int y) {
    for (int i = 0; i < count; i++) {
      m[y + i] += m[x + i];
    }
  }

  @Override
  public void dropSmall(float[] m, int gradient, int count) {
    for (int i = gradient; i < gradient + count; i++) {
      m[i] = orZero(m[i]);
    }
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

  @Override
  public void enter(float[] m, Places p, int width, int tokens) {
    for (int i = 0; i < tokens * width; i++) {
      m[p.drive + i] = m[p.u + i] * m[p.delta + i];
      m[p.y + i] = m[p.u + i] * m[p.d + i % width];
    }
  }

  @Override
  public void enterGradient(float[] m, Places p, int width, int tokens) {
    for (int i = 0; i < tokens * width; i++) {
      int column = i % width;
      float ofY = m[p.ofY + i];
      float ofDrive = m[p.ofDrive + i];
      m[p.ofU + i] = Math.fma(ofDrive, m[p.delta + i], ofY * m[p.d + column]);
      m[p.ofDelta + i] = Math.fma(ofDrive, m[p.u + i], m[p.ofDelta + i]);
      m[p.ofD + column] = Math.fma(ofY, m[p.u + i], m[p.ofD + column]);
    }
  }

  @Override
  public void scan(float[] m, Places p, int block, int width, int tokens) {
    for (int t = 0; t < tokens; t++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        int i = t * width + block * COLUMNS + lane;
        for (int n = 0; n < p.states; n++) {
          int a = p.a(block) + n * COLUMNS + lane;
          int h = p.h(block) + n * COLUMNS + lane;
          int perToken = perToken(n, t, tokens);
          float kept = power(m[p.delta + i], m[a]) * m[h];
          m[h] = Math.fma(m[p.drive + i], m[p.b + perToken], kept);
          m[p.y + i] = Math.fma(m[h], m[p.c + perToken], m[p.y + i]);
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
    float series = Math.fma(POWER_5, r, POWER_4);
    series = Math.fma(series, r, POWER_3);
    series = Math.fma(series, r, POWER_2);
    series = Math.fma(series, r, POWER_1);
    series = Math.fma(series, r, 1);
    int power = Math.max(Float.floatToRawIntBits(shifted), LEAST_POWER) << 23;
    return Float.intBitsToFloat(Float.floatToRawIntBits(series) + power);
  }

  private static float orZero(float gradient) {
    return Math.abs(gradient) < LEAST_GRADIENT ? 0 : gradient;
  }

  private static int perToken(int state, int t, int tokens) {
    return (state / COLUMNS * tokens + t) * COLUMNS + state % COLUMNS;
  }

  @Override
  public void scanAgain(float[] m, Places p, int block, int width, int tokens) {
    for (int t = 0; t < tokens; t++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        int i = t * width + block * COLUMNS + lane;
        float ofY = orZero(m[p.ofY + i]);
        for (int n = 0; n < p.states; n++) {
          int a = p.a(block) + n * COLUMNS + lane;
          int h = p.h(block) + n * COLUMNS + lane;
          int part = (t * p.states + n) * COLUMNS + lane;
          int perToken = perToken(n, t, tokens);
          float decay = power(m[p.delta + i], m[a]);
          m[p.decays + part] = decay;
          m[p.keeps + part] = decay * m[h];
          m[h] = Math.fma(m[p.drive + i], m[p.b + perToken], m[p.keeps + part]);
          m[p.ofC + part] = Math.fma(ofY, m[h], m[p.ofC + part]);
          m[p.y + i] = Math.fma(m[h], m[p.c + perToken], m[p.y + i]);
        }
      }
    }
  }

  @Override
  public void scanBack(float[] m, Places p, int block, int width, int tokens) {
    for (int first = 0; first < p.states; first += COLUMNS) {
      int end = Math.min(p.states, first + COLUMNS);
      for (int t = tokens - 1; t >= 0; t--) {
        for (int lane = 0; lane < COLUMNS; lane++) {
          int i = t * width + block * COLUMNS + lane;
          float ofY = orZero(m[p.ofY + i]);
          float ofDelta = 0;
          for (int n = first; n < end; n++) {
            int state = n * COLUMNS + lane;
            int ofH = p.ofH(block) + state;
            int ofA = p.ofA(block) + state;
            int part = t * p.states * COLUMNS + state;
            int perToken = perToken(n, t, tokens);
            float ofState = orZero(Math.fma(ofY, m[p.c + perToken], m[ofH]));
            m[ofH] = ofState * m[p.decays + part];
            m[p.ofB + part] = Math.fma(ofState, m[p.drive + i], m[p.ofB + part]);
            m[p.ofDrive + i] = Math.fma(ofState, m[p.b + perToken], m[p.ofDrive + i]);
            float ofExponent = ofState * m[p.keeps + part];
            ofDelta = Math.fma(ofExponent, m[p.a(block) + state], ofDelta);
            m[ofA] = Math.fma(ofExponent, m[p.delta + i], m[ofA]);
          }
          m[p.ofDelta + i] = Math.fma(ofDelta, LN_2, m[p.ofDelta + i]);
        }
      }
    }
  }
}
