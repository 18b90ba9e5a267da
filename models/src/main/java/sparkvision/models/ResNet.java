package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Tensor;

/**
 * ResNet as a classifier, plain or with CBAM in every block.
 *
 * <p>Plain it has torchvision's names and geometry, the stride on the 3 x 3 convolution of a
 * bottleneck (v1.5); with CBAM those of CBAM's authors, who pool 7 x 7 at the end where here all
 * pixels are pooled, the same at 224 pixels. B batch, K classes, E expansion: 1, from 50 layers on
 * 4.
 *
 * @see <a href="https://arxiv.org/abs/1512.03385">He et al., Deep Residual Learning for Image
 *     Recognition, 2016, table 1</a>
 * @see <a href="https://arxiv.org/abs/1807.06521">Woo et al., CBAM, 2018, section 3 and figure
 *     3</a>
 * @see <a
 *     href="https://github.com/Jongchan/attention-module/blob/master/MODELS/model_resnet.py">CBAM's
 *     code</a>
 */
final class ResNet implements Model {

  private static final String[] KEYS = {"name", "depth", "width", "stem", "classes"};

  private final String name;
  private final int depth;
  private final int width;
  private final ResNetBackbone.Stem stem;
  private final ResNetBackbone.Attention attention;
  private final int classes;

  private ResNet(Config config, ResNetBackbone.Attention attention) {
    Keys keys = Keys.of(config, KEYS);
    this.name = keys.text("name", "a model's name");
    this.depth = ResNetBackbone.depth(keys);
    this.width = keys.count("width");
    this.stem = keys.choice("stem", ResNetBackbone.Stem.class);
    this.attention = attention;
    this.classes = keys.count("classes");
  }

  static ResNet plain(Config config) {
    return new ResNet(config, ResNetBackbone.Attention.NONE);
  }

  static ResNet withCbam(Config config) {
    return new ResNet(config, ResNetBackbone.Attention.CBAM);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public boolean isHead(String parameter) {
    return parameter.startsWith("fc.");
  }

  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    return new Images(name, 3, 2).shapes(batch, imageSize);
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    new Images(name, 3, 2).requireFitting(inputs.get(0));
    ResNetBackbone backbone =
        new ResNetBackbone(g, "", depth, width, stem, attention, ResNetBackbone.Dilation.NONE);
    List<Tensor> stages = backbone.apply(inputs.get(0));
    Tensor x = g.globalAveragePool(stages.get(3)); // (B, 8·E·width)
    Linear head = g.linear("fc", x.size(1), classes);
    if (attention == ResNetBackbone.Attention.CBAM) {
      head = head.startingFrom(Initializer.kaimingNormal());
    }
    return List.of(head.apply(x)); // (B, K)
  }

  // Variants, by name: the defaults of every key.
  static Map<String, Config> variants(String family) {
    Map<String, Config> variants = new LinkedHashMap<>();
    for (int depth : ResNetBackbone.DEPTHS) {
      variants.put(
          family + depth,
          ConfigFactory.parseString(
              String.format(
                  """
                  depth = %d
                  width = 64
                  stem = imagenet
                  classes = 1000
                  """,
                  depth)));
    }
    return variants;
  }
}
