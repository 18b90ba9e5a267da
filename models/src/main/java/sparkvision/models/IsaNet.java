package sparkvision.models;

import com.typesafe.config.Config;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * ISANet: interlaced sparse self-attention on a dilated ResNet.
 *
 * <p>Outputs: the answer, then one from the third stage, whose cross-entropy the code adds with
 * weight 0.4. B batch, C channels of the last stage, n = C/4, K classes.
 *
 * @see <a href="https://arxiv.org/abs/1907.12273">Huang et al., Interlaced Sparse Self-Attention
 *     for Semantic Segmentation, 2019, section 3.2</a>
 * @see <a
 *     href="https://github.com/openseg-group/openseg.pytorch/blob/master/lib/models/nets/isanet.py">the
 *     authors' code</a>
 */
final class IsaNet {

  private IsaNet() {}

  static Model of(Config config) {
    Keys keys = DilatedNet.keys(config, "down-factor");
    int[] window = keys.imageSize("down-factor");
    return new DilatedNet(
        keys,
        ResNetBackbone.Dilation.AFTER_STRIDE,
        Resize.LINEAR_ALIGNED,
        (g, classes, dropout, third, fourth) ->
            DilatedNet.withAuxiliary(
                g,
                head(g, fourth, fourth.size(1) / 4, classes, window, dropout),
                () -> auxiliary(g, third, classes, dropout)));
  }

  /** The head by itself. */
  static Function<Config, Model> headPart() {
    return Part.of(
        1,
        keys -> {
          int channels = keys.count("in-channels");
          int inner = keys.count("inter-channels");
          int classes = keys.count("classes");
          int[] window = keys.imageSize("down-factor");
          return (g, x) ->
              List.of(head(g, Part.map(x.get(0), channels), inner, classes, window, 0));
        },
        "in-channels",
        "inter-channels",
        "classes",
        "down-factor");
  }

  /** (B, C, h, w) → logits (B, K, h, w). */
  private static Tensor head(
      Graph g, Tensor x, long inner, long classes, int[] window, double dropout) {
    Tensor y = new ConvNorm(g, "isa_head.0", "isa_head.1.0", x.size(1), inner, 3).apply(x);
    String stage = "isa_head.2.stages.0."; // the code can have several side by side; ISANet has one
    Tensor context =
        new InterlacedAttention(g, stage, inner, inner / 2, inner, inner, window[0], window[1])
            .apply(y); // (B, n, h, w)
    String join = "isa_head.2.conv_bn.";
    y = new ConvNorm(g, join + "0", join + "1.0", 2 * inner, inner, 1).apply(g.concat(y, context));
    y = g.dropoutChannels(y, dropout);
    return Convs.standard(g, "cls_head", inner, classes, 1, 1).apply(y);
  }

  /** (B, C/2, h, w) → logits (B, K, h, w). */
  private static Tensor auxiliary(Graph g, Tensor x, long classes, double dropout) {
    long inner = x.size(1) / 2;
    Tensor y = Convs.standard(g, "dsn_head.0", x.size(1), inner, 3, 3).padding(1).apply(x);
    y = g.relu(g.batchNorm("dsn_head.1.0", inner).apply(y));
    y = g.dropoutChannels(y, dropout);
    return Convs.standard(g, "dsn_head.3", inner, classes, 1, 1).apply(y);
  }

  static Map<String, Config> variants() {
    return DilatedNet.variants(
        "isanet", "dropout = 0.05, auxiliary-weight = 0.4, down-factor = [8, 8]");
  }
}
