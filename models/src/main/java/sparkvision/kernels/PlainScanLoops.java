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
  public void softplus(float[] x, float[] shift, int width, int tokens, float[] raw, float[] y) {
    for (int i = 0; i < tokens * width; i++) {
      raw[i] = x[i] + shift[i % width];
      y[i] = Math.max(raw[i], 0) + PlainGridLoops.logOfOnePlus(power(Math.abs(raw[i]), -LOG2_E));
    }
  }

  @Override
  public void softplusGradient(float[] raw, int width, int tokens, float[] g, float[] ofShift) {
    for (int i = 0; i < tokens * width; i++) {
      g[i] *= sigmoid(raw[i]);
      ofShift[i % width] += g[i];
    }
  }

  private static float sigmoid(float x) {
    float power = power(Math.abs(x), -LOG2_E);
    return (x < 0 ? power : 1) / (power + 1);
  }

  @Override
  public void gate(float[] x, float[] z, int count, float[] y) {
    for (int i = 0; i < count; i++) {
      y[i] = x[i] * (z[i] * sigmoid(z[i]));
    }
  }

  @Override
  public void gateGradient(float[] x, float[] z, float[] g, int count) {
    for (int i = 0; i < count; i++) {
      float share = sigmoid(z[i]);
      float slope = share * Math.fma(z[i], 1 - share, 1);
      z[i] = g[i] * x[i] * slope;
    }
  }

  @Override
  public void dropSmall(float[] gradient, int count) {
    for (int i = 0; i < count; i++) {
      gradient[i] = orZero(gradient[i]);
    }
  }

  @Override
  public void convolve(
      float[] x, float[] weight, float[] bias, int taps, int width, int tokens, float[] y) {
    for (int i = 0; i < tokens * width; i++) {
      float sum = bias[i % width];
      for (int tap = 0; tap < taps; tap++) {
        sum = Math.fma(weight[tap * width + i % width], x[i + tap * width], sum);
      }
      y[i] = sum;
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
    for (int i = 0; i < tokens * width; i++) {
      ofBias[i % width] += g[i];
    }
    for (int tap = 0; tap < taps; tap++) {
      for (int i = 0; i < tokens * width; i++) {
        int from = i + tap * width;
        int own = tap * width + i % width;
        ofX[from] = Math.fma(weight[own], g[i], ofX[from]);
        ofWeight[own] = Math.fma(g[i], x[from], ofWeight[own]);
      }
    }
  }

  @Override
  public void enter(
      float[] u, float[] delta, float[] d, int width, int tokens, float[] drive, float[] y) {
    for (int i = 0; i < tokens * width; i++) {
      drive[i] = u[i] * delta[i];
      y[i] = u[i] * d[i % width];
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
    for (int i = 0; i < tokens * width; i++) {
      int column = i % width;
      ofU[i] = Math.fma(g.drive[i], delta[i], g.y[i] * d[column]);
      g.delta[i] = Math.fma(g.drive[i], u[i], g.delta[i]);
      ofD[column] = Math.fma(g.y[i], u[i], ofD[column]);
    }
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
    for (int t = 0; t < tokens; t++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        int i = t * width + column + lane;
        for (int n = 0; n < states; n++) {
          int state = n * COLUMNS + lane;
          int perToken = perToken(n, t, tokens);
          h[state] = Math.fma(drive[i], b[perToken], power(delta[i], a[state]) * h[state]);
          y[i] = Math.fma(h[state], c[perToken], y[i]);
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
    for (int t = 0; t < tokens; t++) {
      for (int lane = 0; lane < COLUMNS; lane++) {
        int i = t * width + column + lane;
        float ofY = orZero(g.y[i]);
        for (int n = 0; n < states; n++) {
          int state = n * COLUMNS + lane;
          int part = t * states * COLUMNS + state;
          int perToken = perToken(n, t, tokens);
          g.decays()[part] = power(delta[i], a[state]);
          g.keeps()[part] = g.decays()[part] * h[state];
          h[state] = Math.fma(drive[i], b[perToken], g.keeps()[part]);
          g.c[part] = Math.fma(ofY, h[state], g.c[part]);
          y[i] = Math.fma(h[state], c[perToken], y[i]);
        }
      }
    }
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
      int end = Math.min(states, first + COLUMNS);
      for (int t = tokens - 1; t >= 0; t--) {
        for (int lane = 0; lane < COLUMNS; lane++) {
          int i = t * width + column + lane;
          float ofY = orZero(g.y[i]);
          float ofDelta = 0;
          for (int n = first; n < end; n++) {
            int state = n * COLUMNS + lane;
            int part = t * states * COLUMNS + state;
            int perToken = perToken(n, t, tokens);
            float ofState = orZero(Math.fma(ofY, c[perToken], g.h[state]));
            g.h[state] = ofState * g.decays()[part];
            g.b[part] = Math.fma(ofState, drive[i], g.b[part]);
            g.drive[i] = Math.fma(ofState, b[perToken], g.drive[i]);
            float ofExponent = ofState * g.keeps()[part];
            ofDelta = Math.fma(ofExponent, a[state], ofDelta);
            g.a[state] = Math.fma(ofExponent, delta[i], g.a[state]);
          }
          g.delta[i] = Math.fma(ofDelta, LN_2, g.delta[i]);
        }
      }
    }
  }
}
