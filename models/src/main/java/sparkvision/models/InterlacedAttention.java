package sparkvision.models;

import java.util.HashMap;
import java.util.Map;
import sparkvision.graph.BatchNorm;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * Interlaced sparse self-attention: first among pixels that lie a window apart, then among those of
 * one window, so that two small attentions link every pixel to every other.
 *
 * <p>As in the authors' code, maps that windows do not fill are padded with zeros, and the padding
 * takes part in the attention.
 *
 * <p>B batch, C channels, κ key channels, ν value channels, o output channels, windows of P = Ph·Pw
 * pixels, Q = Qh·Qw windows, N = P·Q pixels after padding. Multiply-adds: N·(2·C·κ + C·ν + 2·o·κ +
 * o·ν + 4·κ² + 2·ν·o) for the convolutions and N·(Q + P)·(κ + ν) for the attention. Map: N·(Q + P),
 * where full attention has N².
 *
 * @see <a href="https://arxiv.org/abs/1907.12273">Huang et al., Interlaced Sparse Self-Attention,
 *     2019, section 3.2</a>
 * @see <a
 *     href="https://github.com/openseg-group/openseg.pytorch/blob/master/lib/models/modules/isa_block.py">the
 *     authors' code</a>
 */
public final class InterlacedAttention {

  private static final String MAP = "b c (qh ph) (qw pw)";

  private final Graph g;
  private final SelfAttention longRange;
  private final SelfAttention shortRange;
  private final long windowHeight;
  private final long windowWidth;

  /**
   * Declares the weights, with PyTorch's default first values.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param channels C
   * @param keyChannels κ
   * @param valueChannels ν
   * @param outChannels o
   * @param windowHeight Ph, in pixels
   * @param windowWidth Pw, in pixels
   */
  public InterlacedAttention(
      Graph g,
      String prefix,
      long channels,
      long keyChannels,
      long valueChannels,
      long outChannels,
      long windowHeight,
      long windowWidth) {
    this.g = g;
    this.longRange =
        new SelfAttention(
            g, prefix + "long_range_sa.", channels, keyChannels, valueChannels, outChannels);
    this.shortRange =
        new SelfAttention(
            g, prefix + "short_range_sa.", outChannels, keyChannels, valueChannels, outChannels);
    this.windowHeight = windowHeight;
    this.windowWidth = windowWidth;
  }

  /** (B, C, H, W) → (B, o, H, W), the context alone. */
  public Tensor apply(Tensor x) {
    long bottom = missing(x.size(2), windowHeight);
    long right = missing(x.size(3), windowWidth);
    Tensor y = g.pad(x, 2, bottom / 2, bottom - bottom / 2);
    y = g.pad(y, 3, right / 2, right - right / 2); // (B, C, Qh·Ph, Qw·Pw)

    Map<String, Long> windows = Map.of("ph", windowHeight, "pw", windowWidth);
    y = longRange.apply(y, "b (ph pw) (qh qw) c", windows); // (B, o, Qh·Ph, Qw·Pw)
    y = shortRange.apply(y, "b (qh qw) (ph pw) c", windows);

    y = g.narrow(y, 2, bottom / 2, x.size(2));
    return g.narrow(y, 3, right / 2, x.size(3));
  }

  /** How many pixels the last window lacks. */
  private static long missing(long size, long window) {
    return (window - size % window) % window;
  }

  /**
   * Plain self-attention within groups of pixels: two layers make keys and queries, one values, one
   * the output. All of them work pixel by pixel, so the map is cut into groups for the products
   * alone.
   */
  private static final class SelfAttention {

    private final Graph g;
    private final Layer[] keys;
    private final Layer[] queries;
    private final Conv values;
    private final Layer output;
    private final double scale;

    SelfAttention(
        Graph g, String prefix, long channels, long keyChannels, long valueChannels, long out) {
      this.g = g;
      this.keys = layers(g, prefix + "f_key.", channels, keyChannels);
      this.queries = layers(g, prefix + "f_query.", channels, keyChannels);
      this.values = Convs.plain(g, prefix + "f_value", channels, valueChannels, 1, 1);
      this.output = new Layer(g, prefix + "W.0", prefix + "W.1.0", valueChannels, out);
      this.scale = 1 / Math.sqrt((double) keyChannels);
    }

    private static Layer[] layers(Graph g, String prefix, long channels, long keyChannels) {
      return new Layer[] {
        new Layer(g, prefix + "0", prefix + "1.0", channels, keyChannels),
        new Layer(g, prefix + "2", prefix + "3.0", keyChannels, keyChannels)
      };
    }

    /**
     * (B, C, Qh·Ph, Qw·Pw) → (B, o, Qh·Ph, Qw·Pw).
     *
     * @param groups how pixels are grouped: (B, groups, pixels of a group, C)
     */
    Tensor apply(Tensor x, String groups, Map<String, Long> windows) {
      Tensor q = grouped(queries[1].apply(queries[0].apply(x)), groups, windows);
      Tensor k = grouped(keys[1].apply(keys[0].apply(x)), groups, windows);
      Tensor v = grouped(values.apply(x), groups, windows);
      Tensor y = g.attention(q, k, v, scale);

      Map<String, Long> sizes = new HashMap<>(windows);
      sizes.put("qh", x.size(2) / windows.get("ph"));
      sizes.put("qw", x.size(3) / windows.get("pw"));
      return output.apply(g.rearrange(y, groups + " -> " + MAP, sizes));
    }

    private Tensor grouped(Tensor map, String groups, Map<String, Long> windows) {
      return g.rearrange(map, MAP + " -> " + groups, windows);
    }
  }

  /** A 1 x 1 convolution, batch norm, ReLU. */
  private static final class Layer {

    private final Graph g;
    private final Conv conv;
    private final BatchNorm norm;

    Layer(Graph g, String conv, String norm, long in, long out) {
      this.g = g;
      this.conv = Convs.plain(g, conv, in, out, 1, 1);
      this.norm = g.batchNorm(norm, out);
    }

    Tensor apply(Tensor x) {
      return g.relu(norm.apply(conv.apply(x)));
    }
  }
}
