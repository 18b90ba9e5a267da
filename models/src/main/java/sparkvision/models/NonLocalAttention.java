package sparkvision.models;

import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * Non-local attention, the plain self-attention of images: every pixel reads a weighted mean of
 * all.
 *
 * <p>As in mmcv, whose scale 1/√m of the embedded Gaussian the paper does not have. The last
 * convolution begins as zero, so the block begins as the identity.
 *
 * <p>B batch, C channels, m = ⌊C/reduction⌋, N = H·W queries, M keys: N, with sub-sampling
 * ⌊H/2⌋·⌊W/2⌋. Multiply-adds: 4·N·C·m for the convolutions and 2·N·M·m for the attention (N·M·(C +
 * m) in the Gaussian mode, which has no θ and φ). Map: N·M, which is never kept whole in the two
 * Gaussian modes and kept in the concatenation; the dot product has none, as it is linear: N·m² +
 * M·m² multiply-adds.
 *
 * @see <a href="https://arxiv.org/abs/1711.07971">Wang et al., Non-local Neural Networks, 2018,
 *     section 3.2</a>
 * @see <a href="https://github.com/open-mmlab/mmcv/blob/main/mmcv/cnn/bricks/non_local.py">mmcv</a>
 */
public final class NonLocalAttention {

  /** How two pixels are compared; θ, φ and g are 1 x 1 convolutions. */
  public enum Mode {
    /** softmax of θᵀφ/√m. */
    EMBEDDED_GAUSSIAN,
    /** softmax of xᵀx. */
    GAUSSIAN,
    /** θᵀφ/M. */
    DOT_PRODUCT,
    /** max(0, w·[θ; φ])/M. */
    CONCATENATION
  }

  private static final Initializer START = Initializer.normal(0, 0.01);

  private final Graph g;
  private final Mode mode;
  private final boolean subSample;
  private final long inner;
  private final Conv values;
  private final Conv output;
  private final Conv theta; // null in the Gaussian mode, as φ
  private final Conv phi;
  private final Tensor comparison; // w (1, 2·m, 1, 1); null but for the concatenation

  /**
   * Declares the weights.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param reduction how much narrower than C the compared features are
   */
  public NonLocalAttention(Graph g, String prefix, long channels, long reduction, Mode mode) {
    this(g, prefix, channels, reduction, mode, false);
  }

  private NonLocalAttention(
      Graph g, String prefix, long channels, long reduction, Mode mode, boolean subSample) {
    if (reduction > channels) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %snon-local attention: reduction %d must be at most its %d channels",
              prefix, reduction, channels));
    }
    this.g = g;
    this.mode = mode;
    this.subSample = subSample;
    this.inner = channels / reduction;
    String pooled = subSample ? ".0.conv" : ".conv";
    this.values = pixelwise(prefix + "g" + pooled, channels, inner);
    this.output =
        g.conv(prefix + "conv_out.conv", inner, channels, 1, 1)
            .startingFrom(Initializer.constant(0))
            .withBias();
    boolean embedded = mode != Mode.GAUSSIAN;
    this.theta = embedded ? pixelwise(prefix + "theta.conv", channels, inner) : null;
    this.phi = embedded ? pixelwise(prefix + "phi" + pooled, channels, inner) : null;
    this.comparison =
        mode == Mode.CONCATENATION
            ? g.parameter(
                prefix + "concat_project.conv.weight",
                Initializer.kaimingNormal(),
                1,
                2 * inner,
                1,
                1)
            : null;
  }

  /** A block whose keys and values are the maxima of 2 x 2 windows. */
  public static NonLocalAttention subSampled(
      Graph g, String prefix, long channels, long reduction, Mode mode) {
    return new NonLocalAttention(g, prefix, channels, reduction, mode, true);
  }

  private Conv pixelwise(String name, long in, long out) {
    return g.conv(name, in, out, 1, 1).startingFrom(START).withBias();
  }

  /** Adds its context to x (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor q = tokens(theta == null ? x : theta.apply(x)); // (B, N, m), Gaussian (B, N, C)
    Tensor k = tokens(keys(phi == null ? x : phi.apply(x))); // (B, M, m), Gaussian (B, M, C)
    Tensor v = tokens(keys(values.apply(x))); // (B, M, m)
    Tensor y =
        switch (mode) {
          case EMBEDDED_GAUSSIAN -> g.attention(q, k, v, 1 / Math.sqrt((double) inner));
          case GAUSSIAN -> g.attention(q, k, v, 1);
          case DOT_PRODUCT -> // (θᵀφ)·g = θᵀ·(φ·g)
              g.matmul(q, g.scale(g.matmulTransposeA(k, v), 1.0 / k.size(1)));
          case CONCATENATION -> g.matmul(g.scale(compared(q, k), 1.0 / k.size(1)), v);
        }; // (B, N, m)
    y = g.reshape(g.transpose(y, 1, 2), x.size(0), inner, x.size(2), x.size(3)); // (B, m, H, W)
    return g.add(x, output.apply(y));
  }

  /** max(0, w·[θ; φ]) (B, N, M): the scalar product with both is the sum of two. */
  private Tensor compared(Tensor q, Tensor k) {
    Tensor w = g.reshape(comparison, 2 * inner);
    Tensor ofQuery = g.sumKeep(g.multiply(q, g.narrow(w, 0, 0, inner)), 2); // (B, N, 1)
    Tensor ofKey = g.sumKeep(g.multiply(k, g.narrow(w, 0, inner, inner)), 2); // (B, M, 1)
    return g.relu(g.add(ofQuery, g.transpose(ofKey, 1, 2)));
  }

  private Tensor keys(Tensor map) {
    return subSample ? g.maxPool(map, 2, 2, 0) : map;
  }

  private Tensor tokens(Tensor map) {
    return g.rearrange(map, "b c h w -> b (h w) c");
  }
}
