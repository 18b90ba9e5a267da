package sparkvision.graph;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
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
public final class Graph extends Words {

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
  private Predicate<String> head = name -> false;
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

  /**
   * Says which parameters, by name, are the head, whose rate an optimizer may multiply, before an
   * engine is opened; none if never called.
   *
   * @return this graph
   */
  public Graph withHead(Predicate<String> parameters) {
    head = parameters;
    return this;
  }

  /** Whether a parameter belongs to the head. */
  public boolean isHead(Tensor parameter) {
    return head.test(parameter.name());
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
      throw Shapes.error("Cannot request gradient of %s: it is no float input", input);
    }
    requestedGradients.add(input);
  }

  /** Declares a result that callers get by name; {@code loss} is the name of the loss. */
  public void output(String name, Tensor tensor) {
    if (name.equals("loss") || isTaken(name)) {
      throw Shapes.error("Cannot declare output %s: the name is taken", name);
    }
    if (tensor.type() != Tensor.Type.FLOAT) {
      throw Shapes.error("Cannot declare output %s: %s is int64, must be float", name, tensor);
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
    if (isTaken(name)) {
      throw Shapes.error("Cannot declare %s: the name is taken", name);
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

  private boolean isTaken(String name) {
    return inputs.containsKey(name) || variables.containsKey(name) || outputs.containsKey(name);
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

  /** Gives a parameter other first values; nothing may have read it yet. */
  void reinitialized(Tensor parameter, Initializer initializer) {
    requireUnread(parameter);
    Variable old = variables.get(parameter.name());
    variables.put(old.name(), new Variable(parameter, old.role(), initializer));
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

  @Override
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
}
