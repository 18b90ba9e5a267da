package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * A network that labels every pixel: a dilated ResNet, a head on its last two stages, and the
 * head's maps resized to the image. The first output is the answer; the others serve training, each
 * with a loss of its own.
 *
 * <p>Images of 8·n pixels on a side become maps of n, others of ⌈size/8⌉. CCNet's code rounds up
 * where it pools, so that an even size gives it one row and one column more.
 */
final class DilatedNet implements Model {

  private static final List<String> KEYS =
      List.of("name", "depth", "width", "stem", "dropout", "auxiliary-weight", "classes");

  private static final String BACKBONE = "backbone.";

  /** What the heads of one network do. */
  @FunctionalInterface
  interface Head {
    /**
     * Logits (B, K, h, w), the answer first; in an inference graph the answer alone.
     *
     * @param dropout how often training drops a channel in front of a classifier
     * @param third the third stage's map, half as wide as the fourth
     * @param fourth the fourth stage's map, as large as the third
     */
    List<Tensor> apply(Graph g, int classes, double dropout, Tensor third, Tensor fourth);
  }

  private final String name;
  private final int depth;
  private final int width;
  private final ResNetBackbone.Stem stem;
  private final ResNetBackbone.Dilation dilation;
  private final Resize way;
  private final double dropout;
  private final double auxiliaryWeight;
  private final int classes;
  private final Head head;

  /** The keys of a network that has {@code more} than all have. */
  static Keys keys(Config config, String... more) {
    return Keys.of(
        config, Stream.concat(KEYS.stream(), Arrays.stream(more)).toArray(String[]::new));
  }

  /**
   * @param way how logits are resized
   */
  DilatedNet(Keys keys, ResNetBackbone.Dilation dilation, Resize way, Head head) {
    this.name = keys.text("name", "a model's name");
    this.depth = ResNetBackbone.depth(keys);
    this.width = keys.count("width");
    this.stem = keys.choice("stem", ResNetBackbone.Stem.class);
    this.dilation = dilation;
    this.way = way;
    this.dropout = keys.share("dropout");
    this.auxiliaryWeight = keys.weight("auxiliary-weight");
    this.classes = keys.count("classes");
    this.head = head;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    return new Images(name, 3, 2).shapes(batch, imageSize);
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    Tensor x = inputs.get(0); // (B, 3, H, W)
    new Images(name, 3, 2).requireFitting(x);
    List<Tensor> stages =
        new ResNetBackbone(g, BACKBONE, depth, width, stem, ResNetBackbone.Attention.NONE, dilation)
            .apply(x);
    return head.apply(g, classes, dropout, stages.get(2), stages.get(3)).stream()
        .map(logits -> g.resize(logits, way, x.size(2), x.size(3))) // (B, K, H, W)
        .toList();
  }

  @Override
  public double auxiliaryWeight() {
    return auxiliaryWeight;
  }

  @Override
  public boolean isHead(String parameter) {
    return !parameter.startsWith(BACKBONE);
  }

  /** The answer, and in a training graph another output. */
  static List<Tensor> withAuxiliary(Graph g, Tensor answer, Supplier<Tensor> auxiliary) {
    return g.mode() == Graph.Mode.TRAINING ? List.of(answer, auxiliary.get()) : List.of(answer);
  }

  /** Variants of 50 and 101 layers for the 150 classes of ADE20K, with more keys. */
  static Map<String, Config> variants(String family, String more) {
    Map<String, Config> variants = new LinkedHashMap<>();
    for (int depth : List.of(50, 101)) {
      variants.put(
          family + "-resnet" + depth,
          ConfigFactory.parseString(
              String.format(
                  """
                  depth = %d
                  width = 64
                  stem = deep
                  classes = 150
                  %s
                  """,
                  depth, more)));
    }
    return variants;
  }
}
