package sparkvision.models;

import sparkvision.graph.BatchNorm;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Tensor;

/**
 * The convolutional block attention module: a gate per channel, then a gate per pixel.
 *
 * <p>As in the authors' code: a batch norm behind the 7 x 7 convolution, which the paper does not
 * mention. Its weight begins at zero, so the gate of pixels begins as ½ everywhere; the maximum of
 * the channels comes before their mean.
 *
 * <p>B batch, C channels, r reduction. Multiply-adds: 4·C²/r for the channels and 98·H·W for the
 * pixels. Maps: C and H·W.
 *
 * @see <a href="https://arxiv.org/abs/1807.06521">Woo et al., CBAM, 2018, section 3</a>
 * @see <a href="https://github.com/Jongchan/attention-module/blob/master/MODELS/cbam.py">the
 *     authors' code</a>
 */
public final class Cbam {

  private final Graph g;
  private final Linear squeeze;
  private final Linear expand;
  private final Conv spatial;
  private final BatchNorm norm;

  /**
   * Declares the weights.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param reduction r, how much narrower than C the MLP is inside
   * @throws IllegalArgumentException if {@code reduction} exceeds {@code channels}
   */
  public Cbam(Graph g, String prefix, long channels, long reduction) {
    if (reduction > channels) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %sCBAM: reduction %d must be at most its %d channels",
              prefix, reduction, channels));
    }
    long narrow = channels / reduction;
    this.g = g;
    this.squeeze = g.linear(prefix + "ChannelGate.mlp.1", channels, narrow);
    this.expand = g.linear(prefix + "ChannelGate.mlp.3", narrow, channels);
    this.spatial =
        g.conv(prefix + "SpatialGate.spatial.conv", 2, 1, 7, 7)
            .startingFrom(Initializer.kaimingNormalByFanOut())
            .padding(3);
    this.norm =
        g.batchNorm(prefix + "SpatialGate.spatial.bn", 1)
            .startingFrom(Initializer.constant(0))
            .withMomentum(0.01);
  }

  /** (B, C, H, W) → (B, C, H, W). */
  public Tensor apply(Tensor x) {
    Tensor scores = g.add(mlp(g.globalAveragePool(x)), mlp(g.globalMaxPool(x))); // (B, C)
    Tensor channelGate = g.reshape(g.sigmoid(scores), x.size(0), x.size(1), 1, 1);
    x = g.multiply(x, channelGate);

    Tensor pooled = g.concat(g.maxKeep(x, 1), g.meanKeep(x, 1)); // (B, 2, H, W)
    Tensor pixelGate = g.sigmoid(norm.apply(spatial.apply(pooled))); // (B, 1, H, W)
    return g.multiply(x, pixelGate);
  }

  private Tensor mlp(Tensor pooled) {
    return expand.apply(g.relu(squeeze.apply(pooled)));
  }
}
