package sparkvision.models;

import sparkvision.graph.BatchNorm;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * The popular 2-D variant of {@link AttentionGate}, whose inputs have one size: batch norm on every
 * path, no resampling and no convolution behind the multiplication.
 *
 * <p>LeeJunHyun's network, and those that follow it, call it the attention gate of Attention U-Net;
 * its authors' code is another. B batch, C channels of the skip features, G of the gating signal, I
 * intermediate ones. Multiply-adds: H·W·(C + G + 1)·I. Map: H·W.
 *
 * @see <a href="https://arxiv.org/abs/1804.03999">Oktay et al., Attention U-Net, 2018, section
 *     2.2</a>
 * @see <a
 *     href="https://github.com/LeeJunHyun/Image_Segmentation/blob/master/network.py">LeeJunHyun's
 *     {@code Attention_block}</a>
 */
public final class AttentionGate2d {

  private final Graph g;
  private final Conv gatingConv;
  private final BatchNorm gatingNorm;
  private final Conv skipConv;
  private final BatchNorm skipNorm;
  private final Conv psi;
  private final BatchNorm psiNorm;

  /**
   * Declares the weights, with PyTorch's default first values.
   *
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param gatingChannels G
   * @param skipChannels C
   * @param interChannels I
   */
  public AttentionGate2d(
      Graph g, String prefix, long gatingChannels, long skipChannels, long interChannels) {
    this.g = g;
    this.gatingConv = Convs.standard(g, prefix + "W_g.0", gatingChannels, interChannels, 1, 1);
    this.gatingNorm = g.batchNorm(prefix + "W_g.1", interChannels);
    this.skipConv = Convs.standard(g, prefix + "W_x.0", skipChannels, interChannels, 1, 1);
    this.skipNorm = g.batchNorm(prefix + "W_x.1", interChannels);
    this.psi = Convs.standard(g, prefix + "psi.0", interChannels, 1, 1, 1);
    this.psiNorm = g.batchNorm(prefix + "psi.1", 1);
  }

  /**
   * The gated skip features (B, C, H, W).
   *
   * @param skip (B, C, H, W), from the encoder
   * @param gating (B, G, H, W), from the decoder
   */
  public Tensor apply(Tensor skip, Tensor gating) {
    Tensor signal = gatingNorm.apply(gatingConv.apply(gating)); // (B, I, H, W)
    Tensor features = skipNorm.apply(skipConv.apply(skip)); // (B, I, H, W)
    Tensor scores = psiNorm.apply(psi.apply(g.relu(g.add(signal, features)))); // (B, 1, H, W)
    return g.multiply(skip, g.sigmoid(scores));
  }
}
