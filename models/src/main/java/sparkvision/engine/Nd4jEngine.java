package sparkvision.engine;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import sparkvision.engine.Plan.Value;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/**
 * The reference engine: stock ND4J operations and plain loops, one after the other.
 *
 * <p>All parameters, then all running statistics, lie in one flat array; the gradients of the
 * parameters in another, in the same order.
 */
final class Nd4jEngine implements Engine {

  /** Regions that have native operations; the others run as the words they are short for. */
  private static final Set<Node.Kind> KEPT =
      Set.of(Node.Kind.GLOBAL_AVERAGE_POOL, Node.Kind.BATCH_NORM, Node.Kind.LINEAR);

  private final Graph graph;
  private final List<Node> nodes;
  private final Optimizer optimizer; // null for an inference graph
  private final Plan plan;
  private final Kernels kernels;
  private final int forwardEnd;
  private final INDArray weights;
  private final INDArray gradients; // null for an inference graph
  private final Map<Variable, Integer> offsets = new LinkedHashMap<>(); // into weights
  private final Map<Tensor, Long> counters = new LinkedHashMap<>();
  private final int averagedSize;
  private final Optimizer.Loop loop = Optimizer.Loop.serial();
  private boolean differentiated;
  private boolean closed;

  Nd4jEngine(Graph graph, OptimizerConfig config) {
    boolean training = graph.mode() == Graph.Mode.TRAINING;
    if (training != (config != null)) {
      throw new IllegalArgumentException(
          training
              ? "Cannot open engine: a training graph needs an optimizer"
              : "Cannot open engine: an inference graph takes no optimizer");
    }
    this.graph = graph;
    this.nodes = graph.lowered(KEPT);
    this.plan =
        new Plan(graph.precision() == Graph.Precision.FLOAT ? DataType.FLOAT : DataType.DOUBLE);
    this.kernels = new Kernels(graph, plan);

    long size = 0;
    for (Variable.Role role : List.of(Variable.Role.PARAMETER, Variable.Role.STATISTIC)) {
      for (Variable variable : graph.variables()) {
        if (variable.role() == role) {
          offsets.put(variable, (int) Math.min(size, Integer.MAX_VALUE));
          size += variable.tensor().elements();
        }
      }
    }
    if (size > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot open engine: parameters and running statistics are %d numbers, must be <= %d",
              size, Integer.MAX_VALUE - 8));
    }
    this.averagedSize = (int) size;
    this.weights = plan.own(Math.max(1, size));
    this.gradients = training ? plan.own(Math.max(1, graph.parameterCount())) : null;
    this.optimizer =
        training
            ? new Optimizer(
                config,
                parameters(),
                variables(Variable.Role.STATISTIC),
                new Weights(offsets.values().stream().mapToInt(offset -> offset).toArray()))
            : null;

    offsets.forEach(
        (variable, offset) ->
            kernels.bind(
                variable.tensor(), plan.fixed(weights, offset, variable.tensor().shape())));
    for (Tensor input : graph.inputs().values()) {
      if (input.type() == Tensor.Type.FLOAT) {
        kernels.bind(input, plan.external(input.shape()));
      }
    }
    if (training) {
      parameters().forEach(kernels::want);
      graph.requestedGradients().forEach(kernels::want);
    }
    nodes.forEach(kernels::forward);
    graph.outputs().values().forEach(tensor -> plan.keep(kernels.value(tensor)));
    this.forwardEnd = plan.size();
    if (training) {
      graph.loss().ifPresent(this::differentiate);
    }
    plan.allocate();
    initialise();
  }

  private List<Tensor> parameters() {
    return variables(Variable.Role.PARAMETER);
  }

  private List<Tensor> variables(Variable.Role role) {
    return offsets.keySet().stream()
        .filter(variable -> variable.role() == role)
        .map(Variable::tensor)
        .toList();
  }

  /** The flat arrays, for the optimizer; a parameter has one offset in both. */
  private final class Weights implements Optimizer.Weights {

    private final int[] offsets;

    Weights(int[] offsets) {
      this.offsets = offsets;
    }

    @Override
    public void read(int variable, int first, float[] target, int count) {
      NativeMemory.read(weights, offsets[variable] + (long) first, target, 0, count);
    }

    @Override
    public void write(int variable, int first, float[] source, int count) {
      NativeMemory.write(weights, offsets[variable] + (long) first, source, 0, count);
    }

    @Override
    public void readGradient(int parameter, int first, float[] target, int count) {
      NativeMemory.read(gradients, offsets[parameter] + (long) first, target, 0, count);
    }
  }

  private void differentiate(Tensor loss) {
    plan.keep(kernels.value(loss));
    kernels.seed(loss);
    List<Node> backwards = new ArrayList<>(nodes);
    Collections.reverse(backwards);
    backwards.forEach(kernels::backward);
    offsets.forEach(
        (variable, offset) -> {
          Value gradient = kernels.gradient(variable.tensor());
          if (variable.role() == Variable.Role.PARAMETER
              && gradient != null
              && !plan.place(gradient, gradients, offset)) {
            plan.call(
                "identity", plan.fixed(gradients, offset, variable.tensor().shape()), gradient);
          }
        });
    for (Tensor input : graph.requestedGradients()) {
      Value gradient = kernels.gradient(input);
      if (gradient != null) {
        // A later forward must not overwrite it. What has a place already is safe there.
        plan.place(gradient, plan.own(gradient.elements()), 0);
      }
    }
  }

  private void initialise() {
    for (Variable variable : graph.variables()) {
      if (variable.role() == Variable.Role.COUNTER) {
        counters.put(variable.tensor(), 0L);
        continue;
      }
      float[] values =
          variable.initializer().values(graph.seed(), variable.name(), variable.tensor().shape());
      NativeMemory.write(weights, offsets.get(variable), values, 0, values.length);
    }
  }

  @Override
  public Map<String, HostTensor> state() {
    Map<String, HostTensor> state = new LinkedHashMap<>();
    for (Variable variable : graph.variables()) {
      HostTensor tensor =
          variable.role() == Variable.Role.COUNTER
              ? HostTensor.ofLongs(new long[] {counters.get(variable.tensor())})
              : host(weights, offsets.get(variable), variable.tensor());
      state.put(variable.name(), tensor);
    }
    return state;
  }

  @Override
  public void load(Map<String, HostTensor> state) {
    Map<String, Signature> expected = new LinkedHashMap<>();
    graph.variables().forEach(v -> expected.put(v.name(), Signature.of(v.tensor())));
    Signature.requireMatch("load state", expected, state);
    for (Variable variable : graph.variables()) {
      HostTensor tensor = state.get(variable.name());
      if (variable.role() == Variable.Role.COUNTER) {
        counters.put(variable.tensor(), tensor.longs()[0]);
      } else {
        float[] values = tensor.floats();
        NativeMemory.write(weights, offsets.get(variable), values, 0, values.length);
      }
    }
  }

  @Override
  public Map<String, HostTensor> forward(Map<String, HostTensor> inputs) {
    begin(inputs);
    plan.run(0, forwardEnd);
    return outputs();
  }

  @Override
  public Map<String, HostTensor> forwardBackward(Map<String, HostTensor> inputs) {
    Tensor loss = requireLoss();
    begin(inputs);
    plan.run(0, plan.size());
    differentiated = true;
    Map<String, HostTensor> results = outputs();
    results.put("loss", host(loss));
    return results;
  }

  private Tensor requireLoss() {
    if (graph.mode() != Graph.Mode.TRAINING || graph.loss().isEmpty()) {
      throw new IllegalStateException(
          "Cannot compute gradients: the graph is not a training graph with a loss");
    }
    return graph.loss().get();
  }

  private void begin(Map<String, HostTensor> inputs) {
    if (closed) {
      throw new IllegalStateException("Cannot run graph: the engine is closed");
    }
    Map<String, Signature> expected = new LinkedHashMap<>();
    graph.inputs().forEach((name, tensor) -> expected.put(name, Signature.of(tensor)));
    Signature.requireMatch("run graph", expected, inputs);
    graph
        .inputs()
        .forEach(
            (name, tensor) -> {
              if (tensor.type() == Tensor.Type.INT64) {
                kernels.bind(tensor, inputs.get(name).longs());
              } else {
                plan.write(kernels.value(tensor), inputs.get(name).floats());
              }
            });
    kernels.prepare(optimizer == null ? 0 : optimizer.draw());
    if (graph.mode() == Graph.Mode.TRAINING) {
      for (Node node : nodes) {
        if (node.kind() == Node.Kind.BATCH_NORM) {
          counters.merge(node.input(5), 1L, Long::sum);
        }
      }
    }
  }

  private Map<String, HostTensor> outputs() {
    Map<String, HostTensor> outputs = new LinkedHashMap<>();
    graph.outputs().forEach((name, tensor) -> outputs.put(name, host(tensor)));
    return outputs;
  }

  private HostTensor host(Tensor tensor) {
    return host(kernels.value(tensor), tensor);
  }

  private HostTensor host(Value value, Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.elements())];
    plan.read(value, values);
    return HostTensor.of(values, tensor.shape());
  }

  private static HostTensor host(INDArray flat, long offset, Tensor tensor) {
    float[] values = new float[Math.toIntExact(tensor.elements())];
    NativeMemory.read(flat, offset, values, 0, values.length);
    return HostTensor.of(values, tensor.shape());
  }

  @Override
  public HostTensor gradient(String name) {
    requireGradients();
    for (Map.Entry<Variable, Integer> entry : offsets.entrySet()) {
      Variable variable = entry.getKey();
      if (variable.role() == Variable.Role.PARAMETER && variable.name().equals(name)) {
        return host(gradients, entry.getValue(), variable.tensor());
      }
    }
    Tensor input = graph.inputs().get(name);
    if (input == null || !graph.requestedGradients().contains(input)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid name: %s (must be a parameter, or an input whose gradient was requested)",
              name));
    }
    Value gradient = kernels.gradient(input);
    return gradient == null
        ? HostTensor.of(new float[(int) input.elements()], input.shape())
        : host(gradient, input);
  }

  private void requireGradients() {
    if (!differentiated) {
      throw new IllegalStateException("Cannot use gradients: none were computed yet");
    }
  }

  @Override
  public void accumulate() {
    requireGradients();
    optimizer.accumulate(loop);
  }

  @Override
  public void update(double learningRate) {
    requireGradients();
    optimizer.step(learningRate, loop);
  }

  @Override
  public Map<String, HostTensor> optimizerState() {
    return optimizer == null ? Map.of() : optimizer.state();
  }

  @Override
  public void loadOptimizerState(Map<String, HostTensor> state) {
    if (optimizer == null) {
      throw new IllegalStateException("Cannot load optimizer state: the graph is for inference");
    }
    optimizer.load(state);
  }

  @Override
  public Map<String, HostTensor> emaState() {
    Map<String, HostTensor> averages = optimizer == null ? Map.of() : optimizer.ema();
    if (averages.isEmpty()) {
      return averages;
    }
    Map<String, HostTensor> state = state();
    state.putAll(averages);
    return state;
  }

  @Override
  public int averagedSize() {
    return averagedSize;
  }

  @Override
  public void readAveraged(float[] target) {
    requireAveragedSize(target.length);
    NativeMemory.read(weights, 0, target, 0, averagedSize);
  }

  @Override
  public void writeAveraged(float[] values) {
    requireAveragedSize(values.length);
    NativeMemory.write(weights, 0, values, 0, averagedSize);
  }

  private void requireAveragedSize(int length) {
    if (length != averagedSize) {
      throw new IllegalArgumentException(
          String.format("Invalid array: %d elements (must be %d)", length, averagedSize));
    }
  }

  /**
   * The memory of an input, a variable, a declared output or the loss, for tests in double
   * precision; that of other results is shared.
   */
  INDArray array(Tensor tensor) {
    return plan.array(kernels.value(tensor));
  }

  /**
   * The memory of a parameter's gradient, for tests in double precision; null if the loss does not
   * depend on it.
   */
  INDArray gradientArray(Tensor tensor) {
    Value gradient = kernels.gradient(tensor);
    return gradient == null ? null : plan.array(gradient);
  }

  @Override
  public void close() {
    closed = true;
    plan.close();
  }
}
