package sparkvision.models;

import com.typesafe.config.Config;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * A non-local network for segmentation: an embedded Gaussian block between two convolutions, on a
 * dilated ResNet.
 *
 * <p>The paper has blocks inside of a ResNet for video and no such network; this is the one of
 * mmsegmentation, whose block has a batch norm at its end where this one has a bias. Outputs: the
 * answer, then one from the third stage, whose cross-entropy is added with weight 0.4. B batch, C
 * channels of the last stage, n = C/4, K classes.
 *
 * @see <a href="https://arxiv.org/abs/1711.07971">Wang et al., Non-local Neural Networks, 2018</a>
 * @see <a
 *     href="https://github.com/open-mmlab/mmsegmentation/blob/main/mmseg/models/decode_heads/nl_head.py">mmsegmentation's
 *     {@code NLHead}</a>
 */
final class NonLocalNet {

  private NonLocalNet() {}

  static Model of(Config config) {
    Keys keys = DilatedNet.keys(config, "reduction");
    int reduction = keys.count("reduction");
    return new DilatedNet(
        keys,
        ResNetBackbone.Dilation.AFTER_STRIDE,
        Resize.LINEAR,
        (g, classes, dropout, third, fourth) -> {
          UnaryOperator<Tensor> block =
              x ->
                  new NonLocalAttention(
                          g,
                          "decode_head.nl_block.",
                          x.size(1),
                          reduction,
                          NonLocalAttention.Mode.EMBEDDED_GAUSSIAN)
                      .apply(x);
          return heads(g, classes, dropout, third, fourth, block);
        });
  }

  /**
   * mmsegmentation's head with one block in its middle, and its plain auxiliary head.
   *
   * @param block (B, n, h, w) → (B, n, h, w)
   */
  static List<Tensor> heads(
      Graph g,
      long classes,
      double dropout,
      Tensor third,
      Tensor fourth,
      UnaryOperator<Tensor> block) {
    long inner = fourth.size(1) / 4;
    Tensor y = layer(g, "decode_head.convs.0", fourth, inner); // (B, n, h, w)
    y = layer(g, "decode_head.convs.1", block.apply(y), inner);
    y = layer(g, "decode_head.conv_cat", g.concat(fourth, y), inner); // from C + n channels
    return DilatedNet.withAuxiliary(
        g,
        classified(g, "decode_head.conv_seg", y, classes, dropout),
        () -> auxiliary(g, classes, dropout, third));
  }

  private static Tensor auxiliary(Graph g, long classes, double dropout, Tensor third) {
    Tensor y = layer(g, "auxiliary_head.convs.0", third, third.size(1) / 4);
    return classified(g, "auxiliary_head.conv_seg", y, classes, dropout);
  }

  private static Tensor layer(Graph g, String name, Tensor x, long out) {
    return new ConvNorm(g, name + ".conv", name + ".bn", x.size(1), out, 3).apply(x);
  }

  private static Tensor classified(Graph g, String name, Tensor x, long classes, double dropout) {
    Tensor y = g.dropoutChannels(x, dropout);
    return Convs.standard(g, name, x.size(1), classes, 1, 1).apply(y);
  }

  static Map<String, Config> variants() {
    return DilatedNet.variants(
        "non-local-net", "dropout = 0.1, auxiliary-weight = 0.4, reduction = 2");
  }
}
