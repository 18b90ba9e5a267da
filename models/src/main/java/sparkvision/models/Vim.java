package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * Vision Mamba (Vim): an image as a sequence of patches, mixed by selective state spaces where a
 * vision transformer has attention, and no MLPs.
 *
 * <p>Names, geometry, first values and behaviour are those of the authors' code. A block is Add →
 * Norm → Mixer, so what one mixer gives is added to the residual by the next block; the residual
 * stays in float32. Five strategies make the causal mixer see both ways:
 *
 * <ul>
 *   <li>{@code none}: it does not.
 *   <li>{@code sequence}: all tokens are reversed with {@code flip-probability}, drawn for each
 *       batch. The code draws in evaluation as well; here evaluation takes the more frequent order.
 *       Where the class token is read does not move with it, as in the code.
 *   <li>{@code block}: blocks in pairs, side by side on the same tokens, the second one from their
 *       end; what they give is summed, and so are their residuals, which are the same: in the
 *       authors' code the residual doubles with every pair. {@code average-pairs = true} halves
 *       both.
 *   <li>{@code ssm} and {@code ssm-conv}: inside of the mixer, {@link MambaMixer}. The paper's
 *       best, and the released models, are {@code ssm-conv} with the class token in the middle.
 * </ul>
 *
 * <p>Position embeddings, learned for one image size, are resized for others, bicubically as in
 * DeiT's code, without those of class tokens; the authors' loaders take the entry of the first
 * patch for that of the class (they assume it in front), which is not repeated here.
 *
 * <p>B batch, P patch size, h x w patches, M = h·w, L tokens, d channels, K classes. Unlike
 * attention, cost grows linearly with M: {@link MambaMixer} says it per token.
 *
 * @see <a href="https://arxiv.org/abs/2401.09417">Zhu et al., Vision Mamba, 2024, section 3 and
 *     table 4</a>
 * @see <a
 *     href="https://github.com/hustvl/Vim/blob/dd0358ad1e42701f22afbefa0717cc8825cf9f45/vim/models_mamba.py">the
 *     authors' code</a>
 */
final class Vim implements TokenEncoder {

  /** The free keys. */
  private static final String[] KEYS = {
    "name",
    "image-size",
    "patch-size",
    "stride",
    "in-channels",
    "dim",
    "depth",
    "state-size",
    "bidirectional",
    "cls-token",
    "pool",
    "classes",
    "drop-path",
    "flip-probability",
    "average-pairs",
    "rope",
    "rope-residual",
    "layer-scale",
    "features"
  };

  /** Those that may be left out. */
  private static final Config OPTIONAL =
      ConfigFactory.parseString(
          """
          in-channels = 3
          drop-path = 0.0
          flip-probability = 1.0
          average-pairs = false
          rope = false
          rope-residual = false
          layer-scale = 0.0
          features = residual
          """);

  /** How the tokens are read in both directions. */
  private enum Strategy {
    NONE,
    SEQUENCE,
    BLOCK,
    SSM,
    SSM_CONV
  }

  /** Where class tokens stand: none, in front, in the middle, or in front and at the end. */
  private enum ClassToken {
    NONE,
    HEAD,
    MIDDLE,
    DOUBLE
  }

  /** What the classifier reads: class tokens, the mean of all tokens, or the largest logits. */
  private enum Pool {
    CLS,
    MEAN,
    MAX
  }

  /** What the maps of single blocks are: the mixer's results, or the residual stream with them. */
  private enum Features {
    MIXER,
    RESIDUAL
  }

  private static final double EPSILON = 1e-5;
  private static final double ROPE_BASE = 10_000;

  /** Of the head, class tokens and position embeddings; biases start at zero. */
  private static final Initializer START = Initializer.truncatedNormal(0.02);

  private final String name;
  private final int[] imageSize;
  private final int patchSize;
  private final int stride;
  private final int inChannels;
  private final int dim;
  private final int depth;
  private final int stateSize;
  private final Strategy strategy;
  private final ClassToken classToken;
  private final Pool pool;
  private final int classes;
  private final double dropPath;
  private final double flipProbability;
  private final boolean averagePairs;
  private final boolean rope;
  private final boolean ropeResidual;
  private final double layerScale;
  private final Features features;
  private final Images images;

  Vim(Config config) {
    Keys keys = Keys.of(config.withFallback(OPTIONAL), KEYS);
    this.name = keys.text("name", "a model's name");
    this.imageSize = keys.imageSize("image-size");
    this.patchSize = keys.count("patch-size");
    this.stride = keys.integer("stride", 1, patchSize);
    this.inChannels = keys.count("in-channels");
    this.dim = keys.count("dim");
    this.depth = keys.count("depth");
    this.stateSize = keys.count("state-size");
    this.strategy = keys.choice("bidirectional", Strategy.class);
    this.classToken = keys.choice("cls-token", ClassToken.class);
    this.pool = keys.choice("pool", Pool.class);
    this.classes = keys.count("classes");
    this.dropPath = keys.share("drop-path");
    this.flipProbability = keys.probability("flip-probability");
    this.averagePairs = keys.flag("average-pairs");
    this.rope = keys.flag("rope");
    this.ropeResidual = keys.flag("rope-residual");
    this.layerScale = keys.share("layer-scale");
    this.features = keys.choice("features", Features.class);
    this.images = new Images(name, inChannels, 2);
    if (Math.min(imageSize[0], imageSize[1]) < patchSize) {
      throw keys.invalid("image-size", "at least patch-size " + patchSize);
    }
    if ((pool == Pool.CLS) == (classToken == ClassToken.NONE)) {
      throw keys.invalid("pool", pool == Pool.CLS ? "mean or max without class token" : "cls");
    }
    if (strategy == Strategy.BLOCK && depth % 2 != 0) {
      throw keys.invalid("depth", "even, since blocks form pairs");
    }
    if (rope && dim % 4 != 0) {
      throw keys.invalid("dim", "a multiple of 4, since pairs of it turn by row and by column");
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
    return List.of(
        new PositionTable(
            "pos_embed", grid(imageSize[0]), grid(imageSize[1]), this::places, Resize.CUBIC));
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    Network network = new Network(g, "", inputs.get(0));
    List<Long> places = network.classPlaces();
    Tensor x = network.tokens(network.embedded()); // (B, L, d)
    if (pool == Pool.CLS) {
      x = network.read(x, places); // (B, d); the norm works token by token
    }
    x = g.rmsNorm("norm_f", dim, EPSILON).apply(x);
    x = pool == Pool.MEAN ? g.mean(x, 1) : x;
    x = g.linear("head", dim, classes).startingFrom(START).apply(x);
    return List.of(pool == Pool.MAX ? g.max(x, 1) : x); // (B, K)
  }

  @Override
  public int dim() {
    return dim;
  }

  @Override
  public int depth() {
    return depth;
  }

  /**
   * What {@code features} says; the last norm is declared, though nothing reads it, as in the
   * authors' code.
   */
  @Override
  public List<Tensor> features(Graph g, String prefix, Tensor image, List<Integer> blocks) {
    if (strategy == Strategy.BLOCK) {
      throw new IllegalArgumentException(
          String.format("Cannot read features of %s: its blocks form pairs", name));
    }
    requireInPlace();
    Network network = new Network(g, prefix, image);
    List<Tensor> maps = new ArrayList<>();
    State state = new State(network.embedded(), null);
    for (int i = 0; i <= blocks.get(blocks.size() - 1); i++) {
      state = network.block(i, state, false);
      if (blocks.contains(i)) {
        Tensor tokens =
            features == Features.MIXER ? state.hidden : g.add(state.residual, state.hidden);
        maps.add(network.map(tokens));
      }
    }
    g.rmsNorm(prefix + "norm_f", dim, EPSILON);
    return maps;
  }

  @Override
  public Tensor encoded(Graph g, String prefix, Tensor image) {
    requireInPlace();
    Network network = new Network(g, prefix, image);
    Tensor x = network.tokens(network.embedded()); // (B, L, d)
    return network.map(g.rmsNorm(prefix + "norm_f", dim, EPSILON).apply(x));
  }

  private void requireInPlace() {
    if (strategy == Strategy.SEQUENCE) {
      throw new IllegalArgumentException(
          String.format("Cannot read maps of %s: its tokens are reversed by chance", name));
    }
  }

  /**
   * Between two blocks.
   *
   * @param hidden what the last mixer gave (B, L, d)
   * @param residual to which it is still to be added; null at first
   */
  private record State(Tensor hidden, Tensor residual) {}

  /** A network being written into a graph, for one image size. */
  private final class Network {
    private final Graph g;
    private final String prefix;
    private final Tensor patches; // (B, M, d)
    private final long rows;
    private final long columns;
    private final Rotation rotation; // null without

    Network(Graph g, String prefix, Tensor image) {
      images.requireFitting(image, patchSize, "patches");
      this.g = g;
      this.prefix = prefix;
      // lecun_normal of timm: a variance of 1 / fan-in.
      double deviation = 1 / Math.sqrt((double) inChannels * patchSize * patchSize);
      Tensor map =
          g.conv(prefix + "patch_embed.proj", inChannels, dim, patchSize, patchSize)
              .startingFrom(Initializer.normal(0, deviation))
              .withBias()
              .stride(stride)
              .apply(image); // (B, d, h, w)
      this.rows = map.size(2);
      this.columns = map.size(3);
      this.patches = g.rearrange(map, "b c h w -> b (h w) c");
      this.rotation = rope ? new Rotation(g, prefix, rows, columns) : null;
    }

    /** Where class tokens stand in the sequence. */
    List<Long> classPlaces() {
      return places(patches.size(1));
    }

    /** Patches and class tokens in their places, with positions: (B, L, d). */
    Tensor embedded() {
      List<Long> places = classPlaces();
      List<String> names =
          classToken == ClassToken.DOUBLE
              ? List.of("cls_token_head", "cls_token_tail")
              : List.of("cls_token");
      Tensor x = patches;
      Tensor positions = positions();
      long length = positions.size(1);
      for (int i = 0; i < places.size(); i++) {
        Tensor token = g.parameter(prefix + names.get(i), START, 1, 1, dim);
        long place = places.get(i);
        // A place of zeros, to which the token is added for every image.
        x = opened(x, place);
        positions = g.add(positions, g.pad(token, 1, place, length - 1 - place));
      }
      return inOrder(g.add(x, positions));
    }

    /** A token of zeros at {@code place}. */
    private Tensor opened(Tensor x, long place) {
      long length = x.size(1);
      if (place == 0 || place == length) {
        return g.pad(x, 1, place == 0 ? 1 : 0, place == 0 ? 0 : 1);
      }
      Tensor before = g.pad(g.narrow(x, 1, 0, place), 1, 0, 1);
      return g.concat(1, before, g.narrow(x, 1, place, length - place));
    }

    /** (1, L, d), for the patches that there are. */
    private Tensor positions() {
      long height = grid(imageSize[0]);
      long width = grid(imageSize[1]);
      List<Long> learned = places(height * width);
      Tensor table =
          g.parameter(prefix + "pos_embed", START, 1, height * width + learned.size(), dim);
      if (height == rows && width == columns) {
        return table;
      }
      List<Tensor> ofClasses = new ArrayList<>();
      List<Tensor> ofPatches = new ArrayList<>();
      long from = 0;
      for (long place : learned) {
        ofClasses.add(g.narrow(table, 1, place, 1));
        addPart(ofPatches, table, from, place);
        from = place + 1;
      }
      addPart(ofPatches, table, from, table.size(1));
      Tensor grid = joined(ofPatches);
      grid = g.rearrange(grid, "1 (h w) c -> 1 c h w", Map.of("h", height, "w", width));
      Tensor resized = g.resize(grid, Resize.CUBIC, rows, columns);
      resized = g.rearrange(resized, "1 c h w -> 1 (h w) c");
      List<Long> places = classPlaces();
      for (int i = 0; i < places.size(); i++) {
        List<Tensor> parts = new ArrayList<>();
        addPart(parts, resized, 0, places.get(i));
        parts.add(ofClasses.get(i));
        addPart(parts, resized, places.get(i), resized.size(1));
        resized = joined(parts);
      }
      return resized;
    }

    private void addPart(List<Tensor> parts, Tensor x, long from, long end) {
      if (from < end) {
        parts.add(g.slice(x, 1, from, end));
      }
    }

    private Tensor joined(List<Tensor> parts) {
      return parts.size() == 1 ? parts.get(0) : g.concat(1, parts.toArray(Tensor[]::new));
    }

    /** The order of tokens of the strategy {@code sequence}. */
    private Tensor inOrder(Tensor x) {
      if (strategy != Strategy.SEQUENCE || flipProbability == 0) {
        return x;
      }
      Tensor flipped = g.flip(x, 1);
      boolean drawn = g.mode() == Graph.Mode.TRAINING && flipProbability < 1;
      if (!drawn) {
        return flipProbability > 0.5 ? flipped : x;
      }
      // A number that dropout keeps, as 1 / (1 − rate), or zeroes.
      Tensor one =
          g.affine(g.slice(x, new long[3], new long[] {1, 1, 1}, new long[] {1, 1, 1}), 0, 1);
      Tensor kept = g.scale(g.dropout(one, flipProbability), 1 - flipProbability);
      return g.add(flipped, g.multiply(kept, g.subtract(x, flipped)));
    }

    /** All blocks, and the last sum. */
    Tensor tokens(Tensor embedded) {
      State state = new State(embedded, null);
      for (int i = 0; i < depth; i++) {
        if (strategy == Strategy.BLOCK) {
          State first = block(i, state, false);
          State second = block(++i, state, true);
          Tensor hidden = g.add(first.hidden, second.hidden);
          Tensor residual = g.addInFloat32(first.residual, second.residual);
          state =
              averagePairs
                  ? new State(g.scale(hidden, 0.5), g.scale(residual, 0.5))
                  : new State(hidden, residual);
        } else {
          state = block(i, state, false);
        }
      }
      return g.addInFloat32(state.residual, g.dropPath(state.hidden, dropPath));
    }

    /** Add, norm, mixer. */
    State block(int i, State before, boolean fromTheEnd) {
      String layer = prefix + "layers." + i + ".";
      Tensor hidden = rotation == null ? before.hidden : rotation.apply(before.hidden);
      Tensor residual = before.residual;
      if (residual == null) {
        residual = hidden;
      } else {
        residual = rotation != null && ropeResidual ? rotation.apply(residual) : residual;
        residual = g.addInFloat32(residual, g.dropPath(hidden, rate(i - 1)));
      }
      Tensor x = g.rmsNorm(layer + "norm", dim, EPSILON).apply(residual);
      x =
          new MambaMixer(g, layer + "mixer.", dim, stateSize, directions(), depth)
              .apply(x, fromTheEnd);
      if (layerScale > 0) {
        Initializer start = Initializer.constant((float) layerScale);
        x = g.multiply(x, g.parameter(layer + "mixer.gamma", start, dim));
      }
      return new State(x, residual);
    }

    /** What block i gives is dropped at; from 0 to {@code drop-path}. */
    private double rate(int i) {
      return i <= 0 ? 0 : dropPath * i / (depth - 1);
    }

    private MambaMixer.Directions directions() {
      return switch (strategy) {
        case NONE, SEQUENCE, BLOCK -> MambaMixer.Directions.NONE;
        case SSM -> MambaMixer.Directions.SSM;
        case SSM_CONV -> MambaMixer.Directions.SSM_CONV;
      };
    }

    /** The mean of the tokens at {@code places}: (B, L, d) → (B, d). */
    Tensor read(Tensor x, List<Long> places) {
      Tensor first = g.select(x, 1, places.get(0));
      return places.size() == 1 ? first : g.scale(g.add(first, g.select(x, 1, places.get(1))), 0.5);
    }

    /** The patches' tokens (B, L, d) → (B, d, h, w). */
    Tensor map(Tensor tokens) {
      List<Tensor> parts = new ArrayList<>();
      long from = 0;
      for (long place : classPlaces()) {
        addPart(parts, tokens, from, place);
        from = place + 1;
      }
      addPart(parts, tokens, from, tokens.size(1));
      return g.rearrange(joined(parts), "b (h w) c -> b c h w", Map.of("h", rows, "w", columns));
    }
  }

  private long grid(int pixels) {
    int steps = (pixels - patchSize) / stride;
    return steps + 1L;
  }

  private List<Long> places(long patches) {
    return switch (classToken) {
      case NONE -> List.of();
      case HEAD -> List.of(0L);
      case MIDDLE -> List.of(patches / 2);
      case DOUBLE -> List.of(0L, patches + 1);
    };
  }

  /**
   * Rotary position embedding: pairs of channels are turned by angles that grow with the row, in
   * the first half of the channels, and with the column, in the second.
   *
   * <p>Angles are those of a grid as long as the model's own, whatever the image's size.
   *
   * @see <a href="https://arxiv.org/abs/2303.11331">Fang et al., EVA-02, 2023, whose code the
   *     authors took over as vim/rope.py</a>
   */
  private final class Rotation {
    private final Graph g;
    private final Tensor cosines; // (M, d)
    private final Tensor sines;
    private final List<Long> places;

    Rotation(Graph g, String prefix, long rows, long columns) {
      this.g = g;
      this.places = places(rows * columns);
      this.cosines = table(prefix + "rope.freqs_cos", rows, columns, Math::cos);
      this.sines = table(prefix + "rope.freqs_sin", rows, columns, Math::sin);
    }

    private Tensor table(String table, long rows, long columns, DoubleUnaryOperator wave) {
      int half = dim / 2;
      double base = Math.pow(ROPE_BASE, -2.0 / half);
      double down = (double) grid(imageSize[0]) / rows;
      double across = (double) grid(imageSize[1]) / columns;
      Initializer values =
          (seed, anyName, shape) -> {
            float[] angles = new float[(int) (shape[0] * shape[1])];
            for (int i = 0; i < angles.length; i++) {
              int channel = i % dim;
              int row = i / dim / (int) columns;
              int column = i / dim % (int) columns;
              int pair = channel % half / 2;
              double place = channel < half ? row * down : column * across;
              angles[i] = (float) wave.applyAsDouble(place * Math.pow(base, pair));
            }
            return angles;
          };
      return g.statistic(table, values, rows * columns, dim);
    }

    /** (B, L, d) → (B, L, d); class tokens stay as they are. */
    Tensor apply(Tensor x) {
      long length = x.size(1);
      Tensor pairs = g.reshape(x, x.size(0), length, dim / 2, 2);
      Tensor turned = g.concat(3, g.scale(g.narrow(pairs, 3, 1, 1), -1), g.narrow(pairs, 3, 0, 1));
      turned = g.reshape(turned, x.shape());
      return g.add(g.multiply(x, around(cosines, 1)), g.multiply(turned, around(sines, 0)));
    }

    /** A table of patches with what class tokens get. */
    private Tensor around(Tensor table, double ofClasses) {
      Tensor all = table;
      for (long place : places) {
        long[] none = new long[2];
        long rest = all.size(0) - place;
        Tensor before = place == 0 ? null : g.narrow(all, 0, 0, place);
        Tensor after = rest == 0 ? null : g.narrow(all, 0, place, rest);
        long[] one = {1, 0};
        all =
            after == null
                ? g.pad(before, none, one, ofClasses)
                : before == null
                    ? g.pad(after, one, none, ofClasses)
                    : g.concat(0, before, g.pad(after, one, none, ofClasses));
      }
      return all;
    }
  }

  // Variants, by name: the defaults of every key.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    variants.putAll(variant("tiny", 192));
    variants.putAll(variant("small", 384));
    variants.putAll(variant("base", 768));
    return variants;
  }

  /** As pretrained, and with patches that overlap by half, as fine-tuned for long sequences. */
  private static Map<String, Config> variant(String size, int dim) {
    Map<String, Config> variants = new LinkedHashMap<>();
    for (int stride : new int[] {16, 8}) {
      Config config =
          ConfigFactory.parseString(
              String.format(
                  Locale.ROOT,
                  """
                  image-size = 224
                  patch-size = 16
                  stride = %d
                  dim = %d
                  depth = 24
                  state-size = 16
                  bidirectional = ssm-conv
                  cls-token = middle
                  pool = cls
                  classes = 1000
                  """,
                  stride,
                  dim));
      variants.put("vim-" + size + (stride == 8 ? "-stride-8" : ""), config);
    }
    return variants;
  }
}
