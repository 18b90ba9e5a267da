package sparkvision.models;

import java.util.Map;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * Efficient attention: keys gather values into a few context vectors, and queries read those, so
 * that the cost grows with the number of pixels and not with its square.
 *
 * <p>The softmaxes are of keys over all pixels and of queries over channels; with those it is not
 * the softmax of query-key products in another order, but only resembles it. Heads, and the
 * shortcut, are the authors' code.
 *
 * <p>B batch, C channels, κ key and ν value channels, h heads, N = H·W pixels. Multiply-adds:
 * 2·N·C·(κ + ν) for the convolutions and 2·N·κ·ν/h for the attention. Map: none; contexts of κ·ν/h.
 *
 * @see <a href="https://arxiv.org/abs/1812.01243">Shen et al., Efficient Attention, 2021, section
 *     3.2</a>
 * @see <a
 *     href="https://github.com/cmsflash/efficient-attention/blob/master/efficient_attention.py">the
 *     authors' code</a>
 */
public final class EfficientAttention {

  private final Graph g;
  private final long heads;
  private final Conv keys;
  private final Conv queries;
  private final Conv values;
  private final Conv reprojection;

  /**
   * Declares the weights, with PyTorch's default first values.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param channels C
   * @param keyChannels κ
   * @param heads h
   * @param valueChannels ν
   * @throws IllegalArgumentException if {@code heads} does not divide κ and ν
   */
  public EfficientAttention(
      Graph g, String prefix, long channels, long keyChannels, long heads, long valueChannels) {
    if (keyChannels % heads != 0 || valueChannels % heads != 0) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %sefficient attention: %d heads must divide its %d key and %d value"
                  + " channels",
              prefix, heads, keyChannels, valueChannels));
    }
    this.g = g;
    this.heads = heads;
    this.keys = Convs.standard(g, prefix + "keys", channels, keyChannels, 1, 1);
    this.queries = Convs.standard(g, prefix + "queries", channels, keyChannels, 1, 1);
    this.values = Convs.standard(g, prefix + "values", channels, valueChannels, 1, 1);
    this.reprojection = Convs.standard(g, prefix + "reprojection", valueChannels, channels, 1, 1);
  }

  /** Adds its context to x (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor k = g.softmax(headsOf(keys.apply(x)), 3); // (B, h, κ/h, N), over pixels
    Tensor q = g.softmax(headsOf(queries.apply(x)), 2); // (B, h, κ/h, N), over channels
    Tensor v = headsOf(values.apply(x)); // (B, h, ν/h, N)
    Tensor contexts = g.matmulTransposeB(v, k); // (B, h, ν/h, κ/h)
    Tensor y = g.matmul(contexts, q); // (B, h, ν/h, N)
    y = g.reshape(y, x.size(0), -1, x.size(2), x.size(3)); // (B, ν, H, W)
    return g.add(reprojection.apply(y), x);
  }

  private Tensor headsOf(Tensor map) {
    return g.rearrange(map, "b (n d) h w -> b n d (h w)", Map.of("n", heads));
  }
}
