package sparkvision.graph;

import java.util.List;
import java.util.Map;

/** Ends of a training graph: scalars to minimise. */
public final class Losses {

  private Losses() {}

  /**
   * Cross-entropy of softmax(logits) against the labels, the mean over the batch.
   *
   * <p>With label smoothing s the target is 1 − s + s/K for the label and s/K for the others.
   *
   * @param logits (B, K)
   * @param labels int64 (B), each in [0, K)
   * @param labelSmoothing in [0, 1)
   * @see <a href="https://arxiv.org/abs/1512.00567">Szegedy et al., Rethinking the Inception
   *     Architecture, 2015, section 7</a>
   */
  public static Tensor crossEntropy(Graph g, Tensor logits, Tensor labels, double labelSmoothing) {
    if (logits.rank() != 2
        || labels.type() != Tensor.Type.INT64
        || labels.rank() != 1
        || labels.size(0) != logits.size(0)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build cross-entropy: logits must be (B, K) and labels int64 (B), found %s"
                  + " and %s",
              logits, labels));
    }
    if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
      throw new IllegalArgumentException(
          String.format("Invalid label-smoothing: %s (must be in [0, 1))", labelSmoothing));
    }
    return g.node(
        Node.Kind.CROSS_ENTROPY, List.of(logits, labels), Map.of("smoothing", labelSmoothing));
  }

  /** Σ x·weights over all elements: its gradient with respect to x is {@code weights}. */
  public static Tensor weightedSum(Graph g, Tensor x, Tensor weights) {
    return g.sum(g.multiply(x, weights));
  }
}
