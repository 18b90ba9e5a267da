package sparkvision.models;

import java.util.Map;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Norm;
import sparkvision.graph.Tensor;

/**
 * The block of plain vision transformers: tokens look at each other, then each at itself, both
 * behind a layer norm and beside a shortcut. (B, N, C) → (B, N, C).
 *
 * <p>Names and first values are timm's. N tokens of C channels, h heads of d = C/h channels.
 * Multiply-adds for one sample: 12·N·C² with MLPs that expand by 4, and 2·N²·C; the N x N maps of
 * the heads are never stored.
 *
 * @see <a href="https://arxiv.org/abs/2010.11929">Dosovitskiy et al., An Image is Worth 16x16
 *     Words, 2021, section 3.1, equations 2 and 3</a>
 */
final class TransformerBlock {

  /** Of every linear weight; biases start at zero. */
  private static final Initializer START = Initializer.truncatedNormal(0.02);

  private final Graph g;
  private final int dim;
  private final int heads;
  private final double dropout;
  private final double dropPath;
  private final Norm norm1;
  private final Linear qkv;
  private final Linear proj;
  private final Norm norm2;
  private final Linear fc1;
  private final Linear fc2;

  /**
   * @param prefix empty, or ending in a dot
   * @param dropout how often training drops an element of what a linear layer behind the attention
   *     or in the MLP gives
   * @param dropPath how often training drops a branch
   */
  TransformerBlock(
      Graph g,
      String prefix,
      int dim,
      int heads,
      int mlpRatio,
      double epsilon,
      double dropout,
      double dropPath) {
    this.g = g;
    this.dim = dim;
    this.heads = heads;
    this.dropout = dropout;
    this.dropPath = dropPath;
    long hidden = (long) mlpRatio * dim;
    this.norm1 = g.layerNorm(prefix + "norm1", dim, epsilon);
    this.qkv = linear(prefix + "attn.qkv", dim, 3L * dim);
    this.proj = linear(prefix + "attn.proj", dim, dim);
    this.norm2 = g.layerNorm(prefix + "norm2", dim, epsilon);
    this.fc1 = linear(prefix + "mlp.fc1", dim, hidden);
    this.fc2 = linear(prefix + "mlp.fc2", hidden, dim);
  }

  private Linear linear(String name, long in, long out) {
    return g.linear(name, in, out).startingFrom(START);
  }

  Tensor apply(Tensor x) {
    Tensor y = g.add(x, g.dropPath(attention(norm1.apply(x)), dropPath));
    return g.add(y, g.dropPath(mlp(norm2.apply(y)), dropPath));
  }

  private Tensor attention(Tensor x) {
    Tensor all = // (3, B, h, N, d)
        g.rearrange(
            qkv.apply(x),
            "b n (three h d) -> three b h n d",
            Map.of("three", 3L, "h", (long) heads));
    Tensor q = g.select(all, 0, 0); // (B, h, N, d)
    Tensor k = g.select(all, 0, 1);
    Tensor v = g.select(all, 0, 2);
    Tensor y = g.attention(q, k, v, 1 / Math.sqrt((double) dim / heads));
    return g.dropout(proj.apply(g.rearrange(y, "b h n d -> b n (h d)")), dropout);
  }

  private Tensor mlp(Tensor x) {
    Tensor y = g.dropout(g.gelu(fc1.apply(x)), dropout); // (B, N, ratio·C)
    return g.dropout(fc2.apply(y), dropout);
  }
}
