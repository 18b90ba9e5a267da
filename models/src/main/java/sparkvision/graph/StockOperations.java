package sparkvision.graph;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.nd4j.autodiff.samediff.SDVariable;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.enums.WeightsFormat;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Conv2DConfig;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Conv3DConfig;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.PaddingMode;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Pooling2DConfig;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Every word of an inference graph as stock SameDiff operations.
 *
 * <p>Where SameDiff has no operation of our meaning, several make it up: what moves or blends
 * pixels along one axis (resizing, adaptive means, the spreading of a transposed convolution) is a
 * product with a constant matrix, and groups of a convolution are convolutions of their own.
 */
final class StockOperations {

  private final SameDiff sd;
  private final DataType type;
  private final Map<Tensor, SDVariable> values;

  /**
   * @param values where inputs and variables are; {@link #translate} adds every node's output
   */
  StockOperations(SameDiff sd, DataType type, Map<Tensor, SDVariable> values) {
    this.sd = sd;
    this.type = type;
    this.values = values;
  }

  void translate(Node node) {
    values.put(node.output(), translated(node));
  }

  private SDVariable translated(Node node) {
    SDVariable x = in(node, 0);
    return switch (node.kind()) {
      case CONV -> conv(node);
      case CONV_TRANSPOSE -> convTranspose(node);
      case MAX_POOL -> maxPool(node);
      case AVERAGE_POOL -> averagePool(node);
      case ADAPTIVE_AVERAGE_POOL -> adaptiveAveragePool(node);
      case ADAPTIVE_MAX_POOL -> adaptiveMaxPool(node);
      case RESIZE -> resize(node);
      case BATCH_NORM ->
          sd.nn()
              .batchNorm(
                  x, in(node, 3), in(node, 4), in(node, 1), in(node, 2), node.number("epsilon"), 1);
      case MATMUL ->
          sd.mmul(
              x,
              in(node, 1),
              node.integer("transpose-a") == 1,
              node.integer("transpose-b") == 1,
              false);
      case SOFTMAX -> softmax(node);
      case LOG_SOFTMAX -> logSoftmax(node);
      case RELU -> sd.nn().relu(x, 0);
      case LEAKY_RELU -> sd.nn().leakyRelu(x, node.number("slope"));
      case GELU -> x.mul(sd.math().erfc(x.mul(-Math.sqrt(0.5)))).mul(0.5);
      case SILU -> x.mul(sd.nn().sigmoid(x));
      case SIGMOID -> sd.nn().sigmoid(x);
      case TANH -> sd.math().tanh(x);
      case SOFTPLUS -> // log(1 + exp(x)) = max(x, 0) + log(1 + exp(−|x|)) cannot overflow
          sd.nn().relu(x, 0).add(sd.math().log1p(sd.math().exp(sd.math().abs(x).neg())));
      case EXP -> sd.math().exp(x);
      case LOG -> sd.math().log(x);
      case SQRT -> sd.math().sqrt(x);
      case RSQRT -> sd.math().rsqrt(x);
      case ABS -> sd.math().abs(x);
      case POWER -> sd.math().pow(x, node.number("exponent"));
      case AFFINE -> x.mul(node.number("scale")).add(node.number("shift"));
      case ADD -> x.add(in(node, 1));
      case SUBTRACT -> x.sub(in(node, 1));
      case MULTIPLY -> x.mul(in(node, 1));
      case DIVIDE -> x.div(in(node, 1));
      case SUM -> sd.sum(x, node.integer("keep") == 1, ints(node.sizes("axes")));
      case MEAN -> sd.mean(x, node.integer("keep") == 1, ints(node.sizes("axes")));
      case MAX -> sd.max(x, node.integer("keep") == 1, ints(node.sizes("axes")));
      case CONCAT ->
          sd.concat(
              (int) node.integer("axis"),
              node.inputs().stream().map(values::get).toArray(SDVariable[]::new));
      case SLICE -> sd.stridedSlice(x, node.sizes("begin"), node.sizes("end"), node.sizes("step"));
      case PAD -> pad(x, node.sizes("before"), node.sizes("after"), node.number("value"));
      case PERMUTE -> sd.permute(x, ints(node.sizes("axes")));
      case RESHAPE -> sd.reshape(x, node.output().shape());
      case FLIP -> sd.reverse(x, ints(node.sizes("axes")));
      case GATHER -> sd.gather(x, in(node, 1), (int) node.integer("axis"));
      case DROPOUT, ONE_HOT, CROSS_ENTROPY ->
          throw new IllegalArgumentException(
              String.format("Cannot save graph: %s serves training only", node.kind()));
      case GLOBAL_AVERAGE_POOL,
          LAYER_NORM,
          GROUP_NORM,
          RMS_NORM,
          LINEAR,
          ATTENTION,
          CRISS_CROSS,
          CAUSAL_CONV,
          SELECTIVE_SCAN,
          SOFT_CROSS_ENTROPY ->
          throw new IllegalStateException(node.kind() + " should have been lowered");
    };
  }

  private SDVariable in(Node node, int index) {
    return values.get(node.input(index));
  }

  /** Not SameDiff's own: that of floats is wrong along axis 1 of four. */
  private SDVariable softmax(Node node) {
    int axis = (int) node.integer("axis");
    SDVariable powers = sd.math().exp(belowMaximum(node, axis));
    return powers.div(sd.sum(powers, true, axis));
  }

  /**
   * Not SameDiff's own: it underflows to −∞, and a file where it names an axis cannot be loaded.
   */
  private SDVariable logSoftmax(Node node) {
    int axis = (int) node.integer("axis");
    SDVariable below = belowMaximum(node, axis);
    return below.sub(sd.math().log(sd.sum(sd.math().exp(below), true, axis)));
  }

  /** x minus its maximum along an axis, so that no exponential overflows. */
  private SDVariable belowMaximum(Node node, int axis) {
    return in(node, 0).sub(sd.max(in(node, 0), true, axis));
  }

  // Convolutions.

  private SDVariable conv(Node node) {
    Window window =
        new Window(
            node.sizes("kernel"),
            node.sizes("stride"),
            node.sizes("padding"),
            node.sizes("dilation"));
    SDVariable x = in(node, 0);
    long[] shape = node.input(0).shape();
    if (!Arrays.equals(node.sizes("padding"), node.sizes("padding-after"))) {
      x = pad(x, spatial(node.sizes("padding")), spatial(node.sizes("padding-after")), 0);
      for (int axis = 2; axis < shape.length; axis++) {
        shape[axis] += node.sizes("padding")[axis - 2] + node.sizes("padding-after")[axis - 2];
      }
      window = window.unpadded();
    }
    SDVariable y =
        conv(x, shape, in(node, 1), node.input(1).shape(), window, node.integer("groups"));
    return biased(y, node);
  }

  /**
   * A convolution of (B, C, ...) with (O, C/groups, k...), one axis as two, groups apart.
   *
   * @param shape that of {@code x}
   * @param weightShape that of {@code weight}
   */
  private SDVariable conv(
      SDVariable x,
      long[] shape,
      SDVariable weight,
      long[] weightShape,
      Window window,
      long groups) {
    if (Arrays.stream(window.dilation()).anyMatch(size -> size > 1)) {
      return dilated(x, shape, weight, weightShape, window, groups);
    }
    if (window.axes() == 1) {
      long[] flat = {shape[0], shape[1], shape[2], 1};
      long[] flatWeight = {weightShape[0], weightShape[1], weightShape[2], 1};
      SDVariable y =
          conv(
              sd.reshape(x, flat),
              flat,
              sd.reshape(weight, flatWeight),
              flatWeight,
              window.withUnitAxis(),
              groups);
      return sd.squeeze(y, 3);
    }
    if (groups == 1) {
      return window.axes() == 2
          ? sd.cnn().conv2d(x, weight, window.conv2d())
          // SameDiff's 3D convolution knows no weights format: it wants (k..., C, O).
          : sd.cnn().conv3d(x, sd.permute(weight, 2, 3, 4, 1, 0), window.conv3d());
    }
    if (groups == shape[1] && window.axes() == 2) { // depthwise: (k..., C, O/C)
      long[] split = {groups, weightShape[0] / groups, weightShape[2], weightShape[3]};
      SDVariable perChannel = sd.permute(sd.reshape(weight, split), 2, 3, 0, 1);
      return sd.cnn().depthWiseConv2d(x, perChannel, window.depthwise());
    }
    SDVariable[] parts = new SDVariable[Math.toIntExact(groups)];
    long out = weightShape[0] / groups;
    for (int i = 0; i < groups; i++) {
      long[] partShape = shape.clone();
      partShape[1] /= groups;
      long[] partWeight = weightShape.clone();
      partWeight[0] = out;
      parts[i] =
          conv(
              part(x, shape, 1, i * partShape[1], partShape[1]),
              partShape,
              part(weight, weightShape, 0, i * out, out),
              partWeight,
              window,
              1);
    }
    return sd.concat(1, parts);
  }

  /** With zeros inside the kernel: SameDiff's dilated convolutions of floats fail in oneDNN. */
  private SDVariable dilated(
      SDVariable x,
      long[] shape,
      SDVariable weight,
      long[] weightShape,
      Window window,
      long groups) {
    SDVariable wide = weight;
    long[] wideShape = weightShape.clone();
    for (int i = 0; i < window.axes(); i++) {
      int step = Math.toIntExact(window.dilation()[i]);
      double[][] spread = new double[step * (int) (wideShape[i + 2] - 1) + 1][];
      for (int row = 0; row < spread.length; row++) {
        spread[row] = new double[(int) wideShape[i + 2]];
        if (row % step == 0) {
          spread[row][row / step] = 1;
        }
      }
      wide = step == 1 ? wide : blend(wide, wideShape, i + 2, spread);
      wideShape[i + 2] = spread.length;
    }
    long[] kernel = Arrays.copyOfRange(wideShape, 2, wideShape.length);
    return conv(x, shape, wide, wideShape, window.withKernel(kernel), groups);
  }

  /** Spread by zeros, then a convolution with the kernel turned around. */
  private SDVariable convTranspose(Node node) {
    long[] kernel = node.sizes("kernel");
    long[] dilation = node.sizes("dilation");
    int axes = kernel.length;
    SDVariable x = in(node, 0);
    long[] shape = node.input(0).shape();
    for (int i = 0; i < axes; i++) {
      long reach = dilation[i] * (kernel[i] - 1);
      double[][] spread =
          new double[Math.toIntExact(node.output().size(i + 2) + reach)]
              [Math.toIntExact(shape[i + 2])];
      for (int from = 0; from < shape[i + 2]; from++) {
        long to = from * node.sizes("stride")[i] + reach - node.sizes("padding")[i];
        if (to >= 0 && to < spread.length) {
          spread[(int) to][from] = 1;
        }
      }
      x = blend(x, shape, i + 2, spread);
      shape[i + 2] = spread.length;
    }

    long groups = node.integer("groups");
    long[] weightShape = node.input(1).shape(); // (C, O/G, k...)
    long[] split = weightShape.clone();
    split[0] = groups;
    split[1] = weightShape[0] / groups;
    split = inserted(split, 2, weightShape[1]); // (G, C/G, O/G, k...)
    int[] order = IntStream.range(0, axes + 3).toArray();
    order[1] = 2;
    order[2] = 1;
    long[] turnedShape = weightShape.clone();
    turnedShape[0] = weightShape[1] * groups;
    turnedShape[1] = weightShape[0] / groups;
    SDVariable turned = sd.permute(sd.reshape(in(node, 1), split), order);
    turned = sd.reverse(sd.reshape(turned, turnedShape), IntStream.range(2, axes + 2).toArray());
    Window window =
        new Window(kernel, Shapes.filled(axes, 1), new long[axes], node.sizes("dilation"));
    return biased(conv(x, shape, turned, turnedShape, window, groups), node);
  }

  private SDVariable biased(SDVariable y, Node node) {
    if (node.inputs().size() == 2) {
      return y;
    }
    long[] shape = Shapes.filled(node.output().rank(), 1);
    shape[1] = node.output().size(1);
    return y.add(sd.reshape(in(node, 2), shape));
  }

  // Pools.

  private SDVariable maxPool(Node node) {
    Window window = pool(node, node.sizes("padding"));
    return pooled(in(node, 0), node.input(0).shape(), window, sd.cnn()::maxPooling2d);
  }

  /** What the padding adds is made up for, where it does not count. */
  private SDVariable averagePool(Node node) {
    long[] padding = node.sizes("padding");
    SDVariable x = pad(in(node, 0), spatial(padding), spatial(padding), 0);
    long[] padded = node.input(0).shape();
    Arrays.setAll(padded, i -> i < 2 ? padded[i] : padded[i] + 2 * padding[i - 2]);
    Window window = pool(node, new long[padding.length]);
    SDVariable y = pooled(x, padded, window, sd.cnn()::avgPooling2d);
    if (node.integer("count-padding") == 1) {
      return y;
    }
    for (int i = 0; i < padding.length; i++) {
      long[] shape = Shapes.filled(node.output().rank(), 1);
      shape[i + 2] = node.output().size(i + 2);
      double[] shares = new double[(int) shape[i + 2]];
      for (int j = 0; j < shares.length; j++) {
        long begin = j * window.stride()[i] - padding[i];
        long end = Math.min(begin + window.kernel()[i], node.input(0).size(i + 2));
        shares[j] = (double) window.kernel()[i] / (end - Math.max(0, begin));
      }
      y = y.mul(constant(shares, shape));
    }
    return y;
  }

  /** A volume in two passes, H and W, then D: SameDiff's 3D pools mistake W for H. */
  private SDVariable pooled(
      SDVariable x,
      long[] shape,
      Window window,
      BiFunction<SDVariable, Pooling2DConfig, SDVariable> pool) {
    if (window.axes() == 2) {
      return pool.apply(x, window.pool2d());
    }
    long[] out = window.slidden(shape); // (B, C, D', H', W')
    SDVariable planes = sd.reshape(x, shape[0], shape[1] * shape[2], shape[3], shape[4]);
    SDVariable ofPlanes = pool.apply(planes, window.part(1, 3).pool2d());
    SDVariable columns = sd.reshape(ofPlanes, shape[0], shape[1], shape[2], out[3] * out[4]);
    return sd.reshape(pool.apply(columns, window.part(0, 1).withUnitAxis().pool2d()), out);
  }

  private static Window pool(Node node, long[] padding) {
    long[] kernel = node.sizes("kernel");
    return new Window(kernel, node.sizes("stride"), padding, Shapes.filled(kernel.length, 1));
  }

  private SDVariable adaptiveAveragePool(Node node) {
    SDVariable x = in(node, 0);
    long[] shape = node.input(0).shape();
    for (int axis = 2; axis < shape.length; axis++) {
      long n = shape[axis];
      double[][] means = new double[(int) node.output().size(axis)][(int) n];
      for (int i = 0; i < means.length; i++) {
        int begin = binBegin(i, n, means.length);
        int end = binEnd(i, n, means.length);
        Arrays.fill(means[i], begin, end, 1.0 / (end - begin));
      }
      x = blend(x, shape, axis, means);
      shape[axis] = means.length;
    }
    return x;
  }

  private SDVariable adaptiveMaxPool(Node node) {
    SDVariable x = in(node, 0);
    long[] shape = node.input(0).shape();
    for (int axis = 2; axis < shape.length; axis++) {
      int bins = (int) node.output().size(axis);
      List<SDVariable> maxima = new ArrayList<>();
      for (int i = 0; i < bins; i++) {
        int begin = binBegin(i, shape[axis], bins);
        int length = binEnd(i, shape[axis], bins) - begin;
        maxima.add(sd.max(part(x, shape, axis, begin, length), true, axis));
      }
      x = bins == 1 ? maxima.get(0) : sd.concat(axis, maxima.toArray(new SDVariable[0]));
      shape[axis] = bins;
    }
    return x;
  }

  private static int binBegin(long i, long n, long bins) {
    return (int) (i * n / bins);
  }

  private static int binEnd(long i, long n, long bins) {
    return (int) (((i + 1) * n + bins - 1) / bins);
  }

  private SDVariable resize(Node node) {
    SDVariable x = in(node, 0);
    long[] shape = node.input(0).shape();
    for (int axis = 2; axis < shape.length; axis++) {
      long size = node.output().size(axis);
      if (size != shape[axis]) {
        x = blend(x, shape, axis, Resize.of(node).weights(shape[axis], size));
        shape[axis] = size;
      }
    }
    return x;
  }

  // Building blocks.

  /** Replaces the n numbers along an axis by sums of them: s rows of n weights. */
  private SDVariable blend(SDVariable x, long[] shape, int axis, double[][] weights) {
    int last = shape.length - 1;
    int[] swap = IntStream.range(0, shape.length).toArray();
    swap[axis] = last;
    swap[last] = axis;
    long[] swapped = Arrays.stream(swap).mapToLong(i -> shape[i]).toArray();
    SDVariable rows = sd.reshape(sd.permute(x, swap), -1, shape[axis]);
    double[] flat = Arrays.stream(weights).flatMapToDouble(Arrays::stream).toArray();
    SDVariable matrix = constant(flat, weights.length, shape[axis]);
    swapped[last] = weights.length;
    SDVariable blended = sd.mmul(rows, matrix, false, true, false);
    return sd.permute(sd.reshape(blended, swapped), swap);
  }

  private SDVariable part(SDVariable x, long[] shape, int axis, long begin, long length) {
    long[] begins = new long[shape.length];
    long[] ends = shape.clone();
    begins[axis] = begin;
    ends[axis] = begin + length;
    return sd.stridedSlice(x, begins, ends, Shapes.filled(shape.length, 1));
  }

  private SDVariable pad(SDVariable x, long[] before, long[] after, double value) {
    if (Arrays.stream(before).sum() + Arrays.stream(after).sum() == 0) {
      return x;
    }
    int[][] border = new int[before.length][];
    for (int axis = 0; axis < border.length; axis++) {
      border[axis] = new int[] {Math.toIntExact(before[axis]), Math.toIntExact(after[axis])};
    }
    return sd.nn().pad(x, sd.constant(Nd4j.createFromArray(border)), value);
  }

  private SDVariable constant(double[] values, long... shape) {
    INDArray array = Nd4j.createFromArray(values).castTo(type);
    return sd.constant(array.reshape('c', shape));
  }

  /** Sizes of spatial axes as those of all: batch and channels have none. */
  private static long[] spatial(long... sizes) {
    return LongStream.concat(LongStream.of(0, 0), Arrays.stream(sizes)).toArray();
  }

  private static long[] inserted(long[] sizes, int place, long size) {
    long[] more = new long[sizes.length + 1];
    System.arraycopy(sizes, 0, more, 0, place);
    more[place] = size;
    System.arraycopy(sizes, place, more, place + 1, sizes.length - place);
    return more;
  }

  private static int[] ints(long... sizes) {
    return Arrays.stream(sizes).mapToInt(Math::toIntExact).toArray();
  }

  /** What slides over 1 to 3 spatial axes, and SameDiff's names for it. */
  private record Window(long[] kernel, long[] stride, long[] padding, long[] dilation) {

    int axes() {
      return kernel.length;
    }

    Window unpadded() {
      return new Window(kernel, stride, new long[axes()], dilation);
    }

    /** With a kernel that has no holes. */
    Window withKernel(long[] wide) {
      return new Window(wide, stride, padding, Shapes.filled(axes(), 1));
    }

    /** With an axis behind, on which nothing slides. */
    Window withUnitAxis() {
      return new Window(
          inserted(kernel, axes(), 1),
          inserted(stride, axes(), 1),
          inserted(padding, axes(), 0),
          inserted(dilation, axes(), 1));
    }

    /** Some of the axes. */
    Window part(int begin, int end) {
      return new Window(
          Arrays.copyOfRange(kernel, begin, end),
          Arrays.copyOfRange(stride, begin, end),
          Arrays.copyOfRange(padding, begin, end),
          Arrays.copyOfRange(dilation, begin, end));
    }

    /** The shape after sliding over (B, C, ...). */
    long[] slidden(long... shape) {
      long[] out = shape.clone();
      for (int i = 0; i < axes(); i++) {
        out[i + 2] = (shape[i + 2] + 2 * padding[i] - kernel[i]) / stride[i] + 1;
      }
      return out;
    }

    Conv2DConfig conv2d() {
      return conv2d(WeightsFormat.OIYX);
    }

    Conv2DConfig depthwise() {
      return conv2d(WeightsFormat.YXIO);
    }

    private Conv2DConfig conv2d(WeightsFormat format) {
      return Conv2DConfig.builder()
          .kH(kernel[0])
          .kW(kernel[1])
          .sH(stride[0])
          .sW(stride[1])
          .pH(padding[0])
          .pW(padding[1])
          .dH(1)
          .dW(1)
          .paddingMode(PaddingMode.VALID)
          .dataFormat(Conv2DConfig.NCHW)
          .weightsFormat(format)
          .build();
    }

    Conv3DConfig conv3d() {
      return Conv3DConfig.builder()
          .kD(kernel[0])
          .kH(kernel[1])
          .kW(kernel[2])
          .sD(stride[0])
          .sH(stride[1])
          .sW(stride[2])
          .pD(padding[0])
          .pH(padding[1])
          .pW(padding[2])
          .dD(1)
          .dH(1)
          .dW(1)
          .paddingMode(PaddingMode.VALID)
          .dataFormat(Conv3DConfig.NCDHW)
          .build();
    }

    Pooling2DConfig pool2d() {
      return Pooling2DConfig.builder()
          .kH(kernel[0])
          .kW(kernel[1])
          .sH(stride[0])
          .sW(stride[1])
          .pH(padding[0])
          .pW(padding[1])
          .dH(1)
          .dW(1)
          .paddingMode(PaddingMode.VALID)
          .isNHWC(false)
          .build();
    }
  }
}
