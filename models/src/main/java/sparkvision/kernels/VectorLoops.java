package sparkvision.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** The loops, as many channels at once as the CPU's vectors hold; what is left over, one by one. */
final class VectorLoops implements Loops {

  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = FLOATS.length();
  private static final VectorSpecies<Integer> INTS =
      VectorSpecies.of(int.class, FLOATS.vectorShape());
  private static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(
          short.class, VectorShape.forBitSize(Math.max(64, FLOATS.vectorBitSize() / 2)));
  private static final ByteOrder ORDER = ByteOrder.nativeOrder();

  private final PlainLoops plain = new PlainLoops();

  @Override
  public void moments(
      Rows x,
      Rows copy,
      int channels,
      int first,
      int end,
      float[] shift,
      double[] sums,
      double[] squares) {
    float[] sum = new float[channels];
    float[] square = new float[channels];
    int whole = FLOATS.loopBound(channels);
    for (int block = first; block < end; block += PlainLoops.BLOCK) {
      for (int row = block; row < Math.min(block + PlainLoops.BLOCK, end); row++) {
        for (int c = 0; c < whole; c += LANES) {
          FloatVector value = load(x, row, c);
          if (copy != null) {
            store(copy, row, c, value);
          }
          FloatVector difference = value.sub(FloatVector.fromArray(FLOATS, shift, c));
          FloatVector.fromArray(FLOATS, sum, c).add(difference).intoArray(sum, c);
          difference.fma(difference, FloatVector.fromArray(FLOATS, square, c)).intoArray(square, c);
        }
        for (int c = whole; c < channels; c++) {
          float value = PlainLoops.load(x, row, c);
          if (copy != null) {
            PlainLoops.store(copy, row, c, value);
          }
          float difference = value - shift[c];
          sum[c] += difference;
          square[c] = Math.fma(difference, difference, square[c]);
        }
      }
      PlainLoops.flush(sum, sums);
      PlainLoops.flush(square, squares);
    }
  }

  @Override
  public void sums(Rows x, int channels, int first, int end, double[] sums) {
    float[] sum = new float[channels];
    int whole = FLOATS.loopBound(channels);
    for (int block = first; block < end; block += PlainLoops.BLOCK) {
      for (int row = block; row < Math.min(block + PlainLoops.BLOCK, end); row++) {
        for (int c = 0; c < whole; c += LANES) {
          FloatVector.fromArray(FLOATS, sum, c).add(load(x, row, c)).intoArray(sum, c);
        }
        for (int c = whole; c < channels; c++) {
          sum[c] += PlainLoops.load(x, row, c);
        }
      }
      PlainLoops.flush(sum, sums);
    }
  }

  @Override
  public void scale(
      Rows x,
      Rows y,
      int channels,
      int first,
      int end,
      float[] scale,
      float[] shift,
      boolean relu) {
    int whole = FLOATS.loopBound(channels);
    for (int row = first; row < end; row++) {
      for (int c = 0; c < whole; c += LANES) {
        FloatVector value =
            load(x, row, c)
                .fma(
                    FloatVector.fromArray(FLOATS, scale, c),
                    FloatVector.fromArray(FLOATS, shift, c));
        store(y, row, c, relu ? value.max(0) : value);
      }
      for (int c = whole; c < channels; c++) {
        float value = Math.fma(PlainLoops.load(x, row, c), scale[c], shift[c]);
        PlainLoops.store(y, row, c, relu ? Math.max(value, 0) : value);
      }
    }
  }

  @Override
  public void gradientSums(
      Rows x,
      Rows dy,
      Rows into,
      boolean adding,
      int channels,
      int first,
      int end,
      float[] scale,
      float[] shift,
      float[] mean,
      boolean relu,
      double[] sums,
      double[] products) {
    if (channels % LANES != 0) {
      plain.gradientSums(
          x, dy, into, adding, channels, first, end, scale, shift, mean, relu, sums, products);
      return;
    }
    float[] sum = new float[channels];
    float[] product = new float[channels];
    for (int block = first; block < end; block += PlainLoops.BLOCK) {
      for (int row = block; row < Math.min(block + PlainLoops.BLOCK, end); row++) {
        for (int c = 0; c < channels; c += LANES) {
          FloatVector value = load(x, row, c);
          FloatVector factor = FloatVector.fromArray(FLOATS, scale, c);
          FloatVector g = passed(value, load(dy, row, c), factor, shift, c, relu);
          FloatVector.fromArray(FLOATS, sum, c).add(g).intoArray(sum, c);
          g.fma(
                  value.sub(FloatVector.fromArray(FLOATS, mean, c)),
                  FloatVector.fromArray(FLOATS, product, c))
              .intoArray(product, c);
          if (into != null) {
            store(into, row, c, adding ? g.fma(factor, load(into, row, c)) : g.mul(factor));
          }
        }
      }
      PlainLoops.flush(sum, sums);
      PlainLoops.flush(product, products);
    }
  }

  @Override
  public void gradient(
      Rows x,
      Rows dy,
      Rows dx,
      int channels,
      int first,
      int end,
      float[] scale,
      float[] shift,
      float[] mean,
      float[] lift,
      float[] slope,
      boolean relu) {
    if (channels % LANES != 0) {
      plain.gradient(x, dy, dx, channels, first, end, scale, shift, mean, lift, slope, relu);
      return;
    }
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c += LANES) {
        FloatVector value = load(x, row, c);
        FloatVector factor = FloatVector.fromArray(FLOATS, scale, c);
        FloatVector g = passed(value, load(dy, row, c), factor, shift, c, relu);
        FloatVector difference = value.sub(FloatVector.fromArray(FLOATS, mean, c));
        FloatVector lifted = g.fma(factor, FloatVector.fromArray(FLOATS, lift, c).neg());
        store(dx, row, c, FloatVector.fromArray(FLOATS, slope, c).neg().fma(difference, lifted));
      }
    }
  }

  @Override
  public void settle(
      Rows x,
      Rows reference,
      Rows y,
      int channels,
      int first,
      int end,
      float[] mean,
      float[] lift,
      float[] slope) {
    if (channels % LANES != 0) {
      plain.settle(x, reference, y, channels, first, end, mean, lift, slope);
      return;
    }
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c += LANES) {
        FloatVector difference =
            load(reference, row, c).sub(FloatVector.fromArray(FLOATS, mean, c));
        FloatVector lifted = load(x, row, c).sub(FloatVector.fromArray(FLOATS, lift, c));
        store(y, row, c, FloatVector.fromArray(FLOATS, slope, c).neg().fma(difference, lifted));
      }
    }
  }

  @Override
  public void copy(Rows x, Rows y, boolean adding, int channels, int first, int end) {
    if (channels % LANES != 0) {
      plain.copy(x, y, adding, channels, first, end);
      return;
    }
    for (int row = first; row < end; row++) {
      for (int c = 0; c < channels; c += LANES) {
        FloatVector value = load(x, row, c);
        store(y, row, c, adding ? load(y, row, c).add(value) : value);
      }
    }
  }

  private static FloatVector passed(
      FloatVector x, FloatVector dy, FloatVector scale, float[] shift, int c, boolean relu) {
    if (!relu) {
      return dy;
    }
    VectorMask<Float> open =
        x.fma(scale, FloatVector.fromArray(FLOATS, shift, c)).compare(VectorOperators.GT, 0);
    return FloatVector.zero(FLOATS).blend(dy, open);
  }

  static FloatVector load(Rows rows, int row, int column) {
    int index = row * rows.stride() + column;
    ByteBuffer data = rows.data();
    if (!rows.isBfloat16()) {
      return FloatVector.fromByteBuffer(FLOATS, data, index * 4, ORDER);
    }
    IntVector bits =
        (IntVector)
            ShortVector.fromByteBuffer(SHORTS, data, index * 2, ORDER)
                .convertShape(VectorOperators.S2I, INTS, 0);
    return bits.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
  }

  static void store(Rows rows, int row, int column, FloatVector value) {
    int index = row * rows.stride() + column;
    if (!rows.isBfloat16()) {
      value.intoByteBuffer(rows.data(), index * 4, ORDER);
      return;
    }
    IntVector bits = value.reinterpretAsInts();
    IntVector round = bits.lanewise(VectorOperators.LSHR, 16).and(1).add(0x7fff);
    ((ShortVector)
            bits.add(round)
                .lanewise(VectorOperators.LSHR, 16)
                .convertShape(VectorOperators.I2S, SHORTS, 0))
        .intoByteBuffer(rows.data(), index * 2, ORDER);
  }
}
