package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * Pyramid Vision Transformer, first version: four stages of transformer blocks on maps of 1/4, 1/8,
 * 1/16 and 1/32 of the image, whose attention looks at reduced maps.
 *
 * <p>Names, geometry and first values are those of the authors' code: its class token joins at
 * stage 4 only, where the map is not reduced, and every stage has position embeddings of its own.
 * They are learned for one image size and resized for others, bilinearly. As in that code, an image
 * of another shape that has as many patches at stage 1 takes those of stage 1 as they lie; unlike
 * in that code, which fails there, a later stage may have as many pixels as stage 1 was made for.
 *
 * <p>As a backbone it has neither class token nor last norm, like the code's detection branch.
 *
 * <p>B batch, s stage, P patch size, C channels, h x w the stage's map of N = h·w tokens, R
 * reduction ratio, K classes.
 *
 * @see <a href="https://arxiv.org/abs/2102.12122">Wang et al., Pyramid Vision Transformer, 2021,
 *     section 3 and table 1</a>
 * @see <a
 *     href="https://github.com/whai362/PVT/blob/57e2dfaa5a46f9050d76f306a4fcd9a7c061f520/classification/pvt.py">the
 *     authors' code</a>
 */
final class Pvt implements Backbone {

  /** The free keys; in-channels and drop-path may be left out. */
  private static final String[] KEYS = {
    "name",
    "image-size",
    "in-channels",
    "dims",
    "heads",
    "mlp-ratios",
    "depths",
    "sr-ratios",
    "drop-path",
    "classes"
  };

  private static final Config OPTIONAL =
      ConfigFactory.parseString("in-channels = 3, drop-path = 0.0");

  private static final int STAGES = 4;
  private static final int[] PATCH = {4, 2, 2, 2};

  private static final double EPSILON = 1e-6; // of blocks
  private static final double PATCH_EPSILON = 1e-5;

  /** Of linear weights, class token and position embeddings; biases start at zero. */
  private static final Initializer START = Initializer.truncatedNormal(0.02);

  private final String name;
  private final int imageSize;
  private final int inChannels;
  private final List<Integer> dims;
  private final List<Integer> heads;
  private final List<Integer> mlpRatios;
  private final List<Integer> depths;
  private final List<Integer> srRatios;
  private final double dropPath;
  private final int classes;
  private final Images images;

  Pvt(Config config) {
    Keys keys = Keys.of(config.withFallback(OPTIONAL), KEYS);
    this.name = keys.text("name", "a model's name");
    this.imageSize = keys.integer("image-size", 32, Integer.MAX_VALUE); // a pixel at stage 4
    this.inChannels = keys.count("in-channels");
    this.dims = keys.counts("dims", STAGES);
    this.heads = keys.divisors("heads", "dims", STAGES);
    this.mlpRatios = keys.counts("mlp-ratios", STAGES);
    this.depths = keys.counts("depths", STAGES);
    this.srRatios = keys.counts("sr-ratios", STAGES);
    this.dropPath = keys.share("drop-path");
    this.classes = keys.count("classes");
    this.images = new Images(name, inChannels, 2);
    if (srRatios.get(STAGES - 1) != 1) {
      throw keys.invalid("sr-ratios", "1 at the last stage, where the class token is no pixel");
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
    return images.shapes(batch, imageSize);
  }

  @Override
  public List<PositionTable> positionTables() {
    List<PositionTable> tables = new ArrayList<>();
    for (int s = 1; s <= STAGES; s++) {
      List<Long> places = s == STAGES ? List.of(0L) : List.of();
      tables.add(
          new PositionTable("pos_embed" + s, side(s), side(s), patches -> places, Resize.LINEAR));
    }
    return tables;
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    Tensor x = inputs.get(0); // (B, in-channels, H, W)
    requireFitting(x);
    for (int s = 1; s < STAGES; s++) {
      x = stage(g, "", s, x); // (B, C, h, w)
    }

    int last = dims.get(STAGES - 1);
    Tokens tokens = patches(g, "", STAGES, x); // (B, N, C)
    Tensor table = embedding(g, "", STAGES); // (1, 1 + n, C)
    Tensor classToken = g.parameter("cls_token", START, 1, 1, last);
    Tensor places =
        g.concat(
            1,
            g.add(classToken, g.narrow(table, 1, 0, 1)),
            positions(g, STAGES, withoutClass(g, table), tokens)); // (1, 1 + N, C)
    x = g.add(g.pad(tokens.x, 1, 1, 0), places); // (B, 1 + N, C)
    x = blocks(g, "", STAGES, new Tokens(x, tokens.height, tokens.width));

    x = g.select(x, 1, 0); // (B, C); the norm works token by token, and only this one is read
    x = g.layerNorm("norm", last, EPSILON).apply(x);
    return List.of(linear(g, "head", last, classes).apply(x)); // (B, K)
  }

  @Override
  public List<Tensor> features(Graph g, String prefix, Tensor image) {
    requireFitting(image);
    List<Tensor> maps = new ArrayList<>();
    Tensor x = image;
    for (int s = 1; s <= STAGES; s++) {
      x = stage(g, prefix, s, x);
      maps.add(x);
    }
    return maps;
  }

  /** Tokens (B, N, C) of a map, in row-major order. */
  private record Tokens(Tensor x, long height, long width) {}

  /** A stage that reads nothing but the map before it: (B, C', h·P, w·P) → (B, C, h, w). */
  private Tensor stage(Graph g, String prefix, int s, Tensor map) {
    Tokens tokens = patches(g, prefix, s, map); // (B, N, C)
    Tensor table = embedding(g, prefix, s);
    table = s == STAGES ? withoutClass(g, table) : table;
    Tensor x = g.add(tokens.x, positions(g, s, table, tokens)); // (B, N, C)
    x = blocks(g, prefix, s, new Tokens(x, tokens.height, tokens.width));
    return g.rearrange(x, "b (h w) c -> b c h w", Map.of("h", tokens.height, "w", tokens.width));
  }

  /** Each patch as a token: a linear map, written as a convolution, and a norm. */
  private Tokens patches(Graph g, String prefix, int s, Tensor map) {
    String embed = prefix + "patch_embed" + s;
    int patch = PATCH[s - 1];
    Tensor x =
        Convs.standard(g, embed + ".proj", map.size(1), dim(s), patch, patch)
            .stride(patch)
            .apply(map); // (B, C, h, w)
    Tensor tokens = g.rearrange(x, "b c h w -> b (h w) c");
    tokens = g.layerNorm(embed + ".norm", dim(s), PATCH_EPSILON).apply(tokens);
    return new Tokens(tokens, x.size(2), x.size(3));
  }

  /** The position embedding of a stage's own map (1, n, C); the last begins with the class's. */
  private Tensor embedding(Graph g, String prefix, int s) {
    long pixels = side(s) * side(s);
    return g.parameter(
        prefix + "pos_embed" + s, START, 1, s == STAGES ? pixels + 1 : pixels, dim(s));
  }

  private static Tensor withoutClass(Graph g, Tensor table) {
    return g.slice(table, 1, 1, table.size(1));
  }

  /** The position embedding of the map that there is: (1, n, C) → (1, N, C). */
  private Tensor positions(Graph g, int s, Tensor table, Tokens tokens) {
    long h = tokens.height;
    long w = tokens.width;
    long side = side(s);
    boolean asTheyLie = s == 1 && h * w == side * side;
    if (asTheyLie || (h == side && w == side)) {
      return table;
    }
    Tensor grid = g.rearrange(table, "1 (h w) c -> 1 c h w", Map.of("h", side, "w", side));
    return g.rearrange(g.resize(grid, Resize.LINEAR, h, w), "1 c h w -> 1 (h w) c");
  }

  /** Blocks of one stage: (B, N, C) → (B, N, C). */
  private Tensor blocks(Graph g, String prefix, int s, Tokens tokens) {
    Tensor x = tokens.x;
    for (int j = 0; j < depths.get(s - 1); j++) {
      String block = prefix + "block" + s + "." + j;
      double rate = dropPath(s, j);
      Tensor y = g.layerNorm(block + ".norm1", dim(s), EPSILON).apply(x);
      y =
          new SpatialReductionAttention(
                  g, block + ".attn.", dim(s), heads.get(s - 1), srRatios.get(s - 1))
              .apply(y, tokens.height, tokens.width);
      x = g.add(x, g.dropPath(y, rate));
      y = g.layerNorm(block + ".norm2", dim(s), EPSILON).apply(x);
      x = g.add(x, g.dropPath(mlp(g, block + ".mlp", s, y), rate));
    }
    return x;
  }

  private Tensor mlp(Graph g, String mlp, int s, Tensor x) {
    long hidden = (long) mlpRatios.get(s - 1) * dim(s);
    Tensor y = g.gelu(linear(g, mlp + ".fc1", dim(s), hidden).apply(x)); // (B, N, ratio·C)
    return linear(g, mlp + ".fc2", hidden, dim(s)).apply(y);
  }

  private static Linear linear(Graph g, String name, long in, long out) {
    return g.linear(name, in, out).startingFrom(START);
  }

  private int dim(int s) {
    return dims.get(s - 1);
  }

  /** How large the stage's map is on each side at the image size it was made for. */
  private long side(int s) {
    return imageSize >> (s + 1);
  }

  /** From 0 at the first block of the network to drop-path at the last. */
  private double dropPath(int s, int j) {
    int all = depths.stream().mapToInt(Integer::intValue).sum();
    int before = depths.subList(0, s - 1).stream().mapToInt(Integer::intValue).sum();
    return dropPath * (before + j) / Math.max(1, all - 1);
  }

  /** Every stage's map must hold one window of its reduction. */
  private void requireFitting(Tensor x) {
    long least = 0;
    for (int s = 1; s <= STAGES; s++) {
      least = Math.max(least, (long) srRatios.get(s - 1) << (s + 1));
    }
    images.requireFitting(x, least, "four stages");
  }

  // Variants, by name: the defaults of every key. As in the authors' code.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    variants.put("pvt-tiny", variant("[2, 2, 2, 2]"));
    variants.put("pvt-small", variant("[3, 4, 6, 3]"));
    variants.put("pvt-medium", variant("[3, 4, 18, 3]"));
    variants.put("pvt-large", variant("[3, 8, 27, 3]"));
    return variants;
  }

  private static Config variant(String depths) {
    return ConfigFactory.parseString(
        String.format(
            """
            image-size = 224
            dims = [64, 128, 320, 512]
            heads = [1, 2, 5, 8]
            mlp-ratios = [8, 8, 4, 4]
            depths = %s
            sr-ratios = [8, 4, 2, 1]
            classes = 1000
            """,
            depths));
  }
}
