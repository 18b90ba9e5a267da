package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.kernels.ScanLoops.Places;

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
    final Places at = new Places(room, STATES, WIDTH / COLUMNS, TOKENS);
    final int x = room.add(ROWS); // rows, as the next two
    final int u = room.add(ROWS);
    final int g = room.add(ROWS);
    final int d = room.add(WIDTH);
    final int ofD = room.add(WIDTH);
    final int shift = room.add(WIDTH);
    final float[][] numbers = new float[2][];

    /** Normal ones; those that must be at least 0 are, as those that must be at most 0. */
    Drawn draw(long seed) {
      float[] drawn = Draw.normal(seed, room.size()).floats();
      for (int t = 0; t < TOKENS; t++) {
        for (int column = 0; column < WIDTH; column++) {
          int delta = place(column, t) + Places.DELTA;
          drawn[delta] = Math.abs(drawn[delta]);
        }
      }
      for (int i = at.a(BLOCK); i < at.h(BLOCK); i++) {
        drawn[i] = -Math.abs(drawn[i]);
      }
      numbers[0] = drawn;
      numbers[1] = drawn.clone();
      return this;
    }

    int place(int column, int t) {
      return at.row(column) + t * Places.ROW;
    }

    /** Those of the block's tokens, one after the other. */
    float[] ofBlock(float[] of, int which) {
      float[] numbers = new float[TOKENS * COLUMNS];
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] = of[place(BLOCK * COLUMNS + i % COLUMNS, i / COLUMNS) + which];
      }
      return numbers;
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
    Places at = drawn.at;
    float[][] once = runAlike(drawn, (loops, numbers) -> loops.scan(numbers, at, BLOCK, TOKENS));
    float[][] twice =
        runAlike(drawn.draw(1), (loops, numbers) -> loops.scanBack(numbers, at, BLOCK, TOKENS));
    assertThat(part(twice[1], at.h(BLOCK), STATES * COLUMNS))
        .isEqualTo(part(once[1], at.h(BLOCK), STATES * COLUMNS));
    assertThat(drawn.ofBlock(twice[1], Places.Y)).isEqualTo(drawn.ofBlock(once[1], Places.Y));
    assertThat(part(twice[1], at.ofH(BLOCK), STATES * COLUMNS)).doesNotContain(0);
  }

  @Test
  void carriesGradientsBackAlike() {
    Drawn drawn = new Drawn().draw(1);
    Places at = drawn.at;
    float[] carried =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.sumDelta(numbers, at, WIDTH, TOKENS, drawn.shift);
              loops.carryBack(numbers, at, BLOCK, TOKENS);
            })[1];
    float[] all =
        runAlike(drawn.draw(1), (loops, numbers) -> loops.scanBack(numbers, at, BLOCK, TOKENS))[1];
    assertThat(part(carried, at.ofH(BLOCK), STATES * COLUMNS))
        .isEqualTo(part(all, at.ofH(BLOCK), STATES * COLUMNS));
    float[] given = drawn.draw(1).numbers[0];
    float sum = given[drawn.shift + 3];
    for (int t = 0; t < TOKENS; t++) {
      sum += given[drawn.place(3, t) + Places.DELTA];
    }
    assertThat(carried[drawn.shift + 3]).isCloseTo(sum, within(1e-5f));
  }

  @Test
  void theStateThatEvensTheirNumberSaysNothing() {
    Drawn drawn = new Drawn().draw(1);
    Places at = drawn.at;
    for (float[] numbers : drawn.numbers) {
      for (int rows : new int[] {at.a(BLOCK), at.h(BLOCK), at.ofH(BLOCK), at.ofA(BLOCK)}) {
        Arrays.fill(numbers, rows + STATES * COLUMNS, rows + at.states * COLUMNS, 0);
      }
      for (int t = 0; t < TOKENS; t++) {
        numbers[at.b + Places.perToken(STATES, t, TOKENS)] = 0;
        numbers[at.c + Places.perToken(STATES, t, TOKENS)] = 0;
      }
    }
    float[] ends =
        runAlike(drawn, (loops, numbers) -> loops.scanBack(numbers, at, BLOCK, TOKENS))[1];
    assertThat(at.states).isEqualTo(STATES + 1);
    for (int rows : new int[] {at.h(BLOCK), at.ofH(BLOCK), at.ofA(BLOCK)}) {
      assertThat(part(ends, rows + STATES * COLUMNS, COLUMNS)).containsOnly(0);
    }
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
    Places at = drawn.at;
    long own = Thread.currentThread().getId();
    long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
    long allocated;
    do {
      allocated = threads.getThreadAllocatedBytes(own);
      for (int i = 0; i < 10_000; i++) {
        goForth(drawn, loops, numbers);
        loops.scan(numbers, at, BLOCK, TOKENS);
        loops.leave(numbers, at, WIDTH, TOKENS, drawn.g);
        loops.gate(numbers, at, drawn.g, WIDTH, TOKENS);
        goForth(drawn, loops, numbers);
        loops.gateBack(numbers, at, drawn.u, drawn.g, WIDTH, TOKENS);
        loops.carryBack(numbers, at, BLOCK, TOKENS);
        loops.scanBack(numbers, at, BLOCK, TOKENS);
        loops.sumDelta(numbers, at, WIDTH, TOKENS, drawn.ofD);
        loops.gateGradient(numbers, at, drawn.u, drawn.g, WIDTH, TOKENS);
        goBack(drawn, loops, numbers);
      }
      allocated = threads.getThreadAllocatedBytes(own) - allocated;
    } while (allocated >= 10_000 && System.nanoTime() < end);
    assertThat(allocated).as("bytes of 10,000 rounds").isLessThan(10_000);
  }

  private static void goForth(Drawn drawn, ScanLoops loops, float[] numbers) {
    loops.softplus(numbers, drawn.at, drawn.x, drawn.shift, WIDTH, TOKENS);
    loops.enter(numbers, drawn.at, drawn.u, drawn.d, WIDTH, TOKENS);
    loops.add(numbers, drawn.at, drawn.g, WIDTH, TOKENS);
  }

  private static void goBack(Drawn drawn, ScanLoops loops, float[] numbers) {
    loops.enterGradient(numbers, drawn.at, drawn.u, drawn.d, WIDTH, TOKENS, drawn.ofD);
    loops.softplusGradient(numbers, drawn.at, drawn.x, WIDTH, TOKENS, drawn.shift);
  }

  /** What fades would else be computed in numbers that the processor is slow with. */
  @Test
  void gradientsThatFadeEnd() {
    Drawn drawn = new Drawn().draw(1);
    Places at = drawn.at;
    for (float[] numbers : drawn.numbers) {
      for (int i = 0; i < ROWS; i++) {
        numbers[drawn.g + i] *= i < 3 * WIDTH ? 1e-25f : 1e-10f;
      }
      Arrays.fill(numbers, at.ofH(BLOCK), at.ofH(BLOCK) + at.states * COLUMNS, 1e-24f);
    }
    float[] ends =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.gateBack(numbers, at, drawn.u, drawn.g, WIDTH, TOKENS);
              loops.scanBack(numbers, at, BLOCK, TOKENS);
            })[1];
    float[] ofY = drawn.ofBlock(ends, Places.OF_Y);
    assertThat(part(ofY, 0, 3 * COLUMNS)).containsOnly(0);
    assertThat(part(ofY, 3 * COLUMNS, COLUMNS)).doesNotContain(0);
    for (float number : part(ends, at.ofH(BLOCK), at.states * COLUMNS)) {
      assertThat(number == 0 || Math.abs(number) >= PlainScanLoops.LEAST_GRADIENT).isTrue();
    }
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
    Places at = drawn.at;
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.softplus(numbers, at, drawn.x, drawn.shift, WIDTH, TOKENS);
              loops.gate(numbers, at, drawn.u, WIDTH, TOKENS);
            });
    float[] given = runs[0];
    double steps = Math.log1p(Math.exp(given[drawn.x + 3] + given[drawn.shift + 3]));
    assertThat(runs[1][drawn.place(3, 0) + Places.DELTA]).isCloseTo((float) steps, within(1e-6f));
    assertThat(runs[1][drawn.u + 3])
        .isCloseTo(
            (float) (given[drawn.place(3, 0) + Places.Y] * silu(given[drawn.u + 3])),
            within(1e-6f));
  }

  @Test
  void gatesBackAlike() {
    Drawn drawn = new Drawn().draw(1);
    Places at = drawn.at;
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.gateBack(numbers, at, drawn.u, drawn.g, WIDTH, TOKENS);
              loops.gateGradient(numbers, at, drawn.u, drawn.g, WIDTH, TOKENS);
            });
    float[] given = runs[0];
    int place = drawn.place(3, 0);
    double z = given[drawn.u + 3];
    assertThat(runs[1][place + Places.OF_Y])
        .isCloseTo((float) (given[drawn.g + 3] * silu(z)), within(1e-6f));
    assertThat(runs[1][place + Places.OF_DRIVE]).isZero();
    assertThat(runs[1][place + Places.OF_POWER]).isZero();
    double slope = (silu(z + 1e-4) - silu(z - 1e-4)) / 2e-4;
    assertThat(runs[1][drawn.u + 3])
        .isCloseTo((float) (given[drawn.g + 3] * given[place + Places.Y] * slope), within(1e-5f));
  }

  @Test
  void silusAlike() {
    Drawn drawn = new Drawn().draw(1);
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.silu(numbers, drawn.u, ROWS, drawn.x);
              loops.siluGradient(numbers, drawn.u, drawn.g, ROWS);
            });
    double z = runs[0][drawn.u + 3];
    double slope = (silu(z + 1e-4) - silu(z - 1e-4)) / 2e-4;
    assertThat(runs[1][drawn.x + 3]).isCloseTo((float) silu(z), within(1e-6f));
    assertThat(runs[1][drawn.u + 3])
        .isCloseTo((float) (runs[0][drawn.g + 3] * slope), within(1e-5f));
  }

  private static double silu(double z) {
    return z / (1 + Math.exp(-z));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 4, 5})
  void convolvesAlike(int taps) {
    Drawn drawn = new Drawn().draw(1);
    int more = (taps - 1) * WIDTH;
    int x = drawn.room.add(ROWS + more);
    int ofX = drawn.room.add(ROWS + more);
    int weight = drawn.room.add(taps * WIDTH);
    int ofWeight = drawn.room.add(taps * WIDTH);
    drawn.draw(2);
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.convolve(numbers, x, weight, drawn.d, taps, WIDTH, TOKENS, drawn.u);
              loops.convolveGradient(
                  numbers, x, weight, drawn.g, taps, WIDTH, TOKENS, ofX, ofWeight, drawn.shift);
            });
    float[] given = runs[0];
    float sum = given[drawn.d];
    for (int tap = 0; tap < taps; tap++) {
      sum += given[weight + tap * WIDTH] * given[x + tap * WIDTH];
    }
    assertThat(runs[1][drawn.u]).isCloseTo(sum, within(1e-5f));
    int column = WIDTH - 1;
    float ofLast = given[ofX + (TOKENS + taps - 2) * WIDTH + column]; // of the last x
    ofLast += given[weight + (taps - 1) * WIDTH + column] * given[drawn.g + ROWS - 1];
    assertThat(runs[1][ofX + (TOKENS + taps - 2) * WIDTH + column])
        .isCloseTo(ofLast, within(1e-5f));
    float ofFirst = given[ofWeight + column]; // of the first tap
    for (int t = 0; t < TOKENS; t++) {
      ofFirst += given[drawn.g + t * WIDTH + column] * given[x + t * WIDTH + column];
    }
    assertThat(runs[1][ofWeight + column]).isCloseTo(ofFirst, within(1e-5f));
  }

  @Test
  void entersAlike() {
    Drawn drawn = new Drawn().draw(1);
    Places at = drawn.at;
    float[][] runs =
        runAlike(
            drawn,
            (loops, numbers) -> {
              loops.enter(numbers, at, drawn.u, drawn.d, WIDTH, TOKENS);
              loops.add(numbers, at, drawn.g, WIDTH, TOKENS);
              loops.leave(numbers, at, WIDTH, TOKENS, drawn.g);
            });
    float[] given = runs[0];
    float[] ends = runs[1];
    int last = ROWS - 1;
    int place = drawn.place(WIDTH - 1, TOKENS - 1);
    float u = given[drawn.u + last];
    assertThat(ends[place + Places.DRIVE]).isEqualTo(u * given[place + Places.DELTA]);
    assertThat(ends[drawn.g + last])
        .isEqualTo(u * given[drawn.d + WIDTH - 1] + given[drawn.g + last]);
  }

  @Test
  void leavesAlike() {
    Drawn drawn = new Drawn().draw(1);
    float[][] runs = runAlike(drawn, (loops, numbers) -> goBack(drawn, loops, numbers));
    float[] given = runs[0];
    float[] ends = runs[1];
    int last = ROWS - 1;
    int place = drawn.place(WIDTH - 1, TOKENS - 1);
    float ofDrive = given[place + Places.OF_DRIVE];
    float ofDelta =
        ofDrive * given[drawn.u + last] + PlainScanLoops.LN_2 * given[place + Places.OF_POWER];
    double sigmoid = 1 / (1 + Math.exp(-given[drawn.x + last]));
    assertThat(ends[drawn.u + last])
        .isCloseTo(
            ofDrive * given[place + Places.DELTA]
                + given[place + Places.OF_Y] * given[drawn.d + WIDTH - 1],
            within(1e-6f));
    assertThat(ends[drawn.x + last]).isCloseTo((float) (ofDelta * sigmoid), within(1e-6f));
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
