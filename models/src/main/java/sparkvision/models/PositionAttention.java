package sparkvision.models;

import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * Position attention of DANet: every pixel adds to itself what similar pixels, wherever they are,
 * hold. The self-attention of the common PyTorch version of SAGAN is the same block; that of
 * SAGAN's authors is {@link SaganAttention}.
 *
 * <p>As in the authors' code: query, key and value are plain convolutions, where DANet's paper
 * draws batch norm and ReLU; there is no scale. γ begins at zero, so the block begins as the
 * identity.
 *
 * <p>B batch, C channels, N = H·W pixels. Multiply-adds: N·C·(C + C/4) for the convolutions and
 * N²·(C + C/8) for the attention. Map: N², never kept whole.
 *
 * @see <a href="https://arxiv.org/abs/1809.02983">Fu et al., Dual Attention Network, 2019, section
 *     3.2</a>
 * @see <a href="https://github.com/junfu1115/DANet/blob/master/encoding/nn/da_att.py">the authors'
 *     {@code PAM_Module}</a>
 */
public final class PositionAttention {

  private final Graph g;
  private final Conv query;
  private final Conv key;
  private final Conv value;
  private final Tensor gamma; // (1)

  /**
   * Declares the weights.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @throws IllegalArgumentException if {@code channels} is less than 8
   */
  public PositionAttention(Graph g, String prefix, long channels) {
    long narrow = Convs.eighth(prefix + "position attention", channels);
    this.g = g;
    this.query = Convs.standard(g, prefix + "query_conv", channels, narrow, 1, 1);
    this.key = Convs.standard(g, prefix + "key_conv", channels, narrow, 1, 1);
    this.value = Convs.standard(g, prefix + "value_conv", channels, channels, 1, 1);
    this.gamma = g.parameter(prefix + "gamma", Initializer.constant(0), 1);
  }

  /** Adds its context to x (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor q = tokens(query.apply(x)); // (B, N, C/8)
    Tensor k = tokens(key.apply(x)); // (B, N, C/8)
    Tensor v = tokens(value.apply(x)); // (B, N, C)
    Tensor context = g.transpose(g.attention(q, k, v, 1), 1, 2); // (B, C, N)
    return g.add(g.multiply(gamma, g.reshape(context, x.shape())), x);
  }

  private Tensor tokens(Tensor map) {
    return g.rearrange(map, "b c h w -> b (h w) c");
  }
}
