package sparkvision.models;

import java.util.Map;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Tensor;

/**
 * Mix-FFN of SegFormer: a depthwise convolution between the two linear layers of a transformer's
 * MLP, whose zero padding tells tokens where they are, so that no position embedding is needed.
 *
 * <p>B batch, C channels, N = H·W tokens, E hidden channels. Multiply-adds: 2·N·C·E + 9·N·E. The
 * first values are those of SegFormer's code.
 *
 * @see <a href="https://arxiv.org/abs/2105.15203">Xie et al., SegFormer, 2021, section 3.1,
 *     equation 3</a>
 */
public final class MixFfn {

  private static final Initializer START = Initializer.truncatedNormal(0.02);

  private final Graph g;
  private final Linear in;
  private final Conv depthwise;
  private final Linear out;

  /**
   * Declares the weights.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param hidden E
   */
  public MixFfn(Graph g, String prefix, long dim, long hidden) {
    this.g = g;
    this.in = g.linear(prefix + "fc1", dim, hidden).startingFrom(START);
    // He's normal of the fan-out, which is 3·3 for a depthwise convolution.
    this.depthwise =
        g.conv(prefix + "dwconv.dwconv", hidden, hidden, 3, 3)
            .groups(hidden)
            .startingFrom(Initializer.normal(0, Math.sqrt(2.0 / 9)))
            .withBias()
            .padding(1);
    this.out = g.linear(prefix + "fc2", hidden, dim).startingFrom(START);
  }

  /** (B, N, C) → (B, N, C), tokens of a map of {@code height} x {@code width}. */
  public Tensor apply(Tensor x, long height, long width) {
    Tensor y = in.apply(x); // (B, N, E)
    y = g.rearrange(y, "b (h w) e -> b e h w", Map.of("h", height, "w", width));
    y = depthwise.apply(y); // (B, E, H, W)
    y = g.gelu(g.rearrange(y, "b e h w -> b (h w) e"));
    return out.apply(y); // (B, N, C)
  }
}
