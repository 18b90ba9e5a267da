package sparkvision.models;

import java.util.Map;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Norm;
import sparkvision.graph.Tensor;

/**
 * Spatial-reduction attention of PVT, which SegFormer calls efficient self-attention: every token
 * looks at a map that a strided convolution has made R times smaller on each side.
 *
 * <p>SegFormer's R is the square of this one, and the papers' reshape and linear layer is the
 * strided convolution of both codes.
 *
 * <p>B batch, C channels, N = H·W tokens, R reduction ratio, M = ⌊H/R⌋·⌊W/R⌋, h heads of d = C/h
 * channels. Multiply-adds: 2·N·C² + 2·M·C² + 2·N·M·C, and N·C² for the convolution if R > 1. Map:
 * h·N·M, N²/R² where full attention has N².
 *
 * @see <a href="https://arxiv.org/abs/2102.12122">Wang et al., Pyramid Vision Transformer, 2021,
 *     section 3.3</a>
 * @see <a href="https://arxiv.org/abs/2105.15203">Xie et al., SegFormer, 2021, section 3.1</a>
 */
public final class SpatialReductionAttention {

  private static final Initializer START = Initializer.truncatedNormal(0.02);
  private static final double EPSILON = 1e-5; // of this norm; the blocks around it have 1e-6

  private final Graph g;
  private final long heads;
  private final double scale;
  private final Linear query;
  private final Linear keyAndValue;
  private final Linear projection;
  private final Conv reduction; // null if R is 1
  private final Norm norm; // null if R is 1

  /**
   * Declares the weights with the first values of PVT's code.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param ratio R, 1 for plain attention, which has neither convolution nor norm
   * @throws IllegalArgumentException if {@code heads} does not divide {@code dim}
   */
  public SpatialReductionAttention(Graph g, String prefix, long dim, long heads, long ratio) {
    this(g, prefix, dim, heads, ratio, Initializer.uniformByFanIn(), Convs.bias(dim, ratio, ratio));
  }

  /**
   * Declares the weights, where weight and bias of the reducing convolution begin with values of
   * the caller's.
   */
  SpatialReductionAttention(
      Graph g,
      String prefix,
      long dim,
      long heads,
      long ratio,
      Initializer reducing,
      Initializer reducingBias) {
    if (dim % heads != 0) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %sattention: %d heads must divide its %d channels",
              prefix, heads, dim));
    }
    this.g = g;
    this.heads = heads;
    this.scale = 1 / Math.sqrt((double) dim / heads);
    this.query = g.linear(prefix + "q", dim, dim).startingFrom(START);
    this.keyAndValue = g.linear(prefix + "kv", dim, 2 * dim).startingFrom(START);
    this.projection = g.linear(prefix + "proj", dim, dim).startingFrom(START);
    this.reduction =
        ratio == 1
            ? null
            : g.conv(prefix + "sr", dim, dim, ratio, ratio)
                .startingFrom(reducing)
                .withBias(reducingBias)
                .stride(ratio);
    this.norm = ratio == 1 ? null : g.layerNorm(prefix + "norm", dim, EPSILON);
  }

  /**
   * (B, N, C) → (B, N, C).
   *
   * @param height H, of the map that the tokens are; with R = 1 there may be more tokens than
   *     pixels, such as one for the class
   * @param width W
   */
  public Tensor apply(Tensor x, long height, long width) {
    Tensor q =
        g.rearrange(query.apply(x), "b n (h d) -> b h n d", Map.of("h", heads)); // (B, h, N, d)
    Tensor kv = keyAndValue.apply(reduced(x, height, width)); // (B, M, 2·C)
    kv = g.rearrange(kv, "b m (two h d) -> two b h m d", Map.of("two", 2L, "h", heads));
    Tensor k = g.select(kv, 0, 0); // (B, h, M, d)
    Tensor v = g.select(kv, 0, 1);
    Tensor y = g.attention(q, k, v, scale); // (B, h, N, d)
    return projection.apply(g.rearrange(y, "b h n d -> b n (h d)"));
  }

  /** (B, N, C) → (B, M, C); columns and rows that do not fill a window are left out. */
  private Tensor reduced(Tensor x, long height, long width) {
    if (reduction == null) {
      return x;
    }
    Tensor map = g.rearrange(x, "b (h w) c -> b c h w", Map.of("h", height, "w", width));
    return norm.apply(g.rearrange(reduction.apply(map), "b c h w -> b (h w) c"));
  }
}
