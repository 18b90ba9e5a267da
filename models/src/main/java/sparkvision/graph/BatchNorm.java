package sparkvision.graph;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Batch normalisation over axis 1 of (B, C, ...).
 *
 * <p>In training it normalises with the batch's mean and biased variance and moves the running
 * statistics towards the batch's mean and <em>unbiased</em> variance, as PyTorch does; in inference
 * it normalises with the running statistics.
 *
 * @see <a href="https://arxiv.org/abs/1502.03167">Ioffe and Szegedy, Batch Normalization, 2015,
 *     algorithm 1</a>
 */
public final class BatchNorm {

  private final Graph g;
  private final String name;
  private final List<Tensor> state; // weight, bias, running mean and variance [, batch counter]
  private final double epsilon;
  private final double momentum;

  BatchNorm(Graph g, String name, long channels) {
    this(
        g,
        name,
        List.of(
            g.parameter(name + ".weight", Initializer.constant(1), channels),
            g.parameter(name + ".bias", Initializer.constant(0), channels),
            g.statistic(name + ".running_mean", Initializer.constant(0), channels),
            g.statistic(name + ".running_var", Initializer.constant(1), channels),
            g.counter(name + ".num_batches_tracked")),
        1e-5,
        0.1);
  }

  private BatchNorm(Graph g, String name, List<Tensor> state, double epsilon, double momentum) {
    this.g = g;
    this.name = name;
    this.state = state;
    this.epsilon = epsilon;
    this.momentum = momentum;
  }

  /** The same weights, with what is added to variances; 1e-5 if never called. */
  public BatchNorm withEpsilon(double epsilon) {
    if (!(epsilon >= 0 && epsilon < Double.POSITIVE_INFINITY)) {
      throw Shapes.error("Cannot build %s: epsilon is %s, must be >= 0", name, epsilon);
    }
    return new BatchNorm(g, name, state, epsilon, momentum);
  }

  /** The same weights, with the batch's share in running statistics; 0.1 if never called. */
  public BatchNorm withMomentum(double momentum) {
    if (!(momentum >= 0 && momentum <= 1)) {
      throw Shapes.error("Cannot build %s: momentum is %s, must be in [0, 1]", name, momentum);
    }
    return new BatchNorm(g, name, state, epsilon, momentum);
  }

  /** The same weights, without a count of batches; to be called before {@link #apply}. */
  public BatchNorm withoutCounter() {
    if (state.size() == 5) {
      g.forget(state.get(4));
    }
    return new BatchNorm(g, name, state.subList(0, 4), epsilon, momentum);
  }

  /** The same layer with other first values of the weight; to be called before {@link #apply}. */
  public BatchNorm startingFrom(Initializer initializer) {
    g.reinitialized(state.get(0), initializer);
    return this;
  }

  /** (B, C, ...) → the same shape. */
  public Tensor apply(Tensor x) {
    long channels = state.get(0).size(0);
    if (x.rank() < 2 || x.size(1) != channels) {
      throw Shapes.error("Cannot apply %s: it has %d channels, the input is %s", name, channels, x);
    }
    if (g.mode() == Graph.Mode.TRAINING && x.elements() == x.size(1)) {
      throw Shapes.error(
          "Cannot apply %s: training needs more than one value per channel, the input is %s",
          name, x);
    }
    List<Tensor> inputs = new ArrayList<>(state);
    inputs.add(0, x);
    return g.node(
        Node.Kind.BATCH_NORM, inputs, Map.of("epsilon", epsilon, "momentum", momentum), x.shape());
  }
}
