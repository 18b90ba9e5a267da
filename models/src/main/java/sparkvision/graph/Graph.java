package sparkvision.graph;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import sparkvision.weights.HostTensor;

/**
 * A network as a list of {@link Node}s over tensors of static shape: the vocabulary that model
 * files are written in, and what engines run.
 *
 * <p>Layouts are (B, C, H, W) and (B, C, D, H, W); a tensor's rank picks 2D or 3D. Axes are counted
 * from 0, negative ones from the end. A word whose inputs do not fit says so in one sentence, an
 * {@link IllegalArgumentException}, while the graph is built. A graph holds no numbers, so building
 * even a large one costs next to nothing; an engine makes the weights from the seed or loads them.
 */
public final class Graph {

  /** What a graph is for: it decides how batch norm and dropout behave. */
  public enum Mode {
    TRAINING,
    INFERENCE
  }

  /** The floating type that a graph is computed in; doubles serve tests of gradients. */
  public enum Precision {
    FLOAT,
    DOUBLE
  }

  private final Mode mode;
  private final long seed;
  private final Precision precision;
  private final List<Node> nodes = new ArrayList<>();
  private final Map<String, Variable> variables = new LinkedHashMap<>();
  private final Map<String, Tensor> inputs = new LinkedHashMap<>();
  private final Map<String, Tensor> outputs = new LinkedHashMap<>();
  private final Set<Tensor> requestedGradients = new LinkedHashSet<>();
  private final Set<Tensor> forgotten = new HashSet<>(); // parameters that a layer gave up
  private long noise;
  private Tensor loss;
  private int dropouts;

  /** An empty float32 graph; weights and dropout follow from {@code seed}. */
  public Graph(Mode mode, long seed) {
    this(mode, seed, Precision.FLOAT);
  }

  /** An empty graph; weights and dropout follow from {@code seed}. */
  public Graph(Mode mode, long seed, Precision precision) {
    this.mode = mode;
    this.seed = seed;
    this.precision = precision;
  }

  /**
   * Chooses which dropout follows from the seed, before an engine is opened; weights stay the same.
   * Ranks that train one model start from one seed and drop with a stream each; 0 if never called.
   *
   * @return this graph
   */
  public Graph withNoise(long stream) {
    noise = stream;
    return this;
  }

  public Mode mode() {
    return mode;
  }

  public long seed() {
    return seed;
  }

  /** What dropout follows from: the seed and the stream of {@link #withNoise}. */
  public long noiseSeed() {
    return Seeds.of(Seeds.of(seed, "noise"), noise);
  }

  public Precision precision() {
    return precision;
  }

  /** The nodes in an order in which they can be computed. */
  public List<Node> nodes() {
    return Collections.unmodifiableList(nodes);
  }

  /**
   * The nodes with regions replaced by the words they are short for, and so on inside of those. A
   * region's last word writes the region's own output; other inner tensors are new in every call.
   *
   * @param kept regions to leave as they are; batch norm in training always is
   */
  public List<Node> lowered(Set<Node.Kind> kept) {
    List<Node> lowered = new ArrayList<>();
    nodes.forEach(node -> Composites.lower(this, node, kept, lowered));
    return Collections.unmodifiableList(lowered);
  }

  /** Parameters and buffers in the order of their declaration. */
  public List<Variable> variables() {
    return List.copyOf(variables.values());
  }

  /** Inputs by name, in the order of their declaration. */
  public Map<String, Tensor> inputs() {
    return Collections.unmodifiableMap(inputs);
  }

  /** Outputs by name, in the order of their declaration. */
  public Map<String, Tensor> outputs() {
    return Collections.unmodifiableMap(outputs);
  }

  /** What training minimises, if it was declared. */
  public Optional<Tensor> loss() {
    return Optional.ofNullable(loss);
  }

  /** The inputs whose gradients engines compute. */
  public Set<Tensor> requestedGradients() {
    return Collections.unmodifiableSet(requestedGradients);
  }

  /** How many numbers training learns; running statistics are not among them. */
  public long parameterCount() {
    return variables.values().stream()
        .filter(v -> v.role() == Variable.Role.PARAMETER)
        .mapToLong(v -> v.tensor().elements())
        .sum();
  }

  // Ends of the graph.

  /** Numbers given anew for every run, of the graph's floating type. */
  public Tensor input(String name, long... shape) {
    return input(name, Tensor.Type.FLOAT, shape);
  }

  /** Class indices given anew for every run, int64. */
  public Tensor indices(String name, long... shape) {
    return input(name, Tensor.Type.INT64, shape);
  }

  private Tensor input(String name, Tensor.Type type, long... shape) {
    Tensor tensor = declared(name, type, shape);
    inputs.put(name, tensor);
    return tensor;
  }

  /**
   * Asks for the gradient of the loss with respect to a float input, before an engine is opened.
   * Training needs none, so without asking it is not computed; those of parameters always are.
   */
  public void requestGradient(Tensor input) {
    if (inputs.get(input.name()) != input || input.type() != Tensor.Type.FLOAT) {
      throw new IllegalArgumentException(
          String.format("Cannot request gradient of %s: it is no float input", input));
    }
    requestedGradients.add(input);
  }

  /** Declares a result that callers get by name; {@code loss} is the name of the loss. */
  public void output(String name, Tensor tensor) {
    if (name.equals("loss") || outputs.containsKey(name)) {
      throw new IllegalArgumentException(
          String.format("Cannot declare output %s: the name is taken", name));
    }
    if (tensor.type() != Tensor.Type.FLOAT) {
      throw new IllegalArgumentException(
          String.format("Cannot declare output %s: %s is int64, must be float", name, tensor));
    }
    outputs.put(name, tensor);
  }

  /** Declares the scalar that training minimises, or a part of it with weight 1. */
  public void loss(Tensor scalar) {
    loss(scalar, 1);
  }

  /** Declares a part of what training minimises: the sum of all parts times their weights. */
  public void loss(Tensor scalar, double weight) {
    if (scalar.rank() != 0 || scalar.type() != Tensor.Type.FLOAT) {
      throw Shapes.error("Cannot declare loss: it must be a float scalar, found %s", scalar);
    }
    if (!Double.isFinite(weight)) {
      throw Shapes.error("Invalid loss weight: %s (must be finite)", weight);
    }
    Tensor part = weight == 1 ? scalar : scale(scalar, weight);
    loss = loss == null ? part : add(loss, part);
  }

  // State.

  /** What training learns; {@code name} is the state-dict name. */
  public Tensor parameter(String name, Initializer initializer, long... shape) {
    return variable(name, Tensor.Type.FLOAT, Variable.Role.PARAMETER, initializer, shape);
  }

  /** A running statistic; {@code name} is the state-dict name. */
  public Tensor statistic(String name, Initializer initializer, long... shape) {
    return variable(name, Tensor.Type.FLOAT, Variable.Role.STATISTIC, initializer, shape);
  }

  /** An int64 scalar, zero at first; {@code name} is the state-dict name. */
  public Tensor counter(String name) {
    return variable(name, Tensor.Type.INT64, Variable.Role.COUNTER, Initializer.constant(0));
  }

  private Tensor variable(
      String name, Tensor.Type type, Variable.Role role, Initializer initializer, long... shape) {
    Tensor tensor = declared(name, type, shape);
    variables.put(name, new Variable(tensor, role, initializer));
    return tensor;
  }

  private Tensor declared(String name, Tensor.Type type, long... shape) {
    if (inputs.containsKey(name) || variables.containsKey(name)) {
      throw new IllegalArgumentException(
          String.format("Cannot declare %s: the name is taken", name));
    }
    Tensor tensor = new Tensor(name, type, shape);
    if (Arrays.stream(shape).anyMatch(size -> size < 1)) {
      throw Shapes.error("Cannot declare %s: sizes must be >= 1", tensor);
    }
    if (!Shapes.fits(shape)) {
      throw Shapes.error(
          "Cannot declare %s: it holds more than %d numbers", tensor, Shapes.LARGEST);
    }
    return tensor;
  }

  /** The same parameter of another shape, in its place; nothing may have read it yet. */
  Tensor redeclared(Tensor parameter, long... shape) {
    requireUnread(parameter);
    Variable old = variables.get(parameter.name());
    Tensor tensor = new Tensor(parameter.name(), parameter.type(), shape);
    variables.put(old.name(), new Variable(tensor, old.role(), old.initializer()));
    forgotten.add(parameter);
    return tensor;
  }

  /** Takes a parameter back that nothing has read yet. */
  void forget(Tensor parameter) {
    requireUnread(parameter);
    variables.remove(parameter.name());
    forgotten.add(parameter);
  }

  private void requireUnread(Tensor parameter) {
    if (forgotten.contains(parameter)
        || nodes.stream().anyMatch(node -> node.inputs().contains(parameter))) {
      throw Shapes.error("Cannot change %s: its layer was applied or changed before", parameter);
    }
  }

  // Layers: the weights are declared at once, the mathematics is their apply.

  /**
   * A convolution without bias, stride 1, no padding, from {@code in} to {@code out} channels.
   *
   * @param kernel one size per spatial axis: one to three
   */
  public Conv conv(String name, long in, long out, long... kernel) {
    return new Conv(this, name, kernels(name, out, in, kernel));
  }

  /**
   * A transposed convolution without bias, stride 1, no padding, from {@code in} to {@code out}
   * channels.
   *
   * @param kernel one size per spatial axis: one to three
   */
  public ConvTranspose convTranspose(String name, long in, long out, long... kernel) {
    return new ConvTranspose(this, name, kernels(name, in, out, kernel));
  }

  private Tensor kernels(String name, long first, long second, long... kernel) {
    if (kernel.length < 1 || kernel.length > 3) {
      throw Shapes.error(
          "Cannot build %s: kernel %s must have 1 to 3 sizes", name, Shapes.text(kernel));
    }
    long[] shape = new long[kernel.length + 2];
    shape[0] = first;
    shape[1] = second;
    System.arraycopy(kernel, 0, shape, 2, kernel.length);
    return parameter(name + ".weight", Initializer.kaimingNormal(), shape);
  }

  /** A linear layer with bias, from {@code in} to {@code out} features. */
  public Linear linear(String name, long in, long out) {
    return new Linear(this, name, in, out);
  }

  /** A batch normalisation of {@code channels}: scale 1, shift 0, running mean 0 and variance 1. */
  public BatchNorm batchNorm(String name, long channels) {
    return new BatchNorm(this, name, channels);
  }

  /**
   * A normalisation of the last axis, of {@code channels}: (x − mean) / √(variance + ε)·weight +
   * bias.
   *
   * @see <a href="https://arxiv.org/abs/1607.06450">Ba et al., Layer Normalization, 2016, section
   *     3</a>
   */
  public Norm layerNorm(String name, long channels, double epsilon) {
    return new Norm(this, name, Node.Kind.LAYER_NORM, channels, Map.of("epsilon", epsilon));
  }

  /**
   * A normalisation of each of {@code groups} groups of the {@code channels} of (B, C, ...),
   * together with their pixels; weight and bias are per channel.
   *
   * @see <a href="https://arxiv.org/abs/1803.08494">Wu and He, Group Normalization, 2018, section
   *     3</a>
   */
  public Norm groupNorm(String name, long groups, long channels, double epsilon) {
    if (groups < 1 || channels % groups != 0) {
      throw Shapes.error(
          "Cannot build %s: %d groups must divide its %d channels", name, groups, channels);
    }
    Map<String, Object> attributes = Map.of("epsilon", epsilon, "groups", groups);
    return new Norm(this, name, Node.Kind.GROUP_NORM, channels, attributes);
  }

  /**
   * A normalisation of the last axis, of {@code channels}, that leaves the mean alone: x / √(mean
   * of x² + ε)·weight.
   *
   * @see <a href="https://arxiv.org/abs/1910.07467">Zhang and Sennrich, Root Mean Square Layer
   *     Normalization, 2019, equation 4</a>
   */
  public Norm rmsNorm(String name, long channels, double epsilon) {
    return new Norm(this, name, Node.Kind.RMS_NORM, channels, Map.of("epsilon", epsilon));
  }

  // Functions of one tensor that keep its shape.

  /** max(x, 0). */
  public Tensor relu(Tensor x) {
    return pointwise(Node.Kind.RELU, x, Map.of());
  }

  /** x, or slope·x where x is negative. */
  public Tensor leakyRelu(Tensor x, double slope) {
    return pointwise(Node.Kind.LEAKY_RELU, x, Map.of("slope", slope));
  }

  /**
   * x·Φ(x), the exact form with erf.
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel, Gaussian Error Linear
   *     Units, 2016, section 2</a>
   */
  public Tensor gelu(Tensor x) {
    return pointwise(Node.Kind.GELU, x, Map.of());
  }

  /** x·σ(x), also known as swish. */
  public Tensor silu(Tensor x) {
    return pointwise(Node.Kind.SILU, x, Map.of());
  }

  /** 1 / (1 + exp(−x)). */
  public Tensor sigmoid(Tensor x) {
    return pointwise(Node.Kind.SIGMOID, x, Map.of());
  }

  public Tensor tanh(Tensor x) {
    return pointwise(Node.Kind.TANH, x, Map.of());
  }

  /** log(1 + exp(x)); x itself above 20, as in PyTorch. */
  public Tensor softplus(Tensor x) {
    return pointwise(Node.Kind.SOFTPLUS, x, Map.of());
  }

  public Tensor exp(Tensor x) {
    return pointwise(Node.Kind.EXP, x, Map.of());
  }

  /** The natural logarithm. */
  public Tensor log(Tensor x) {
    return pointwise(Node.Kind.LOG, x, Map.of());
  }

  public Tensor sqrt(Tensor x) {
    return pointwise(Node.Kind.SQRT, x, Map.of());
  }

  /** 1 / √x. */
  public Tensor rsqrt(Tensor x) {
    return pointwise(Node.Kind.RSQRT, x, Map.of());
  }

  /** |x|. */
  public Tensor abs(Tensor x) {
    return pointwise(Node.Kind.ABS, x, Map.of());
  }

  /** x to the power of a constant. */
  public Tensor power(Tensor x, double exponent) {
    return pointwise(Node.Kind.POWER, x, Map.of("exponent", exponent));
  }

  /** x·x. */
  public Tensor square(Tensor x) {
    return multiply(x, x);
  }

  /** scale·x + shift, with constants. */
  public Tensor affine(Tensor x, double scale, double shift) {
    if (!Double.isFinite(scale) || !Double.isFinite(shift)) {
      throw Shapes.error("Cannot affine %s: scale %s and shift %s must be finite", x, scale, shift);
    }
    return pointwise(Node.Kind.AFFINE, x, Map.of("scale", scale, "shift", shift));
  }

  /** factor·x. */
  public Tensor scale(Tensor x, double factor) {
    return affine(x, factor, 0);
  }

  /** x + shift. */
  public Tensor addConstant(Tensor x, double shift) {
    return affine(x, 1, shift);
  }

  /** −x. */
  public Tensor negate(Tensor x) {
    return affine(x, -1, 0);
  }

  /** exp(x) / Σ exp(x) along an axis. */
  public Tensor softmax(Tensor x, int axis) {
    return pointwise(
        Node.Kind.SOFTMAX, x, Map.of("axis", Shapes.axis(word(Node.Kind.SOFTMAX), x, axis)));
  }

  /** The logarithm of {@link #softmax}. */
  public Tensor logSoftmax(Tensor x, int axis) {
    return pointwise(
        Node.Kind.LOG_SOFTMAX,
        x,
        Map.of("axis", Shapes.axis(word(Node.Kind.LOG_SOFTMAX), x, axis)));
  }

  private Tensor pointwise(Node.Kind kind, Tensor x, Map<String, Object> attributes) {
    return node(kind, List.of(x), attributes, x.shape());
  }

  // Arithmetic, element by element: shapes are broadcast as in NumPy, on either side.

  /** x + y. */
  public Tensor add(Tensor x, Tensor y) {
    return pairwise(Node.Kind.ADD, x, y);
  }

  /** x − y. */
  public Tensor subtract(Tensor x, Tensor y) {
    return pairwise(Node.Kind.SUBTRACT, x, y);
  }

  /** x·y. */
  public Tensor multiply(Tensor x, Tensor y) {
    return pairwise(Node.Kind.MULTIPLY, x, y);
  }

  /** x / y. */
  public Tensor divide(Tensor x, Tensor y) {
    return pairwise(Node.Kind.DIVIDE, x, y);
  }

  private Tensor pairwise(Node.Kind kind, Tensor x, Tensor y) {
    return node(kind, List.of(x, y), Map.of(), Shapes.broadcast(word(kind), x, y));
  }

  // Reductions: over the named axes, or over all.

  /** Sums over axes, which vanish; without axes the sum of all elements, a scalar. */
  public Tensor sum(Tensor x, int... axes) {
    return reduce(Node.Kind.SUM, x, 0, axes);
  }

  /** Sums over axes, which stay with size 1. */
  public Tensor sumKeep(Tensor x, int... axes) {
    return reduce(Node.Kind.SUM, x, 1, axes);
  }

  /** Means over axes, which vanish; without axes the mean of all elements, a scalar. */
  public Tensor mean(Tensor x, int... axes) {
    return reduce(Node.Kind.MEAN, x, 0, axes);
  }

  /** Means over axes, which stay with size 1. */
  public Tensor meanKeep(Tensor x, int... axes) {
    return reduce(Node.Kind.MEAN, x, 1, axes);
  }

  /** Maxima over axes, which vanish; without axes the maximum of all elements, a scalar. */
  public Tensor max(Tensor x, int... axes) {
    return reduce(Node.Kind.MAX, x, 0, axes);
  }

  /** Maxima over axes, which stay with size 1. */
  public Tensor maxKeep(Tensor x, int... axes) {
    return reduce(Node.Kind.MAX, x, 1, axes);
  }

  private Tensor reduce(Node.Kind kind, Tensor x, int keep, int... axes) {
    long[] sorted = Shapes.axes(word(kind), x, axes);
    return node(
        kind,
        List.of(x),
        Map.of("axes", sorted, "keep", keep),
        Shapes.reduced(x, sorted, keep == 1));
  }

  /** (B, C, ...) → means (B, C). */
  public Tensor globalAveragePool(Tensor x) {
    Shapes.spatialAxes("global average pool", x);
    return node(Node.Kind.GLOBAL_AVERAGE_POOL, List.of(x), Map.of(), x.size(0), x.size(1));
  }

  /** (B, C, ...) → maxima (B, C). */
  public Tensor globalMaxPool(Tensor x) {
    int axes = Shapes.spatialAxes("global max pool", x);
    return max(x, IntStream.range(2, axes + 2).toArray());
  }

  // Windows over 2 or 3 spatial axes. Sizes are given once for all axes, or as one per axis.

  /**
   * Largest values in windows; the padding counts as minus infinity, the last partial window is
   * dropped.
   */
  public Tensor maxPool(Tensor x, long kernel, long stride, long padding) {
    return maxPool(x, new long[] {kernel}, new long[] {stride}, new long[] {padding});
  }

  /** {@link #maxPool(Tensor, long, long, long)} with sizes per axis. */
  public Tensor maxPool(Tensor x, long[] kernel, long[] stride, long[] padding) {
    return pool(Node.Kind.MAX_POOL, x, kernel, stride, padding, Map.of());
  }

  /** Means in windows; the last partial window is dropped. */
  public Tensor averagePool(Tensor x, long kernel, long stride) {
    return averagePool(x, new long[] {kernel}, new long[] {stride}, new long[] {0});
  }

  /** Means in windows, in which the padding counts as zeros. */
  public Tensor averagePool(Tensor x, long[] kernel, long[] stride, long[] padding) {
    return pool(Node.Kind.AVERAGE_POOL, x, kernel, stride, padding, Map.of("count-padding", 1));
  }

  /** Means of those parts of windows that lie inside x. */
  public Tensor averagePoolInside(Tensor x, long[] kernel, long[] stride, long[] padding) {
    return pool(Node.Kind.AVERAGE_POOL, x, kernel, stride, padding, Map.of("count-padding", 0));
  }

  private Tensor pool(
      Node.Kind kind,
      Tensor x,
      long[] kernel,
      long[] stride,
      long[] padding,
      Map<String, Object> more) {
    String what = word(kind);
    int axes = Shapes.spatialAxes(what, x);
    long[] kernels = Shapes.perAxis(what, "kernel", axes, kernel);
    long[] strides = Shapes.perAxis(what, "stride", axes, stride);
    long[] paddings = Shapes.perAxis(what, "padding", axes, padding);
    long[] shape = Shapes.slidden(what, x, x.size(1), kernels, strides, paddings);
    Shapes.requireHalfPadding(what, kernels, paddings);
    Map<String, Object> attributes = new HashMap<>(more);
    attributes.put("kernel", kernels);
    attributes.put("stride", strides);
    attributes.put("padding", paddings);
    return node(kind, List.of(x), attributes, shape);
  }

  /**
   * Means of bins, as many as asked for whatever the input's size: bin i of s over n pixels is
   * [⌊i·n/s⌋, ⌈(i + 1)·n/s⌉), so bins may overlap.
   */
  public Tensor adaptiveAveragePool(Tensor x, long... size) {
    return adaptivePool(Node.Kind.ADAPTIVE_AVERAGE_POOL, x, size);
  }

  /** Maxima of the bins of {@link #adaptiveAveragePool}. */
  public Tensor adaptiveMaxPool(Tensor x, long... size) {
    return adaptivePool(Node.Kind.ADAPTIVE_MAX_POOL, x, size);
  }

  private Tensor adaptivePool(Node.Kind kind, Tensor x, long... size) {
    int axes = Shapes.spatialAxes(word(kind), x);
    long[] sizes = Shapes.perAxis(word(kind), "size", axes, size);
    return node(kind, List.of(x), Map.of("size", sizes), Shapes.resized(word(kind), x, sizes));
  }

  /**
   * (B, C, ...) → (B, C, size...) over 1 to 3 spatial axes, as PyTorch's {@code interpolate}; x
   * itself if it has that size.
   */
  public Tensor resize(Tensor x, Resize way, long... size) {
    if (x.rank() < 3 || x.rank() > 5 || (way.mode().equals("cubic") && x.rank() != 4)) {
      throw Shapes.error(
          "Cannot resize %s: the input must have %s",
          x, way.mode().equals("cubic") ? "2 spatial axes to be cubic" : "1 to 3 spatial axes");
    }
    long[] sizes = Shapes.perAxis("resize", "size", x.rank() - 2, size);
    long[] shape = Shapes.resized("resize", x, sizes);
    if (Arrays.equals(shape, x.shape())) {
      return x;
    }
    return node(
        Node.Kind.RESIZE,
        List.of(x),
        Map.of("mode", way.mode(), "align-corners", way.alignCorners() ? 1 : 0),
        shape);
  }

  // Products.

  /** a·b: (..., M, K), (..., K, N) → (..., M, N), of equal ranks and batch axes. */
  public Tensor matmul(Tensor a, Tensor b) {
    return matmul(a, b, false, false);
  }

  /** a·bᵀ: (..., M, K), (..., N, K) → (..., M, N). */
  public Tensor matmulTransposeB(Tensor a, Tensor b) {
    return matmul(a, b, false, true);
  }

  /** aᵀ·b: (..., K, M), (..., K, N) → (..., M, N). */
  public Tensor matmulTransposeA(Tensor a, Tensor b) {
    return matmul(a, b, true, false);
  }

  private Tensor matmul(Tensor a, Tensor b, boolean transposeA, boolean transposeB) {
    return node(
        Node.Kind.MATMUL,
        List.of(a, b),
        Map.of("transpose-a", transposeA ? 1 : 0, "transpose-b", transposeB ? 1 : 0),
        Shapes.product(a, b, transposeA, transposeB));
  }

  /**
   * softmax(scale·q·kᵀ)·v: q (..., N, d), k (..., M, d), v (..., M, e) → (..., N, e), of equal
   * ranks and batch axes.
   *
   * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al., Attention Is All You Need,
   *     2017, section 3.2.1</a>
   */
  public Tensor attention(Tensor q, Tensor k, Tensor v, double scale) {
    if (!Shapes.attend(q, k, v)) {
      throw Shapes.error(
          "Cannot attend with %s to %s and %s: they must be (..., N, d), (..., M, d) and (..., M,"
              + " e)",
          q, k, v);
    }
    if (!Double.isFinite(scale)) {
      throw Shapes.error("Cannot attend with %s: scale %s must be finite", q, scale);
    }
    long[] shape = q.shape();
    shape[shape.length - 1] = v.size(v.rank() - 1);
    return node(Node.Kind.ATTENTION, List.of(q, k, v), Map.of("scale", scale), shape);
  }

  // Moving elements.

  /** Joins tensors along axis 1, the channels; the other sizes must agree. */
  public Tensor concat(Tensor... tensors) {
    return concat(1, tensors);
  }

  /** Joins tensors along an axis; the other sizes must agree. */
  public Tensor concat(int axis, Tensor... tensors) {
    int least = axis == 1 ? 2 : 1;
    if (tensors.length == 0
        || Arrays.stream(tensors)
            .anyMatch(x -> x.rank() < least || x.rank() != tensors[0].rank())) {
      throw Shapes.error(
          "Cannot concat %s: ranks must be >= %d and equal", Arrays.toString(tensors), least);
    }
    int along = Shapes.axis(word(Node.Kind.CONCAT), tensors[0], axis);
    long[] shape = tensors[0].shape();
    long size = 0;
    for (Tensor tensor : tensors) {
      size += tensor.size(along);
      shape[along] = tensor.size(along);
      if (!Arrays.equals(tensor.shape(), shape)) {
        throw Shapes.error(
            "Cannot concat %s: sizes differ beside axis %d", Arrays.toString(tensors), along);
      }
    }
    shape[along] = size;
    return node(Node.Kind.CONCAT, List.of(tensors), Map.of("axis", along), shape);
  }

  /** The elements from {@code begin} to {@code end} (exclusive) along one axis. */
  public Tensor slice(Tensor x, int axis, long begin, long end) {
    return slice(x, axis, begin, end, 1);
  }

  /** Every {@code step}-th element from {@code begin} to {@code end} (exclusive), on one axis. */
  public Tensor slice(Tensor x, int axis, long begin, long end, long step) {
    int along = Shapes.axis(word(Node.Kind.SLICE), x, axis);
    long[] begins = new long[x.rank()];
    long[] ends = x.shape();
    long[] steps = Shapes.filled(x.rank(), 1);
    begins[along] = begin;
    ends[along] = end;
    steps[along] = step;
    return slice(x, begins, ends, steps);
  }

  /** Every {@code step}-th element from {@code begin} to {@code end} (exclusive), on every axis. */
  public Tensor slice(Tensor x, long[] begin, long[] end, long[] step) {
    long[] shape = Shapes.sliced(x, begin, end, step);
    return node(
        Node.Kind.SLICE, List.of(x), Map.of("begin", begin, "end", end, "step", step), shape);
  }

  /** {@code length} elements from {@code begin} on, along one axis. */
  public Tensor narrow(Tensor x, int axis, long begin, long length) {
    return slice(x, axis, begin, begin + length);
  }

  /** The elements at {@code index} of an axis, which vanishes. */
  public Tensor select(Tensor x, int axis, long index) {
    Tensor narrow = narrow(x, axis, index, 1);
    long[] along = Shapes.axes(word(Node.Kind.SLICE), x, axis);
    return reshape(narrow, Shapes.reduced(x, along, false));
  }

  /** Cuts an axis into parts of these sizes, which together must make it up. */
  public List<Tensor> split(Tensor x, int axis, long... sizes) {
    int along = Shapes.axis("split", x, axis);
    if (Arrays.stream(sizes).anyMatch(size -> size < 1)
        || Arrays.stream(sizes).sum() != x.size(along)) {
      throw Shapes.error(
          "Cannot split %s: sizes %s must be >= 1 and add up to axis %d",
          x, Shapes.text(sizes), along);
    }
    List<Tensor> parts = new ArrayList<>();
    long begin = 0;
    for (long size : sizes) {
      parts.add(narrow(x, along, begin, size));
      begin += size;
    }
    return parts;
  }

  /** {@code before} zeros in front of an axis and {@code after} behind it. */
  public Tensor pad(Tensor x, int axis, long before, long after) {
    int along = Shapes.axis(word(Node.Kind.PAD), x, axis);
    long[] befores = new long[x.rank()];
    long[] afters = new long[x.rank()];
    befores[along] = before;
    afters[along] = after;
    return pad(x, befores, afters, 0);
  }

  /** A border of {@code value}: so many elements before and after, one entry per axis. */
  public Tensor pad(Tensor x, long[] before, long[] after, double value) {
    long[] shape = Shapes.padded(x, before, after);
    return node(
        Node.Kind.PAD, List.of(x), Map.of("before", before, "after", after, "value", value), shape);
  }

  /** Output axis i is input axis {@code axes[i]}; x itself if that changes nothing. */
  public Tensor permute(Tensor x, int... axes) {
    long[] order = Shapes.order(x, axes);
    if (Arrays.equals(order, LongStream.range(0, x.rank()).toArray())) {
      return x;
    }
    long[] shape = Arrays.stream(order).map(axis -> x.size((int) axis)).toArray();
    return node(Node.Kind.PERMUTE, List.of(x), Map.of("axes", order), shape);
  }

  /** Swaps two axes. */
  public Tensor transpose(Tensor x, int axis, int other) {
    int[] axes = IntStream.range(0, x.rank()).toArray();
    axes[Shapes.axis("transpose", x, axis)] = Shapes.axis("transpose", x, other);
    axes[Shapes.axis("transpose", x, other)] = Shapes.axis("transpose", x, axis);
    return permute(x, axes);
  }

  /**
   * The same elements in row-major order; one size may be -1 and follows from the others. x itself
   * if it has that shape.
   */
  public Tensor reshape(Tensor x, long... shape) {
    long[] sizes = Shapes.reshaped(x, shape);
    return Arrays.equals(sizes, x.shape())
        ? x
        : node(Node.Kind.RESHAPE, List.of(x), Map.of(), sizes);
  }

  /**
   * Reorders, splits and joins axes as a pattern says: {@code "b c h w -> b (h w) c"}.
   *
   * <p>Names are axes, parentheses join axes into one (the last name moves fastest), 1 is an axis
   * of size 1. Every name stands once on each side.
   *
   * @see <a href="https://openreview.net/forum?id=oapKSVM2bcj">Rogozhnikov, Einops, 2022</a>
   */
  public Tensor rearrange(Tensor x, String pattern) {
    return rearrange(x, pattern, Map.of());
  }

  /**
   * {@link #rearrange(Tensor, String)} where the input has joined axes: all sizes in a pair of
   * parentheses but one have to be known.
   *
   * @param sizes sizes of names: {@code "b (h w) c -> b c h w"} needs h or w
   */
  public Tensor rearrange(Tensor x, String pattern, Map<String, Long> sizes) {
    return Rearrange.apply(this, x, pattern, sizes);
  }

  /** x with these axes run backwards. */
  public Tensor flip(Tensor x, int... axes) {
    if (axes.length == 0) {
      throw Shapes.error("Cannot flip %s: no axis is named", x);
    }
    long[] sorted = Shapes.axes(word(Node.Kind.FLIP), x, axes);
    return node(Node.Kind.FLIP, List.of(x), Map.of("axes", sorted), x.shape());
  }

  /**
   * The places of x along an axis that {@code indices} name; the axis becomes those of {@code
   * indices}.
   *
   * @param indices int64, each in [0, size of the axis)
   */
  public Tensor gather(Tensor x, Tensor indices, int axis) {
    int along = Shapes.axis(word(Node.Kind.GATHER), x, axis);
    if (indices.type() != Tensor.Type.INT64) {
      throw Shapes.error("Cannot gather %s: the indices %s must be int64", x, indices);
    }
    long[] shape = new long[x.rank() - 1 + indices.rank()];
    for (int i = 0; i < shape.length; i++) {
      int within = i - along;
      shape[i] =
          within < 0
              ? x.size(i)
              : within < indices.rank() ? indices.size(within) : x.size(i - indices.rank() + 1);
    }
    return node(Node.Kind.GATHER, List.of(x, indices), Map.of("axis", along), shape);
  }

  /** The rows of {@code table} (V, ...) that int64 {@code indices} name: (indices..., ...). */
  public Tensor embedding(Tensor table, Tensor indices) {
    return gather(table, indices, 0);
  }

  // Noise.

  /** In training zeroes each element with probability {@code rate}; scales the others up. */
  public Tensor dropout(Tensor x, double rate) {
    return dropout(x, rate, x.rank());
  }

  /** In training zeroes each channel of each sample with probability {@code rate}. */
  public Tensor dropoutChannels(Tensor x, double rate) {
    if (x.rank() < 2) {
      throw Shapes.error("Cannot drop channels of %s: it must be (B, C, ...)", x);
    }
    return dropout(x, rate, 2);
  }

  /**
   * In training zeroes each sample with probability {@code rate}: of a residual branch, so that the
   * network is less deep for that sample.
   *
   * @see <a href="https://arxiv.org/abs/1603.09382">Huang et al., Deep Networks with Stochastic
   *     Depth, 2016, section 3</a>
   */
  public Tensor dropPath(Tensor x, double rate) {
    if (x.rank() < 2) {
      throw Shapes.error("Cannot drop paths of %s: it must be (B, ...)", x);
    }
    return dropout(x, rate, 1);
  }

  /** A fate for each place on the first {@code axes} axes, shared along the others. */
  private Tensor dropout(Tensor x, double rate, int axes) {
    if (!(rate >= 0 && rate < 1)) {
      throw Shapes.error("Invalid dropout: %s (must be in [0, 1))", rate);
    }
    if (mode == Mode.INFERENCE || rate == 0) {
      return x;
    }
    long[] mask = x.shape();
    Arrays.fill(mask, axes, x.rank(), 1);
    return node(
        Node.Kind.DROPOUT,
        List.of(x),
        Map.of("rate", rate, "mask", mask, "index", dropouts++),
        x.shape());
  }

  /**
   * Writes an inference graph of stock SameDiff operations with these weights; plain {@code
   * SameDiff.load} reads and runs it.
   *
   * @param state every parameter and buffer by name, as an engine's {@code state()} gives them
   * @throws IllegalArgumentException if this is a training graph, or {@code state} lacks a variable
   * @throws IOException if {@code file} cannot be written
   */
  public void save(Path file, Map<String, HostTensor> state) throws IOException {
    SameDiffFile.write(this, state, file);
  }

  Tensor node(Node.Kind kind, List<Tensor> from, Map<String, Object> attributes, long... shape) {
    for (int i = 0; i < from.size(); i++) {
      Tensor input = from.get(i);
      if (input.type() == Tensor.Type.INT64 && !kind.takesIntegers(i)) {
        throw Shapes.error("Cannot %s %s: it is int64, must be float", word(kind), input);
      }
      if (forgotten.contains(input)) {
        throw Shapes.error(
            "Cannot %s %s: its layer was changed after it was taken", word(kind), input);
      }
    }
    if (!Shapes.fits(shape)) {
      throw Shapes.error(
          "Cannot %s %s: the result %s holds more than %d numbers",
          word(kind), from.get(0), Shapes.text(shape), Shapes.LARGEST);
    }
    Tensor result = new Tensor("", Tensor.Type.FLOAT, shape);
    nodes.add(new Node(kind, from, List.of(result), attributes));
    return result;
  }

  private static String word(Node.Kind kind) {
    return kind.name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }
}
