package sparkvision.engine;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;
import sparkvision.plan.CompiledGraph;
import sparkvision.weights.HostTensor;

/** The fast engine: a plan of oneDNN's kernels and our own loops; see {@code sparkvision.plan}. */
final class CompiledEngine implements Engine {

  private final Graph graph;
  private final Optimizer optimizer; // null for an inference graph
  private final CompiledGraph compiled;
  private final Map<Tensor, Long> counters = new LinkedHashMap<>();
  private final List<Variable> floats; // parameters, then running statistics
  private final int averagedSize;
  private Optimizer.Scratch[] scratches = new Optimizer.Scratch[0];
  private boolean differentiated;
  private boolean closed;

  CompiledEngine(Graph graph, OptimizerConfig config, EngineOptions options) {
    boolean training = graph.mode() == Graph.Mode.TRAINING;
    this.graph = graph;
    this.compiled =
        new CompiledGraph(
            graph,
            new CompiledGraph.Settings(
                options.threads(),
                options.precision() == EngineOptions.Precision.FLOAT32
                    ? Type.FLOAT32
                    : Type.BFLOAT16,
                options.memory() == EngineOptions.Memory.LEAN,
                options.poison()));
    this.floats =
        Stream.of(Variable.Role.PARAMETER, Variable.Role.STATISTIC)
            .flatMap(role -> graph.variables().stream().filter(v -> v.role() == role))
            .toList();
    this.averagedSize = (int) floats.stream().mapToLong(v -> v.tensor().elements()).sum();
    this.optimizer =
        training
            ? new Optimizer(
                config,
                tensors(Variable.Role.PARAMETER),
                tensors(Variable.Role.STATISTIC),
                new Weights())
            : null;
    for (Variable variable : graph.variables()) {
      if (variable.role() == Variable.Role.COUNTER) {
        counters.put(variable.tensor(), 0L);
      } else {
        float[] values =
            variable.initializer().values(graph.seed(), variable.name(), variable.tensor().shape());
        compiled.writeWeights(compiled.offset(variable.tensor()), values, 0, values.length);
      }
    }
  }

  private List<Tensor> tensors(Variable.Role role) {
    return floats.stream()
        .filter(variable -> variable.role() == role)
        .map(Variable::tensor)
        .toList();
  }

  /** Parameters, then running statistics, by number. */
  private final class Weights implements Optimizer.Weights {
    @Override
    public void read(int variable, int first, float[] target, int count) {
      compiled.readWeights(offset(variable) + first, target, 0, count);
    }

    @Override
    public void write(int variable, int first, float[] source, int count) {
      compiled.writeWeights(offset(variable) + first, source, 0, count);
    }

    @Override
    public void readGradient(int parameter, int first, float[] target, int count) {
      compiled.readGradients(offset(parameter) + first, target, 0, count);
    }

    private long offset(int variable) {
      return compiled.offset(floats.get(variable).tensor());
    }
  }

  /** Tiles are dealt out in runs, one per thread. */
  private void loop(int tiles, Optimizer.Body body) {
    Team team = compiled.team();
    team.enter();
    if (scratches.length == 0) {
      scratches =
          Stream.generate(Optimizer.Scratch::new)
              .limit(team.threads())
              .toArray(Optimizer.Scratch[]::new);
    }
    team.run(
        (m, n) -> {
          for (int tile = tiles * m / n; tile < tiles * (m + 1) / n; tile++) {
            body.run(tile, scratches[m]);
          }
        });
  }

  @Override
  public Map<String, HostTensor> state() {
    Map<String, HostTensor> state = new LinkedHashMap<>();
    for (Variable variable : graph.variables()) {
      if (variable.role() == Variable.Role.COUNTER) {
        state.put(
            variable.name(), HostTensor.ofLongs(new long[] {counters.get(variable.tensor())}));
      } else {
        float[] values = new float[Math.toIntExact(variable.tensor().elements())];
        compiled.readWeights(compiled.offset(variable.tensor()), values, 0, values.length);
        state.put(variable.name(), HostTensor.of(values, variable.tensor().shape()));
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
        compiled.writeWeights(
            compiled.offset(variable.tensor()), tensor.floats(), 0, tensor.floats().length);
      }
    }
  }

  @Override
  public Map<String, HostTensor> forward(Map<String, HostTensor> inputs) {
    begin(inputs);
    compiled.forward();
    return outputs();
  }

  @Override
  public Map<String, HostTensor> forwardBackward(Map<String, HostTensor> inputs) {
    if (graph.mode() != Graph.Mode.TRAINING || graph.loss().isEmpty()) {
      throw new IllegalStateException(
          "Cannot compute gradients: the graph is not a training graph with a loss");
    }
    begin(inputs);
    compiled.forwardBackward();
    differentiated = true;
    Map<String, HostTensor> results = outputs();
    results.put("loss", host(graph.loss().get()));
    return results;
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
                compiled.write(tensor, inputs.get(name).longs());
              } else {
                compiled.write(tensor, inputs.get(name).floats());
              }
            });
    compiled.draw(optimizer == null ? 0 : optimizer.draw());
    if (graph.mode() == Graph.Mode.TRAINING) {
      for (Node node : graph.nodes()) {
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
    float[] values = new float[Math.toIntExact(tensor.elements())];
    compiled.read(tensor, values);
    return HostTensor.of(values, tensor.shape());
  }

  @Override
  public HostTensor gradient(String name) {
    requireGradients();
    for (Tensor parameter : tensors(Variable.Role.PARAMETER)) {
      if (parameter.name().equals(name)) {
        float[] values = new float[Math.toIntExact(parameter.elements())];
        compiled.readGradients(compiled.offset(parameter), values, 0, values.length);
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
    compiled.readGradient(input, values);
    return HostTensor.of(values, input.shape());
  }

  private void requireGradients() {
    if (!differentiated) {
      throw new IllegalStateException("Cannot use gradients: none were computed yet");
    }
  }

  @Override
  public void update(double learningRate) {
    requireGradients();
    optimizer.step(learningRate, this::loop);
  }

  @Override
  public void accumulate() {
    requireGradients();
    optimizer.accumulate(this::loop);
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
  public int averagedSize() {
    return averagedSize;
  }

  @Override
  public void readAveraged(float[] target) {
    requireAveragedSize(target.length);
    compiled.readWeights(0, target, 0, averagedSize);
  }

  @Override
  public void writeAveraged(float[] values) {
    requireAveragedSize(values.length);
    compiled.writeWeights(0, values, 0, averagedSize);
  }

  private void requireAveragedSize(int length) {
    if (length != averagedSize) {
      throw new IllegalArgumentException(
          String.format("Invalid array: %d elements (must be %d)", length, averagedSize));
    }
  }

  @Override
  public long plannedBytes() {
    return compiled.plannedBytes();
  }

  @Override
  public double flopPerStep() {
    return compiled.flop();
  }

  @Override
  public String explain() {
    return compiled.explain();
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      compiled.close();
    }
  }
}
