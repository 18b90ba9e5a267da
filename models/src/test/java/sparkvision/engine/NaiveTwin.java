package sparkvision.engine;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import sparkvision.graph.Dropout;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/**
 * What every word computes, element by element as it is defined: in doubles, with nothing lowered,
 * shared or fast. State is read, never changed.
 */
final class NaiveTwin {

  /** Numbers of some shape; an index has one entry per axis. */
  private static final class Array {
    final long[] shape;
    final double[] values;

    Array(long[] shape, double... values) {
      this.shape = shape;
      this.values = values;
    }

    /** The values that a function has at every index. */
    static Array of(long[] shape, ToDoubleFunction<long[]> value) {
      return new Array(shape, indices(shape).mapToDouble(value).toArray());
    }

    double at(long... index) {
      int place = 0;
      for (int axis = 0; axis < shape.length; axis++) {
        place = (int) (place * shape[axis] + index[axis]);
      }
      return values[place];
    }

    boolean has(long... index) {
      return IntStream.range(0, shape.length).allMatch(i -> index[i] >= 0 && index[i] < shape[i]);
    }

    /** {@code outside} where there is no such index. */
    double at(double outside, long... index) {
      return has(index) ? at(index) : outside;
    }

    /** As if repeated by NumPy's rule. */
    double broadcast(long... index) {
      long[] own = Arrays.copyOfRange(index, index.length - shape.length, index.length);
      for (int axis = 0; axis < shape.length; axis++) {
        own[axis] = shape[axis] == 1 ? 0 : own[axis];
      }
      return at(own);
    }
  }

  private final Graph graph;
  private final Map<Tensor, Array> arrays = new HashMap<>();

  /** Runs a graph; a training graph as in its first step. */
  NaiveTwin(Graph graph, Map<String, HostTensor> inputs, Map<String, HostTensor> state) {
    this.graph = graph;
    graph.inputs().forEach((name, tensor) -> arrays.put(tensor, array(inputs.get(name))));
    for (Variable variable : graph.variables()) {
      arrays.put(variable.tensor(), array(state.get(variable.name())));
    }
    for (Node node : graph.nodes()) {
      arrays.put(node.output(), evaluate(node));
    }
  }

  private static Array array(HostTensor tensor) {
    double[] values =
        tensor.isFloat()
            ? IntStream.range(0, tensor.floats().length)
                .mapToDouble(i -> tensor.floats()[i])
                .toArray()
            : LongStream.of(tensor.longs()).asDoubleStream().toArray();
    return new Array(tensor.shape(), values);
  }

  /** The elements of a tensor, row-major. */
  double[] values(Tensor tensor) {
    return arrays.get(tensor).values;
  }

  private Array in(Node node, int index) {
    return arrays.get(node.input(index));
  }

  private Array evaluate(Node node) {
    Array x = in(node, 0);
    long[] shape = node.output().shape();
    return switch (node.kind()) {
      case CONV -> conv(node);
      case CONV_TRANSPOSE -> convTranspose(node);
      case MAX_POOL ->
          Array.of(
              shape,
              i ->
                  window(node, i)
                      .mapToDouble(pixel -> x.at(Double.NEGATIVE_INFINITY, pixel))
                      .max()
                      .getAsDouble());
      case AVERAGE_POOL -> averagePool(node);
      case ADAPTIVE_AVERAGE_POOL ->
          Array.of(shape, i -> bin(node, i).mapToDouble(x::at).average().getAsDouble());
      case ADAPTIVE_MAX_POOL ->
          Array.of(shape, i -> bin(node, i).mapToDouble(x::at).max().getAsDouble());
      case GLOBAL_AVERAGE_POOL ->
          Array.of(
              shape,
              i ->
                  indices(spatial(x.shape))
                      .mapToDouble(pixel -> x.at(joined(i, pixel)))
                      .average()
                      .getAsDouble());
      case RESIZE -> resize(node);

      case BATCH_NORM -> batchNorm(node);
      case LAYER_NORM -> {
        double epsilon = node.number("epsilon");
        int last = x.shape.length - 1;
        yield Array.of(
            shape,
            i ->
                normalised(x.at(i), line(x, i, last), epsilon) * in(node, 1).at(i[last])
                    + in(node, 2).at(i[last]));
      }
      case GROUP_NORM -> groupNorm(node);
      case RMS_NORM -> {
        double epsilon = node.number("epsilon");
        int last = x.shape.length - 1;
        yield Array.of(
            shape,
            i -> {
              double power = line(x, i, last).map(value -> value * value).average().getAsDouble();
              return x.at(i) / Math.sqrt(power + epsilon) * in(node, 1).at(i[last]);
            });
      }

      case MATMUL -> matmul(node);
      case LINEAR -> {
        int last = x.shape.length - 1;
        yield Array.of(
            shape,
            i -> {
              double y = node.inputs().size() == 3 ? in(node, 2).at(i[last]) : 0;
              for (int k = 0; k < x.shape[last]; k++) {
                y += x.at(with(i, last, k)) * in(node, 1).at(i[last], k);
              }
              return y;
            });
      }
      case ATTENTION -> attention(node);

      case SOFTMAX -> Array.of(shape, i -> Math.exp(logSoftmax(x, i, axis(node))));
      case LOG_SOFTMAX -> Array.of(shape, i -> logSoftmax(x, i, axis(node)));
      case RELU -> each(x, value -> value > 0 ? value : 0);
      case LEAKY_RELU -> each(x, value -> value > 0 ? value : value * node.number("slope"));
      case GELU -> each(x, value -> 0.5 * value * (1 + erf(value / Math.sqrt(2))));
      case SILU -> each(x, value -> value / (1 + Math.exp(-value)));
      case SIGMOID -> each(x, value -> 1 / (1 + Math.exp(-value)));
      case TANH -> each(x, value -> 1 - 2 / (Math.exp(2 * value) + 1));
      case SOFTPLUS -> each(x, value -> value > 20 ? value : Math.log(1 + Math.exp(value)));
      case EXP -> each(x, Math::exp);
      case LOG -> each(x, Math::log);
      case SQRT -> each(x, Math::sqrt);
      case RSQRT -> each(x, value -> 1 / Math.sqrt(value));
      case ABS -> each(x, Math::abs);
      case POWER -> each(x, value -> Math.pow(value, node.number("exponent")));
      case AFFINE -> each(x, value -> node.number("scale") * value + node.number("shift"));

      case ADD -> pairs(node, (a, b) -> a + b);
      case SUBTRACT -> pairs(node, (a, b) -> a - b);
      case MULTIPLY -> pairs(node, (a, b) -> a * b);
      case DIVIDE -> pairs(node, (a, b) -> a / b);

      case SUM -> Array.of(shape, i -> reduced(node, i).sum());
      case MEAN -> Array.of(shape, i -> reduced(node, i).average().getAsDouble());
      case MAX -> Array.of(shape, i -> reduced(node, i).max().getAsDouble());

      case CONCAT -> concat(node);
      case SLICE ->
          Array.of(
              shape,
              i -> x.at(axes(i, a -> node.sizes("begin")[a] + i[a] * node.sizes("step")[a])));
      case PAD ->
          Array.of(
              shape, i -> x.at(node.number("value"), axes(i, a -> i[a] - node.sizes("before")[a])));
      case PERMUTE -> {
        long[] from = node.sizes("axes");
        yield Array.of(
            shape,
            i -> {
              long[] index = i.clone();
              for (int axis = 0; axis < i.length; axis++) {
                index[(int) from[axis]] = i[axis];
              }
              return x.at(index);
            });
      }
      case RESHAPE -> new Array(shape, x.values);
      case FLIP ->
          Array.of(
              shape,
              i -> {
                long[] index = i.clone();
                for (long axis : node.sizes("axes")) {
                  index[(int) axis] = x.shape[(int) axis] - 1 - i[(int) axis];
                }
                return x.at(index);
              });
      case GATHER -> gather(node);

      case DROPOUT -> dropout(node);

      case CROSS_ENTROPY -> crossEntropy(node);
      case SOFT_CROSS_ENTROPY -> {
        double sum = 0;
        for (long[] i : indices(x.shape).toList()) {
          sum -= in(node, 1).at(i) * logSoftmax(x, i, 1);
        }
        yield new Array(shape, sum * x.shape[1] / x.values.length);
      }
    };
  }

  // Windows.

  private Array conv(Node node) {
    Array x = in(node, 0);
    Array weight = in(node, 1);
    long filters = weight.shape[0] / node.integer("groups"); // of a group
    long channels = weight.shape[1];
    return Array.of(
        node.output().shape(),
        i ->
            bias(node, i)
                + indices(from(weight.shape, 1)) // (c, k...)
                    .mapToDouble(
                        tap -> {
                          long[] pixel = pixel(node, i, from(tap, 1));
                          pixel[1] = i[1] / filters * channels + tap[0];
                          return x.at(0, pixel) * weight.at(joined(of(i[1]), tap));
                        })
                    .sum());
  }

  /** Result p adds x(p)·w(k) to pixel p·stride − padding + k·dilation. */
  private Array convTranspose(Node node) {
    Array x = in(node, 0);
    Array weight = in(node, 1);
    long channels = weight.shape[0] / node.integer("groups"); // of a group
    long filters = weight.shape[1];
    double[] y = new double[(int) node.output().elements()];
    Array result = new Array(node.output().shape(), y);
    for (long[] i : indices(x.shape).toList()) {
      for (long[] tap : indices(from(weight.shape, 1)).toList()) { // (o, k...)
        long[] pixel = pixel(node, i, from(tap, 1));
        pixel[1] = i[1] / channels * filters + tap[0];
        if (result.has(pixel)) {
          y[place(pixel, result.shape)] += x.at(i) * weight.at(joined(of(i[1]), tap));
        }
      }
    }
    return Array.of(result.shape, i -> result.at(i) + bias(node, i));
  }

  private double bias(Node node, long... index) {
    return node.inputs().size() == 3 ? in(node, 2).at(index[1]) : 0;
  }

  /** Where the window at {@code index} of a convolution or a pool has its tap. */
  private static long[] pixel(Node node, long[] index, long... tap) {
    long[] pixel = index.clone();
    for (int axis = 0; axis < tap.length; axis++) {
      long dilation = node.attributes().containsKey("dilation") ? node.sizes("dilation")[axis] : 1;
      pixel[axis + 2] =
          index[axis + 2] * node.sizes("stride")[axis]
              - node.sizes("padding")[axis]
              + tap[axis] * dilation;
    }
    return pixel;
  }

  private static Stream<long[]> window(Node node, long... index) {
    return indices(node.sizes("kernel")).map(tap -> pixel(node, index, tap));
  }

  private Array averagePool(Node node) {
    Array x = in(node, 0);
    return Array.of(
        node.output().shape(),
        i -> {
          List<long[]> window =
              window(node, i)
                  .filter(pixel -> node.integer("count-padding") == 1 || x.has(pixel))
                  .toList();
          return window.stream().mapToDouble(pixel -> x.at(0, pixel)).average().getAsDouble();
        });
  }

  /** The pixels whose share of the axis overlaps with that of the bin. */
  private static Stream<long[]> bin(Node node, long... index) {
    long[] in = node.input(0).shape();
    long[] out = node.output().shape();
    return indices(in)
        .filter(
            pixel ->
                IntStream.range(0, in.length)
                    .allMatch(
                        a ->
                            a < 2
                                ? pixel[a] == index[a]
                                : pixel[a] * out[a] < (index[a] + 1) * in[a]
                                    && (pixel[a] + 1) * out[a] > index[a] * in[a]));
  }

  private Array resize(Node node) {
    Array x = in(node, 0);
    String mode = node.text("mode");
    boolean aligned = node.integer("align-corners") == 1;
    long[] out = node.output().shape();
    return Array.of(
        out,
        i -> {
          double sum = 0;
          // A border of two more pixels, which repeat the outermost ones.
          long[] box = axes(i, a -> a < 2 ? 1 : x.shape[a] + 4);
          for (long[] tap : indices(box).toList()) {
            double weight = 1;
            for (int a = 2; a < i.length; a++) {
              double n = x.shape[a];
              double place =
                  aligned
                      ? (out[a] == 1 ? 0 : i[a] * (n - 1) / (out[a] - 1))
                      : (i[a] + 0.5) * n / out[a] - 0.5;
              double distance = Math.abs(place - (tap[a] - 2));
              weight *=
                  switch (mode) {
                    case "nearest" ->
                        tap[a] - 2 == Math.floorDiv(i[a] * x.shape[a], out[a]) ? 1 : 0;
                    case "linear" -> Math.max(0, 1 - distance);
                    default -> cubic(distance);
                  };
            }
            long[] pixel =
                axes(i, a -> a < 2 ? i[a] : Math.max(0, Math.min(tap[a] - 2, x.shape[a] - 1)));
            sum += weight * x.at(pixel);
          }
          return sum;
        });
  }

  /** Keys' kernel with a = −3/4. */
  private static double cubic(double d) {
    if (d < 1) {
      return 1.25 * d * d * d - 2.25 * d * d + 1;
    }
    return d < 2 ? -0.75 * d * d * d + 3.75 * d * d - 6 * d + 3 : 0;
  }

  // Normalisations.

  private Array batchNorm(Node node) {
    Array x = in(node, 0);
    double epsilon = node.number("epsilon");
    return Array.of(
        x.shape,
        i -> {
          double value;
          if (graph.mode() == Graph.Mode.TRAINING) {
            value =
                normalised(
                    x.at(i),
                    indices(x.shape).filter(j -> j[1] == i[1]).mapToDouble(x::at),
                    epsilon);
          } else {
            value = (x.at(i) - in(node, 3).at(i[1])) / Math.sqrt(in(node, 4).at(i[1]) + epsilon);
          }
          return value * in(node, 1).at(i[1]) + in(node, 2).at(i[1]);
        });
  }

  private Array groupNorm(Node node) {
    Array x = in(node, 0);
    long size = x.shape[1] / node.integer("groups");
    return Array.of(
        x.shape,
        i -> {
          DoubleStream group =
              indices(x.shape)
                  .filter(j -> j[0] == i[0] && j[1] / size == i[1] / size)
                  .mapToDouble(x::at);
          return normalised(x.at(i), group, node.number("epsilon")) * in(node, 1).at(i[1])
              + in(node, 2).at(i[1]);
        });
  }

  private static double normalised(double x, DoubleStream among, double epsilon) {
    double[] all = among.toArray();
    double mean = Arrays.stream(all).average().getAsDouble();
    double variance = Arrays.stream(all).map(v -> (v - mean) * (v - mean)).average().getAsDouble();
    return (x - mean) / Math.sqrt(variance + epsilon);
  }

  // Products.

  private Array matmul(Node node) {
    Array a = in(node, 0);
    Array b = in(node, 1);
    boolean transposedA = node.integer("transpose-a") == 1;
    boolean transposedB = node.integer("transpose-b") == 1;
    int last = a.shape.length - 1;
    return Array.of(
        node.output().shape(),
        i -> {
          double sum = 0;
          for (long k = 0; k < a.shape[transposedA ? last - 1 : last]; k++) {
            long[] left = with(i, last, k); // (..., m, k)
            long[] right = with(i, last - 1, k); // (..., k, n)
            sum +=
                a.at(transposedA ? swapped(left) : left)
                    * b.at(transposedB ? swapped(right) : right);
          }
          return sum;
        });
  }

  private static long[] swapped(long... index) {
    int last = index.length - 1;
    return with(with(index, last, index[last - 1]), last - 1, index[last]);
  }

  private Array attention(Node node) {
    Array q = in(node, 0);
    Array k = in(node, 1);
    Array v = in(node, 2);
    int last = q.shape.length - 1;
    long keys = k.shape[last - 1];
    return Array.of(
        node.output().shape(),
        i -> {
          double sum = 0;
          double total = 0;
          for (long m = 0; m < keys; m++) {
            double score = 0;
            for (long d = 0; d < q.shape[last]; d++) {
              score += q.at(with(i, last, d)) * k.at(with(with(i, last - 1, m), last, d));
            }
            double weight = Math.exp(node.number("scale") * score);
            sum += weight * v.at(with(i, last - 1, m));
            total += weight;
          }
          return sum / total;
        });
  }

  // Element by element.

  private static Array each(Array x, DoubleUnaryOperator function) {
    return new Array(x.shape, Arrays.stream(x.values).map(function).toArray());
  }

  private Array pairs(Node node, DoubleBinaryOperator function) {
    return Array.of(
        node.output().shape(),
        i -> function.applyAsDouble(in(node, 0).broadcast(i), in(node, 1).broadcast(i)));
  }

  /** By the series whose terms are all of one sign: 2/√π·exp(−x²)·Σ 2ⁿ·x²ⁿ⁺¹ / (2n + 1)!!. */
  private static double erf(double x) {
    if (Math.abs(x) > 6) {
      return Math.signum(x);
    }
    double sum = 0;
    double term = x;
    for (int n = 1; n < 200; n++) {
      sum += term;
      term *= 2 * x * x / (2 * n + 1);
    }
    return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
  }

  private static double logSoftmax(Array x, long[] index, int axis) {
    return x.at(index) - Math.log(line(x, index, axis).map(Math::exp).sum());
  }

  /** What an element of a reduction's result is made of. */
  private DoubleStream reduced(Node node, long... index) {
    Array x = in(node, 0);
    boolean keep = node.integer("keep") == 1;
    List<Long> axes = LongStream.of(node.sizes("axes")).boxed().toList();
    return indices(x.shape)
        .filter(
            j -> {
              int next = 0;
              for (int axis = 0; axis < j.length; axis++) {
                boolean reduced = axes.contains((long) axis);
                if (!reduced && j[axis] != index[next]) {
                  return false;
                }
                next += !reduced || keep ? 1 : 0;
              }
              return true;
            })
        .mapToDouble(x::at);
  }

  // Moving elements.

  private Array concat(Node node) {
    int axis = axis(node);
    return Array.of(
        node.output().shape(),
        i -> {
          long place = i[axis];
          int part = 0;
          while (place >= in(node, part).shape[axis]) {
            place -= in(node, part++).shape[axis];
          }
          return in(node, part).at(with(i, axis, place));
        });
  }

  private Array gather(Node node) {
    Array x = in(node, 0);
    Array indices = in(node, 1);
    int axis = axis(node);
    int rank = indices.shape.length;
    return Array.of(
        node.output().shape(),
        i -> {
          long named = (long) indices.at(Arrays.copyOfRange(i, axis, axis + rank));
          return x.at(joined(Arrays.copyOf(i, axis), of(named), from(i, axis + rank)));
        });
  }

  private Array dropout(Node node) {
    long[] shape = node.sizes("mask");
    float[] mask = new float[(int) indices(shape).count()];
    Dropout.fill(mask, graph.noiseSeed(), 0, node.integer("index"), node.number("rate"));
    return Array.of(
        node.output().shape(),
        i -> {
          long[] shared = axes(i, axis -> shape[axis] == 1 ? 0 : i[axis]);
          return in(node, 0).at(i) * mask[place(shared, shape)];
        });
  }

  // Losses.

  private Array crossEntropy(Node node) {
    Array logits = in(node, 0);
    Array labels = in(node, 1);
    long classes = logits.shape[1];
    double smoothing = node.number("smoothing");
    double sum = 0;
    double total = 0;
    for (long[] i : indices(labels.shape).toList()) {
      long label = (long) labels.at(i);
      if (label == node.integer("ignore-index")) {
        continue;
      }
      total += weight(node, label);
      for (long k = 0; k < classes; k++) {
        double target = (k == label ? 1 - smoothing : 0) + smoothing / classes;
        long[] index = joined(of(i[0], k), from(i, 1));
        sum -= weight(node, k) * target * logSoftmax(logits, index, 1);
      }
    }
    return new Array(new long[0], total == 0 ? 0 : sum / total);
  }

  private double weight(Node node, long label) {
    return node.inputs().size() == 3 ? in(node, 2).at(label) : 1;
  }

  // Indices.

  private static int axis(Node node) {
    return (int) node.integer("axis");
  }

  private static long[] of(long... index) {
    return index;
  }

  private static long[] spatial(long... shape) {
    return from(shape, 2);
  }

  private static long[] from(long[] index, int first) {
    return Arrays.copyOfRange(index, first, index.length);
  }

  private static long[] joined(long[]... parts) {
    return Arrays.stream(parts).flatMapToLong(Arrays::stream).toArray();
  }

  /** The same index but for one axis. */
  private static long[] with(long[] index, int axis, long place) {
    long[] other = index.clone();
    other[axis] = place;
    return other;
  }

  private interface Axis {
    long place(int axis);
  }

  /** An index of as many axes as {@code like}. */
  private static long[] axes(long[] like, Axis place) {
    return IntStream.range(0, like.length).mapToLong(place::place).toArray();
  }

  /** The values on the line through {@code index} along an axis. */
  private static DoubleStream line(Array x, long[] index, int axis) {
    return LongStream.range(0, x.shape[axis]).mapToDouble(i -> x.at(with(index, axis, i)));
  }

  private static int place(long[] index, long... shape) {
    int place = 0;
    for (int axis = 0; axis < shape.length; axis++) {
      place = (int) (place * shape[axis] + index[axis]);
    }
    return place;
  }

  /** Every index of a shape, row-major. */
  private static Stream<long[]> indices(long... shape) {
    long count = LongStream.of(shape).reduce(1, (a, b) -> a * b);
    return LongStream.range(0, count)
        .mapToObj(
            place -> {
              long[] index = new long[shape.length];
              long rest = place;
              for (int axis = shape.length - 1; axis >= 0; axis--) {
                index[axis] = rest % shape[axis];
                rest /= shape[axis];
              }
              return index;
            });
  }
}
