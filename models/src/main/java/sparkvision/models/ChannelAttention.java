package sparkvision.models;

import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * Channel attention of DANet: every channel adds to itself a mean of channels, weighted by their
 * scalar products over all pixels.
 *
 * <p>The paper's weights are softmax(X·Xᵀ), so that similar channels count most. The authors' code,
 * which their weights were trained with, takes softmax(max − X·Xᵀ): the <em>least</em> similar ones
 * count most. Both are here. γ begins at zero, so the block begins as the identity. Products grow
 * with the number of pixels, and the softmax is nearly one-hot; under bfloat16 its inputs are
 * rounded as those of every product are.
 *
 * <p>B batch, C channels, N = H·W pixels. Multiply-adds: 2·N·C². Map: C². One parameter.
 *
 * @see <a href="https://arxiv.org/abs/1809.02983">Fu et al., Dual Attention Network, 2019, section
 *     3.3</a>
 * @see <a href="https://github.com/junfu1115/DANet/blob/master/encoding/nn/da_att.py">the authors'
 *     {@code CAM_Module}</a>
 */
public final class ChannelAttention {

  /** Which channels count most. */
  public enum Weighting {
    /** The least similar. */
    CODE(-1),
    /** The most similar. */
    PAPER(1);

    private final double scale;

    Weighting(double scale) {
      this.scale = scale;
    }
  }

  private final Graph g;
  private final Weighting weighting;
  private final Tensor gamma; // (1)

  /**
   * Declares the weight.
   *
   * @param prefix what its name begins with: empty, or ending in a dot
   */
  public ChannelAttention(Graph g, String prefix, Weighting weighting) {
    this.g = g;
    this.weighting = weighting;
    this.gamma = g.parameter(prefix + "gamma", Initializer.constant(0), 1);
  }

  /** Adds its context to x (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor channels = g.rearrange(x, "b c h w -> b c (h w)"); // (B, C, N)
    // The code's row maximum moves all scores of a row alike, which a softmax does not see.
    Tensor context = g.attention(channels, channels, channels, weighting.scale); // (B, C, N)
    return g.add(g.multiply(gamma, g.reshape(context, x.shape())), x);
  }
}
