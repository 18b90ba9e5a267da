package sparkvision.graph;

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

  private static final double EPSILON = 1e-5;
  private static final double MOMENTUM = 0.1;

  private final Graph g;
  private final String name;
  private final Tensor weight;
  private final Tensor bias;
  private final Tensor runningMean;
  private final Tensor runningVariance;
  private final Tensor batches;

  BatchNorm(Graph g, String name, long channels) {
    this.g = g;
    this.name = name;
    this.weight = g.parameter(name + ".weight", Initializer.constant(1), channels);
    this.bias = g.parameter(name + ".bias", Initializer.constant(0), channels);
    this.runningMean = g.statistic(name + ".running_mean", Initializer.constant(0), channels);
    this.runningVariance = g.statistic(name + ".running_var", Initializer.constant(1), channels);
    this.batches = g.counter(name + ".num_batches_tracked");
  }

  /** (B, C, ...) → the same shape. */
  public Tensor apply(Tensor x) {
    if (x.rank() < 2 || x.size(1) != weight.size(0)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot apply %s: it has %d channels, the input is %s", name, weight.size(0), x));
    }
    if (g.mode() == Graph.Mode.TRAINING && x.elements() == x.size(1)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot apply %s: training needs more than one value per channel, the input is %s",
              name, x));
    }
    return g.node(
        Node.Kind.BATCH_NORM,
        List.of(x, weight, bias, runningMean, runningVariance, batches),
        Map.of("epsilon", EPSILON, "momentum", MOMENTUM),
        x.shape());
  }
}
