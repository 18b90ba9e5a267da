package sparkvision.models;

import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * Criss-cross attention: each pixel gathers context from its own row and column.
 *
 * <p>Applied twice with shared weights it links every pixel to every other. γ, which begins at
 * zero, so that the block begins as the identity, and the missing scale are the authors' code. A
 * pixel counts once, though it lies on both lines: one softmax runs over H + W − 1 scores.
 *
 * <p>B batch, C channels, N = H·W pixels. Multiply-adds: N·C·(C + C/4) for the convolutions and
 * N·(H + W)·(C + C/8) for each pass. Map: N·(H + W), where full attention has N².
 *
 * @see <a href="https://arxiv.org/abs/1811.11721">Huang et al., CCNet, 2019, section 3.2</a>
 * @see <a href="https://github.com/speedinghzl/CCNet/blob/master/cc_attention/functions.py">the
 *     authors' code</a>
 */
public final class CrissCrossAttention {

  private final Graph g;
  private final Conv query;
  private final Conv key;
  private final Conv value;
  private final Tensor gamma; // (1)

  /**
   * Declares the weights; every {@link #apply} shares them.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @throws IllegalArgumentException if {@code channels} is less than 8
   */
  public CrissCrossAttention(Graph g, String prefix, long channels) {
    long narrow = Convs.eighth(prefix + "criss-cross attention", channels);
    this.g = g;
    this.query = Convs.standard(g, prefix + "query_conv", channels, narrow, 1, 1);
    this.key = Convs.standard(g, prefix + "key_conv", channels, narrow, 1, 1);
    this.value = Convs.standard(g, prefix + "value_conv", channels, channels, 1, 1);
    this.gamma = g.parameter(prefix + "gamma", Initializer.constant(0), 1);
  }

  /** Adds its context to x (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor context = g.crissCross(query.apply(x), key.apply(x), value.apply(x)); // (B, C, H, W)
    return g.add(g.multiply(gamma, context), x);
  }

  /** Recurrent criss-cross attention: {@code passes} times the same block. */
  public Tensor apply(Tensor x, int passes) {
    for (int pass = 0; pass < passes; pass++) {
      x = apply(x);
    }
    return x;
  }
}
