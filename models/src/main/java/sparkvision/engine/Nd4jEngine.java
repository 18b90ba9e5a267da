package sparkvision.engine;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import sparkvision.engine.Plan.Value;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/**
 * The reference engine: stock ND4J operations and plain loops, one after the other.
 *
 * <p>All parameters, then all running statistics, lie in one flat array; the gradients of the
 * parameters in another, in the same order.
 */
final class Nd4jEngine extends GraphEngine {

  /** Regions that have native operations; the others run as the words they are short for. */
  private static final Set<Node.Kind> KEPT =
      Set.of(Node.Kind.GLOBAL_AVERAGE_POOL, Node.Kind.BATCH_NORM, Node.Kind.LINEAR);

  /** System property of a process that may compute on a GPU. */
  private static final String CUDA = "sparkvision.cuda";

  private final List<Node> nodes;
  private final Plan plan;
  private final Kernels kernels;
  private final int forwardEnd;
  private final INDArray weights;
  private final INDArray gradients; // null for an inference graph
  private final Optimizer.Loop loop = Optimizer.Loop.serial();

  /**
   * @throws IllegalArgumentException on a GPU, unless the user says that untested is good enough
   */
  Nd4jEngine(Graph graph, OptimizerConfig config) {
    super(graph, config);
    requireTested(Nd4j.getBackend().getClass().getSimpleName(), System.getProperty(CUDA));
    boolean training = graph.mode() == Graph.Mode.TRAINING;
    this.nodes = graph.lowered(KEPT);
    this.plan =
        new Plan(graph.precision() == Graph.Precision.FLOAT ? DataType.FLOAT : DataType.DOUBLE);
    this.kernels = new Kernels(graph, plan);
    this.weights = plan.own(Math.max(1, layout.size()));
    this.gradients = training ? plan.own(Math.max(1, layout.parameterCount())) : null;

    for (Tensor variable : layout.variables()) {
      kernels.bind(variable, plan.fixed(weights, layout.offset(variable), variable.shape()));
    }
    for (Tensor input : graph.inputs().values()) {
      if (input.type() == Tensor.Type.FLOAT) {
        kernels.bind(input, plan.external(input.shape()));
      }
    }
    if (training) {
      layout.parameters().forEach(kernels::want);
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

  /** ND4J takes the CUDA backend before the CPU's wherever both are on the class path. */
  static void requireTested(String backend, String cuda) {
    if (!backend.equals("CpuBackend") && !"untested".equals(cuda)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot run engine nd4j on %s: it was never run on a GPU (use the jar that was built"
                  + " without -Pcuda, or try it with -D%s=untested and compare with the CPU)",
              backend, CUDA));
    }
  }

  private void differentiate(Tensor loss) {
    plan.keep(kernels.value(loss));
    kernels.seed(loss);
    List<Node> backwards = new ArrayList<>(nodes);
    Collections.reverse(backwards);
    backwards.forEach(kernels::backward);
    for (Tensor parameter : layout.parameters()) {
      Value gradient = kernels.gradient(parameter);
      int offset = layout.offset(parameter);
      if (gradient != null && !plan.place(gradient, gradients, offset)) {
        plan.call("identity", plan.fixed(gradients, offset, parameter.shape()), gradient);
      }
    }
    for (Tensor input : graph.requestedGradients()) {
      Value gradient = kernels.gradient(input);
      if (gradient != null) {
        // A later forward must not overwrite it. What has a place already is safe there.
        plan.place(gradient, plan.own(gradient.elements()), 0);
      }
    }
  }

  @Override
  void readWeights(long offset, float[] target, int count) {
    NativeMemory.read(weights, offset, target, 0, count);
  }

  @Override
  void writeWeights(long offset, float[] source, int count) {
    NativeMemory.write(weights, offset, source, 0, count);
  }

  @Override
  void readGradients(long offset, float[] target, int count) {
    NativeMemory.read(gradients, offset, target, 0, count);
  }

  @Override
  void write(Tensor input, HostTensor values) {
    if (input.type() == Tensor.Type.INT64) {
      kernels.bind(input, values.longs());
    } else {
      plan.write(kernels.value(input), values.floats());
    }
  }

  @Override
  void runForward(long draw) {
    kernels.prepare(draw);
    plan.run(0, forwardEnd);
  }

  @Override
  void runForwardBackward(long draw) {
    kernels.prepare(draw);
    plan.run(0, plan.size());
  }

  @Override
  void read(Tensor result, float[] target) {
    plan.read(kernels.value(result), target);
  }

  @Override
  void readInputGradient(Tensor input, float[] target) {
    Value gradient = kernels.gradient(input);
    if (gradient != null) {
      plan.read(gradient, target);
    }
  }

  @Override
  Optimizer.Loop loop() {
    return loop;
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
  void free() {
    plan.close();
  }
}
