package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;

/** The loops with vectors give the same bits as those without, and the right numbers. */
class GridLoopsTest {

  private static final int ROWS = 3;
  private static final int[] COLUMNS = {1, 2, 7, 16, 31, 64, 70, 150, 1500, 9000};
  private static final float[] WEIGHTS = Draw.normal(9, 9024).floats();

  private final GridLoops vector = new VectorGridLoops();
  private final GridLoops plain = new PlainGridLoops();

  /** What a loop does with some grids, and what it leaves in them and returns. */
  private interface Loop {
    Object run(GridLoops loops, List<Grid> grids, int columns, float[] numbers, float[] more);
  }

  private void sameBits(Loop loop) {
    for (Type type : Type.values()) {
      for (Type other : Type.values()) {
        for (int columns : COLUMNS) {
          for (int step : new int[] {1, 0, 2}) {
            assertThat(results(vector, loop, type, other, columns, step))
                .as("%s and %s, %d columns %d apart", type, other, columns, step)
                .isEqualTo(results(plain, loop, type, other, columns, step));
          }
        }
      }
    }
  }

  /** Everything that the loop wrote and returned, as text: NaN equals NaN there. */
  private static List<String> results(
      GridLoops loops, Loop loop, Type type, Type other, int columns, int step) {
    Grid a = grid(1, type, columns, 1);
    Grid b = grid(2, other, columns, step);
    Grid y = grid(3, type, columns, 1);
    float[] numbers = Arrays.copyOf(WEIGHTS, 9024);
    float[] more = new float[9024];
    Object result = loop.run(loops, List.of(a, b, y), columns, numbers, more);
    return List.of(
        String.valueOf(result),
        Arrays.toString(elements(y)),
        Arrays.toString(Arrays.copyOf(numbers, columns)),
        Arrays.toString(Arrays.copyOf(more, columns)));
  }

  /** Rows with a gap between them. */
  private static Grid grid(long seed, Type type, int columns, int step) {
    int stride = columns * Math.max(step, 1) + 5;
    Rows rows = rows(type, stride * ROWS, stride);
    float[] values = Draw.normal(seed, (long) stride * ROWS).floats();
    for (int i = 0; i < values.length; i++) {
      rows.set(i, 3 * values[i]);
    }
    return new Grid(rows, step);
  }

  private static Rows rows(Type type, int count, int stride) {
    ByteBuffer data =
        ByteBuffer.allocateDirect(count * type.bytes()).order(ByteOrder.nativeOrder());
    return new Rows(data, type, stride);
  }

  private static float[] elements(Grid grid) {
    float[] elements = new float[grid.stride() * ROWS];
    for (int i = 0; i < elements.length; i++) {
      elements[i] = grid.rows().get(i);
    }
    return elements;
  }

  @ParameterizedTest
  @EnumSource(Arithmetic.class)
  void combinesAlike(Arithmetic operation) {
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.combine(operation, g.get(0), 0, g.get(1), 0, g.get(2), 0, ROWS, columns);
          return 0;
        });
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.combine(operation, g.get(1), 0, g.get(0), 0, g.get(2), 0, ROWS, columns);
          return 0;
        });
  }

  @Test
  void scalesAlike() {
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.scale(g.get(1), 0, 0.7f, g.get(2), 0, ROWS, columns);
          return 0;
        });
  }

  @Test
  void findsSoftplusAlike() {
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.softplus(g.get(0), 0, g.get(2), 0, ROWS, columns);
          return 0;
        });
  }

  @Test
  void sumsColumnsAlike() {
    float[] room = new float[GridLoops.TILE];
    sameBits(
        (loops, g, columns, numbers, more) -> {
          double[] sums = new double[columns];
          loops.addColumns(g.get(0), 0, g.get(1), 0, ROWS, columns, sums, 0, room);
          loops.addColumns(g.get(0), 0, null, 0, ROWS, columns, sums, 0, room);
          return Arrays.toString(sums);
        });
  }

  @Test
  void sumsRowsAlike() {
    float[] room = new float[GridLoops.PARTS];
    sameBits(
        (loops, g, columns, numbers, more) ->
            List.of(
                loops.sum(g.get(0), 0, null, 0, columns, room),
                loops.sum(g.get(0), 0, g.get(1), 0, columns, room),
                loops.product(numbers, WEIGHTS, columns, room)));
  }

  @Test
  void findsMaximaAlike() {
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.raiseColumns(g.get(0), 0, ROWS, columns, numbers, 0);
          loops.passToColumns(g.get(0), 0, numbers, WEIGHTS, 0, g.get(2), 0, columns);
          more[0] = loops.max(g.get(0), g.get(0).stride(), columns);
          int second = g.get(0).stride();
          loops.passToRow(g.get(0), second, more, WEIGHTS, 0, g.get(2), second, columns);
          return 0;
        });
  }

  @Test
  void findsRootMeanSquareGradientsAlike() {
    float[] room = new float[GridLoops.PARTS];
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.rootMeanSquareGradient(
              g.get(0), 0, g.get(0), 5, WEIGHTS, 0.3f, g.get(2), 0, columns, more, room);
          return 0;
        });
  }

  @Test
  void findsCrossEntropyAlike() {
    float[] room = new float[GridLoops.PARTS];
    sameBits(
        (loops, g, columns, numbers, more) -> {
          loops.read(g.get(1), 0, columns, numbers);
          float logSum = loops.logSumExp(numbers, columns, room);
          loops.softmaxGradient(numbers, logSum, 0.2f, WEIGHTS, columns);
          loops.write(numbers, g.get(2), 0, columns);
          return logSum;
        });
  }

  // Right numbers.

  @Test
  void exponentialsAreExactToTheLastDigits() {
    for (float x = 0; x > -80; x -= 0.0137f) {
      double exact = Math.exp(x);
      assertThat((double) PlainGridLoops.exp(x)).isCloseTo(exact, within(1.5e-7 * exact));
    }
    assertThat((double) PlainGridLoops.exp(-1000)).isCloseTo(0, within(1e-36));
  }

  @Test
  void softplusIsExactWhereItIsSmall() {
    equals(
        new float[] {-80, -20, -3.3f, -0.4f, 0, 0.01f, 2, 19.9f, 20.1f, 90},
        x -> x > 20 ? x : Math.log1p(Math.exp(x)));
  }

  private void equals(float[] values, ToDoubleFunction<Float> exact) {
    Rows x = rows(Type.FLOAT32, values.length, values.length);
    Rows y = rows(Type.FLOAT32, values.length, values.length);
    for (int i = 0; i < values.length; i++) {
      x.set(i, values[i]);
    }
    plain.softplus(new Grid(x, 1), 0, new Grid(y, 1), 0, 1, values.length);
    for (int i = 0; i < values.length; i++) {
      double expected = exact.applyAsDouble(values[i]);
      assertThat((double) y.get(i)).isCloseTo(expected, within(3e-7 * expected));
    }
  }

  /** Also of many numbers: 2²⁴ ones would be as far as a plain float sum gets. */
  @ParameterizedTest
  @ValueSource(ints = {3, 5000, 40_000_000})
  void sumsAreExact(int count) {
    Rows one = rows(Type.FLOAT32, 1, 0);
    one.set(0, 1);
    float[] room = new float[GridLoops.TILE];
    double[] sums = new double[1];
    plain.addColumns(new Grid(one, 1), 0, null, 0, count, 1, sums, 0, room);
    assertThat(sums[0]).isEqualTo(count);
    assertThat(plain.sum(new Grid(one, 0), 0, null, 0, count, room)).isEqualTo(count);
  }
}
