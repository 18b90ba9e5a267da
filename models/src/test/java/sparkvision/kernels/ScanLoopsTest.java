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
  private static final int BLOCK = TOKENS * ScanLoops.COLUMNS;

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
    float[] d = normal(1, ScanLoops.COLUMNS);
    float[] sums = new float[ScanLoops.COLUMNS];
    float[] block = new float[BLOCK];
    long own = Thread.currentThread().getId();
    long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
    long allocated;
    do {
      allocated = threads.getThreadAllocatedBytes(own);
      for (int i = 0; i < 10_000; i++) {
        loops.softplus(scan.drive, d, TOKENS, block, scan.delta);
        loops.enter(scan.y, scan.delta, d, TOKENS, scan.drive, block);
        scan.scan(loops);
        loops.gate(scan.y, scan.drive, TOKENS, block);
        scan.scanBack(loops);
        loops.gateGradient(scan.y, scan.drive, block, TOKENS);
        loops.enterGradient(scan.drive, scan.delta, d, TOKENS, scan.gradients, block, sums);
        loops.softplusGradient(scan.drive, TOKENS, block, sums);
      }
      allocated = threads.getThreadAllocatedBytes(own) - allocated;
    } while (allocated >= 10_000 && System.nanoTime() < end);
    assertThat(allocated).as("bytes of 10,000 rounds").isLessThan(10_000);
  }

  private static final class Scan {
    final float[] delta = normal(1, BLOCK);
    final float[] drive = normal(2, BLOCK);
    final float[] a = normal(3, STATES * ScanLoops.COLUMNS);
    final float[] b = normal(4, 2 * BLOCK);
    final float[] c = normal(5, 2 * BLOCK);
    final float[] h = normal(6, STATES * ScanLoops.COLUMNS);
    final float[] y = normal(7, BLOCK);
    final ScanLoops.Gradients gradients = new ScanLoops.Gradients(STATES, TOKENS);

    Scan() {
      for (int i = 0; i < delta.length; i++) {
        delta[i] = Math.abs(delta[i]);
      }
      for (int i = 0; i < a.length; i++) {
        a[i] = -Math.abs(a[i]);
      }
      System.arraycopy(normal(8, BLOCK), 0, gradients.y, 0, BLOCK);
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
      loops.scan(delta, drive, a, b, c, STATES, TOKENS, h, y);
    }

    void scanBack(ScanLoops loops) {
      loops.scanAgain(delta, drive, a, b, c, STATES, TOKENS, h, y, gradients);
      loops.scanBack(delta, drive, a, b, c, STATES, TOKENS, gradients);
    }
  }

  /** What fades would else be computed in numbers that the processor is slow with. */
  @Test
  void gradientsThatFadeEnd() {
    Scan one = new Scan();
    Scan other = new Scan();
    for (Scan scan : new Scan[] {one, other}) {
      for (int i = 0; i < BLOCK; i++) {
        scan.gradients.y[i] *= i < 3 * ScanLoops.COLUMNS ? 1e-25f : 1e-10f;
      }
      Arrays.fill(scan.gradients.h, 1e-24f);
    }
    float[] rounded = one.gradients.y.clone();
    float[] same = one.gradients.y.clone();
    plain.dropSmall(rounded, TOKENS);
    vector.dropSmall(same, TOKENS);
    assertThat(same).isEqualTo(rounded);
    assertThat(rounded[0]).isZero();
    assertThat(rounded[BLOCK - 1]).isEqualTo(one.gradients.y[BLOCK - 1]).isNotZero();
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
    float[] x = normal(1, BLOCK);
    float[] shift = normal(2, ScanLoops.COLUMNS);
    float[] z = normal(3, BLOCK);
    float[][] results = new float[2][];
    for (int i = 0; i < 2; i++) {
      ScanLoops loops = i == 0 ? plain : vector;
      float[] raw = new float[BLOCK];
      float[] steps = new float[BLOCK];
      loops.softplus(x, shift, TOKENS, raw, steps);
      float[] g = normal(4, BLOCK);
      float[] ofShift = normal(5, ScanLoops.COLUMNS);
      loops.softplusGradient(raw, TOKENS, g, ofShift);
      float[] y = new float[BLOCK];
      loops.gate(steps, z, TOKENS, y);
      float[] ofZ = z.clone();
      loops.gateGradient(steps, ofZ, g, TOKENS);
      results[i] = new float[3 * BLOCK + ScanLoops.COLUMNS];
      System.arraycopy(y, 0, results[i], 0, BLOCK);
      System.arraycopy(g, 0, results[i], BLOCK, BLOCK);
      System.arraycopy(ofZ, 0, results[i], 2 * BLOCK, BLOCK);
      System.arraycopy(ofShift, 0, results[i], 3 * BLOCK, ScanLoops.COLUMNS);
    }
    assertThat(results[1]).isEqualTo(results[0]);
    assertThat(results[0][3])
        .isCloseTo((float) (Math.log1p(Math.exp(x[3] + shift[3])) * silu(z[3])), within(1e-6f));
  }

  private static double silu(double z) {
    return z / (1 + Math.exp(-z));
  }

  @Test
  void takesAndPutsBlocksAlike() {
    int width = 3 * ScanLoops.COLUMNS;
    float[] rows = normal(1, TOKENS * width + 1);
    for (ScanLoops loops : new ScanLoops[] {plain, vector}) {
      float[] block = new float[BLOCK + 3];
      loops.take(rows, 1 + ScanLoops.COLUMNS, width, TOKENS, block, 3);
      float[] others = new float[rows.length];
      loops.put(block, 3, TOKENS, others, 1 + ScanLoops.COLUMNS, width);
      for (int i = 0; i < rows.length; i++) {
        int column = (i + width - 1) % width;
        boolean taken = column >= ScanLoops.COLUMNS && column < 2 * ScanLoops.COLUMNS;
        assertThat(others[i]).as("number %d", i).isEqualTo(taken ? rows[i] : 0);
      }
      assertThat(block[3 + 2 * ScanLoops.COLUMNS + 5])
          .isEqualTo(rows[1 + ScanLoops.COLUMNS + 2 * width + 5]);
    }
  }

  @Test
  void convolvesAlike() {
    int taps = 4;
    float[] x = normal(1, BLOCK + (taps - 1) * ScanLoops.COLUMNS);
    float[] weight = normal(2, taps * ScanLoops.COLUMNS);
    float[] g = normal(3, BLOCK);
    float[][] results = new float[2][];
    for (int i = 0; i < 2; i++) {
      ScanLoops loops = i == 0 ? plain : vector;
      float[] y = new float[BLOCK];
      loops.convolve(x, weight, normal(4, ScanLoops.COLUMNS), taps, TOKENS, y);
      float[] ofX = normal(5, x.length);
      float[] ofWeight = normal(6, weight.length);
      float[] ofBias = normal(7, ScanLoops.COLUMNS);
      loops.convolveGradient(x, weight, g, taps, TOKENS, ofX, ofWeight, ofBias);
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
      float[] u = normal(1, BLOCK);
      float[] delta = normal(2, BLOCK);
      float[] d = normal(3, ScanLoops.COLUMNS);
      ScanLoops.Gradients gradients = new ScanLoops.Gradients(1, TOKENS);
      float[] y = new float[BLOCK];
      float[] drive = new float[BLOCK];
      loops.enter(u, delta, d, TOKENS, drive, y);
      System.arraycopy(normal(4, BLOCK), 0, gradients.y, 0, BLOCK);
      System.arraycopy(normal(5, BLOCK), 0, gradients.drive, 0, BLOCK);
      float[] ofU = new float[BLOCK];
      float[] ofD = normal(6, ScanLoops.COLUMNS);
      loops.enterGradient(u, delta, d, TOKENS, gradients, ofU, ofD);
      results[i] = new float[4 * BLOCK + ScanLoops.COLUMNS];
      int at = 0;
      for (float[] part : new float[][] {y, drive, ofU, gradients.delta, ofD}) {
        System.arraycopy(part, 0, results[i], at, part.length);
        at += part.length;
      }
      int last = BLOCK - 1;
      assertThat(drive[last]).isEqualTo(u[last] * delta[last]);
      assertThat(ofU[last])
          .isCloseTo(
              gradients.drive[last] * delta[last] + gradients.y[last] * d[15], within(1e-6f));
    }
    assertThat(results[1]).isEqualTo(results[0]);
  }

  @Test
  void foldsRows() {
    float[] block = normal(1, BLOCK);
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
