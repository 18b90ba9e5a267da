package sparkvision.graph;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import sparkvision.weights.HostTensor;

/**
 * A network as a list of {@link Node}s over tensors of static shape: the vocabulary that model
 * files are written in, and what engines run.
 *
 * <p>Layouts are (B, C, H, W) and (B, C, D, H, W); a tensor's rank picks 2D or 3D. A graph holds no
 * numbers, so building even a large one costs next to nothing; an engine makes the weights from the
 * seed or loads them.
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

  private static final int LARGEST = Integer.MAX_VALUE - 8; // of Java's arrays

  private final Mode mode;
  private final long seed;
  private final Precision precision;
  private final List<Node> nodes = new ArrayList<>();
  private final Map<String, Variable> variables = new LinkedHashMap<>();
  private final Map<String, Tensor> inputs = new LinkedHashMap<>();
  private final Map<String, Tensor> outputs = new LinkedHashMap<>();
  private final Set<Tensor> requestedGradients = new LinkedHashSet<>();
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

  /** Declares the scalar that training minimises. */
  public void loss(Tensor scalar) {
    if (loss != null || scalar.rank() != 0) {
      throw new IllegalArgumentException(
          loss != null
              ? "Cannot declare loss: the graph has one"
              : "Cannot declare loss: it must be a scalar, found " + scalar);
    }
    loss = scalar;
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
    long room = LARGEST;
    for (long size : shape) {
      if (size < 1) {
        throw new IllegalArgumentException(
            String.format("Cannot declare %s: sizes must be >= 1", tensor));
      }
      room /= size;
    }
    if (room == 0) {
      throw new IllegalArgumentException(
          String.format("Cannot declare %s: it holds more than %d numbers", tensor, LARGEST));
    }
    return tensor;
  }

  // Layers: the weights are declared at once, the mathematics is their apply.

  /**
   * A convolution without bias, stride 1, no padding, from {@code in} to {@code out} channels.
   *
   * @param kernel one size per spatial axis: two for 2D, three for 3D
   */
  public Conv conv(String name, long in, long out, long... kernel) {
    long[] shape = new long[kernel.length + 2];
    shape[0] = out;
    shape[1] = in;
    System.arraycopy(kernel, 0, shape, 2, kernel.length);
    return new Conv(
        this, name, parameter(name + ".weight", Initializer.kaimingNormal(), shape), null, 1, 0);
  }

  /** A batch normalisation of {@code channels}: scale 1, shift 0, running mean 0 and variance 1. */
  public BatchNorm batchNorm(String name, long channels) {
    return new BatchNorm(this, name, channels);
  }

  /** A linear layer with bias, from {@code in} to {@code out} features. */
  public Linear linear(String name, long in, long out) {
    return new Linear(this, name, in, out);
  }

  // Functions.

  /** max(x, 0). */
  public Tensor relu(Tensor x) {
    return node(Node.Kind.RELU, List.of(x), Map.of(), x.shape());
  }

  /**
   * Largest values in windows; the padding counts as minus infinity, the last partial window is
   * dropped.
   */
  public Tensor maxPool(Tensor x, long kernel, long stride, long padding) {
    int axes = spatialAxes("max pool", x);
    long[] kernels = Conv.filled(axes, kernel);
    long[] strides = Conv.filled(axes, stride);
    long[] paddings = Conv.filled(axes, padding);
    return node(
        Node.Kind.MAX_POOL,
        List.of(x),
        Map.of("kernel", kernels, "stride", strides, "padding", paddings),
        slidden("max pool", x, x.size(1), kernels, strides, paddings));
  }

  /** Means in windows; the last partial window is dropped. */
  public Tensor averagePool(Tensor x, long kernel, long stride) {
    int axes = spatialAxes("average pool", x);
    long[] kernels = Conv.filled(axes, kernel);
    long[] strides = Conv.filled(axes, stride);
    return node(
        Node.Kind.AVERAGE_POOL,
        List.of(x),
        Map.of("kernel", kernels, "stride", strides),
        slidden("average pool", x, x.size(1), kernels, strides, new long[axes]));
  }

  /** (B, C, ...) → means (B, C). */
  public Tensor globalAveragePool(Tensor x) {
    spatialAxes("global average pool", x);
    return node(Node.Kind.GLOBAL_AVERAGE_POOL, List.of(x), Map.of(), x.size(0), x.size(1));
  }

  /** Joins tensors along axis 1; the other sizes must agree. */
  public Tensor concat(Tensor... tensors) {
    long[] shape = tensors.length == 0 ? new long[0] : tensors[0].shape();
    if (tensors.length == 0
        || Arrays.stream(tensors).anyMatch(x -> x.rank() < 2 || x.rank() != shape.length)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot concat %s: ranks must be >= 2 and equal", Arrays.toString(tensors)));
    }
    long channels = 0;
    for (Tensor tensor : tensors) {
      channels += tensor.size(1);
      shape[1] = tensor.size(1);
      if (!Arrays.equals(tensor.shape(), shape)) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot concat %s: sizes differ beside axis 1", Arrays.toString(tensors)));
      }
    }
    shape[1] = channels;
    return node(Node.Kind.CONCAT, List.of(tensors), Map.of(), shape);
  }

  /** x + y, of one shape. */
  public Tensor add(Tensor x, Tensor y) {
    return pairwise(Node.Kind.ADD, x, y);
  }

  /** x·y element by element, of one shape. */
  public Tensor multiply(Tensor x, Tensor y) {
    return pairwise(Node.Kind.MULTIPLY, x, y);
  }

  private Tensor pairwise(Node.Kind kind, Tensor x, Tensor y) {
    if (!Arrays.equals(x.shape(), y.shape())) {
      throw new IllegalArgumentException(
          String.format("Cannot %s %s and %s: shapes differ", word(kind), x, y));
    }
    return node(kind, List.of(x, y), Map.of(), x.shape());
  }

  /** The sum of all elements, a scalar. */
  public Tensor sum(Tensor x) {
    return node(Node.Kind.SUM, List.of(x), Map.of());
  }

  /** In training zeroes each element with probability {@code rate}; scales the others up. */
  public Tensor dropout(Tensor x, double rate) {
    return dropout(x, rate, x.shape());
  }

  /** In training zeroes each channel of each sample with probability {@code rate}. */
  public Tensor dropoutChannels(Tensor x, double rate) {
    if (x.rank() < 2) {
      throw new IllegalArgumentException(
          String.format("Cannot drop channels of %s: it must be (B, C, ...)", x));
    }
    return dropout(x, rate, x.size(0), x.size(1));
  }

  private Tensor dropout(Tensor x, double rate, long... mask) {
    if (!(rate >= 0 && rate < 1)) {
      throw new IllegalArgumentException(
          String.format("Invalid dropout: %s (must be in [0, 1))", rate));
    }
    if (mode == Mode.INFERENCE || rate == 0) {
      return x;
    }
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
      if (from.get(i).type() == Tensor.Type.INT64 && !kind.takesIntegers(i)) {
        throw new IllegalArgumentException(
            String.format("Cannot %s %s: it is int64, must be float", word(kind), from.get(i)));
      }
    }
    Tensor result = new Tensor("", Tensor.Type.FLOAT, shape);
    nodes.add(new Node(kind, from, List.of(result), attributes));
    return result;
  }

  private static String word(Node.Kind kind) {
    return kind.name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }

  private static int spatialAxes(String what, Tensor x) {
    if (x.rank() != 4 && x.rank() != 5) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot apply %s: the input must have 2 or 3 spatial axes, is %s", what, x));
    }
    return x.rank() - 2;
  }

  /** The shape after a window has slid over the spatial axes of {@code x}. */
  static long[] slidden(
      String what, Tensor x, long channels, long[] kernel, long[] stride, long[] padding) {
    if (spatialAxes(what, x) != kernel.length
        || Arrays.stream(kernel).anyMatch(size -> size < 1)
        || Arrays.stream(stride).anyMatch(size -> size < 1)
        || Arrays.stream(padding).anyMatch(size -> size < 0)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot apply %s: kernel %s and stride %s must be >= 1, padding %s >= 0",
              what, Arrays.toString(kernel), Arrays.toString(stride), Arrays.toString(padding)));
    }
    long[] shape = x.shape();
    shape[1] = channels;
    for (int i = 0; i < kernel.length; i++) {
      long room = x.size(i + 2) + 2 * padding[i] - kernel[i];
      if (room < 0) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot apply %s: a window of %s with padding %s does not fit into %s",
                what, Arrays.toString(kernel), Arrays.toString(padding), x));
      }
      shape[i + 2] = room / stride[i] + 1;
    }
    return shape;
  }
}
