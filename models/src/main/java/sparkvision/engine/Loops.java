package sparkvision.engine;

import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Supplier;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Erf;
import org.nd4j.linalg.factory.Nd4j;
import sparkvision.graph.Node;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/** The words that run as plain loops; {@link Kernels} has the others. */
final class Loops {

  /** Above it softplus is the identity, as in PyTorch. */
  private static final double SOFTPLUS_LIMIT = 20;

  private Loops() {}

  /**
   * The loop of a node.
   *
   * @param indices the integer input of the present run, if the node has one
   */
  static Loop of(Node node, Supplier<long[]> indices) {
    return switch (node.kind()) {
      case CONV -> new Convolution(node);
      case CONV_TRANSPOSE -> new TransposedConvolution(node);
      case ADAPTIVE_AVERAGE_POOL, RESIZE -> new Resampled(node);
      case ADAPTIVE_MAX_POOL -> new AdaptiveMax(node);

      case SOFTMAX -> new Softmax(lines(node));
      case LOG_SOFTMAX -> new LogSoftmax(lines(node));
      case LEAKY_RELU -> {
        double slope = node.number("slope");
        yield new Pointwise(x -> x > 0 ? x : slope * x, (x, y) -> x > 0 ? 1 : slope);
      }
      case GELU -> new Gelu();
      case SILU ->
          new Pointwise(x -> x * sigmoid(x), (x, y) -> sigmoid(x) * (1 + x * (1 - sigmoid(x))));
      case SIGMOID -> new Pointwise(Loops::sigmoid, (x, y) -> y * (1 - y));
      case TANH -> new Pointwise(Math::tanh, (x, y) -> 1 - y * y);
      case SOFTPLUS ->
          new Pointwise(
              x -> x > SOFTPLUS_LIMIT ? x : Math.log1p(Math.exp(x)),
              (x, y) -> x > SOFTPLUS_LIMIT ? 1 : sigmoid(x));
      case EXP -> new Pointwise(Math::exp, (x, y) -> y);
      case LOG -> new Pointwise(Math::log, (x, y) -> 1 / x);
      case SQRT -> new Pointwise(Math::sqrt, (x, y) -> 0.5 / y);
      case RSQRT -> new Pointwise(x -> 1 / Math.sqrt(x), (x, y) -> -0.5 * y * y * y);
      case ABS -> new Pointwise(Math::abs, (x, y) -> Math.signum(x));
      case POWER -> {
        double exponent = node.number("exponent");
        yield new Pointwise(
            x -> Math.pow(x, exponent),
            (x, y) -> exponent == 0 ? 0 : exponent * Math.pow(x, exponent - 1));
      }
      case AFFINE -> {
        double scale = node.number("scale");
        double shift = node.number("shift");
        yield new Pointwise(x -> scale * x + shift, (x, y) -> scale);
      }

      case ADD -> new Arithmetic(node, Double::sum, (a, b) -> 1, (a, b) -> 1);
      case SUBTRACT -> new Arithmetic(node, (a, b) -> a - b, (a, b) -> 1, (a, b) -> -1);
      case MULTIPLY -> new Arithmetic(node, (a, b) -> a * b, (a, b) -> b, (a, b) -> a);
      case DIVIDE -> new Arithmetic(node, (a, b) -> a / b, (a, b) -> 1 / b, (a, b) -> -a / (b * b));

      case SUM -> new Sum(reduced(node), 1);
      case MEAN ->
          new Sum(reduced(node), (double) node.output().elements() / node.input(0).elements());
      case MAX -> new Max(reduced(node));

      case SLICE ->
          new Moved(
              View.of(node.input(0).shape())
                  .slice(node.sizes("begin"), node.sizes("end"), node.sizes("step")));
      case PERMUTE -> new Moved(View.of(node.input(0).shape()).permute(node.sizes("axes")));
      case FLIP -> new Moved(View.of(node.input(0).shape()).flip(node.sizes("axes")));
      case PAD -> Padded.of(node);
      case GATHER -> new Gather(node, indices);
      case ONE_HOT -> new OneHot(node, indices);
      case CROSS_ENTROPY -> new CrossEntropy(node, indices);
      default -> throw new IllegalStateException("There is no loop for " + node.kind());
    };
  }

  /** x·mask, where the mask is shared along its axes of size 1; it gets no gradient. */
  static Loop masked(long[] shape, long[] mask) {
    View x = View.of(shape);
    View factors = View.of(mask).broadcast(shape);
    return new Arithmetic(x, factors, (a, b) -> a * b, (a, b) -> b, (a, b) -> a);
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  // Convolutions: the products of pixels and weights, summed up in three ways.

  /** (B, C, ...), weight (O, C/groups, k...) [, bias (O)] → (B, O, ...). */
  private static final class Convolution implements Loop {
    private final Windows windows;
    private final Tensor result;

    Convolution(Node node) {
      windows = windows(node, node.input(0), node.output());
      result = node.output();
    }

    @Override
    public void forward(double[][] x, double[] y) {
      windows.each((pixel, weight, sum) -> y[sum] += x[0][pixel] * x[1][weight]);
      addBias(result, x, y);
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      if (dx[0] != null) {
        windows.each((pixel, weight, sum) -> dx[0][pixel] += dy[sum] * x[1][weight]);
      }
      if (dx[1] != null) {
        windows.each((pixel, weight, sum) -> dx[1][weight] += dy[sum] * x[0][pixel]);
      }
      sumUpBias(result, dy, dx);
    }
  }

  /** (B, C, ...), weight (C, O/groups, k...) [, bias (O)] → (B, O, ...): from sums to pixels. */
  private static final class TransposedConvolution implements Loop {
    private final Windows windows;
    private final Tensor result;

    TransposedConvolution(Node node) {
      windows = windows(node, node.output(), node.input(0));
      result = node.output();
    }

    @Override
    public void forward(double[][] x, double[] y) {
      windows.each((pixel, weight, sum) -> y[pixel] += x[0][sum] * x[1][weight]);
      addBias(result, x, y);
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      if (dx[0] != null) {
        windows.each((pixel, weight, sum) -> dx[0][sum] += dy[pixel] * x[1][weight]);
      }
      if (dx[1] != null) {
        windows.each((pixel, weight, sum) -> dx[1][weight] += dy[pixel] * x[0][sum]);
      }
      sumUpBias(result, dy, dx);
    }
  }

  private static Windows windows(Node node, Tensor image, Tensor sums) {
    return new Windows(
        image.shape(),
        node.input(1).shape(),
        sums.shape(),
        node.sizes("stride"),
        node.sizes("padding"),
        node.sizes("dilation"),
        node.integer("groups"));
  }

  private static void addBias(Tensor result, double[][] x, double[] y) {
    if (x.length == 3) {
      for (int i = 0; i < y.length; i++) {
        y[i] += x[2][channel(result, i)];
      }
    }
  }

  private static void sumUpBias(Tensor result, double[] dy, double[][] dx) {
    if (dx.length == 3 && dx[2] != null) {
      for (int i = 0; i < dy.length; i++) {
        dx[2][channel(result, i)] += dy[i];
      }
    }
  }

  /** The channel of an element of (B, C, ...). */
  private static int channel(Tensor x, int element) {
    return element / inner(x, 1) % (int) x.size(1);
  }

  // Pictures of other sizes.

  /** One matrix per spatial axis, applied in turn. */
  private static final class Resampled implements Loop {
    private final Resampling[] axes;
    private final int[] inners; // elements behind each axis, as long as those axes have old sizes

    Resampled(Node node) {
      Tensor x = node.input(0);
      axes = new Resampling[x.rank() - 2];
      inners = new int[axes.length];
      for (int i = 0; i < axes.length; i++) {
        long in = x.size(i + 2);
        long out = node.output().size(i + 2);
        axes[i] =
            node.kind() == Node.Kind.RESIZE
                ? new Resampling(Resize.of(node).weights(in, out))
                : Resampling.means(in, out);
        inners[i] = inner(x, i + 2);
      }
    }

    @Override
    public void forward(double[][] x, double[] y) {
      double[] values = x[0];
      for (int i = 0; i < axes.length; i++) {
        values = axes[i].apply(values, inners[i]);
      }
      System.arraycopy(values, 0, y, 0, y.length);
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      double[] values = dy;
      for (int i = axes.length - 1; i >= 0; i--) {
        values = axes[i].gradient(values, inners[i]);
      }
      System.arraycopy(values, 0, dx[0], 0, values.length);
    }
  }

  /** Maxima of bins; the gradient goes to the first one of a bin. */
  private static final class AdaptiveMax implements Loop {
    private final int planes;
    private final int[] in = {1, 1, 1};
    private final int[] out = {1, 1, 1};

    AdaptiveMax(Node node) {
      Tensor x = node.input(0);
      planes = (int) (x.size(0) * x.size(1));
      for (int axis = 2; axis < x.rank(); axis++) {
        in[axis + 3 - x.rank()] = (int) x.size(axis);
        out[axis + 3 - x.rank()] = (int) node.output().size(axis);
      }
    }

    @Override
    public void forward(double[][] x, double[] y) {
      int[] first = firstMaxima(x[0]);
      for (int i = 0; i < y.length; i++) {
        y[i] = x[0][first[i]];
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] first = firstMaxima(x[0]);
      for (int i = 0; i < dy.length; i++) {
        dx[0][first[i]] += dy[i];
      }
    }

    /** Where the maximum of each bin is. */
    private int[] firstMaxima(double[] x) {
      int[] first = new int[planes * out[0] * out[1] * out[2]];
      int at = 0;
      for (int plane = 0; plane < planes; plane++) {
        for (int d = 0; d < out[0]; d++) {
          for (int h = 0; h < out[1]; h++) {
            for (int w = 0; w < out[2]; w++) {
              first[at++] = firstMaximum(x, plane, d, h, w);
            }
          }
        }
      }
      return first;
    }

    private int firstMaximum(double[] x, int plane, int d, int h, int w) {
      int best = -1;
      for (int i = begin(0, d); i < end(0, d); i++) {
        for (int j = begin(1, h); j < end(1, h); j++) {
          for (int k = begin(2, w); k < end(2, w); k++) {
            int pixel = ((plane * in[0] + i) * in[1] + j) * in[2] + k;
            if (best < 0 || x[pixel] > x[best]) {
              best = pixel;
            }
          }
        }
      }
      return best;
    }

    private int begin(int axis, int bin) {
      return Resampling.binBegin(bin, in[axis], out[axis]);
    }

    private int end(int axis, int bin) {
      return Resampling.binEnd(bin, in[axis], out[axis]);
    }
  }

  // Functions of one tensor that keep its shape.

  /** An element for an element; the slope is a function of x and y. */
  private record Pointwise(DoubleUnaryOperator function, DoubleBinaryOperator slope)
      implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      for (int i = 0; i < y.length; i++) {
        y[i] = function.applyAsDouble(x[0][i]);
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      for (int i = 0; i < dy.length; i++) {
        dx[0][i] = dy[i] * slope.applyAsDouble(x[0][i], y[i]);
      }
    }
  }

  /** x·Φ(x), whose slope is Φ(x) + x·φ(x); Φ and φ are those of the normal distribution. */
  private static final class Gelu implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      double[] phi = distribution(x[0]);
      for (int i = 0; i < y.length; i++) {
        y[i] = x[0][i] * phi[i];
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      double[] phi = distribution(x[0]);
      for (int i = 0; i < dy.length; i++) {
        double density = Math.exp(-0.5 * x[0][i] * x[0][i]) / Math.sqrt(2 * Math.PI);
        dx[0][i] = dy[i] * (phi[i] + x[0][i] * density);
      }
    }

    private static double[] distribution(double[] x) {
      double[] values = Arrays.stream(x).map(value -> value * Math.sqrt(0.5)).toArray();
      try (INDArray array = Nd4j.createFromArray(values)) { // Java has no erf
        Nd4j.exec(new Erf(array, array));
        return Arrays.stream(array.toDoubleVector()).map(erf -> 0.5 * (1 + erf)).toArray();
      }
    }
  }

  private static Lines lines(Node node) {
    return new Lines(node.input(0), node.integer("axis"));
  }

  /** exp(x) / Σ exp(x) along lines; the gradient is y·(dy − Σ dy·y). */
  private record Softmax(Lines lines) implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      lines.each(
          (number, line) -> {
            double total = logSumExp(x[0], line);
            for (int i : line) {
              y[i] = Math.exp(x[0][i] - total);
            }
          });
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      lines.each(
          (number, line) -> {
            double mean = 0; // of dy
            for (int i : line) {
              mean += dy[i] * y[i];
            }
            for (int i : line) {
              dx[0][i] = y[i] * (dy[i] - mean);
            }
          });
    }
  }

  /** x − log Σ exp(x) along lines; the gradient is dy − exp(y)·Σ dy. */
  private record LogSoftmax(Lines lines) implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      lines.each(
          (number, line) -> {
            double total = logSumExp(x[0], line);
            for (int i : line) {
              y[i] = x[0][i] - total;
            }
          });
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      lines.each(
          (number, line) -> {
            double sum = 0;
            for (int i : line) {
              sum += dy[i];
            }
            for (int i : line) {
              dx[0][i] = dy[i] - Math.exp(y[i]) * sum;
            }
          });
    }
  }

  // Arithmetic, with NumPy's broadcasting.

  /** An element for a pair of elements; the slopes by a and by b are functions of both. */
  private static final class Arithmetic implements Loop {
    private final View[] operands; // repeated to the shape of the result
    private final DoubleBinaryOperator function;
    private final List<DoubleBinaryOperator> slopes;

    Arithmetic(
        Node node,
        DoubleBinaryOperator function,
        DoubleBinaryOperator slopeByA,
        DoubleBinaryOperator slopeByB) {
      this(
          View.of(node.input(0).shape()).broadcast(node.output().shape()),
          View.of(node.input(1).shape()).broadcast(node.output().shape()),
          function,
          slopeByA,
          slopeByB);
    }

    Arithmetic(
        View a,
        View b,
        DoubleBinaryOperator function,
        DoubleBinaryOperator slopeByA,
        DoubleBinaryOperator slopeByB) {
      this.operands = new View[] {a, b};
      this.function = function;
      this.slopes = List.of(slopeByA, slopeByB);
    }

    @Override
    public void forward(double[][] x, double[] y) {
      int[] a = operands[0].places();
      int[] b = operands[1].places();
      for (int i = 0; i < y.length; i++) {
        y[i] = function.applyAsDouble(x[0][a[i]], x[1][b[i]]);
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] a = operands[0].places();
      int[] b = operands[1].places();
      for (int operand = 0; operand < 2; operand++) {
        if (dx[operand] != null) {
          int[] own = operand == 0 ? a : b;
          DoubleBinaryOperator slope = slopes.get(operand);
          for (int i = 0; i < dy.length; i++) {
            dx[operand][own[i]] += dy[i] * slope.applyAsDouble(x[0][a[i]], x[1][b[i]]);
          }
        }
      }
    }
  }

  // Reductions.

  /** For each element of x the place in y of what it is reduced to. */
  private static View reduced(Node node) {
    long[] kept = node.input(0).shape();
    for (long axis : node.sizes("axes")) {
      kept[(int) axis] = 1;
    }
    return View.of(kept).broadcast(node.input(0).shape());
  }

  /** {@code factor} times the sums over axes. */
  private record Sum(View reduced, double factor) implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      int[] into = reduced.places();
      for (int i = 0; i < into.length; i++) {
        y[into[i]] += x[0][i];
      }
      for (int i = 0; i < y.length; i++) {
        y[i] *= factor;
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] into = reduced.places();
      for (int i = 0; i < into.length; i++) {
        dx[0][i] = factor * dy[into[i]];
      }
    }
  }

  /** Maxima over axes; the gradient goes to the first one. */
  private record Max(View reduced) implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      Arrays.fill(y, Double.NEGATIVE_INFINITY);
      int[] into = reduced.places();
      for (int i = 0; i < into.length; i++) {
        y[into[i]] = Math.max(y[into[i]], x[0][i]);
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] into = reduced.places();
      boolean[] found = new boolean[y.length];
      for (int i = 0; i < into.length; i++) {
        if (!found[into[i]] && x[0][i] == y[into[i]]) {
          found[into[i]] = true;
          dx[0][i] = dy[into[i]];
        }
      }
    }
  }

  // Moving elements.

  /** The elements that a view of x shows, each of them once. */
  private record Moved(View view) implements Loop {
    @Override
    public void forward(double[][] x, double[] y) {
      int[] from = view.places();
      for (int i = 0; i < y.length; i++) {
        y[i] = x[0][from[i]];
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] from = view.places();
      for (int i = 0; i < dy.length; i++) {
        dx[0][from[i]] = dy[i];
      }
    }
  }

  /** x inside a border of {@code value}. */
  private record Padded(View interior, double value) implements Loop {
    static Padded of(Node node) {
      long[] begin = node.sizes("before");
      long[] end = begin.clone();
      long[] step = new long[begin.length];
      for (int axis = 0; axis < begin.length; axis++) {
        end[axis] += node.input(0).size(axis);
        step[axis] = 1;
      }
      View interior = View.of(node.output().shape()).slice(begin, end, step);
      return new Padded(interior, node.number("value"));
    }

    @Override
    public void forward(double[][] x, double[] y) {
      Arrays.fill(y, value);
      int[] into = interior.places();
      for (int i = 0; i < into.length; i++) {
        y[into[i]] = x[0][i];
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] into = interior.places();
      for (int i = 0; i < into.length; i++) {
        dx[0][i] = dy[into[i]];
      }
    }
  }

  /** The places of x along an axis that indices name; gradients of a place add up. */
  private static final class Gather implements Loop {
    private final int size; // of the axis
    private final int inner;
    private final Supplier<long[]> indices;

    Gather(Node node, Supplier<long[]> indices) {
      int axis = (int) node.integer("axis");
      this.size = (int) node.input(0).size(axis);
      this.inner = inner(node.input(0), axis);
      this.indices = indices;
    }

    @Override
    public void forward(double[][] x, double[] y) {
      int[] from = places(y.length);
      for (int i = 0; i < y.length; i++) {
        y[i] = x[0][from[i]];
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      int[] from = places(dy.length);
      for (int i = 0; i < dy.length; i++) {
        dx[0][from[i]] += dy[i];
      }
    }

    /** Where each element of y comes from. */
    private int[] places(int count) {
      long[] named = indices.get();
      int[] places = new int[count];
      for (int i = 0; i < count; i++) {
        int outer = i / inner / named.length;
        int index = (int) named[i / inner % named.length];
        places[i] = (outer * size + index) * inner + i % inner;
      }
      return places;
    }
  }

  // Losses.

  /** 1 for the class that is the label; none for a label to ignore. */
  private static final class OneHot implements Loop {
    private final int classes;
    private final int inner; // places of one sample
    private final long ignored;
    private final Supplier<long[]> labels;

    OneHot(Node node, Supplier<long[]> labels) {
      this.classes = (int) node.integer("classes");
      this.inner = inner(node.output(), 1);
      this.ignored = node.integer("ignore-index");
      this.labels = labels;
    }

    @Override
    public void forward(double[][] x, double[] y) {
      long[] given = labels.get();
      Arrays.fill(y, 0);
      for (int i = 0; i < given.length; i++) {
        if (given[i] != ignored) {
          y[(i / inner * classes + (int) given[i]) * inner + i % inner] = 1;
        }
      }
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      throw new IllegalStateException("Labels have no gradient");
    }
  }

  /**
   * Cross-entropy against labels, as {@link sparkvision.graph.Losses} has it: for every place that
   * counts, a target t over the K classes; Σ −t·log softmax(logits) divided by the sum of the
   * labels' weights.
   */
  private static final class CrossEntropy implements Loop {
    private final Lines classes;
    private final double smoothing;
    private final long ignored;
    private final double threshold;
    private final long leastKept;
    private final Supplier<long[]> labels;

    CrossEntropy(Node node, Supplier<long[]> labels) {
      this.classes = new Lines(node.input(0), 1);
      this.smoothing = node.number("smoothing");
      this.ignored = node.integer("ignore-index");
      this.threshold = node.number("threshold");
      this.leastKept = node.integer("least-kept");
      this.labels = labels;
    }

    @Override
    public void forward(double[][] x, double[] y) {
      double[] weights = weights(x);
      long[] labels = counted(x[0]);
      double total = total(labels, weights);
      if (total == 0) {
        return; // every label is ignored
      }
      classes.each(
          (place, line) -> {
            double[] target = target(labels[place], weights);
            double logSumExp = logSumExp(x[0], line);
            for (int k = 0; k < line.length; k++) {
              y[0] -= target[k] * (x[0][line[k]] - logSumExp) / total;
            }
          });
    }

    @Override
    public void backward(double[][] x, double[] y, double[] dy, double[][] dx) {
      double[] weights = weights(x);
      long[] labels = counted(x[0]);
      double total = total(labels, weights);
      if (total == 0 || dx[0] == null) {
        return;
      }
      classes.each(
          (place, line) -> {
            double[] target = target(labels[place], weights);
            double sum = Arrays.stream(target).sum();
            double logSumExp = logSumExp(x[0], line);
            for (int k = 0; k < line.length; k++) {
              double probability = Math.exp(x[0][line[k]] - logSumExp);
              dx[0][line[k]] = dy[0] * (probability * sum - target[k]) / total;
            }
          });
    }

    private double[] weights(double[][] x) {
      if (x.length == 2) {
        return x[1];
      }
      double[] ones = new double[classes.length()];
      Arrays.fill(ones, 1);
      return ones;
    }

    /** The labels, those of places that are not hard enough ignored too. */
    private long[] counted(double[] x) {
      long[] labels = this.labels.get().clone();
      if (Double.isInfinite(threshold)) {
        return labels;
      }
      double[] probabilities = new double[labels.length];
      classes.each(
          (place, line) ->
              probabilities[place] =
                  labels[place] == ignored
                      ? Double.POSITIVE_INFINITY
                      : Math.exp(x[line[(int) labels[place]]] - logSumExp(x, line)));
      double[] sorted =
          Arrays.stream(probabilities).filter(p -> p < Double.POSITIVE_INFINITY).sorted().toArray();
      if (sorted.length == 0) {
        return labels;
      }
      double limit = Math.max(threshold, sorted[(int) Math.min(leastKept, sorted.length - 1)]);
      for (int i = 0; i < labels.length; i++) {
        labels[i] = probabilities[i] < limit ? labels[i] : ignored;
      }
      return labels;
    }

    private double total(long[] labels, double[] weights) {
      return Arrays.stream(labels)
          .filter(label -> label != ignored)
          .mapToDouble(label -> weights[(int) label])
          .sum();
    }

    private double[] target(long label, double[] weights) {
      double[] target = new double[weights.length];
      if (label != ignored) {
        for (int k = 0; k < target.length; k++) {
          target[k] = weights[k] * smoothing / target.length;
        }
        target[(int) label] += weights[(int) label] * (1 - smoothing);
      }
      return target;
    }
  }

  // Places.

  /** How many elements lie behind one place of an axis. */
  private static int inner(Tensor x, int axis) {
    int inner = 1;
    for (int i = axis + 1; i < x.rank(); i++) {
      inner *= (int) x.size(i);
    }
    return inner;
  }

  /** The lines of a tensor along one axis, each as the places of its elements. */
  private static final class Lines {
    interface Visitor {
      void visit(int number, int[] line);
    }

    private final int count;
    private final int length;
    private final int stride;

    Lines(Tensor x, long axis) {
      length = (int) x.size((int) axis);
      stride = inner(x, (int) axis);
      count = (int) x.elements() / length;
    }

    int length() {
      return length;
    }

    void each(Visitor visitor) {
      int[] line = new int[length];
      for (int i = 0; i < count; i++) {
        int start = i / stride * stride * length + i % stride;
        for (int j = 0; j < length; j++) {
          line[j] = start + j * stride;
        }
        visitor.visit(i, line);
      }
    }
  }

  /** The logarithm of Σ exp(x) over a line; no x is too large for it. */
  private static double logSumExp(double[] x, int... line) {
    double max = Double.NEGATIVE_INFINITY;
    for (int i : line) {
      max = Math.max(max, x[i]);
    }
    double sum = 0;
    for (int i : line) {
      sum += Math.exp(x[i] - max);
    }
    return max + Math.log(sum);
  }
}
