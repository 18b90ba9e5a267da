package sparkvision.graph;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

  private final Mode mode;
  private final long seed;
  private final Precision precision;
  private final List<Node> nodes = new ArrayList<>();
  private final Map<String, Variable> variables = new LinkedHashMap<>();
  private final Map<String, Tensor> inputs = new LinkedHashMap<>();
  private final Map<String, Tensor> outputs = new LinkedHashMap<>();
  private Tensor loss;
  private int dropouts;

  /** An empty float32 graph; weights and dropout follow from {@code seed}. */
  public Graph(Mode mode, long seed) {
    this(mode, seed, Precision.FLOAT);
  }

  public Graph(Mode mode, long seed, Precision precision) {
    this.mode = mode;
    this.seed = seed;
    this.precision = precision;
  }

  public Mode mode() {
    return mode;
  }

  public long seed() {
    return seed;
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
    if (Arrays.stream(shape).anyMatch(size -> size < 1)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid shape of input %s: %s (sizes must be >= 1)", name, Arrays.toString(shape)));
    }
    requireFresh(name);
    Tensor tensor = new Tensor(name, type, shape);
    inputs.put(name, tensor);
    return tensor;
  }

  /** Declares a result that callers get by name. */
  public void output(String name, Tensor tensor) {
    if (outputs.putIfAbsent(name, tensor) != null) {
      throw new IllegalArgumentException(
          String.format("Cannot declare output %s: the name is taken", name));
    }
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
    requireFresh(name);
    Tensor tensor = new Tensor(name, type, shape);
    variables.put(name, new Variable(tensor, role, initializer));
    return tensor;
  }

  private void requireFresh(String name) {
    if (inputs.containsKey(name) || variables.containsKey(name)) {
      throw new IllegalArgumentException(
          String.format("Cannot declare %s: the name is taken", name));
    }
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

  public BatchNorm batchNorm(String name, long channels) {
    return new BatchNorm(this, name, channels);
  }

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
    int axes = x.rank() - 2;
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
    int axes = x.rank() - 2;
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
    return node(Node.Kind.GLOBAL_AVERAGE_POOL, List.of(x), Map.of(), x.size(0), x.size(1));
  }

  /** Joins tensors along axis 1; the other sizes must agree. */
  public Tensor concat(Tensor... tensors) {
    long[] shape = tensors[0].shape();
    shape[1] = 0;
    for (Tensor tensor : tensors) {
      long[] expected = tensor.shape();
      expected[1] = shape[1];
      if (!Arrays.equals(expected, shape)) {
        throw new IllegalArgumentException(
            "Cannot concat: sizes differ, found " + Arrays.toString(tensors));
      }
      shape[1] += tensor.size(1);
    }
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
          String.format("Cannot %s: shapes differ, found %s and %s", kind, x, y));
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
    Tensor result = new Tensor("", Tensor.Type.FLOAT, shape);
    nodes.add(new Node(kind, from, List.of(result), attributes));
    return result;
  }

  /** The shape after a window has slid over the spatial axes of {@code x}. */
  static long[] slidden(
      String what, Tensor x, long channels, long[] kernel, long[] stride, long[] padding) {
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
