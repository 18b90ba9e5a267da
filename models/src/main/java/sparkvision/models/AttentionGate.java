package sparkvision.models;

import java.util.Arrays;
import sparkvision.graph.BatchNorm;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * The grid attention gate of Attention U-Net: what the decoder knows decides which pixels of an
 * encoder's skip connection pass.
 *
 * <p>As in the authors' code, in its default mode: θ halves the skip features and has no bias,
 * there is no norm before the sigmoid, and a convolution with batch norm, W, follows the
 * multiplication; the paper's figure 2 has none. The skip features are multiplied, the gating
 * signal is not.
 *
 * <p>B batch, C channels of the skip features, G of the gating signal, I intermediate ones; shapes
 * are written for 2D, 3D has a depth before H. With S pixels of the skip features, T of the gating
 * signal and d axes, multiply-adds: S·C·I + T·G·I + S/2ᵈ·I + S·C². Map: S.
 *
 * @see <a href="https://arxiv.org/abs/1804.03999">Oktay et al., Attention U-Net, 2018, section
 *     2.2</a>
 * @see <a
 *     href="https://github.com/ozan-oktay/Attention-Gated-Networks/blob/master/models/layers/grid_attention_layer.py">the
 *     authors' code</a>
 */
public final class AttentionGate {

  /**
   * What comes out of the gate.
   *
   * @param features W(α·skip) (B, C, H, W)
   * @param attention α (B, 1, H, W), in (0, 1)
   */
  public record Gated(Tensor features, Tensor attention) {}

  private final Graph g;
  private final Conv theta;
  private final Conv phi;
  private final Conv psi;
  private final Conv output;
  private final BatchNorm norm;

  /**
   * Declares the weights.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param spatialDims 2 or 3
   * @param channels C
   * @param gatingChannels G
   * @param interChannels I
   */
  public AttentionGate(
      Graph g,
      String prefix,
      int spatialDims,
      long channels,
      long gatingChannels,
      long interChannels) {
    this.g = g;
    this.theta = g.conv(prefix + "theta", channels, interChannels, cube(spatialDims, 2)).stride(2);
    this.phi = pointwise(prefix + "phi", spatialDims, gatingChannels, interChannels);
    this.psi = pointwise(prefix + "psi", spatialDims, interChannels, 1);
    this.output = pointwise(prefix + "W.0", spatialDims, channels, channels);
    this.norm = g.batchNorm(prefix + "W.1", channels).startingFrom(Initializer.normal(1, 0.02));
  }

  /** He's normal weight, and a bias as PyTorch draws it. */
  private Conv pointwise(String name, int spatialDims, long in, long out) {
    return g.conv(name, in, out, cube(spatialDims, 1)).withBias(Convs.bias(in));
  }

  private static long[] cube(int spatialDims, long size) {
    long[] kernel = new long[spatialDims];
    Arrays.fill(kernel, size);
    return kernel;
  }

  /**
   * Gates the skip features.
   *
   * @param skip (B, C, H, W), from the encoder
   * @param gating (B, G, H', W') of any size, from a coarser level of the decoder
   */
  public Gated apply(Tensor skip, Tensor gating) {
    Tensor coarse = theta.apply(skip); // (B, I, ⌊H/2⌋, ⌊W/2⌋)
    Tensor signal = g.resize(phi.apply(gating), Resize.LINEAR, sizes(coarse));
    Tensor scores = psi.apply(g.relu(g.add(coarse, signal))); // (B, 1, ⌊H/2⌋, ⌊W/2⌋)
    Tensor attention = g.resize(g.sigmoid(scores), Resize.LINEAR, sizes(skip)); // (B, 1, H, W)
    Tensor features = norm.apply(output.apply(g.multiply(attention, skip))); // (B, C, H, W)
    return new Gated(features, attention);
  }

  private static long[] sizes(Tensor x) {
    return Arrays.copyOfRange(x.shape(), 2, x.rank());
  }
}
