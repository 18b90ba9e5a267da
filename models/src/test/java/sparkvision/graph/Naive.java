package sparkvision.graph;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import java.util.function.ToDoubleFunction;
import sparkvision.weights.HostTensor;

/**
 * Every word as plain loops in double precision, straight from its definition: what the
 * translations are compared with. Regions have formulas of their own, so that composites are
 * compared too. A training graph is in its first step; state is read, never changed.
 */
public final class Naive {

  private final Graph graph;
  private final Map<Tensor, double[]> values = new HashMap<>();

  private Naive(Graph graph) {
    this.graph = graph;
  }

  /** The values of every tensor of a graph. */
  public static Map<Tensor, double[]> run(Graph g, Map<String, HostTensor> inputs) {
    return run(g, g.nodes(), inputs);
  }

  /** The values of every tensor of a graph of which {@code nodes} are computed. */
  public static Map<Tensor, double[]> run(
      Graph g, List<Node> nodes, Map<String, HostTensor> given) {
    Naive naive = new Naive(g);
    g.inputs().forEach((name, tensor) -> naive.values.put(tensor, doubles(given.get(name))));
    for (Variable variable : g.variables()) {
      HostTensor state = given.get(variable.name());
      naive.values.put(variable.tensor(), state == null ? initial(g, variable) : doubles(state));
    }
    for (Node node : nodes) {
      naive.values.put(node.output(), naive.compute(node));
    }
    return naive.values;
  }

  /** What an engine would start with. */
  static double[] initial(Graph g, Variable variable) {
    Tensor tensor = variable.tensor();
    return doubles(
        HostTensor.of(
            variable.initializer().values(g.seed(), variable.name(), tensor.shape()),
            tensor.shape()));
  }

  static double[] doubles(HostTensor tensor) {
    double[] doubles =
        new double[tensor.isFloat() ? tensor.floats().length : tensor.longs().length];
    for (int i = 0; i < doubles.length; i++) {
      doubles[i] = tensor.isFloat() ? tensor.floats()[i] : tensor.longs()[i];
    }
    return doubles;
  }

  private double[] compute(Node node) {
    return switch (node.kind()) {
      case CONV -> conv(node);
      case CONV_TRANSPOSE -> convTranspose(node);
      case MAX_POOL, AVERAGE_POOL -> pool(node);
      case ADAPTIVE_AVERAGE_POOL, ADAPTIVE_MAX_POOL -> adaptivePool(node);
      case GLOBAL_AVERAGE_POOL ->
          each(node, at -> mean(x(node), pixel -> pixel[0] == at[0] && pixel[1] == at[1]));
      case RESIZE -> resize(node);
      case BATCH_NORM -> batchNorm(node);
      case LAYER_NORM, RMS_NORM, GROUP_NORM -> norm(node);
      case MATMUL -> matmul(node);
      case LINEAR -> linear(node);
      case ATTENTION -> attention(node);
      case CRISS_CROSS -> crissCross(node);
      case CAUSAL_CONV -> causalConv(node);
      case SELECTIVE_SCAN -> selectiveScan(node);
      case SOFTMAX, LOG_SOFTMAX -> softmax(node);
      case RELU -> map(node, v -> Math.max(v, 0));
      case LEAKY_RELU -> map(node, v -> v < 0 ? node.number("slope") * v : v);
      case GELU -> map(node, v -> v * normalDistribution(v));
      case SILU -> map(node, v -> v / (1 + Math.exp(-v)));
      case SIGMOID -> map(node, v -> 1 / (1 + Math.exp(-v)));
      case TANH -> map(node, Math::tanh);
      case SOFTPLUS -> map(node, v -> v > 20 ? v : Math.log1p(Math.exp(v)));
      case EXP -> map(node, Math::exp);
      case LOG -> map(node, Math::log);
      case SQRT -> map(node, Math::sqrt);
      case RSQRT -> map(node, v -> 1 / Math.sqrt(v));
      case ABS -> map(node, Math::abs);
      case POWER -> map(node, v -> Math.pow(v, node.number("exponent")));
      case AFFINE -> map(node, v -> node.number("scale") * v + node.number("shift"));
      case ADD -> each(node, at -> broadcast(node, 0, at) + broadcast(node, 1, at));
      case SUBTRACT -> each(node, at -> broadcast(node, 0, at) - broadcast(node, 1, at));
      case MULTIPLY -> each(node, at -> broadcast(node, 0, at) * broadcast(node, 1, at));
      case DIVIDE -> each(node, at -> broadcast(node, 0, at) / broadcast(node, 1, at));
      case SUM, MEAN, MAX -> reduce(node);
      case CONCAT -> concat(node);
      case SLICE ->
          each(
              node,
              at ->
                  in(
                      node,
                      0,
                      index(at, i -> node.sizes("begin")[i] + at[i] * node.sizes("step")[i])));
      case PAD ->
          each(
              node,
              at -> {
                long[] from = index(at, i -> at[i] - node.sizes("before")[i]);
                return inside(from, node.input(0).shape())
                    ? in(node, 0, from)
                    : node.number("value");
              });
      case PERMUTE ->
          each(
              node,
              at -> {
                long[] from = new long[at.length];
                for (int i = 0; i < at.length; i++) {
                  from[(int) node.sizes("axes")[i]] = at[i];
                }
                return in(node, 0, from);
              });
      case RESHAPE -> x(node).numbers.clone();
      case FLIP ->
          each(
              node,
              at -> {
                long[] from = at.clone();
                for (long axis : node.sizes("axes")) {
                  from[(int) axis] = node.input(0).size((int) axis) - 1 - at[(int) axis];
                }
                return in(node, 0, from);
              });
      case GATHER -> gather(node);
      case ONE_HOT -> oneHot(node);
      case CROSS_ENTROPY -> crossEntropy(node);
      case SOFT_CROSS_ENTROPY -> softCrossEntropy(node);
      case DROPOUT -> dropout(node);
    };
  }

  // Windows.

  private double[] conv(Node node) {
    Array weight = array(node, 1);
    long[] kernel = node.sizes("kernel");
    long perGroup = weight.shape[1];
    long outPerGroup = weight.shape[0] / node.integer("groups");
    return each(
        node,
        at -> {
          double sum = node.inputs().size() == 3 ? in(node, 2, at[1]) : 0;
          for (long c = 0; c < perGroup; c++) {
            for (long[] k : places(kernel)) {
              long[] from = at.clone();
              from[1] = at[1] / outPerGroup * perGroup + c;
              long[] tap = new long[kernel.length + 2];
              tap[0] = at[1];
              tap[1] = c;
              for (int i = 0; i < kernel.length; i++) {
                tap[i + 2] = k[i];
                from[i + 2] =
                    at[i + 2] * node.sizes("stride")[i]
                        - node.sizes("padding")[i]
                        + k[i] * node.sizes("dilation")[i];
              }
              if (inside(from, node.input(0).shape())) {
                sum += in(node, 0, from) * weight.at(tap);
              }
            }
          }
          return sum;
        });
  }

  /** Every input pixel adds its kernel to the output, as a stamp. */
  private double[] convTranspose(Node node) {
    Array x = x(node);
    Array weight = array(node, 1);
    Array y = new Array(new double[(int) node.output().elements()], node.output().shape());
    long[] kernel = node.sizes("kernel");
    long groups = node.integer("groups");
    for (long[] from : places(x.shape)) {
      long group = from[1] / (x.shape[1] / groups);
      for (long o = 0; o < weight.shape[1]; o++) {
        for (long[] k : places(kernel)) {
          long[] to = from.clone();
          to[1] = group * weight.shape[1] + o;
          long[] tap = new long[kernel.length + 2];
          tap[0] = from[1];
          tap[1] = o;
          for (int i = 0; i < kernel.length; i++) {
            tap[i + 2] = k[i];
            to[i + 2] =
                from[i + 2] * node.sizes("stride")[i]
                    - node.sizes("padding")[i]
                    + k[i] * node.sizes("dilation")[i];
          }
          if (inside(to, y.shape)) {
            y.numbers[y.place(to)] += x.at(from) * weight.at(tap);
          }
        }
      }
    }
    if (node.inputs().size() == 3) {
      for (long[] at : places(y.shape)) {
        y.numbers[y.place(at)] += in(node, 2, at[1]);
      }
    }
    return y.numbers;
  }

  private double[] pool(Node node) {
    boolean max = node.kind() == Node.Kind.MAX_POOL;
    long[] kernel = node.sizes("kernel");
    return each(
        node,
        at -> {
          double sum = 0;
          double largest = Double.NEGATIVE_INFINITY;
          int inside = 0;
          for (long[] k : places(kernel)) {
            long[] from = at.clone();
            for (int i = 0; i < kernel.length; i++) {
              from[i + 2] = at[i + 2] * node.sizes("stride")[i] - node.sizes("padding")[i] + k[i];
            }
            if (inside(from, node.input(0).shape())) {
              inside++;
              sum += in(node, 0, from);
              largest = Math.max(largest, in(node, 0, from));
            }
          }
          if (max) {
            return largest;
          }
          return sum / (node.integer("count-padding") == 1 ? places(kernel).size() : inside);
        });
  }

  private double[] adaptivePool(Node node) {
    return each(
        node,
        at -> {
          double sum = 0;
          double largest = Double.NEGATIVE_INFINITY;
          int count = 0;
          for (long[] from : places(node.input(0).shape())) {
            boolean binned = from[0] == at[0] && from[1] == at[1];
            for (int i = 2; i < at.length; i++) {
              double width = (double) node.input(0).size(i) / node.output().size(i);
              binned &=
                  from[i] >= Math.floor(at[i] * width + 1e-9)
                      && from[i] < Math.ceil((at[i] + 1) * width - 1e-9);
            }
            if (binned) {
              count++;
              sum += in(node, 0, from);
              largest = Math.max(largest, in(node, 0, from));
            }
          }
          return node.kind() == Node.Kind.ADAPTIVE_MAX_POOL ? largest : sum / count;
        });
  }

  /** As in PyTorch's documentation and sources, pixel by pixel. */
  private double[] resize(Node node) {
    String mode = node.text("mode");
    int taps = mode.equals("cubic") ? 4 : mode.equals("linear") ? 2 : 1;
    int axes = node.output().rank() - 2;
    return each(
        node,
        at -> {
          double sum = 0;
          for (long[] tap : places(Shapes.filled(axes, taps))) {
            double weight = 1;
            long[] from = at.clone();
            for (int i = 0; i < axes; i++) {
              long in = node.input(0).size(i + 2);
              long out = node.output().size(i + 2);
              double place = (at[i + 2] + 0.5) * in / out - 0.5;
              if (node.integer("align-corners") == 1) {
                place = out == 1 ? 0 : (double) at[i + 2] * (in - 1) / (out - 1);
              }
              if (taps == 1) {
                from[i + 2] = at[i + 2] * in / out;
                continue;
              }
              if (taps == 2) {
                place = Math.max(place, 0);
              }
              long left = (long) Math.floor(place);
              double share = place - left;
              if (taps == 2) {
                weight *= tap[i] == 0 ? 1 - share : share;
                from[i + 2] = Math.min(left + tap[i], in - 1);
              } else {
                weight *= cubic(share + 1 - tap[i]);
                from[i + 2] = Math.max(0, Math.min(left - 1 + tap[i], in - 1));
              }
            }
            sum += weight * in(node, 0, from);
          }
          return sum;
        });
  }

  private static double cubic(double signed) {
    double x = Math.abs(signed);
    double a = -0.75;
    return x <= 1
        ? (a + 2) * x * x * x - (a + 3) * x * x + 1
        : a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a;
  }

  // Normalisations and products.

  /** With the batch's statistics in training, the running ones in inference. */
  private double[] batchNorm(Node node) {
    boolean training = graph.mode() == Graph.Mode.TRAINING;
    return each(
        node,
        at -> {
          Condition together = pixel -> pixel[1] == at[1];
          double mean = training ? mean(x(node), together) : in(node, 3, at[1]);
          double variance = training ? mean(squares(x(node), mean), together) : in(node, 4, at[1]);
          return (in(node, 0, at) - mean)
                  / Math.sqrt(variance + node.number("epsilon"))
                  * in(node, 1, at[1])
              + in(node, 2, at[1]);
        });
  }

  private static Array squares(Array x, double mean) {
    return new Array(Arrays.stream(x.numbers).map(v -> (v - mean) * (v - mean)).toArray(), x.shape);
  }

  private double[] norm(Node node) {
    boolean grouped = node.kind() == Node.Kind.GROUP_NORM;
    Array x = x(node);
    return each(
        node,
        at -> {
          Condition together =
              pixel -> {
                if (grouped) {
                  long size = x.shape[1] / node.integer("groups");
                  return pixel[0] == at[0] && pixel[1] / size == at[1] / size;
                }
                return Arrays.equals(pixel, 0, at.length - 1, at, 0, at.length - 1);
              };
          double mean = node.kind() == Node.Kind.RMS_NORM ? 0 : mean(x, together);
          double variance = 0;
          int count = 0;
          for (long[] pixel : places(x.shape)) {
            if (together.holds(pixel)) {
              variance += (x.at(pixel) - mean) * (x.at(pixel) - mean);
              count++;
            }
          }
          long c = grouped ? at[1] : at[at.length - 1];
          double y = (x.at(at) - mean) / Math.sqrt(variance / count + node.number("epsilon"));
          return y * in(node, 1, c) + (node.inputs().size() == 3 ? in(node, 2, c) : 0);
        });
  }

  private double[] matmul(Node node) {
    boolean transposeA = node.integer("transpose-a") == 1;
    boolean transposeB = node.integer("transpose-b") == 1;
    int rank = node.output().rank();
    long inner = node.input(0).size(transposeA ? rank - 2 : rank - 1);
    return each(
        node,
        at -> {
          double sum = 0;
          for (long k = 0; k < inner; k++) {
            long[] a = at.clone();
            a[rank - 1] = transposeA ? at[rank - 2] : k;
            a[rank - 2] = transposeA ? k : at[rank - 2];
            long[] b = at.clone();
            b[rank - 2] = transposeB ? at[rank - 1] : k;
            b[rank - 1] = transposeB ? k : at[rank - 1];
            sum += in(node, 0, a) * in(node, 1, b);
          }
          return sum;
        });
  }

  private double[] linear(Node node) {
    int last = node.output().rank() - 1;
    return each(
        node,
        at -> {
          double sum = node.inputs().size() == 3 ? in(node, 2, at[last]) : 0;
          long[] from = at.clone();
          for (long k = 0; k < node.input(1).size(1); k++) {
            from[last] = k;
            sum += in(node, 0, from) * in(node, 1, at[last], k);
          }
          return sum;
        });
  }

  private double[] attention(Node node) {
    int rank = node.output().rank();
    return each(
        node,
        at -> {
          double above = 0;
          double below = 0;
          for (long m = 0; m < node.input(1).size(rank - 2); m++) {
            double score = 0;
            long[] q = at.clone();
            long[] k = at.clone();
            k[rank - 2] = m;
            for (long d = 0; d < node.input(0).size(rank - 1); d++) {
              q[rank - 1] = d;
              k[rank - 1] = d;
              score += in(node, 0, q) * in(node, 1, k);
            }
            long[] v = at.clone();
            v[rank - 2] = m;
            double weight = Math.exp(node.number("scale") * score);
            above += weight * in(node, 2, v);
            below += weight;
          }
          return above / below;
        });
  }

  /** With weights of 1 on the row and on the column beside the pixel itself, 0 elsewhere. */
  private double[] crissCross(Node node) {
    long[] sizes = node.output().shape();
    return each(
        node,
        at -> {
          double above = 0;
          double below = 0;
          for (long h = 0; h < sizes[2]; h++) {
            for (long w = 0; w < sizes[3]; w++) {
              if (h != at[2] && w != at[3]) {
                continue;
              }
              double score = 0;
              for (long r = 0; r < node.input(0).size(1); r++) {
                score += in(node, 0, at[0], r, at[2], at[3]) * in(node, 1, at[0], r, h, w);
              }
              above += Math.exp(score) * in(node, 2, at[0], at[1], h, w);
              below += Math.exp(score);
            }
          }
          return above / below;
        });
  }

  private double[] causalConv(Node node) {
    long taps = node.input(1).size(2);
    int step = node.integer("backward") == 1 ? -1 : 1;
    return each(
        node,
        at -> {
          double sum = in(node, 2, at[1]);
          for (long tap = 0; tap < taps; tap++) {
            long t = at[2] - step * (taps - 1 - tap);
            if (t >= 0 && t < node.output().size(2)) {
              sum += in(node, 1, at[1], 0, tap) * in(node, 0, at[0], at[1], t);
            }
          }
          return sum / (1 + Math.exp(-sum));
        });
  }

  private double[] selectiveScan(Node node) {
    boolean backward = node.integer("backward") == 1;
    return each(
        node,
        at -> {
          double y = scan(node, 0, 7, backward, at);
          if (node.inputs().size() > 8) {
            y += scan(node, 8, 14, !backward, at);
          }
          double z = in(node, 6, at);
          return y * z / (1 + Math.exp(-z));
        });
  }

  private double scan(Node node, int first, int bias, boolean backward, long[] at) {
    long last = node.output().size(2) - 1;
    double y = in(node, first + 5, at[1]) * in(node, first, at);
    for (long n = 0; n < node.input(first + 2).size(1); n++) {
      double h = 0;
      for (long t = 0; t <= (backward ? last - at[2] : at[2]); t++) {
        long token = backward ? last - t : t;
        double raw = in(node, first + 1, at[0], at[1], token) + in(node, bias, at[1]);
        double step = raw > 20 ? raw : Math.log1p(Math.exp(raw));
        double decay = Math.exp(step * in(node, first + 2, at[1], n));
        double u = in(node, first, at[0], at[1], token);
        h = decay * h + step * u * in(node, first + 3, at[0], n, token);
      }
      y += in(node, first + 4, at[0], n, at[2]) * h;
    }
    return y;
  }

  private double[] softmax(Node node) {
    int axis = (int) node.integer("axis");
    return each(
        node,
        at -> {
          double sum = 0;
          long[] other = at.clone();
          for (long i = 0; i < node.output().size(axis); i++) {
            other[axis] = i;
            sum += Math.exp(in(node, 0, other) - in(node, 0, at));
          }
          return node.kind() == Node.Kind.SOFTMAX ? 1 / sum : -Math.log(sum);
        });
  }

  /** Φ by its series, as far out as it matters. */
  private static double normalDistribution(double x) {
    if (Math.abs(x) > 10) {
      return x < 0 ? 0 : 1;
    }
    double term = x;
    double sum = x;
    for (int i = 1; i < 300; i++) {
      term *= x * x / (2 * i + 1);
      sum += term;
    }
    return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  }

  // Moving elements.

  private double[] reduce(Node node) {
    Array x = x(node);
    boolean keep = node.integer("keep") == 1;
    long[] axes = node.sizes("axes");
    double[] result = new double[(int) node.output().elements()];
    Arrays.fill(result, node.kind() == Node.Kind.MAX ? Double.NEGATIVE_INFINITY : 0);
    Array y = new Array(result, Shapes.reduced(node.input(0), axes, true));
    assertShape(node, Shapes.reduced(node.input(0), axes, keep));
    for (long[] at : places(x.shape)) {
      long[] to = at.clone();
      for (long axis : axes) {
        to[(int) axis] = 0;
      }
      int i = y.place(to);
      result[i] =
          node.kind() == Node.Kind.MAX ? Math.max(result[i], x.at(at)) : result[i] + x.at(at);
    }
    if (node.kind() == Node.Kind.MEAN) {
      double count = (double) x.numbers.length / result.length;
      Arrays.setAll(result, i -> result[i] / count);
    }
    return result;
  }

  private double[] concat(Node node) {
    int axis = (int) node.integer("axis");
    return each(
        node,
        at -> {
          long[] from = at.clone();
          int part = 0;
          while (from[axis] >= node.input(part).size(axis)) {
            from[axis] -= node.input(part).size(axis);
            part++;
          }
          return in(node, part, from);
        });
  }

  private double[] gather(Node node) {
    int axis = (int) node.integer("axis");
    int width = node.input(1).rank();
    return each(
        node,
        at -> {
          long[] from = new long[node.input(0).rank()];
          System.arraycopy(at, 0, from, 0, axis);
          from[axis] = (long) in(node, 1, Arrays.copyOfRange(at, axis, axis + width));
          System.arraycopy(at, axis + width, from, axis + 1, from.length - axis - 1);
          return in(node, 0, from);
        });
  }

  // Noise.

  private double[] dropout(Node node) {
    long[] shape = node.sizes("mask");
    Array shared = new Array(new double[places(shape).size()], shape);
    float[] mask = new float[shared.numbers.length];
    Dropout.fill(mask, graph.noiseSeed(), 0, node.integer("index"), node.number("rate"));
    return each(
        node,
        at -> in(node, 0, at) * mask[shared.place(index(at, i -> shape[i] == 1 ? 0 : at[i]))]);
  }

  // Losses.

  private double[] oneHot(Node node) {
    return each(
        node,
        at -> {
          long[] place = new long[at.length - 1];
          place[0] = at[0];
          System.arraycopy(at, 2, place, 1, place.length - 1);
          double label = in(node, 0, place);
          return label == at[1] && label != node.integer("ignore-index") ? 1 : 0;
        });
  }

  private double[] crossEntropy(Node node) {
    Array logits = x(node);
    Array labels = array(node, 1);
    long classes = logits.shape[1];
    double smoothing = node.number("smoothing");
    double above = 0;
    double below = 0;
    List<Double> probabilities = new ArrayList<>();
    for (long[] at : places(labels.shape)) {
      long label = (long) labels.at(at);
      if (label != node.integer("ignore-index")) {
        probabilities.add(Math.exp(logits.at(withClass(at, label))) / powers(logits, at));
      }
    }
    double limit = node.number("threshold");
    if (!probabilities.isEmpty()) {
      int kept = (int) Math.min(node.integer("least-kept"), probabilities.size() - 1);
      limit = Math.max(limit, probabilities.stream().sorted().toList().get(kept));
    }
    for (long[] at : places(labels.shape)) {
      long label = (long) labels.at(at);
      if (label == node.integer("ignore-index")) {
        continue;
      }
      double sum = powers(logits, at);
      if (!(Math.exp(logits.at(withClass(at, label))) / sum < limit)) {
        continue;
      }
      for (long k = 0; k < classes; k++) {
        double target = smoothing / classes + (k == label ? 1 - smoothing : 0);
        double weight = node.inputs().size() == 3 ? in(node, 2, k) : 1;
        above -= target * weight * (logits.at(withClass(at, k)) - Math.log(sum));
      }
      below += node.inputs().size() == 3 ? in(node, 2, label) : 1;
    }
    return new double[] {below == 0 ? 0 : above / below};
  }

  /** Σ exp over the classes of a place. */
  private static double powers(Array logits, long[] place) {
    double sum = 0;
    for (long k = 0; k < logits.shape[1]; k++) {
      sum += Math.exp(logits.at(withClass(place, k)));
    }
    return sum;
  }

  private double[] softCrossEntropy(Node node) {
    Array logits = x(node);
    double loss = 0;
    for (long[] at : places(logits.shape)) {
      double sum = 0;
      long[] other = at.clone();
      for (long k = 0; k < logits.shape[1]; k++) {
        other[1] = k;
        sum += Math.exp(logits.at(other));
      }
      loss -= in(node, 1, at) * (logits.at(at) - Math.log(sum));
    }
    return new double[] {loss * logits.shape[1] / logits.numbers.length};
  }

  private static long[] withClass(long[] at, long k) {
    long[] longer = new long[at.length + 1];
    longer[0] = at[0];
    longer[1] = k;
    System.arraycopy(at, 1, longer, 2, at.length - 1);
    return longer;
  }

  // Building blocks.

  private record Array(double[] numbers, long[] shape) {

    int place(long... at) {
      long place = 0;
      for (int i = 0; i < shape.length; i++) {
        place = place * shape[i] + at[i];
      }
      return (int) place;
    }

    double at(long... at) {
      return numbers[place(at)];
    }
  }

  @FunctionalInterface
  private interface Condition {
    boolean holds(long[] pixel);
  }

  @FunctionalInterface
  private interface Along {
    long index(int axis);
  }

  private Array array(Node node, int index) {
    return new Array(values.get(node.input(index)), node.input(index).shape());
  }

  private Array x(Node node) {
    return array(node, 0);
  }

  private double in(Node node, int index, long... at) {
    return array(node, index).at(at);
  }

  private double broadcast(Node node, int index, long[] at) {
    long[] shape = node.input(index).shape();
    long[] from = new long[shape.length];
    for (int i = 0; i < shape.length; i++) {
      from[i] = shape[i] == 1 ? 0 : at[at.length - shape.length + i];
    }
    return in(node, index, from);
  }

  private double[] map(Node node, DoubleUnaryOperator function) {
    return Arrays.stream(x(node).numbers).map(function).toArray();
  }

  private static double[] each(Node node, ToDoubleFunction<long[]> formula) {
    return places(node.output().shape()).stream().mapToDouble(formula).toArray();
  }

  private static double mean(Array x, Condition condition) {
    return places(x.shape).stream()
        .filter(condition::holds)
        .mapToDouble(x::at)
        .average()
        .orElseThrow();
  }

  /** Every place of an array of this shape, in row-major order. */
  private static List<long[]> places(long... shape) {
    int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    long[][] places = new long[count][shape.length];
    for (int i = 0; i < count; i++) {
      long rest = i;
      for (int axis = shape.length - 1; axis >= 0; axis--) {
        places[i][axis] = rest % shape[axis];
        rest /= shape[axis];
      }
    }
    return List.of(places);
  }

  private static long[] index(long[] at, Along along) {
    long[] index = new long[at.length];
    for (int i = 0; i < at.length; i++) {
      index[i] = along.index(i);
    }
    return index;
  }

  private static boolean inside(long[] at, long... shape) {
    for (int i = 0; i < shape.length; i++) {
      if (at[i] < 0 || at[i] >= shape[i]) {
        return false;
      }
    }
    return true;
  }

  private static void assertShape(Node node, long... shape) {
    if (!Arrays.equals(node.output().shape(), shape)) {
      throw new AssertionError(node.kind() + " has a wrong shape");
    }
  }
}
