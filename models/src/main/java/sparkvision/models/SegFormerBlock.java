package sparkvision.models;

import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Norm;
import sparkvision.graph.Tensor;

/**
 * A block of SegFormer's encoder: efficient self-attention, then Mix-FFN, each behind a layer norm
 * and beside a shortcut.
 *
 * <p>B batch, C channels, N = H·W tokens. The cost is that of {@link SpatialReductionAttention} and
 * of {@link MixFfn}. The first values are those of the authors' code.
 *
 * @see <a href="https://arxiv.org/abs/2105.15203">Xie et al., SegFormer, 2021, section 3.1</a>
 */
public final class SegFormerBlock {

  private static final double EPSILON = 1e-6;

  private final Graph g;
  private final Norm attentionNorm;
  private final SpatialReductionAttention attention;
  private final Norm ffnNorm;
  private final MixFfn ffn;
  private final double dropPath;

  /**
   * Declares the weights.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param dim C
   * @param heads a divisor of {@code dim}
   * @param mlpRatio how much wider than C the Mix-FFN is
   * @param ratio how much smaller the attended map is on each side
   * @param dropPath how often training leaves out a branch, in [0, 1)
   */
  public SegFormerBlock(
      Graph g, String prefix, long dim, long heads, long mlpRatio, long ratio, double dropPath) {
    this.g = g;
    this.attentionNorm = g.layerNorm(prefix + "norm1", dim, EPSILON);
    // He's normal of the fan-out R·R·C, where PVT leaves PyTorch's default.
    Initializer reducing = Initializer.normal(0, Math.sqrt(2.0 / ((double) ratio * ratio * dim)));
    this.attention =
        new SpatialReductionAttention(
            g, prefix + "attn.", dim, heads, ratio, reducing, Initializer.constant(0));
    this.ffnNorm = g.layerNorm(prefix + "norm2", dim, EPSILON);
    this.ffn = new MixFfn(g, prefix + "mlp.", dim, mlpRatio * dim);
    this.dropPath = dropPath;
  }

  /** (B, N, C) → (B, N, C), tokens of a map of {@code height} x {@code width}. */
  public Tensor apply(Tensor x, long height, long width) {
    Tensor y = attention.apply(attentionNorm.apply(x), height, width);
    x = g.add(x, g.dropPath(y, dropPath));
    y = ffn.apply(ffnNorm.apply(x), height, width);
    return g.add(x, g.dropPath(y, dropPath));
  }
}
