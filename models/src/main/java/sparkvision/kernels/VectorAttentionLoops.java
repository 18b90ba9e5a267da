package sparkvision.kernels;

import static sparkvision.kernels.PlainAttentionLoops.LEAST_EXPONENT;
import static sparkvision.kernels.PlainAttentionLoops.LOG2_E;
import static sparkvision.kernels.PlainAttentionLoops.LOG_2;
import static sparkvision.kernels.PlainAttentionLoops.LOG_2_REST;
import static sparkvision.kernels.PlainAttentionLoops.ROUNDER;
import static sparkvision.kernels.PlainAttentionLoops.SERIES;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The loops, as many columns at once as the CPU's vectors hold. */
final class VectorAttentionLoops implements AttentionLoops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();

  @Override
  public void softmaxDown(Rows x, Rows y, int rows, int first, int end, float scale, float[] logs) {
    FloatVector scales = FloatVector.broadcast(FLOATS, scale);
    float[] most = new float[LANES];
    float[] sum = new float[LANES];
    for (int c = first; c < end; c += LANES) {
      FloatVector largest = VectorLoops.load(x, 0, c).mul(scales);
      for (int row = 1; row < rows; row++) {
        FloatVector value = VectorLoops.load(x, row, c).mul(scales);
        largest = largest.blend(value, value.compare(VectorOperators.GT, largest));
      }
      FloatVector lift = largest.neg();
      FloatVector total = FloatVector.zero(FLOATS);
      for (int row = 0; row < rows; row++) {
        FloatVector power = exp(VectorLoops.load(x, row, c).fma(scales, lift));
        VectorLoops.store(x, row, c, power);
        total = total.add(power);
      }
      FloatVector inverse = FloatVector.broadcast(FLOATS, 1).div(total);
      for (int row = 0; row < rows; row++) {
        VectorLoops.store(y, row, c, VectorLoops.load(x, row, c).mul(inverse));
      }
      largest.intoArray(most, 0);
      total.intoArray(sum, 0);
      for (int lane = 0; lane < LANES; lane++) {
        logs[c + lane] = PlainAttentionLoops.log(most[lane], sum[lane]);
      }
    }
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

  private static FloatVector exp(FloatVector x) {
    FloatVector bounded = x.blend(LEAST_EXPONENT, x.compare(VectorOperators.LT, LEAST_EXPONENT));
    FloatVector shifted =
        bounded.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUNDER));
    FloatVector n = shifted.sub(ROUNDER);
    FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -LOG_2), bounded);
    r = n.fma(FloatVector.broadcast(FLOATS, -LOG_2_REST), r);
    FloatVector sum = FloatVector.broadcast(FLOATS, SERIES[0]);
    sum = sum.fma(r, FloatVector.broadcast(FLOATS, SERIES[1]));
    sum = sum.fma(r, FloatVector.broadcast(FLOATS, SERIES[2]));
    sum = sum.fma(r, FloatVector.broadcast(FLOATS, SERIES[3]));
    sum = sum.fma(r, FloatVector.broadcast(FLOATS, SERIES[4]));
    sum = sum.fma(r, FloatVector.broadcast(FLOATS, SERIES[5]));
    FloatVector series = sum.fma(r.mul(r), r).add(1);
    return series
        .reinterpretAsInts()
        .add(
            shifted
                .reinterpretAsInts()
                .sub(Float.floatToRawIntBits(ROUNDER))
                .lanewise(VectorOperators.LSHL, 23))
        .reinterpretAsFloats();
  }
}
