package sparkvision.models;

import com.typesafe.config.Config;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * CCNet: recurrent criss-cross attention on a dilated ResNet.
 *
 * <p>Outputs: the answer, then one from the third stage, whose cross-entropy the code adds with
 * weight 0.4. As there, batch norms of the heads are followed by leaky ReLU with slope 0.01 and do
 * not count batches, and dilations are 2 and 4 in all blocks. B batch, C channels of the last
 * stage, n = C/4, R passes of the attention, K classes.
 *
 * @see <a href="https://arxiv.org/abs/1811.11721">Huang et al., CCNet: Criss-Cross Attention for
 *     Semantic Segmentation, 2019, figure 2</a>
 * @see <a href="https://github.com/speedinghzl/CCNet/blob/master/networks/ccnet.py">the authors'
 *     code</a>
 */
final class CcNet {

  private static final double SLOPE = 0.01;

  private CcNet() {}

  static Model of(Config config) {
    Keys keys = DilatedNet.keys(config, "recurrence");
    int recurrence = keys.count("recurrence");
    return new DilatedNet(
        keys,
        ResNetBackbone.Dilation.WHOLE_STAGE,
        Resize.LINEAR_ALIGNED,
        (g, classes, dropout, third, fourth) ->
            DilatedNet.withAuxiliary(
                g,
                head(g, "head.", fourth, fourth.size(1) / 4, classes, recurrence, dropout),
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
          int recurrence = keys.count("recurrence");
          return (g, x) ->
              List.of(head(g, "", Part.map(x.get(0), channels), inner, classes, recurrence, 0));
        },
        "in-channels",
        "inter-channels",
        "classes",
        "recurrence");
  }

  /** (B, C, h, w) → logits (B, K, h, w). */
  private static Tensor head(
      Graph g, String prefix, Tensor x, long inner, long classes, int recurrence, double dropout) {
    Tensor y = layer(g, prefix + "conva", x, inner); // (B, n, h, w)
    y = new CrissCrossAttention(g, prefix + "cca.", inner).apply(y, recurrence);
    y = layer(g, prefix + "convb", y, inner);
    y = layer(g, prefix + "bottleneck", g.concat(x, y), inner); // from C + n channels
    y = g.dropoutChannels(y, dropout);
    return Convs.standard(g, prefix + "bottleneck.3", inner, classes, 1, 1).apply(y);
  }

  /** (B, C/2, h, w) → logits (B, K, h, w). */
  private static Tensor auxiliary(Graph g, Tensor x, long classes, double dropout) {
    long inner = x.size(1) / 2;
    Tensor y = Convs.standard(g, "dsn.0", x.size(1), inner, 3, 3).padding(1).apply(x);
    y = g.dropoutChannels(activated(g, "dsn.1", y), dropout);
    return Convs.standard(g, "dsn.3", inner, classes, 1, 1).apply(y);
  }

  private static Tensor layer(Graph g, String name, Tensor x, long out) {
    Tensor y = Convs.plain(g, name + ".0", x.size(1), out, 3, 3).padding(1).apply(x);
    return activated(g, name + ".1", y);
  }

  private static Tensor activated(Graph g, String norm, Tensor x) {
    return g.leakyRelu(g.batchNorm(norm, x.size(1)).withoutCounter().apply(x), SLOPE);
  }

  static Map<String, Config> variants() {
    return DilatedNet.variants("ccnet", "dropout = 0.1, auxiliary-weight = 0.4, recurrence = 2");
  }
}
