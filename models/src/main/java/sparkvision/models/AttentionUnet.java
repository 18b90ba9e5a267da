package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.BatchNorm;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * Attention U-Net for volumes, with deep supervision: a 3D U-Net whose skip connections pass an
 * attention gate each, and whose logits are drawn from all levels of the decoder.
 *
 * <p>Names, geometry and first values are those of the authors' networks for CT. As there, each
 * gate is steered by the decoder level below it (the paper's figure 1 too; an older network of
 * theirs has one signal for all), level 1 is not gated, and a convolution with batch norm and ReLU
 * follows the gates. Two gates per level are the code's, not the paper's. Without gates it is the
 * plain U-Net that the paper compares with.
 *
 * <p>B batch, f1 to f5 the channels of the levels, D x H x W the volume, K classes. Sizes must be
 * multiples of 16, so that what is halved four times can be doubled again.
 *
 * @see <a href="https://arxiv.org/abs/1804.03999">Oktay et al., Attention U-Net, 2018, section 2
 *     and figure 1</a>
 * @see <a
 *     href="https://github.com/ozan-oktay/Attention-Gated-Networks/blob/master/models/networks/unet_CT_multi_att_dsv_3D.py">the
 *     authors' code</a>
 */
final class AttentionUnet implements Model {

  private static final String[] KEYS = {
    "name", "spatial-dims", "in-channels", "classes", "feature-scale", "gates"
  };

  private static final int SPATIAL_DIMS = 3;
  private static final int WIDTH = 64; // of level 1 at feature-scale 1

  private final String name;
  private final int inChannels;
  private final int classes;
  private final int featureScale;
  private final int gates;
  private final Images images;

  AttentionUnet(Config config) {
    Keys keys = Keys.of(config, KEYS);
    this.name = keys.text("name", "a model's name");
    keys.integer("spatial-dims", SPATIAL_DIMS, SPATIAL_DIMS);
    this.inChannels = keys.count("in-channels");
    this.classes = keys.count("classes");
    this.featureScale = keys.integer("feature-scale", 1, WIDTH);
    this.gates = keys.integer("gates", 0, 2);
    this.images = new Images(name, inChannels, SPATIAL_DIMS);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    return images.shapes(batch, imageSize);
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    Tensor x = inputs.get(0); // (B, in-channels, D, H, W)
    images.requireMultiples(x, 16, "which its four poolings need");

    Tensor conv1 = convolutions(g, "conv1", 1, x); // (B, f1, D, H, W)
    Tensor conv2 = convolutions(g, "conv2", 2, halved(g, conv1)); // (B, f2, D/2, H/2, W/2)
    Tensor conv3 = convolutions(g, "conv3", 3, halved(g, conv2)); // (B, f3, D/4, H/4, W/4)
    Tensor conv4 = convolutions(g, "conv4", 4, halved(g, conv3)); // (B, f4, D/8, H/8, W/8)
    Tensor center = convolutions(g, "center", 5, halved(g, conv4)); // (B, f5, D/16, H/16, W/16)

    Tensor gating = gates == 0 ? center : gatingSignal(g, center);
    Tensor up4 = up(g, 4, gated(g, 4, conv4, gating), center); // (B, f4, D/8, H/8, W/8)
    Tensor up3 = up(g, 3, gated(g, 3, conv3, up4), up4); // (B, f3, D/4, H/4, W/4)
    Tensor up2 = up(g, 2, gated(g, 2, conv2, up3), up3); // (B, f2, D/2, H/2, W/2)
    Tensor up1 = up(g, 1, conv1, up2); // (B, f1, D, H, W)

    // Deep supervision: every level votes, and a last layer weighs the votes.
    Tensor votes =
        g.concat(
            conv(g, "dsv1", 1, up1, classes).apply(up1),
            vote(g, 2, up2),
            vote(g, 3, up3),
            vote(g, 4, up4)); // (B, 4·K, D, H, W)
    return List.of(conv(g, "final", 1, votes, classes).apply(votes)); // (B, K, D, H, W)
  }

  /** The channels of a level, 1 to 5. */
  private int width(int level) {
    return (WIDTH << (level - 1)) / featureScale;
  }

  /** Two 3 x 3 x 3 convolutions, each with batch norm and ReLU. */
  private Tensor convolutions(Graph g, String name, int level, Tensor x) {
    Tensor y = normalised(g, name + ".conv1", 3, x, width(level));
    return normalised(g, name + ".conv2", 3, y, width(level));
  }

  /** What the bottleneck knows, as the gating signal of level 4. */
  private Tensor gatingSignal(Graph g, Tensor center) {
    return normalised(g, "gating.conv1", 1, center, width(5)); // (B, f5, D/16, H/16, W/16)
  }

  /** The skip connection of a level as its gates let it pass, of the same shape. */
  private Tensor gated(Graph g, int level, Tensor skip, Tensor gating) {
    if (gates == 0) {
      return skip;
    }
    String block = "attentionblock" + level;
    long channels = skip.size(1);
    Tensor[] passed = new Tensor[gates];
    for (int i = 0; i < gates; i++) {
      String gate = block + ".gate_block_" + (i + 1) + ".";
      passed[i] =
          new AttentionGate(g, gate, SPATIAL_DIMS, channels, gating.size(1), channels)
              .apply(skip, gating)
              .features();
    }
    return normalised(g, block + ".combine_gates", 1, g.concat(passed), channels);
  }

  /** A level of the decoder: the level below, doubled in size, beside the skip connection. */
  private Tensor up(Graph g, int level, Tensor skip, Tensor below) {
    Tensor joined = g.concat(skip, resized(g, below, 2));
    return convolutions(g, "up_concat" + level + ".conv", level, joined);
  }

  /** A level's own logits at the volume's size. */
  private Tensor vote(Graph g, int level, Tensor x) {
    Tensor logits = conv(g, "dsv" + level + ".dsv.0", 1, x, classes).apply(x);
    return resized(g, logits, 1L << (level - 1)); // (B, K, D, H, W)
  }

  private static Tensor halved(Graph g, Tensor x) {
    return g.maxPool(x, 2, 2, 0);
  }

  /** Trilinear. */
  private static Tensor resized(Graph g, Tensor x, long factor) {
    return g.resize(x, Resize.LINEAR, factor * x.size(2), factor * x.size(3), factor * x.size(4));
  }

  /** Convolution {@code name.0}, batch norm {@code name.1} and ReLU. */
  private static Tensor normalised(Graph g, String name, int kernel, Tensor x, long out) {
    Tensor y = conv(g, name + ".0", kernel, x, out).apply(x);
    BatchNorm norm = g.batchNorm(name + ".1", out).startingFrom(Initializer.normal(1, 0.02));
    return g.relu(norm.apply(y));
  }

  /** A convolution that keeps the size: He's normal weight, a bias as PyTorch draws it. */
  private static Conv conv(Graph g, String name, int kernel, Tensor x, long out) {
    long[] cube = new long[SPATIAL_DIMS];
    Arrays.fill(cube, kernel);
    return g.conv(name, x.size(1), out, cube)
        .withBias(Convs.bias(x.size(1), cube))
        .padding(kernel / 2);
  }

  // Variants, by name: the defaults of every key. The authors' sizes for abdominal CT: a quarter of
  // the U-Net's channels, and four classes with the background.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    variants.put("unet-3d", variant(0));
    variants.put("attention-unet-single", variant(1));
    variants.put("attention-unet-multi", variant(2));
    return variants;
  }

  private static Config variant(int gates) {
    return ConfigFactory.parseString(
        String.format(
            """
            spatial-dims = 3
            in-channels = 1
            classes = 4
            feature-scale = 4
            gates = %d
            """,
            gates));
  }
}
