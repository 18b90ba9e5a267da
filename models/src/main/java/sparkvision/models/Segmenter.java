package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * Segmenter: a vision transformer, or {@link Vim}, whose patches are compared with embeddings of
 * the classes that went through the last transformer blocks together with them.
 *
 * <p>Logits are on the grid of patches, (B, K, h, w). Names and first values are those of the
 * authors' code, but for the prefixes ({@code encoder} and {@code decoder} there). Its dropout of
 * single attention weights is left out; the other two places of a block have it. This head on Vim
 * without a class token is the one of Vim's ablation, whose code and schedule are not published.
 *
 * <p>B batch, h x w patches, N = h·w, d channels, K classes.
 *
 * @see <a href="https://arxiv.org/abs/2105.05633">Strudel et al., Segmenter: Transformer for
 *     Semantic Segmentation, 2021, section 3.2</a>
 * @see <a
 *     href="https://github.com/rstrudel/segmenter/blob/20d1bfad354165ee45c3f65972a4d9c131f58d53/segm/model/decoder.py">the
 *     authors' code</a>
 * @see <a href="https://arxiv.org/abs/2401.09417">Zhu et al., Vision Mamba, 2024, table 4</a>
 */
final class Segmenter extends EncoderNet {

  private static final String[] KEYS = {
    "name", "backbone", "layers", "heads", "dropout", "classes"
  };

  private static final double EPSILON = 1e-5;
  private static final int MLP_RATIO = 4;

  private final Head head;

  Segmenter(Config config) {
    this(Keys.of(config, KEYS));
  }

  private Segmenter(Keys keys) {
    super(keys);
    this.head = Head.of(keys, backbone.dim(), keys.share("dropout"));
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    Tensor map = backbone.encoded(g, BACKBONE, inputs.get(0)); // (B, d, h, w)
    Tensor tokens = g.rearrange(map, "b c h w -> b (h w) c");
    return List.of(head.apply(g, "decode_head.", tokens, map.size(2), map.size(3)));
  }

  /** The head by itself. */
  static Function<Config, Model> headPart() {
    return Part.of(
        1,
        keys -> {
          Head head = Head.of(keys, keys.count("dim"), 0);
          int patch = keys.count("patch-size");
          int[] image = keys.imageSize("image-size");
          if (image[0] % patch != 0 || image[1] % patch != 0) {
            throw keys.invalid("image-size", "a multiple of patch-size " + patch);
          }
          return (g, x) -> List.of(head.apply(g, "", x.get(0), image[0] / patch, image[1] / patch));
        },
        "dim",
        "layers",
        "heads",
        "classes",
        "patch-size",
        "image-size");
  }

  private record Head(int dim, int layers, int heads, double dropout, int classes) {

    static Head of(Keys keys, int dim, double dropout) {
      int heads = keys.count("heads");
      if (dim % heads != 0) {
        throw keys.invalid("heads", "a divisor of the " + dim + " channels");
      }
      return new Head(dim, keys.count("layers"), heads, dropout, keys.count("classes"));
    }

    /** (B, N, d) → (B, K, h, w). */
    Tensor apply(Graph g, String prefix, Tensor tokens, long rows, long columns) {
      Initializer start = Initializer.truncatedNormal(0.02);
      Tensor x = g.linear(prefix + "proj_dec", dim, dim).startingFrom(start).apply(tokens);
      Tensor embeddings = g.parameter(prefix + "cls_emb", start, 1, classes, dim);
      long patches = tokens.size(1);
      // Places of zeros, to which the classes are added for every image.
      x = g.add(g.pad(x, 1, 0, classes), g.pad(embeddings, 1, patches, 0)); // (B, N + K, d)
      for (int i = 0; i < layers; i++) {
        x =
            new TransformerBlock(
                    g, prefix + "blocks." + i + ".", dim, heads, MLP_RATIO, EPSILON, dropout, 0)
                .apply(x);
      }
      x = g.layerNorm(prefix + "decoder_norm", dim, EPSILON).apply(x);
      Tensor ofPatches = directions(g, prefix + "proj_patch", g.narrow(x, 1, 0, patches));
      Tensor ofClasses = directions(g, prefix + "proj_classes", g.narrow(x, 1, patches, classes));
      Tensor masks = g.matmulTransposeB(ofPatches, ofClasses); // (B, N, K)
      masks = g.layerNorm(prefix + "mask_norm", classes, EPSILON).apply(masks);
      return g.rearrange(masks, "b (h w) k -> b k h w", Map.of("h", rows, "w", columns));
    }

    /** x·P, each token divided by its length: (B, n, d) → (B, n, d). */
    private Tensor directions(Graph g, String name, Tensor x) {
      Initializer start = Initializer.normal(0, 1 / Math.sqrt(dim));
      Tensor projection = g.parameter(name, start, dim, dim);
      long tokens = x.size(0) * x.size(1);
      Tensor y = g.matmul(g.reshape(x, tokens, dim), projection);
      y = g.divide(y, g.sqrt(g.sumKeep(g.square(y), 1)));
      return g.reshape(y, x.shape());
    }
  }

  // Variants, by name: the defaults of every key, with the 150 classes of ADE20K and its crops of
  // 512 pixels; heads of 64 channels, as in the encoders.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    String vim = "cls-token = none, pool = mean";
    variants.put("segmenter-vim-tiny", variant("vim-tiny", vim, 3));
    variants.put("segmenter-vim-small", variant("vim-small", vim, 6));
    variants.put("segmenter-deit-tiny", variant("deit-tiny", "", 3));
    variants.put("segmenter-deit-small", variant("deit-small", "", 6));
    return variants;
  }

  private static Config variant(String encoder, String more, int heads) {
    return ConfigFactory.parseString(
        String.format(
            """
            backbone { name = %s, image-size = 512, %s }
            layers = 2
            heads = %d
            dropout = 0.1
            classes = 150
            """,
            encoder, more, heads));
  }
}
