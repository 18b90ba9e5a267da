package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * SegFormer: a pyramid of transformer blocks without position embeddings (Mix Transformer, MiT),
 * and a segmentation head of linear layers only.
 *
 * <p>Names, geometry and first values are those of the authors' code, in which every MLP expands by
 * 4 (the paper's table 6 says 8 for two stages). The head's {@code conv_seg} comes from the library
 * that code builds on and is never used; it is declared so that its weights load.
 *
 * <p>Any image size works whose four maps hold a window of their reduction each. Logits are on the
 * finest map, ⌈H/4⌉ x ⌈W/4⌉.
 *
 * <p>B batch, s stage, C channels, h x w the stage's map of N = h·w tokens, E the head's channels,
 * K classes.
 *
 * @see <a href="https://arxiv.org/abs/2105.15203">Xie et al., SegFormer, 2021, section 3 and table
 *     6</a>
 * @see <a
 *     href="https://github.com/NVlabs/SegFormer/blob/master/mmseg/models/backbones/mix_transformer.py">the
 *     authors' code</a>
 */
final class SegFormer implements Backbone {

  /** The free keys; in-channels, drop-path and dropout may be left out. */
  private static final String[] KEYS = {
    "name",
    "in-channels",
    "dims",
    "heads",
    "depths",
    "mlp-ratios",
    "sr-ratios",
    "drop-path",
    "decoder-dim",
    "dropout",
    "classes"
  };

  private static final Config OPTIONAL =
      ConfigFactory.parseString("in-channels = 3, drop-path = 0.0, dropout = 0.0");

  private static final int STAGES = 4;
  private static final int[] KERNEL = {7, 3, 3, 3};
  private static final int[] STRIDE = {4, 2, 2, 2};

  private static final double EPSILON = 1e-6; // of the stages' last norms
  private static final double PATCH_EPSILON = 1e-5;
  private static final String HEAD = "decode_head.";
  private static final int UNUSED_CHANNELS = 128; // of conv_seg

  private final String name;
  private final int inChannels;
  private final List<Integer> dims;
  private final List<Integer> heads;
  private final List<Integer> depths;
  private final List<Integer> mlpRatios;
  private final List<Integer> srRatios;
  private final double dropPath;
  private final int decoderDim;
  private final double dropout;
  private final int classes;
  private final Images images;

  SegFormer(Config config) {
    Keys keys = Keys.of(config.withFallback(OPTIONAL), KEYS);
    this.name = keys.text("name", "a model's name");
    this.inChannels = keys.count("in-channels");
    this.dims = keys.counts("dims", STAGES);
    this.heads = keys.divisors("heads", "dims", STAGES);
    this.depths = keys.counts("depths", STAGES);
    this.mlpRatios = keys.counts("mlp-ratios", STAGES);
    this.srRatios = keys.counts("sr-ratios", STAGES);
    this.dropPath = keys.share("drop-path");
    this.decoderDim = keys.count("decoder-dim");
    this.dropout = keys.share("dropout");
    this.classes = keys.count("classes");
    this.images = new Images(name, inChannels, 2);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public boolean isHead(String parameter) {
    return parameter.startsWith(HEAD);
  }

  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    return images.shapes(batch, imageSize);
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    return List.of(head(g, encoder(g, "backbone.", inputs.get(0)))); // (B, K, H/4, W/4)
  }

  @Override
  public List<Tensor> features(Graph g, String prefix, Tensor image) {
    return encoder(g, prefix, image).stream().map(tokens -> map(g, tokens)).toList();
  }

  /** Tokens (B, N, C) of a map, in row-major order. */
  private record Tokens(Tensor x, long height, long width) {}

  private static Tensor map(Graph g, Tokens tokens) {
    return g.rearrange(
        tokens.x, "b (h w) c -> b c h w", Map.of("h", tokens.height, "w", tokens.width));
  }

  // Encoder, section 3.1.

  /** The tokens of the four stages, fine to coarse. */
  private List<Tokens> encoder(Graph g, String prefix, Tensor image) {
    requireFitting(image);
    List<Tokens> stages = new ArrayList<>();
    Tensor x = image; // (B, in-channels, H, W)
    for (int s = 1; s <= STAGES; s++) {
      Tokens tokens = stage(g, prefix, s, x); // (B, N, C)
      stages.add(tokens);
      x = s < STAGES ? map(g, tokens) : x; // (B, C, h, w)
    }
    return stages;
  }

  private Tokens stage(Graph g, String prefix, int s, Tensor map) {
    Tokens patches = patches(g, prefix + "patch_embed" + s, s, map);
    Tensor x = patches.x; // (B, N, C)
    for (int j = 0; j < depths.get(s - 1); j++) {
      SegFormerBlock block =
          new SegFormerBlock(
              g,
              prefix + "block" + s + "." + j + ".",
              dim(s),
              heads.get(s - 1),
              mlpRatios.get(s - 1),
              srRatios.get(s - 1),
              dropPath(s, j));
      x = block.apply(x, patches.height, patches.width);
    }
    x = g.layerNorm(prefix + "norm" + s, dim(s), EPSILON).apply(x);
    return new Tokens(x, patches.height, patches.width);
  }

  /** Overlapping patches as tokens: the map shrinks by the stride, whose last window is padded. */
  private Tokens patches(Graph g, String embed, int s, Tensor map) {
    int kernel = KERNEL[s - 1];
    Conv projection =
        g.conv(embed + ".proj", map.size(1), dim(s), kernel, kernel)
            .startingFrom(byFanOut(dim(s), kernel))
            .withBias()
            .stride(STRIDE[s - 1])
            .padding(kernel / 2);
    Tensor x = projection.apply(map); // (B, C, h, w)
    Tensor tokens = g.rearrange(x, "b c h w -> b (h w) c");
    tokens = g.layerNorm(embed + ".norm", dim(s), PATCH_EPSILON).apply(tokens);
    return new Tokens(tokens, x.size(2), x.size(3));
  }

  // Head, section 3.2 and equation 4.

  private Tensor head(Graph g, List<Tokens> stages) {
    Tokens finest = stages.get(0);
    Tensor[] levels = new Tensor[STAGES];
    for (int s = STAGES; s >= 1; s--) { // coarse to fine, the order they are joined in
      Tokens tokens = stages.get(s - 1);
      Tensor unified =
          g.linear(HEAD + "linear_c" + s + ".proj", dim(s), decoderDim).apply(tokens.x);
      Tensor level = map(g, new Tokens(unified, tokens.height, tokens.width)); // (B, E, h, w)
      levels[STAGES - s] = g.resize(level, Resize.LINEAR, finest.height, finest.width);
    }
    Conv fuse =
        g.conv(HEAD + "linear_fuse.conv", (long) STAGES * decoderDim, decoderDim, 1, 1)
            .startingFrom(byFanOut(decoderDim, 1));
    Tensor x = fuse.apply(g.concat(levels)); // (B, E, H/4, W/4)
    x = g.relu(g.batchNorm(HEAD + "linear_fuse.bn", decoderDim).apply(x));
    x = g.dropoutChannels(x, dropout);
    g.conv(HEAD + "conv_seg", UNUSED_CHANNELS, classes, 1, 1)
        .startingFrom(Initializer.normal(0, 0.01))
        .withBias();
    return Convs.standard(g, HEAD + "linear_pred", decoderDim, classes, 1, 1).apply(x);
  }

  /** He's normal of the fan-out. */
  private static Initializer byFanOut(long out, long kernel) {
    return Initializer.normal(0, Math.sqrt(2.0 / (out * kernel * kernel)));
  }

  private int dim(int s) {
    return dims.get(s - 1);
  }

  /** From 0 at the first block of the network to drop-path at the last. */
  private double dropPath(int s, int j) {
    int all = depths.stream().mapToInt(Integer::intValue).sum();
    int before = depths.subList(0, s - 1).stream().mapToInt(Integer::intValue).sum();
    return dropPath * (before + j) / Math.max(1, all - 1);
  }

  /** Every stage's map, ⌈n / 2ˢ⁺¹⌉ on each side, must hold one window of its reduction. */
  private void requireFitting(Tensor x) {
    long least = 1;
    for (int s = 1; s <= STAGES; s++) {
      least = Math.max(least, ((srRatios.get(s - 1) - 1L) << (s + 1)) + 1);
    }
    images.requireFitting(x, least, "four stages");
  }

  // Variants, by name: the defaults of every key, with the 150 classes of ADE20K. Table 6.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    variants.put("segformer-b0", variant("[32, 64, 160, 256]", "[2, 2, 2, 2]", 256));
    variants.put("segformer-b1", variant("[64, 128, 320, 512]", "[2, 2, 2, 2]", 256));
    variants.put("segformer-b2", variant("[64, 128, 320, 512]", "[3, 4, 6, 3]", 768));
    variants.put("segformer-b3", variant("[64, 128, 320, 512]", "[3, 4, 18, 3]", 768));
    variants.put("segformer-b4", variant("[64, 128, 320, 512]", "[3, 8, 27, 3]", 768));
    variants.put("segformer-b5", variant("[64, 128, 320, 512]", "[3, 6, 40, 3]", 768));
    return variants;
  }

  private static Config variant(String dims, String depths, int decoderDim) {
    return ConfigFactory.parseString(
        String.format(
            """
            dims = %s
            heads = [1, 2, 5, 8]
            depths = %s
            mlp-ratios = [4, 4, 4, 4]
            sr-ratios = [8, 4, 2, 1]
            decoder-dim = %d
            classes = 150
            """,
            dims, depths, decoderDim));
  }
}
