package sparkvision.models;

import com.typesafe.config.Config;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.IntStream;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * DANet: position attention and channel attention side by side on a dilated ResNet, and the sum of
 * what they make.
 *
 * <p>Outputs: the answer from the sum, then one from each branch; the loss is the sum of the three
 * cross-entropies. As in the authors' code, the last stage has dilations 4, 8, 16. Names are the
 * code's, but for the backbone's, which begin with {@code pretrained} there. B batch, C channels of
 * the last stage, n = C/4, K classes.
 *
 * @see <a href="https://arxiv.org/abs/1809.02983">Fu et al., Dual Attention Network for Scene
 *     Segmentation, 2019, figure 2</a>
 * @see <a href="https://github.com/junfu1115/DANet/blob/master/encoding/models/sseg/danet.py">the
 *     authors' code</a>
 */
final class DaNet {

  /** Of the sum, of position and of channel attention. */
  private static final List<String> CLASSIFIERS = List.of("conv8.1", "conv6.1", "conv7.1");

  private DaNet() {}

  static Model of(Config config) {
    Keys keys = DilatedNet.keys(config, "channel-weighting");
    ChannelAttention.Weighting weighting =
        keys.choice("channel-weighting", ChannelAttention.Weighting.class);
    return new DilatedNet(
        keys,
        ResNetBackbone.Dilation.MULTI_GRID,
        Resize.LINEAR_ALIGNED,
        (g, classes, dropout, third, fourth) -> {
          int outputs = g.mode() == Graph.Mode.TRAINING ? CLASSIFIERS.size() : 1;
          long inner = fourth.size(1) / 4;
          return head(g, "head.", fourth, inner, classes, weighting, dropout, outputs);
        });
  }

  /** The head by itself. */
  static Function<Config, Model> headPart() {
    return Part.of(
        1,
        keys -> {
          int channels = keys.count("in-channels");
          int inner = keys.count("inter-channels");
          int classes = keys.count("classes");
          return (g, x) ->
              head(
                  g,
                  "",
                  Part.map(x.get(0), channels),
                  inner,
                  classes,
                  ChannelAttention.Weighting.CODE,
                  0,
                  CLASSIFIERS.size());
        },
        "in-channels",
        "inter-channels",
        "classes");
  }

  /** (B, C, h, w) → logits (B, K, h, w) of the first outputs. */
  private static List<Tensor> head(
      Graph g,
      String prefix,
      Tensor x,
      long inner,
      long classes,
      ChannelAttention.Weighting weighting,
      double dropout,
      int outputs) {
    Tensor position = layer(g, prefix + "conv5a", x, inner); // (B, n, h, w)
    position = new PositionAttention(g, prefix + "sa.", inner).apply(position);
    position = layer(g, prefix + "conv51", position, inner);

    Tensor channel = layer(g, prefix + "conv5c", x, inner); // (B, n, h, w)
    channel = new ChannelAttention(g, prefix + "sc.", weighting).apply(channel);
    channel = layer(g, prefix + "conv52", channel, inner);

    List<Tensor> features = List.of(g.add(position, channel), position, channel);
    return IntStream.range(0, outputs)
        .mapToObj(
            i -> classified(g, prefix + CLASSIFIERS.get(i), features.get(i), classes, dropout))
        .toList();
  }

  private static Tensor layer(Graph g, String name, Tensor x, long out) {
    return new ConvNorm(g, name + ".0", name + ".1", x.size(1), out, 3).apply(x);
  }

  private static Tensor classified(Graph g, String name, Tensor x, long classes, double dropout) {
    Tensor y = g.dropoutChannels(x, dropout);
    return Convs.standard(g, name, x.size(1), classes, 1, 1).apply(y);
  }

  static Map<String, Config> variants() {
    return DilatedNet.variants(
        "danet", "dropout = 0.1, auxiliary-weight = 1, channel-weighting = code");
  }
}
