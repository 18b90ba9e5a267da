package sparkvision.models;

import com.typesafe.config.Config;
import java.util.Map;
import java.util.function.UnaryOperator;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * {@link NonLocalNet} with efficient attention in place of the non-local block, which is how its
 * paper compares the two: it has no network of its own.
 *
 * <p>Keys and values have half of the n channels, as those of the non-local block. Outputs: the
 * answer, then one from the third stage, whose cross-entropy is added with weight 0.4.
 *
 * @see <a href="https://arxiv.org/abs/1812.01243">Shen et al., Efficient Attention: Attention with
 *     Linear Complexities, 2021, section 4</a>
 */
final class EfficientAttentionNet {

  private EfficientAttentionNet() {}

  static Model of(Config config) {
    Keys keys = DilatedNet.keys(config, "heads");
    int heads = keys.count("heads");
    return new DilatedNet(
        keys,
        ResNetBackbone.Dilation.AFTER_STRIDE,
        Resize.LINEAR,
        (g, classes, dropout, third, fourth) -> {
          UnaryOperator<Tensor> block =
              x -> {
                long half = x.size(1) / 2;
                return new EfficientAttention(
                        g, "decode_head.ea_block.", x.size(1), half, heads, half)
                    .apply(x);
              };
          return NonLocalNet.heads(g, classes, dropout, third, fourth, block);
        });
  }

  static Map<String, Config> variants() {
    return DilatedNet.variants(
        "efficient-attention-net", "dropout = 0.1, auxiliary-weight = 0.4, heads = 1");
  }
}
