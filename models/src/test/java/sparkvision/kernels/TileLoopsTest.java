package sparkvision.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import sparkvision.Draw;

/** The transforms of tiles: the same bits with vectors and without, and the paper's numbers. */
class TileLoopsTest {

  private static final int TILES = 3;
  private static final int CHANNELS = 32;
  private static final int STEP = TILES * CHANNELS;
  private static final int WIDTH = 2 * TILES + 1;

  private static final float[][] B = {{1, 0, 0, 0}, {0, 1, -1, 1}, {-1, 1, 1, 0}, {0, 0, 0, -1}};
  private static final float[][] A = {{1, 0}, {1, 1}, {1, -1}, {0, -1}};

  private final Rows map = rows(Draw.normal(1, 4 * WIDTH * CHANNELS).floats());

  private static Rows rows(float[] values) {
    ByteBuffer data =
        ByteBuffer.allocateDirect(values.length * Float.BYTES).order(ByteOrder.nativeOrder());
    data.asFloatBuffer().put(values);
    return new Rows(data, Type.FLOAT32, 1);
  }

  private static Rows room(int count) {
    return rows(new float[count]);
  }

  private static float[] floats(Rows rows) {
    float[] values = new float[rows.data().capacity() / Float.BYTES];
    rows.data().asFloatBuffer().get(values);
    return values;
  }

  /** The map's rows with its first column left out, and one column of zeros more than it has. */
  private TileLoops.Strip strip(int count, int columns) {
    TileLoops.Strip strip = new TileLoops.Strip(count);
    for (int i = 0; i < count; i++) {
      strip.rows[i] = map;
      strip.places[i] = (i * WIDTH + 1) * CHANNELS;
    }
    strip.first = 1;
    strip.end = columns - 1;
    return strip;
  }

  private float pixel(int row, int column, int columns, int channel) {
    boolean inside = column >= 1 && column < columns - 1;
    return inside ? map.get((row * WIDTH + column) * CHANNELS + channel) : 0;
  }

  @Test
  void transformsWindowsOfTheInput() {
    int columns = 2 * TILES + 2;
    Rows plain = room(16 * STEP);
    Rows vector = room(16 * STEP);
    float[] between = new float[TileLoops.between(TILES, CHANNELS)];
    new PlainTileLoops().input(strip(4, columns), TILES, CHANNELS, between, plain, 0, STEP);
    Arrays.fill(between, Float.NaN);
    new VectorTileLoops().input(strip(4, columns), TILES, CHANNELS, between, vector, 0, STEP);
    assertThat(floats(vector)).isEqualTo(floats(plain));
    for (int tile = 0; tile < TILES; tile++) {
      for (int part = 0; part < 16; part++) {
        double expected = 0;
        for (int i = 0; i < 16; i++) {
          float d = pixel(i / 4, 2 * tile + i % 4, columns, 5);
          expected += (double) B[i / 4][part / 4] * B[i % 4][part % 4] * d;
        }
        assertThat((double) plain.get(part * STEP + tile * CHANNELS + 5))
            .isCloseTo(expected, within(1e-5));
      }
    }
  }

  @Test
  void transformsGradients() {
    int columns = 2 * TILES;
    Rows plain = room(16 * STEP);
    Rows vector = room(16 * STEP);
    float[] between = new float[TileLoops.between(TILES, CHANNELS)];
    new PlainTileLoops().gradient(strip(2, columns), TILES, CHANNELS, between, plain, 0, STEP);
    Arrays.fill(between, Float.NaN);
    new VectorTileLoops().gradient(strip(2, columns), TILES, CHANNELS, between, vector, 0, STEP);
    assertThat(floats(vector)).isEqualTo(floats(plain));
    for (int tile = 0; tile < TILES; tile++) {
      for (int part = 0; part < 16; part++) {
        double expected = 0;
        for (int i = 0; i < 4; i++) {
          float dy = pixel(i / 2, 2 * tile + i % 2, columns, 7);
          expected += (double) A[part / 4][i / 2] * A[part % 4][i % 2] * dy;
        }
        assertThat((double) plain.get(part * STEP + tile * CHANNELS + 7))
            .isCloseTo(expected, within(1e-5));
      }
    }
  }

  @Test
  void transformsProductsBackAndLeavesOutWhatTheResultDoesNotHave() {
    Rows products = rows(Draw.normal(2, 16 * STEP).floats());
    float[] scale = Draw.normal(3, CHANNELS).floats();
    float[] shift = Draw.normal(4, CHANNELS).floats();
    for (boolean relu : new boolean[] {false, true}) {
      for (int second : new int[] {2 * TILES * CHANNELS, -1}) {
        for (int columns : new int[] {2 * TILES, 2 * TILES - 1}) {
          Rows plain = room(4 * TILES * CHANNELS);
          Rows vector = room(4 * TILES * CHANNELS);
          int[] places = {0, second};
          float[] between = new float[TileLoops.between(TILES, CHANNELS)];
          new PlainTileLoops()
              .output(
                  products, 0, STEP, TILES, CHANNELS, between, scale, shift, relu, plain, places,
                  columns);
          Arrays.fill(between, Float.NaN);
          new VectorTileLoops()
              .output(
                  products, 0, STEP, TILES, CHANNELS, between, scale, shift, relu, vector, places,
                  columns);
          assertThat(floats(vector)).isEqualTo(floats(plain));
          for (int row = 0; row < 2; row++) {
            for (int column = 0; column < 2 * TILES; column++) {
              boolean there = column < columns && (row == 0 || second >= 0);
              assertThat((double) plain.get((row * 2 * TILES + column) * CHANNELS + 3))
                  .isCloseTo(
                      there ? output(products, row, column, scale, shift, relu) : 0, within(1e-5));
            }
          }
        }
      }
    }
  }

  private static double output(
      Rows products, int row, int column, float[] scale, float[] shift, boolean relu) {
    double sum = 0;
    for (int part = 0; part < 16; part++) {
      sum +=
          (double) A[part / 4][row]
              * A[part % 4][column % 2]
              * products.get(part * STEP + column / 2 * CHANNELS + 3);
    }
    double value = sum * scale[3] + shift[3];
    return relu ? Math.max(value, 0) : value;
  }
}
