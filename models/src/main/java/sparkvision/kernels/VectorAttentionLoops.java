package sparkvision.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** The loops, as many columns at once as the CPU's vectors hold. */
final class VectorAttentionLoops implements AttentionLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();
  private static final ByteOrder ORDER = ByteOrder.nativeOrder();

  // A method for each loop: in larger ones the compiler leaves vectors on the heap.

  @Override
  public void powersDown(
      Rows x, Rows y, int rows, int first, int end, float scale, float[] sums, float[] logs) {
    float[] most = new float[LANES];
    for (int c = first; c < end; c += LANES) {
      max(x.data(), x.stride(), rows, c, scale, most);
      powers(x, y, rows, c, scale, most, sums);
      for (int lane = 0; lane < LANES; lane++) {
        logs[c + lane] = PlainAttentionLoops.log(most[lane], sums[c + lane]);
      }
    }
  }

  private static void max(
      ByteBuffer x, int stride, int rows, int column, float scale, float[] most) {
    FloatVector even = load(x, column).mul(scale);
    FloatVector odd = even; // two, since each waits for the one before
    for (int row = 1; row < rows - 1; row += 2) {
      odd = odd.max(load(x, row * stride + column).mul(scale));
      even = even.max(load(x, (row + 1) * stride + column).mul(scale));
    }
    FloatVector last = load(x, (rows - 1) * stride + column).mul(scale);
    even.max(odd).max(last).intoArray(most, 0);
  }

  private static void powers(
      Rows x, Rows y, int rows, int column, float scale, float[] most, float[] sums) {
    FloatVector scales = FloatVector.broadcast(FLOATS, scale);
    FloatVector lift = FloatVector.fromArray(FLOATS, most, 0).neg();
    FloatVector sum = FloatVector.zero(FLOATS);
    for (int row = 0; row < rows; row++) {
      FloatVector power =
          VectorGridLoops.exp(load(x.data(), row * x.stride() + column).fma(scales, lift));
      VectorLoops.store(y, row, column, power);
      sum = sum.add(power);
    }
    sum.intoArray(sums, column);
  }

  @Override
  public void divideRows(
      Rows x, Rows y, int shift, int columns, int first, int end, float[] divisors) {
    int whole = FLOATS.loopBound(columns);
    for (int row = first; row < end; row++) {
      float inverse = 1 / divisors[row];
      for (int c = 0; c < whole; c += LANES) {
        VectorLoops.store(y, shift + row, c, VectorLoops.load(x, row, c).mul(inverse));
      }
      PlainAttentionLoops.divide(x, y, row, shift + row, whole, columns, inverse);
    }
  }

  @Override
  public void mixRows(Rows x, Rows y, int columns, int first, int end, float[] ofX, float[] ofY) {
    int whole = FLOATS.loopBound(columns);
    for (int row = first; row < end; row++) {
      FloatVector factor = FloatVector.broadcast(FLOATS, ofX[row]);
      for (int c = 0; c < whole; c += LANES) {
        FloatVector kept = VectorLoops.load(y, row, c).mul(ofY[row]);
        VectorLoops.store(y, row, c, VectorLoops.load(x, row, c).fma(factor, kept));
      }
      PlainAttentionLoops.mix(x, y, row, whole, columns, ofX[row], ofY[row]);
    }
  }

  private static FloatVector load(ByteBuffer x, int index) {
    return FloatVector.fromByteBuffer(FLOATS, x, index * Float.BYTES, ORDER);
  }

  @Override
  public void products(Rows x, Rows y, int columns, int first, int end, float[] sums) {
    float[] parts = new float[COLUMNS];
    int whole = columns / COLUMNS * COLUMNS;
    for (int row = first; row < end; row++) {
      for (int part = 0; part < COLUMNS; part += LANES) {
        FloatVector sum = FloatVector.zero(FLOATS);
        for (int c = part; c < whole; c += COLUMNS) {
          sum = VectorLoops.load(x, row, c).fma(VectorLoops.load(y, row, c), sum);
        }
        sum.intoArray(parts, part);
      }
      PlainAttentionLoops.addProducts(x, y, row, whole, columns, parts);
      sums[row] = PlainAttentionLoops.folded(parts);
    }
  }
}
