package sparkvision.engine;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.FlatLayout;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/**
 * What every engine does alike: names, checks, counters and the optimizer, around floating state in
 * one flat piece of memory in {@link FlatLayout}'s order.
 */
abstract class GraphEngine implements Engine {

  final Graph graph;
  final FlatLayout layout;
  private final Optimizer optimizer; // null for an inference graph
  private final Map<Tensor, Long> counters = new LinkedHashMap<>();
  private final Map<String, Signature> inputs = new LinkedHashMap<>();
  private final List<Node> norms; // that count batches
  private boolean differentiated;
  private boolean closed;

  GraphEngine(Graph graph, OptimizerConfig config) {
    boolean training = graph.mode() == Graph.Mode.TRAINING;
    if (training != (config != null)) {
      throw new IllegalArgumentException(
          training
              ? "Cannot open engine: a training graph needs an optimizer"
              : "Cannot open engine: an inference graph takes no optimizer");
    }
    this.graph = graph;
    this.layout = new FlatLayout(graph);
    this.optimizer =
        training
            ? new Optimizer(
                config, layout.parameters(), layout.statistics(), graph::isHead, new Weights())
            : null;
    this.norms =
        graph.nodes().stream()
            .filter(node -> training && node.kind() == Node.Kind.BATCH_NORM)
            .toList();
    graph.inputs().forEach((name, tensor) -> inputs.put(name, Signature.of(tensor)));
  }

  /** Makes the weights from the graph's seed, when there is memory for them. */
  final void initialise() {
    for (Variable variable : graph.variables()) {
      if (variable.role() == Variable.Role.COUNTER) {
        counters.put(variable.tensor(), 0L);
        continue;
      }
      float[] values =
          variable.initializer().values(graph.seed(), variable.name(), variable.tensor().shape());
      writeWeights(layout.offset(variable.tensor()), values, values.length);
    }
  }

  // What differs: memory and runs. Offsets and counts are in numbers.

  abstract void readWeights(long offset, float[] target, int count);

  abstract void writeWeights(long offset, float[] source, int count);

  abstract void readGradients(long offset, float[] target, int count);

  /** Gives an input for the next run, row-major. */
  abstract void write(Tensor input, HostTensor values);

  /** Computes the outputs; {@code draw} tells one dropout from the next. */
  abstract void runForward(long draw);

  /** Computes the outputs, the loss and the gradients. */
  abstract void runForwardBackward(long draw);

  /** Copies an output, or the loss, of the last run. */
  abstract void read(Tensor result, float[] target);

  /** Copies the gradient of an input, if the loss depends on it. */
  abstract void readInputGradient(Tensor input, float[] target);

  /** Runs the optimizer's tiles. */
  abstract Optimizer.Loop loop();

  abstract void free();

  private final class Weights implements Optimizer.Weights {
    private final int[] offsets =
        layout.variables().stream().mapToInt(tensor -> layout.offset(tensor)).toArray();

    @Override
    public void read(int variable, int first, float[] target, int count) {
      readWeights(offsets[variable] + (long) first, target, count);
    }

    @Override
    public void write(int variable, int first, float[] source, int count) {
      writeWeights(offsets[variable] + (long) first, source, count);
    }

    @Override
    public void readGradient(int parameter, int first, float[] target, int count) {
      readGradients(offsets[parameter] + (long) first, target, count);
    }
  }

  // State.

  @Override
  public Map<String, HostTensor> state() {
    Map<String, HostTensor> state = new LinkedHashMap<>();
    for (Variable variable : graph.variables()) {
      Tensor tensor = variable.tensor();
      if (variable.role() == Variable.Role.COUNTER) {
        state.put(variable.name(), HostTensor.ofLongs(new long[] {counters.get(tensor)}));
      } else {
        float[] values = new float[(int) tensor.elements()];
        readWeights(layout.offset(tensor), values, values.length);
        state.put(variable.name(), HostTensor.of(values, tensor.shape()));
      }
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
        writeWeights(layout.offset(variable.tensor()), tensor.floats(), tensor.floats().length);
      }
    }
  }

  // Runs.

  @Override
  public Map<String, HostTensor> forward(Map<String, HostTensor> given) {
    begin(given);
    runForward(draw());
    count();
    return outputs();
  }

  @Override
  public Map<String, HostTensor> forwardBackward(Map<String, HostTensor> given) {
    if (graph.mode() != Graph.Mode.TRAINING || graph.loss().isEmpty()) {
      throw new IllegalStateException(
          "Cannot compute gradients: the graph is not a training graph with a loss");
    }
    begin(given);
    runForwardBackward(draw());
    count();
    differentiated = true;
    Map<String, HostTensor> results = outputs();
    results.put("loss", host(graph.loss().get()));
    return results;
  }

  private long draw() {
    return optimizer == null ? 0 : optimizer.draw();
  }

  private void begin(Map<String, HostTensor> given) {
    if (closed) {
      throw new IllegalStateException("Cannot run graph: the engine is closed");
    }
    Signature.requireMatch("run graph", inputs, given);
    graph.nodes().forEach(node -> requireIndices(node, given));
    graph.inputs().forEach((name, tensor) -> write(tensor, given.get(name)));
  }

  /** Before anything moves: a step that fails half-way would leave running statistics changed. */
  private static void requireIndices(Node node, Map<String, HostTensor> given) {
    switch (node.kind()) {
      case GATHER -> {
        long size = node.input(0).size((int) node.integer("axis"));
        for (long index : given.get(node.input(1).name()).longs()) {
          if (index < 0 || index >= size) {
            throw new IllegalArgumentException(
                String.format("Invalid index: %d (must be in [0, %d))", index, size));
          }
        }
      }
      case CROSS_ENTROPY -> requireLabels(node, 1, node.input(0).size(1), given);
      case ONE_HOT -> requireLabels(node, 0, node.integer("classes"), given);
      default -> {} // takes no integers
    }
  }

  private static void requireLabels(
      Node node, int input, long classes, Map<String, HostTensor> given) {
    long ignored = node.integer("ignore-index");
    for (long label : given.get(node.input(input).name()).longs()) {
      if (label != ignored && (label < 0 || label >= classes)) {
        throw new IllegalArgumentException(
            String.format(
                "Invalid label: %d (the model has %d classes, numbered from 0)", label, classes));
      }
    }
  }

  private void count() {
    norms.stream()
        .filter(norm -> norm.inputs().size() == 6)
        .forEach(norm -> counters.merge(norm.input(5), 1L, Long::sum));
  }

  private Map<String, HostTensor> outputs() {
    Map<String, HostTensor> outputs = new LinkedHashMap<>();
    graph.outputs().forEach((name, tensor) -> outputs.put(name, host(tensor)));
    return outputs;
  }

  private HostTensor host(Tensor result) {
    float[] values = new float[Math.toIntExact(result.elements())];
    read(result, values);
    return HostTensor.of(values, result.shape());
  }

  // Gradients and the optimizer.

  @Override
  public HostTensor gradient(String name) {
    requireGradients();
    for (Tensor parameter : layout.parameters()) {
      if (parameter.name().equals(name)) {
        float[] values = new float[(int) parameter.elements()];
        readGradients(layout.offset(parameter), values, values.length);
        return HostTensor.of(values, parameter.shape());
      }
    }
    Tensor input = graph.inputs().get(name);
    if (input == null || !graph.requestedGradients().contains(input)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid name: %s (must be a parameter, or an input whose gradient was requested)",
              name));
    }
    float[] values = new float[Math.toIntExact(input.elements())];
    readInputGradient(input, values);
    return HostTensor.of(values, input.shape());
  }

  private void requireGradients() {
    if (!differentiated) {
      throw new IllegalStateException("Cannot use gradients: none were computed yet");
    }
  }

  @Override
  public void accumulate() {
    requireGradients();
    optimizer.accumulate(loop());
  }

  @Override
  public void update(double learningRate) {
    requireGradients();
    optimizer.step(learningRate, loop());
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

  // Averaging.

  @Override
  public int averagedSize() {
    return layout.size();
  }

  @Override
  public void readAveraged(float[] target) {
    requireAveragedSize(target.length);
    readWeights(0, target, target.length);
  }

  @Override
  public void writeAveraged(float[] values) {
    requireAveragedSize(values.length);
    writeWeights(0, values, values.length);
  }

  @Override
  public int parameterCount() {
    return layout.parameterCount();
  }

  @Override
  public void readGradients(float[] target) {
    requireGradients();
    requireAveragedSize(target.length);
    optimizer.readGradients(target, loop());
    int parameters = layout.parameterCount();
    float[] statistics = new float[target.length - parameters];
    readWeights(parameters, statistics, statistics.length);
    System.arraycopy(statistics, 0, target, parameters, statistics.length);
  }

  @Override
  public void writeGradients(float[] values) {
    requireGradients();
    requireAveragedSize(values.length);
    optimizer.writeGradients(values, loop());
    int parameters = layout.parameterCount();
    float[] statistics = Arrays.copyOfRange(values, parameters, values.length);
    writeWeights(parameters, statistics, statistics.length);
  }

  private void requireAveragedSize(int length) {
    if (length != layout.size()) {
      throw new IllegalArgumentException(
          String.format("Invalid array: %d elements (must be %d)", length, layout.size()));
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      free();
    }
  }
}
