package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;

/** The same bits with vectors and without. */
class AttentionLoopsTest {

  private static final int ROWS = 3;

  private static Rows rows(long seed, Type type, int columns) {
    ByteBuffer data =
        ByteBuffer.allocateDirect(ROWS * columns * type.bytes()).order(ByteOrder.nativeOrder());
    Rows rows = new Rows(data, type, columns);
    float[] values = Draw.normal(seed, (long) ROWS * columns).floats();
    for (int i = 0; i < values.length; i++) {
      rows.set(i, values[i]);
    }
    return rows;
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, 1",
    "FLOAT32, 16",
    "FLOAT32, 37",
    "BFLOAT16, 1",
    "BFLOAT16, 16",
    "BFLOAT16, 37"
  })
  void mixesRows(Type type, int columns) {
    float[] ofX = {Float.NaN, 0.25f, 0};
    float[] ofY = {Float.NaN, 0.75f, 1};
    Rows x = rows(1, type, columns);
    Rows before = rows(2, type, columns);
    Rows plain = rows(2, type, columns);
    Rows vector = rows(2, type, columns);
    new PlainAttentionLoops().mixRows(x, plain, columns, 1, ROWS, ofX, ofY);
    new VectorAttentionLoops().mixRows(x, vector, columns, 1, ROWS, ofX, ofY);
    for (int c = 0; c < columns; c++) {
      assertThat(plain.get(0, c)).isEqualTo(before.get(0, c)); // not asked for
      double mixed = 0.25 * x.get(1, c) + 0.75 * before.get(1, c);
      assertThat((double) plain.get(1, c)).isCloseTo(mixed, within(0.01));
      assertThat(plain.get(2, c)).isEqualTo(before.get(2, c));
      for (int row = 0; row < ROWS; row++) {
        assertThat(vector.get(row, c)).isEqualTo(plain.get(row, c));
      }
    }
  }
}
