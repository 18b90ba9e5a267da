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
  private static final int COLUMNS = ScanLoops.COLUMNS;
  private static final int WIDTH = 3 * COLUMNS;
  private static final int BLOCK = 1; // that is scanned
  private static final int ROWS = TOKENS * WIDTH;

  private final ScanLoops plain = new PlainScanLoops();
  private final ScanLoops vector = new VectorScanLoops();

  /** Numbers that both forms of the loops work on, each on its own; all of them must end alike. */
  private static final class Drawn {
    final Room room = new Room();
    final ScanLoops.Places at = new ScanLoops.Places(room, STATES, WIDTH / COLUMNS, TOKENS);
    final float[][] numbers = new float[2][];

    /** Normal ones; those that must be at least 0 are, as those that must be at most 0. */
    Drawn draw(long seed) {
      float[] drawn = Draw.normal(seed, room.size()).floats();
      for (int i = at.delta; i < at.delta + ROWS; i++) {
        drawn[i] = Math.abs(drawn[i]);
      }
      for (int i = at.a(BLOCK); i < at.h(BLOCK); i++) {
        drawn[i] = -Math.abs(drawn[i]);
      }
      numbers[0] = drawn;
      numbers[1] = drawn.clone();
      return this;
    }

    void scanAgain(ScanLoops loops, float[] of) {
      loops.scanAgain(of, at, BLOCK, WIDTH, TOKENS);
      loops.scanBack(of, at, BLOCK, WIDTH, TOKENS);
    }
  }

  private interface Loop {
    void run(ScanLoops loops, float[] numbers);
  }

  /** Runs both forms; returns what was there before, and behind. */
  private float[][] runAlike(Drawn drawn, Loop loop) {
    float[] before = drawn.numbers[0].clone();
    loop.run(plain, drawn.numbers[0]);
    loop.run(vector, drawn.numbers[1]);
    assertThat(drawn.numbers[1]).isEqualTo(drawn.numbers[0]);
    assertThat(drawn.numbers[0]).isNotEqualTo(before);
    return new float[][] {before, drawn.numbers[0]};
  }

  @Test
  void scansAlike() {
    Drawn drawn = new Drawn().draw(1);
    ScanLoops.Places at = drawn.at;
    float[][] once =
        runAlike(drawn, (loops, numbers) -> loops.scan(numbers, at, BLOCK, WIDTH, TOKENS));
    float[][] twice = runAlike(drawn.draw(1), drawn::scanAgain);
    assertThat(part(twice[1], at.h(BLOCK), STATES * COLUMNS))
        .isEqualTo(part(once[1], at.h(BLOCK), STATES * COLUMNS));
    assertThat(part(twice[1], at.y, ROWS)).isEqualTo(part(once[1], at.y, ROWS));
    assertThat(part(twice[1], at.ofH(BLOCK), STATES * COLUMNS)).doesNotContain(0);
  }

  private static float[] part(float[] numbers, int first, int count) {
    return Arrays.copyOfRange(numbers, first, first + count);
  }

  /** Vectors that the compiler leaves on the heap make a loop ten times as slow. */
  @Test
  void compiledLoopsLeaveNothingOnTheHeap() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    ScanLoops loops = ScanLoops.best();
    Drawn drawn = new Drawn().draw(1);
    float[] numbers = drawn.numbers[0];
    ScanLoops.Places at = drawn.at;
    long own = Thread.currentThread().getId();
    long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
    long allocated;
    do {
      allocated = threads.getThreadAllocatedBytes(own);
      for (int i = 0; i < 10_000; i++) {
        loops.softplus(numbers, at.drive, at.d, WIDTH, TOKENS, at.u, at.delta);
        loops.enter(numbers, at, WIDTH, TOKENS);
        loops.scan(numbers, at, BLOCK, WIDTH, TOKENS);
        loops.gate(numbers, at.y, at.drive, ROWS, at.ofY);
        drawn.scanAgain(loops, numbers);
        loops.gateGradient(numbers, at.y, at.drive, at.ofY, ROWS);
        loops.enterGradient(numbers, at, WIDTH, TOKENS);
        loops.softplusGradient(numbers, at.drive, WIDTH, TOKENS, at.ofDelta, at.ofD);
      }
      allocated = threads.getThreadAllocatedBytes(own) - allocated;
    } while (allocated >= 10_000 && System.nanoTime() < end);
    assertThat(allocated).as("bytes of 10,000 rounds").isLessThan(10_000);
  }

  /** What fades would else be computed in numbers that the processor is slow with. */
  @Test
  void gradientsThatFadeEnd() {
    Drawn drawn = new Drawn().draw(1);
    ScanLoops.Places at = drawn.at;
    for (float[] numbers : drawn.numbers) {
      for (int i = 0; i < ROWS; i++) {
        numbers[at.ofY + i] *= i < 3 * WIDTH ? 1e-25f : 1e-10f;
      }
      Arrays.fill(numbers, at.ofH(BLOCK), at.ofH(BLOCK) + STATES * COLUMNS, 1e-24f);
      Arrays.fill(numbers, at.ofC, at.ofC + TOKENS * STATES * COLUMNS, 0);
    }
    float[] ends = runAlike(drawn, drawn::scanAgain)[1];
    for (float number : part(ends, at.ofH(BLOCK), STATES * COLUMNS)) {
      assertThat(number == 0 || Math.abs(number) >= Float.MIN_NORMAL).isTrue();
    }
    assertThat(ends[at.ofC]).isZero();
    assertThat(ends[at.ofC + TOKENS * STATES * COLUMNS - 1]).isNotZero();
    float[] rounded =
        runAlike(drawn, (loops, numbers) -> loops.dropSmall(numbers, at.ofY, ROWS))[1];
    assertThat(rounded[at.ofY]).isZero();
    assertThat(rounded[at.ofY + ROWS - 1]).isEqualTo(ends[at.ofY + ROWS - 1]).isNotZero();
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
    Drawn drawn = new Drawn().draw(1);
    ScanLoops.Places at = drawn.at;
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.softplus(numbers, at.u, at.d, WIDTH, TOKENS, at.drive, at.delta);
              loops.softplusGradient(numbers, at.drive, WIDTH, TOKENS, at.ofDelta, at.ofD);
              loops.gate(numbers, at.delta, at.y, ROWS, at.ofU);
              loops.gateGradient(numbers, at.delta, at.y, at.ofY, ROWS);
            });
    float[] given = runs[0];
    double steps = Math.log1p(Math.exp(given[at.u + 3] + given[at.d + 3]));
    assertThat(runs[1][at.ofU + 3])
        .isCloseTo((float) (steps * silu(given[at.y + 3])), within(1e-6f));
  }

  private static double silu(double z) {
    return z / (1 + Math.exp(-z));
  }

  @Test
  void convolvesAlike() {
    int taps = 4;
    Drawn drawn = new Drawn().draw(1);
    int more = (taps - 1) * WIDTH;
    int x = drawn.room.add(ROWS + more);
    int ofX = drawn.room.add(ROWS + more);
    int weight = drawn.room.add(taps * WIDTH);
    int ofWeight = drawn.room.add(taps * WIDTH);
    ScanLoops.Places at = drawn.draw(2).at;
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.convolve(numbers, x, weight, at.d, taps, WIDTH, TOKENS, at.y);
              loops.convolveGradient(
                  numbers, x, weight, at.ofY, taps, WIDTH, TOKENS, ofX, ofWeight, at.ofD);
            });
    float[] given = runs[0];
    float sum = given[at.d];
    for (int tap = 0; tap < taps; tap++) {
      sum += given[weight + tap * WIDTH] * given[x + tap * WIDTH];
    }
    assertThat(runs[1][at.y]).isCloseTo(sum, within(1e-5f));
  }

  @Test
  void entersAlike() {
    Drawn drawn = new Drawn().draw(1);
    ScanLoops.Places at = drawn.at;
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.enter(numbers, at, WIDTH, TOKENS);
              loops.add(numbers, at.drive, ROWS, at.y);
              loops.enterGradient(numbers, at, WIDTH, TOKENS);
            });
    float[] given = runs[0];
    int last = ROWS - 1;
    float drive = given[at.u + last] * given[at.delta + last];
    assertThat(runs[1][at.drive + last]).isEqualTo(drive);
    assertThat(runs[1][at.y + last])
        .isEqualTo(given[at.u + last] * given[at.d + WIDTH - 1] + drive);
    assertThat(runs[1][at.ofU + last])
        .isCloseTo(
            given[at.ofDrive + last] * given[at.delta + last]
                + given[at.ofY + last] * given[at.d + WIDTH - 1],
            within(1e-6f));
  }

  @Test
  void foldsRows() {
    float[] block = Draw.normal(1, ROWS).floats();
    float[] sums = new float[TOKENS];
    ScanLoops.fold(block, COLUMNS, TOKENS - 1, sums);
    for (int row = 1; row < TOKENS; row++) {
      float sum = 0;
      for (int c = 0; c < COLUMNS; c++) {
        sum += block[row * COLUMNS + c];
      }
      assertThat(sums[row - 1]).isCloseTo(sum, within(1e-5f));
    }
  }
}
