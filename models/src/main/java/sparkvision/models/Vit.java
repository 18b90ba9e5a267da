package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * The plain vision transformer: an image as a sequence of patches, read by a class token.
 *
 * <p>Names, geometry and first values are timm's; the variants are those of DeiT, without its
 * distillation token. B batch, P patch size, C channels of a token, N tokens: one for the class and
 * (H/P)·(W/P) for patches, h heads of d = C/h channels, K classes.
 *
 * @see <a href="https://arxiv.org/abs/2010.11929">Dosovitskiy et al., An Image is Worth 16x16
 *     Words, 2021, section 3.1</a>
 * @see <a href="https://arxiv.org/abs/2012.12877">Touvron et al., Training data-efficient image
 *     transformers, 2021, table 1</a>
 * @see <a
 *     href="https://github.com/huggingface/pytorch-image-models/blob/v0.4.12/timm/models/vision_transformer.py">timm
 *     0.4.12</a>
 */
final class Vit implements TokenEncoder {

  /** The free keys; in-channels and drop-path may be left out. */
  private static final String[] KEYS = {
    "name",
    "image-size",
    "patch-size",
    "in-channels",
    "dim",
    "depth",
    "heads",
    "mlp-ratio",
    "drop-path",
    "classes"
  };

  private static final Config OPTIONAL =
      ConfigFactory.parseString("in-channels = 3, drop-path = 0.0");

  private static final double EPSILON = 1e-6;

  /** Of the head, the class token and the position embedding, as in the blocks. */
  private static final Initializer START = Initializer.truncatedNormal(0.02);

  private final String name;
  private final int height;
  private final int width;
  private final int patchSize;
  private final int inChannels;
  private final int dim;
  private final int depth;
  private final int heads;
  private final int mlpRatio;
  private final double dropPath;
  private final int classes;

  Vit(Config config) {
    Keys keys = Keys.of(config.withFallback(OPTIONAL), KEYS);
    this.name = keys.text("name", "a model's name");
    int[] imageSize = keys.imageSize("image-size");
    this.height = imageSize[0];
    this.width = imageSize[1];
    this.patchSize = keys.count("patch-size");
    this.inChannels = keys.count("in-channels");
    this.dim = keys.count("dim");
    this.depth = keys.count("depth");
    this.heads = keys.count("heads");
    this.mlpRatio = keys.count("mlp-ratio");
    this.dropPath = keys.share("drop-path");
    this.classes = keys.count("classes");
    if (height % patchSize != 0 || width % patchSize != 0) {
      throw keys.invalid("image-size", "a multiple of patch-size " + patchSize);
    }
    if (dim % heads != 0) {
      throw keys.invalid("heads", "a divisor of dim " + dim);
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public boolean isHead(String parameter) {
    return parameter.startsWith("head.");
  }

  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    if (imageSize.length != 1 && imageSize.length != 2) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid image-size: %s (model %s takes one number or 2)",
              Arrays.toString(imageSize), name));
    }
    if (imageSize[0] != height || imageSize[imageSize.length - 1] != width) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid image-size: %s (model %s takes %d x %d, for which it has position"
                  + " embeddings)",
              Arrays.toString(imageSize), name, height, width));
    }
    return List.of(new long[] {batch, inChannels, height, width});
  }

  @Override
  public List<PositionTable> positionTables() {
    return List.of(
        new PositionTable(
            "pos_embed",
            height / patchSize,
            width / patchSize,
            patches -> List.of(0L),
            Resize.CUBIC));
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    Tensor x = embedded(g, "", inputs.get(0)); // (B, N, C)
    for (int i = 0; i < depth; i++) {
      x = block(g, "", i).apply(x);
    }
    x = g.select(x, 1, 0); // (B, C); the norm works token by token, and only this one is read
    x = g.layerNorm("norm", dim, EPSILON).apply(x);
    return List.of(g.linear("head", dim, classes).startingFrom(START).apply(x)); // (B, K)
  }

  @Override
  public int dim() {
    return dim;
  }

  @Override
  public int depth() {
    return depth;
  }

  @Override
  public List<Tensor> features(Graph g, String prefix, Tensor image, List<Integer> blocks) {
    List<Tensor> maps = new ArrayList<>();
    Tensor x = embedded(g, prefix, image); // (B, N, C)
    for (int i = 0; i <= blocks.get(blocks.size() - 1); i++) {
      x = block(g, prefix, i).apply(x);
      if (blocks.contains(i)) {
        maps.add(map(g, x));
      }
    }
    return maps;
  }

  @Override
  public Tensor encoded(Graph g, String prefix, Tensor image) {
    Tensor x = embedded(g, prefix, image); // (B, N, C)
    for (int i = 0; i < depth; i++) {
      x = block(g, prefix, i).apply(x);
    }
    return map(g, g.layerNorm(prefix + "norm", dim, EPSILON).apply(x));
  }

  /** Patches and the class token, with positions: (B, in-channels, H, W) → (B, N, C). */
  private Tensor embedded(Graph g, String prefix, Tensor image) {
    requireFitting(image);
    long patches = (long) (height / patchSize) * (width / patchSize);
    Tensor classToken = g.parameter(prefix + "cls_token", START, 1, 1, dim);
    Tensor positions = g.parameter(prefix + "pos_embed", START, 1, patches + 1, dim);
    Tensor x = patchEmbedding(g, prefix, image); // (B, N - 1, C)
    // The class token comes first: a place of zeros, to which it is added for every image.
    Tensor places = g.add(positions, g.pad(classToken, 1, 0, patches)); // (1, N, C)
    return g.add(g.pad(x, 1, 1, 0), places);
  }

  /** A linear map of each patch, written as a convolution: (B, in, H, W) → (B, N − 1, C). */
  private Tensor patchEmbedding(Graph g, String prefix, Tensor x) {
    // PyTorch's default, which timm leaves alone.
    double bound = 1 / Math.sqrt((double) inChannels * patchSize * patchSize);
    Tensor patches =
        g.conv(prefix + "patch_embed.proj", inChannels, dim, patchSize, patchSize)
            .startingFrom(Initializer.uniform(bound))
            .withBias(Initializer.uniform(bound))
            .stride(patchSize)
            .apply(x); // (B, C, H/P, W/P)
    return g.rearrange(patches, "b c h w -> b (h w) c");
  }

  private TransformerBlock block(Graph g, String prefix, int i) {
    double rate = dropPath * i / Math.max(1, depth - 1);
    String name = prefix + "blocks." + i + ".";
    return new TransformerBlock(g, name, dim, heads, mlpRatio, EPSILON, 0, rate);
  }

  /** The patches of (B, N, C) → (B, C, H/P, W/P). */
  private Tensor map(Graph g, Tensor x) {
    return g.rearrange(
        g.narrow(x, 1, 1, x.size(1) - 1),
        "b (h w) c -> b c h w",
        Map.of("h", (long) height / patchSize, "w", (long) width / patchSize));
  }

  private void requireFitting(Tensor x) {
    if (x.rank() != 4 || x.size(1) != inChannels || x.size(2) != height || x.size(3) != width) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot build %s: it takes images of %d channels and %d x %d pixels, the input is %s",
              name, inChannels, height, width, x));
    }
  }

  // Variants, by name: the defaults of every key.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    variants.put("deit-tiny", variant(192, 3));
    variants.put("deit-small", variant(384, 6));
    variants.put("deit-base", variant(768, 12));
    return variants;
  }

  private static Config variant(int dim, int heads) {
    return ConfigFactory.parseString(
        String.format(
            """
            image-size = 224
            patch-size = 16
            dim = %d
            depth = 12
            heads = %d
            mlp-ratio = 4
            classes = 1000
            """,
            dim, heads));
  }
}
