package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import sparkvision.Draw;

/** The loops of the selective scan: the same bits with vectors and without. */
class ScanLoopsTest {

  private static final int TOKENS = 7;
  private static final int STATES = 19;
  private static final int WIDTH = 3 * ScanLoops.COLUMNS;
  private static final int COLUMN = ScanLoops.COLUMNS; // of the channels that are scanned
  private static final int ROWS = TOKENS * WIDTH;

  private final ScanLoops plain = new PlainScanLoops();
  private final ScanLoops vector = new VectorScanLoops();

  private static float[] normal(long seed, int count) {
    return Draw.normal(seed, count).floats();
  }

  @Test
  void scansAlike() {
    Scan one = new Scan();
    Scan other = new Scan();
    one.run(plain);
    other.run(vector);
    assertThat(other.h).isEqualTo(one.h);
    assertThat(other.y).isEqualTo(one.y);
    assertThat(other.gradients.y).isEqualTo(one.gradients.y);
    assertThat(other.gradients.delta).isEqualTo(one.gradients.delta);
    assertThat(other.gradients.drive).isEqualTo(one.gradients.drive);
    assertThat(other.gradients.a).isEqualTo(one.gradients.a);
    assertThat(other.gradients.b).isEqualTo(one.gradients.b);
    assertThat(other.gradients.c).isEqualTo(one.gradients.c);
    assertThat(other.gradients.h).isEqualTo(one.gradients.h);
    assertThat(one.gradients.h).doesNotContain(0);
  }

  /** Vectors that the compiler leaves on the heap make a loop ten times as slow. */
  @Test
  void compiledLoopsLeaveNothingOnTheHeap() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    ScanLoops loops = ScanLoops.best();
    Scan scan = new Scan();
    float[] d = normal(1, WIDTH);
    float[] sums = new float[WIDTH];
    float[] block = new float[ROWS];
    long own = Thread.currentThread().getId();
    long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
    long allocated;
    do {
      allocated = threads.getThreadAllocatedBytes(own);
      for (int i = 0; i < 10_000; i++) {
        loops.softplus(scan.drive, d, WIDTH, TOKENS, block, scan.delta);
        loops.enter(scan.y, scan.delta, d, WIDTH, TOKENS, scan.drive, block);
        scan.scan(loops);
        loops.gate(scan.y, scan.drive, ROWS, block);
        scan.scanBack(loops);
        loops.gateGradient(scan.y, scan.drive, block, ROWS);
        loops.enterGradient(scan.drive, scan.delta, d, WIDTH, TOKENS, scan.gradients, block, sums);
        loops.softplusGradient(scan.drive, WIDTH, TOKENS, block, sums);
      }
      allocated = threads.getThreadAllocatedBytes(own) - allocated;
    } while (allocated >= 10_000 && System.nanoTime() < end);
    assertThat(allocated).as("bytes of 10,000 rounds").isLessThan(10_000);
  }

  private static final class Scan {
    final float[] delta = normal(1, ROWS);
    final float[] drive = normal(2, ROWS);
    final float[] a = normal(3, STATES * ScanLoops.COLUMNS);
    final float[] b = normal(4, 2 * TOKENS * ScanLoops.COLUMNS);
    final float[] c = normal(5, 2 * TOKENS * ScanLoops.COLUMNS);
    final float[] h = normal(6, STATES * ScanLoops.COLUMNS);
    final float[] y = normal(7, ROWS);
    final ScanLoops.Gradients gradients = new ScanLoops.Gradients(STATES, WIDTH, TOKENS);

    Scan() {
      for (int i = 0; i < delta.length; i++) {
        delta[i] = Math.abs(delta[i]);
      }
      for (int i = 0; i < a.length; i++) {
        a[i] = -Math.abs(a[i]);
      }
      System.arraycopy(normal(8, ROWS), 0, gradients.y, 0, ROWS);
      gradients.a = normal(9, a.length);
      gradients.h = normal(10, h.length);
    }

    void run(ScanLoops loops) {
      float[] hBefore = h.clone();
      float[] yBefore = y.clone();
      scan(loops);
      float[] hAfter = h.clone();
      float[] yAfter = y.clone();
      System.arraycopy(hBefore, 0, h, 0, h.length);
      System.arraycopy(yBefore, 0, y, 0, y.length);
      scanBack(loops);
      assertThat(h).isEqualTo(hAfter);
      assertThat(y).isEqualTo(yAfter);
    }

    void scan(ScanLoops loops) {
      loops.scan(delta, drive, a, b, c, STATES, COLUMN, WIDTH, TOKENS, h, y);
    }

    void scanBack(ScanLoops loops) {
      loops.scanAgain(delta, drive, a, b, c, STATES, COLUMN, WIDTH, TOKENS, h, y, gradients);
      loops.scanBack(delta, drive, a, b, c, STATES, COLUMN, WIDTH, TOKENS, gradients);
    }
  }

  /** What fades would else be computed in numbers that the processor is slow with. */
  @Test
  void gradientsThatFadeEnd() {
    Scan one = new Scan();
    Scan other = new Scan();
    for (Scan scan : new Scan[] {one, other}) {
      for (int i = 0; i < ROWS; i++) {
        scan.gradients.y[i] *= i < 3 * WIDTH ? 1e-25f : 1e-10f;
      }
      Arrays.fill(scan.gradients.h, 1e-24f);
    }
    float[] rounded = one.gradients.y.clone();
    float[] same = one.gradients.y.clone();
    plain.dropSmall(rounded, ROWS);
    vector.dropSmall(same, ROWS);
    assertThat(same).isEqualTo(rounded);
    assertThat(rounded[0]).isZero();
    assertThat(rounded[ROWS - 1]).isEqualTo(one.gradients.y[ROWS - 1]).isNotZero();
    one.scanBack(plain);
    other.scanBack(vector);
    assertThat(other.gradients.b).isEqualTo(one.gradients.b);
    assertThat(other.gradients.drive).isEqualTo(one.gradients.drive);
    assertThat(other.gradients.h).isEqualTo(one.gradients.h);
    for (float number : one.gradients.h) {
      assertThat(number == 0 || Math.abs(number) >= Float.MIN_NORMAL).isTrue();
    }
    assertThat(one.gradients.c[0]).isZero();
    assertThat(one.gradients.c[one.gradients.c.length - 1]).isNotZero();
  }

  @Test
  void powersAreThoseOfDoublePrecision() {
    assertThat(PlainScanLoops.power(0, 3)).isEqualTo(1);
    for (float x = -1e-4f; x > -47; x *= 1.003f) {
      double exact = Math.pow(2, x);
      assertThat((double) PlainScanLoops.power(x / 2, 2))
          .as("x %s", x)
          .isCloseTo(exact, within(3e-7 * exact));
    }
    for (float x : new float[] {-49, -1000, -3e7f, -1e12f}) {
      assertThat(Math.abs(PlainScanLoops.power(x / 2, 2))).as("x %s", x).isLessThan(1e-9f);
    }
    assertThat(PlainScanLoops.power(Float.NaN, 1)).isNaN();
  }

  @Test
  void gatesAlike() {
    float[] x = normal(1, ROWS);
    float[] shift = normal(2, WIDTH);
    float[] z = normal(3, ROWS);
    float[][] results = new float[2][];
    for (int i = 0; i < 2; i++) {
      ScanLoops loops = i == 0 ? plain : vector;
      float[] raw = new float[ROWS];
      float[] steps = new float[ROWS];
      loops.softplus(x, shift, WIDTH, TOKENS, raw, steps);
      float[] g = normal(4, ROWS);
      float[] ofShift = normal(5, WIDTH);
      loops.softplusGradient(raw, WIDTH, TOKENS, g, ofShift);
      float[] y = new float[ROWS];
      loops.gate(steps, z, ROWS, y);
      float[] ofZ = z.clone();
      loops.gateGradient(steps, ofZ, g, ROWS);
      results[i] = new float[3 * ROWS + WIDTH];
      System.arraycopy(y, 0, results[i], 0, ROWS);
      System.arraycopy(g, 0, results[i], ROWS, ROWS);
      System.arraycopy(ofZ, 0, results[i], 2 * ROWS, ROWS);
      System.arraycopy(ofShift, 0, results[i], 3 * ROWS, WIDTH);
    }
    assertThat(results[1]).isEqualTo(results[0]);
    assertThat(results[0][3])
        .isCloseTo((float) (Math.log1p(Math.exp(x[3] + shift[3])) * silu(z[3])), within(1e-6f));
  }

  private static double silu(double z) {
    return z / (1 + Math.exp(-z));
  }

  @Test
  void convolvesAlike() {
    int taps = 4;
    float[] x = normal(1, ROWS + (taps - 1) * WIDTH);
    float[] weight = normal(2, taps * WIDTH);
    float[] g = normal(3, ROWS);
    float[][] results = new float[2][];
    for (int i = 0; i < 2; i++) {
      ScanLoops loops = i == 0 ? plain : vector;
      float[] y = new float[ROWS];
      loops.convolve(x, weight, normal(4, WIDTH), taps, WIDTH, TOKENS, y);
      float[] ofX = normal(5, x.length);
      float[] ofWeight = normal(6, weight.length);
      float[] ofBias = normal(7, WIDTH);
      loops.convolveGradient(x, weight, g, taps, WIDTH, TOKENS, ofX, ofWeight, ofBias);
      results[i] = new float[y.length + ofX.length + ofWeight.length + ofBias.length];
      System.arraycopy(y, 0, results[i], 0, y.length);
      System.arraycopy(ofX, 0, results[i], y.length, ofX.length);
      System.arraycopy(ofWeight, 0, results[i], y.length + ofX.length, ofWeight.length);
      System.arraycopy(ofBias, 0, results[i], results[i].length - ofBias.length, ofBias.length);
    }
    assertThat(results[1]).isEqualTo(results[0]);
  }

  @Test
  void entersAlike() {
    float[][] results = new float[2][];
    for (int i = 0; i < 2; i++) {
      ScanLoops loops = i == 0 ? plain : vector;
      float[] u = normal(1, ROWS);
      float[] delta = normal(2, ROWS);
      float[] d = normal(3, WIDTH);
      ScanLoops.Gradients gradients = new ScanLoops.Gradients(1, WIDTH, TOKENS);
      float[] y = new float[ROWS];
      float[] drive = new float[ROWS];
      loops.enter(u, delta, d, WIDTH, TOKENS, drive, y);
      System.arraycopy(normal(4, ROWS), 0, gradients.y, 0, ROWS);
      System.arraycopy(normal(5, ROWS), 0, gradients.drive, 0, ROWS);
      float[] ofU = new float[ROWS];
      float[] ofD = normal(6, WIDTH);
      loops.enterGradient(u, delta, d, WIDTH, TOKENS, gradients, ofU, ofD);
      results[i] = new float[4 * ROWS + WIDTH];
      int at = 0;
      for (float[] part : new float[][] {y, drive, ofU, gradients.delta, ofD}) {
        System.arraycopy(part, 0, results[i], at, part.length);
        at += part.length;
      }
      int last = ROWS - 1;
      assertThat(drive[last]).isEqualTo(u[last] * delta[last]);
      assertThat(ofU[last])
          .isCloseTo(
              gradients.drive[last] * delta[last] + gradients.y[last] * d[WIDTH - 1],
              within(1e-6f));
    }
    assertThat(results[1]).isEqualTo(results[0]);
  }

  @Test
  void foldsRows() {
    float[] block = normal(1, ROWS);
    float[] sums = new float[TOKENS];
    ScanLoops.fold(block, 1, TOKENS - 1, sums, 1);
    for (int row = 1; row < TOKENS; row++) {
      float sum = 0;
      for (int c = 0; c < ScanLoops.COLUMNS; c++) {
        sum += block[row * ScanLoops.COLUMNS + c];
      }
      assertThat(sums[row]).isCloseTo(sum, within(1e-5f));
    }
  }
}
