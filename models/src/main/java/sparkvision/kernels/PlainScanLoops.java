package sparkvision.kernels;

import java.util.Arrays;

/** The loops, one element after the other. */
final class PlainScanLoops implements ScanLoops {

  @Override
  public void load(
      Rows x, int row, int step, int column, int width, int tokens, float[] block, int blockAt) {
    for (int t = 0; t < tokens; t++) {
      int at = blockAt + t * COLUMNS;
      Arrays.fill(block, at + width, at + COLUMNS, 0);
      for (int c = 0; c < width; c++) {
        block[at + c] = PlainLoops.load(x, row + t * step, column + c);
      }
    }
  }

  @Override
  public void store(
      float[] block, int blockAt, Rows y, int row, int step, int column, int width, int tokens) {
    for (int t = 0; t < tokens; t++) {
      for (int c = 0; c < width; c++) {
        PlainLoops.store(y, row + t * step, column + c, block[blockAt + t * COLUMNS + c]);
      }
    }
  }

  @Override
  public void softplus(float[] x, float[] shift, int tokens, float[] raw, float[] y) {
    for (int i = 0; i < tokens * COLUMNS; i++) {
      raw[i] = x[i] + shift[i % COLUMNS];
      y[i] =
          Math.max(raw[i], 0) + PlainGridLoops.logOfOnePlus(PlainGridLoops.exp(-Math.abs(raw[i])));
    }
  }

  @Override
  public void softplusGradient(float[] raw, int tokens, float[] g) {
    for (int i = 0; i < tokens * COLUMNS; i++) {
      g[i] *= sigmoid(raw[i]);
    }
  }

  private static float sigmoid(float x) {
    float power = PlainGridLoops.exp(-Math.abs(x));
    return (x < 0 ? power : 1) / (power + 1);
  }

  @Override
  public void gate(float[] x, float[] z, int tokens, float[] y) {
    for (int i = 0; i < tokens * COLUMNS; i++) {
      y[i] = x[i] * (z[i] * sigmoid(z[i]));
    }
  }

  @Override
  public void gateGradient(float[] x, float[] z, float[] g, int tokens) {
    for (int i = 0; i < tokens * COLUMNS; i++) {
      float share = sigmoid(z[i]);
      float slope = share * Math.fma(z[i], 1 - share, 1);
      z[i] = g[i] * x[i] * slope;
    }
  }

  @Override
  public void convolve(float[] x, float[] weight, float[] bias, int taps, int tokens, float[] y) {
    for (int i = 0; i < tokens * COLUMNS; i++) {
      float sum = bias[i % COLUMNS];
      for (int tap = 0; tap < taps; tap++) {
        sum = Math.fma(weight[tap * COLUMNS + i % COLUMNS], x[i + tap * COLUMNS], sum);
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
      int tokens,
      float[] ofX,
      float[] ofWeight,
      float[] ofBias) {
    for (int i = 0; i < tokens * COLUMNS; i++) {
      ofBias[i % COLUMNS] += g[i];
    }
    for (int tap = 0; tap < taps; tap++) {
      for (int i = 0; i < tokens * COLUMNS; i++) {
        int from = i + tap * COLUMNS;
        int own = tap * COLUMNS + i % COLUMNS;
        ofX[from] = Math.fma(weight[own], g[i], ofX[from]);
        ofWeight[own] = Math.fma(g[i], x[from], ofWeight[own]);
      }
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
      int tokens,
      float[] h,
      float[] y) {
    for (int n = 0; n < states; n++) {
      int perToken = perToken(n, tokens);
      for (int t = 0; t < tokens; t++) {
        float bOfToken = b[perToken + t * COLUMNS];
        float cOfToken = c[perToken + t * COLUMNS];
        for (int column = 0; column < COLUMNS; column++) {
          int i = t * COLUMNS + column;
          int state = n * COLUMNS + column;
          float decay = PlainGridLoops.exp(delta[i] * a[state]);
          h[state] = Math.fma(decay, h[state], drive[i] * bOfToken);
          y[i] = Math.fma(h[state], cOfToken, y[i]);
        }
      }
    }
  }

  /** Where the numbers of a state begin among those per token and state. */
  static int perToken(int state, int tokens) {
    return state / COLUMNS * tokens * COLUMNS + state % COLUMNS;
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
    float[] decays = g.decays();
    float[] history = g.history();
    for (int n = 0; n < states; n++) {
      int perToken = perToken(n, tokens);
      System.arraycopy(h, n * COLUMNS, history, 0, COLUMNS);
      for (int i = 0; i < tokens * COLUMNS; i++) {
        int t = i / COLUMNS;
        decays[i] = PlainGridLoops.exp(delta[i] * a[n * COLUMNS + i % COLUMNS]);
        history[i + COLUMNS] =
            Math.fma(decays[i], history[i], drive[i] * b[perToken + t * COLUMNS]);
        y[i] = Math.fma(history[i + COLUMNS], c[perToken + t * COLUMNS], y[i]);
      }
      for (int i = tokens * COLUMNS - 1; i >= 0; i--) {
        int t = i / COLUMNS;
        int state = n * COLUMNS + i % COLUMNS;
        int part = n * tokens * COLUMNS + i;
        float ofState = Math.fma(g.y[i], c[perToken + t * COLUMNS], g.h[state]);
        g.c[part] = Math.fma(g.y[i], history[i + COLUMNS], g.c[part]);
        g.b[part] = Math.fma(ofState, drive[i], g.b[part]);
        g.drive[i] = Math.fma(ofState, b[perToken + t * COLUMNS], g.drive[i]);
        g.h[state] = ofState * decays[i];
        float ofExponent = g.h[state] * history[i];
        g.delta[i] = Math.fma(ofExponent, a[state], g.delta[i]);
        g.a[state] = Math.fma(ofExponent, delta[i], g.a[state]);
      }
    }
  }

  @Override
  public void fold(float[] block, int first, int rows, float[] sums, int at) {
    float[] parts = new float[COLUMNS];
    for (int row = 0; row < rows; row++) {
      System.arraycopy(block, (first + row) * COLUMNS, parts, 0, COLUMNS);
      sums[at + row] = PlainAttentionLoops.folded(parts);
    }
  }
}
