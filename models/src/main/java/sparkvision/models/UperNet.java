package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * UPerNet on an encoder of one resolution, {@link Vim} or {@link Vit}: what four of its blocks give
 * is resized to a pyramid, from the top of which context is handed down.
 *
 * <p>Outputs: the answer on the finest map, a quarter of the image on each side with patches of 16
 * pixels; in a training graph also logits of a small convolutional head on the third of the four
 * blocks, whose cross-entropy counts 0.4.
 *
 * <p>Head and names are mmsegmentation's, the pyramid that of Vim's code, which has it from BEiT.
 * Vim's encoder gives what its mixers give ({@code features = mixer}, as the Tiny configuration) or
 * the residual stream ({@code residual}, as the Small one) and keeps its last norm, unused, so that
 * weights load. Not taken over: that Vim's code starts every linear layer of the encoder anew
 * before it loads pretrained weights, and with it the steps Δ of an encoder that has none.
 *
 * <p>B batch, d the encoder's channels, c the head's, K classes; h x w a level's map, of which the
 * finest is level 0.
 *
 * @see <a href="https://arxiv.org/abs/1807.10221">Xiao et al., Unified Perceptual Parsing for Scene
 *     Understanding, 2018, section 3.1 and figure 4</a>
 * @see <a
 *     href="https://github.com/open-mmlab/mmsegmentation/blob/v0.29.1/mmseg/models/decode_heads/uper_head.py">mmsegmentation</a>
 * @see <a
 *     href="https://github.com/hustvl/Vim/blob/dd0358ad1e42701f22afbefa0717cc8825cf9f45/seg/backbone/vim.py">Vim's
 *     code</a>
 */
final class UperNet extends EncoderNet {

  private static final String[] KEYS = {
    "name",
    "backbone",
    "blocks",
    "channels",
    "pool-scales",
    "dropout",
    "auxiliary-channels",
    "auxiliary-weight",
    "classes"
  };

  private static final int LEVELS = 4;
  private static final int AUXILIARY_LEVEL = 2;

  private final List<Integer> blocks; // from 0
  private final int channels;
  private final List<Integer> poolScales;
  private final double dropout;
  private final int auxiliaryChannels;
  private final double auxiliaryWeight;
  private final int classes;

  UperNet(Config config) {
    this(Keys.of(config, KEYS));
  }

  private UperNet(Keys keys) {
    super(keys);
    this.blocks = keys.counts("blocks", LEVELS).stream().map(n -> n - 1).toList();
    this.channels = keys.count("channels");
    this.poolScales = keys.counts("pool-scales");
    this.dropout = keys.share("dropout");
    this.auxiliaryChannels = keys.count("auxiliary-channels");
    this.auxiliaryWeight = keys.weight("auxiliary-weight");
    this.classes = keys.count("classes");
    if (!blocks.equals(blocks.stream().distinct().sorted().toList())
        || blocks.get(LEVELS - 1) >= backbone.depth()) {
      throw keys.invalid("blocks", "ascending, up to the backbone's " + backbone.depth());
    }
  }

  @Override
  public double auxiliaryWeight() {
    return auxiliaryWeight;
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    List<Tensor> maps = backbone.features(g, BACKBONE, inputs.get(0), blocks); // (B, d, h, w)
    List<Tensor> levels = pyramid(g, maps);
    Tensor answer = head(g, "decode_head.", levels, channels, poolScales, classes, dropout);
    return g.mode() == Graph.Mode.TRAINING
        ? List.of(answer, auxiliary(g, levels.get(AUXILIARY_LEVEL)))
        : List.of(answer);
  }

  /** Maps of one size as levels of 4, 2, 1 and 1/2 times that size: (B, d, h, w) each. */
  private List<Tensor> pyramid(Graph g, List<Tensor> maps) {
    Tensor finest = doubled(g, "fpn1.0", maps.get(0));
    finest = g.gelu(g.batchNorm(BACKBONE + "fpn1.1", backbone.dim()).apply(finest));
    return List.of(
        doubled(g, "fpn1.3", finest),
        doubled(g, "fpn2.0", maps.get(1)),
        maps.get(2),
        g.maxPool(maps.get(3), 2, 2, 0));
  }

  private Tensor doubled(Graph g, String name, Tensor x) {
    long dim = backbone.dim();
    return g.convTranspose(BACKBONE + name, dim, dim, 2, 2)
        .startingFrom(Initializer.uniformByFanIn())
        .withBias(Convs.bias(dim, 2, 2))
        .stride(2)
        .apply(x);
  }

  private Tensor auxiliary(Graph g, Tensor x) {
    Tensor y = layer(g, "auxiliary_head.convs.0", x, auxiliaryChannels, 3);
    return classified(g, "auxiliary_head.", y, classes, dropout);
  }

  /** The head by itself. */
  static Function<Config, Model> headPart() {
    return Part.of(
        keys -> keys.counts("in-channels").size(),
        keys -> {
          List<Integer> in = keys.counts("in-channels");
          int channels = keys.count("channels");
          int classes = keys.count("classes");
          List<Integer> scales =
              keys.has("pool-scales") ? keys.counts("pool-scales") : List.of(1, 2, 3, 6);
          return (g, x) -> {
            for (int i = 0; i < in.size(); i++) {
              Part.map(x.get(i), in.get(i));
            }
            return List.of(head(g, "", x, channels, scales, classes, 0));
          };
        },
        "in-channels",
        "channels",
        "pool-scales",
        "classes");
  }

  /** Levels (B, d, h, w), fine to coarse → logits (B, K, h, w) on level 0. */
  private static Tensor head(
      Graph g,
      String prefix,
      List<Tensor> levels,
      long channels,
      List<Integer> poolScales,
      long classes,
      double dropout) {
    int top = levels.size() - 1;
    Tensor down = pooled(g, prefix, levels.get(top), channels, poolScales); // (B, c, h, w)
    Tensor[] merged = new Tensor[levels.size()];
    merged[top] = down;
    for (int i = top - 1; i >= 0; i--) {
      Tensor lateral = layer(g, prefix + "lateral_convs." + i, levels.get(i), channels, 1);
      down = g.add(lateral, sized(g, down, lateral));
      merged[i] = layer(g, prefix + "fpn_convs." + i, down, channels, 3);
    }
    for (int i = 1; i <= top; i++) {
      merged[i] = sized(g, merged[i], merged[0]);
    }
    Tensor x = layer(g, prefix + "fpn_bottleneck", g.concat(merged), channels, 3);
    return classified(g, prefix, x, classes, dropout);
  }

  /** Pyramid pooling: the map beside its means over few, large bins. (B, d, h, w) → (B, c, h, w) */
  private static Tensor pooled(
      Graph g, String prefix, Tensor x, long channels, List<Integer> scales) {
    List<Tensor> views = new ArrayList<>(List.of(x));
    for (int j = 0; j < scales.size(); j++) {
      long scale = scales.get(j);
      Tensor means = g.adaptiveAveragePool(x, scale, scale); // (B, d, s, s)
      views.add(sized(g, layer(g, prefix + "psp_modules." + j + ".1", means, channels, 1), x));
    }
    Tensor all = g.concat(views.toArray(Tensor[]::new)); // (B, d + 4·c, h, w)
    return layer(g, prefix + "bottleneck", all, channels, 3);
  }

  private static Tensor sized(Graph g, Tensor x, Tensor like) {
    return g.resize(x, Resize.LINEAR, like.size(2), like.size(3));
  }

  private static Tensor layer(Graph g, String name, Tensor x, long out, long kernel) {
    Tensor y =
        g.conv(name + ".conv", x.size(1), out, kernel, kernel)
            .startingFrom(Initializer.kaimingNormalByFanOut())
            .padding(kernel / 2)
            .apply(x);
    return g.relu(g.batchNorm(name + ".bn", out).apply(y));
  }

  private static Tensor classified(Graph g, String prefix, Tensor x, long classes, double dropout) {
    return g.conv(prefix + "conv_seg", x.size(1), classes, 1, 1)
        .startingFrom(Initializer.normal(0, 0.01))
        .withBias()
        .apply(g.dropoutChannels(x, dropout));
  }

  // Variants, by name: the defaults of every key, with the 150 classes of ADE20K and its crops of
  // 512 pixels. Vim's are its code's configurations; DeiT's blocks are mmsegmentation's.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    String vim = "cls-token = none, pool = mean, features = ";
    String quarters = "[6, 12, 18, 24]";
    variants.put("upernet-vim-tiny", variant("vim-tiny", vim + "mixer", quarters, 192));
    variants.put(
        "upernet-vim-small", variant("vim-small", vim + "residual, rope = true", quarters, 384));
    variants.put("upernet-deit-tiny", variant("deit-tiny", "", "[3, 6, 9, 12]", 192));
    variants.put("upernet-deit-small", variant("deit-small", "", "[3, 6, 9, 12]", 384));
    return variants;
  }

  private static Config variant(String encoder, String more, String blocks, int channels) {
    return ConfigFactory.parseString(
        String.format(
            """
            backbone { name = %s, image-size = 512, %s }
            blocks = %s
            channels = %d
            pool-scales = [1, 2, 3, 6]
            dropout = 0.1
            auxiliary-channels = 256
            auxiliary-weight = 0.4
            classes = 150
            """,
            encoder, more, blocks, channels));
  }
}
