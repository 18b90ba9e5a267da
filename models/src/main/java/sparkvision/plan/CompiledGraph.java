package sparkvision.plan;

import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import sparkvision.graph.FlatLayout;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Memory;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * A graph compiled for the shapes it has: all steps, and all the memory they will ever use.
 *
 * <p>Not thread-safe. Parameters, then running statistics, lie in one flat piece of memory in the
 * order of their declaration; gradients of parameters in another.
 */
public final class CompiledGraph implements AutoCloseable {

  /**
   * How a graph is compiled.
   *
   * @param threads how many threads compute, exactly
   * @param compute what convolutions and matrix products multiply, and activations are kept in
   * @param lean whether norms are computed again in the backward pass instead of kept
   * @param poisoned a debug switch: every value has memory of its own, full of NaN until written
   */
  public record Settings(int threads, Type compute, boolean lean, boolean poisoned) {}

  private static final Map<Node.Kind, Kernel> KERNELS = kernels();

  private final Graph graph;
  private final FlatLayout layout;
  private final Team team;
  private final Program program;
  private final Lowering lowering;
  private final Memory weights;
  private final Memory gradients; // null for an inference graph
  private final Map<Tensor, Value> results = new HashMap<>(); // row-major float32
  private final Map<Tensor, Value> inputGradients = new HashMap<>();
  private final int forwardEnd;
  private boolean weightsChanged = true;

  private static Map<Node.Kind, Kernel> kernels() {
    Map<Node.Kind, Kernel> kernels = new EnumMap<>(Node.Kind.class);
    Windows.register(kernels);
    Norms.register(kernels);
    SampleNorms.register(kernels);
    Products.register(kernels);
    Attention.register(kernels);
    CrissCross.register(kernels);
    CausalConv.register(kernels);
    SelectiveScan.register(kernels);
    Elements.register(kernels);
    Pairs.register(kernels);
    Reductions.register(kernels);
    Moves.register(kernels);
    Resizes.register(kernels);
    Losses.register(kernels);
    return kernels;
  }

  /** The kinds of nodes that have a kernel; regions among the others are compiled as composites. */
  public static Set<Node.Kind> kinds() {
    return Set.copyOf(KERNELS.keySet());
  }

  /**
   * Compiles a graph.
   *
   * @throws IllegalArgumentException if it is in double precision, or has a node without a kernel
   */
  public CompiledGraph(Graph graph, FlatLayout layout, Settings settings) {
    if (graph.precision() != Graph.Precision.FLOAT) {
      throw new IllegalArgumentException(
          "Cannot compile graph: it is in double precision (the nd4j engine runs those)");
    }
    this.graph = graph;
    this.layout = layout;
    this.team = new Team(settings.threads());
    team.enter();
    this.program = new Program(team, settings.poisoned());
    boolean training = graph.mode() == Graph.Mode.TRAINING;
    // Without the instructions, oneDNN has no bfloat16 kernels: float32 is at least as exact.
    Type compute = Dnnl.supportsBfloat16() ? settings.compute() : Type.FLOAT32;
    this.lowering =
        new Lowering(graph, graph.lowered(KERNELS.keySet()), program, compute, settings.lean());

    this.weights = program.own(Math.max(1, layout.size()) * (long) Float.BYTES);
    this.gradients =
        training ? program.own(Math.max(1, layout.parameterCount()) * (long) Float.BYTES) : null;
    for (Tensor variable : layout.variables()) {
      lowering.bind(variable, flat(weights, variable));
    }
    for (Tensor input : graph.inputs().values()) {
      if (input.type() == Tensor.Type.FLOAT) {
        lowering.bind(input, program.owned(input.name(), input.shape()));
      }
    }
    if (training) {
      for (Tensor parameter : layout.parameters()) {
        lowering.want(parameter);
        lowering.home(parameter, flat(gradients, parameter));
      }
      graph.requestedGradients().forEach(lowering::want);
    }
    lowering.forward(KERNELS);
    graph.outputs().values().forEach(this::deliver);
    this.forwardEnd = program.size();
    if (training) {
      graph.loss().ifPresent(this::differentiate);
    }
    program.allocate();
  }

  private Value flat(Memory memory, Tensor tensor) {
    Storage storage =
        Storage.fixed(
            tensor.name(),
            memory,
            layout.offset(tensor) * (long) Float.BYTES,
            tensor.elements() * Float.BYTES);
    return new Value(storage, Type.FLOAT32, tensor.shape(), Value.rowMajor(tensor.shape()), 0);
  }

  /** Keeps a tensor as the caller gets it. */
  private void deliver(Tensor tensor) {
    if (!results.containsKey(tensor)) {
      Value result = lowering.fresh(tensor, Type.FLOAT32);
      lowering.copy(lowering.value(tensor), result);
      result.storage.keep();
      results.put(tensor, result);
    }
  }

  private void differentiate(Tensor loss) {
    deliver(loss);
    Value one = program.owned("one");
    one.write(new float[] {1});
    lowering.backward(loss, one);
    for (Tensor parameter : layout.parameters()) {
      Value gradient = lowering.gradient(parameter);
      if (gradient != null && gradient.storage.memory != gradients) {
        lowering.copy(gradient, flat(gradients, parameter));
      }
    }
    for (Tensor input : graph.requestedGradients()) {
      Value gradient = lowering.gradient(input);
      if (gradient != null) {
        Value result = lowering.fresh(input, Type.FLOAT32);
        lowering.copy(gradient, result);
        result.storage.keep();
        inputGradients.put(input, result);
      }
    }
  }

  // State, in the order of the layout; offsets and counts are in floats.

  public void readWeights(long offset, float[] target, int count) {
    weights.read(offset * Float.BYTES, target, 0, count);
  }

  public void writeWeights(long offset, float[] source, int count) {
    weights.write(offset * Float.BYTES, source, 0, count);
    weightsChanged = true;
  }

  /** The gradients of the last {@link #forwardBackward}; zeros where the loss does not depend. */
  public void readGradients(long offset, float[] target, int count) {
    gradients.read(offset * Float.BYTES, target, 0, count);
  }

  // Runs.

  /** Gives a float input for the next run, row-major. */
  public void write(Tensor input, float[] values) {
    lowering.value(input).write(values);
  }

  /** Gives an int64 input for the next run: labels that are classes, indices in range. */
  public void write(Tensor input, long[] values) {
    lowering.bind(input, values);
  }

  /** Computes the outputs; {@code draw} tells one dropout from the next. */
  public void forward(long draw) {
    begin(draw);
    program.run(team, 0, forwardEnd);
  }

  /** Computes the outputs, the loss and the gradients. */
  public void forwardBackward(long draw) {
    begin(draw);
    program.run(team, 0, program.size());
  }

  private void begin(long draw) {
    lowering.draw(draw);
    team.enter();
    program.begin();
    if (weightsChanged) {
      program.runOnce(team);
      weightsChanged = false;
    }
  }

  /** Copies an output or the loss of the last run. */
  public void read(Tensor result, float[] target) {
    results.get(result).read(target);
  }

  /** Copies the last gradient of an input that the graph requests one for; zeros if it has none. */
  public void readGradient(Tensor input, float[] target) {
    Value gradient = inputGradients.get(input);
    if (gradient != null) {
      gradient.read(target);
    }
  }

  /** The threads that compute. */
  public Team team() {
    return team;
  }

  // What it costs.

  /** All memory outside the Java heap but the code that oneDNN generates. */
  public long plannedBytes() {
    return program.plannedBytes();
  }

  public double flop() {
    return program.steps().stream().mapToDouble(step -> step.flop).sum();
  }

  /** From now on measures each step, for {@link #explain}. */
  public void measure() {
    program.measure();
  }

  public String explain() {
    return Explanation.of(program, lowering, forwardEnd);
  }

  @Override
  public void close() {
    program.close();
  }
}
