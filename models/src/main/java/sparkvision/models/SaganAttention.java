package sparkvision.models;

import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * Self-attention as SAGAN's authors wrote it: keys and values are pooled, values have half of the
 * channels, and a convolution brings them back.
 *
 * <p>The paper has neither pooling nor that order of convolutions; the block that most PyTorch
 * versions have in its place is {@link PositionAttention}. The authors' spectral norm of the
 * convolutions is not part of the block here. σ begins at zero, so the block begins as the
 * identity.
 *
 * <p>B batch, C channels, N = H·W queries, M = ⌊H/2⌋·⌊W/2⌋ keys. Multiply-adds: N·C·(C + C/4) for
 * the convolutions and N·M·(C/2 + C/8) for the attention. Map: N·M, never kept whole.
 *
 * @see <a href="https://arxiv.org/abs/1805.08318">Zhang et al., Self-Attention Generative
 *     Adversarial Networks, 2019, section 3</a>
 * @see <a href="https://github.com/brain-research/self-attention-gan/blob/master/non_local.py">the
 *     authors' {@code sn_non_local_block_sim}</a>
 */
public final class SaganAttention {

  private final Graph g;
  private final Conv theta;
  private final Conv phi;
  private final Conv values;
  private final Conv output;
  private final Tensor sigma; // (1)

  /**
   * Declares the weights, which Glorot's uniform draws.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @throws IllegalArgumentException if {@code channels} is less than 8
   */
  public SaganAttention(Graph g, String prefix, long channels) {
    long eighth = Convs.eighth(prefix + "self-attention", channels);
    this.g = g;
    this.theta = pixelwise(prefix + "theta", channels, eighth);
    this.phi = pixelwise(prefix + "phi", channels, eighth);
    this.values = pixelwise(prefix + "g", channels, channels / 2);
    this.output = pixelwise(prefix + "attn", channels / 2, channels);
    this.sigma = g.parameter(prefix + "sigma_ratio", Initializer.constant(0), 1);
  }

  private Conv pixelwise(String name, long in, long out) {
    return g.conv(name, in, out, 1, 1)
        .startingFrom(Initializer.uniform(Math.sqrt(6.0 / (in + out))));
  }

  /** Adds its context to x (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor q = tokens(theta.apply(x)); // (B, N, C/8)
    Tensor k = tokens(g.maxPool(phi.apply(x), 2, 2, 0)); // (B, M, C/8)
    Tensor v = tokens(g.maxPool(values.apply(x), 2, 2, 0)); // (B, M, C/2)
    Tensor context = g.transpose(g.attention(q, k, v, 1), 1, 2); // (B, C/2, N)
    context = g.reshape(context, x.size(0), -1, x.size(2), x.size(3)); // (B, C/2, H, W)
    return g.add(x, g.multiply(sigma, output.apply(context)));
  }

  private Tensor tokens(Tensor map) {
    return g.rearrange(map, "b c h w -> b (h w) c");
  }
}
