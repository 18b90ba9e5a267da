package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * The popular Attention U-Net for images: a U-Net whose four skip connections pass a gate each.
 *
 * <p>Names, geometry and first values are those of LeeJunHyun's {@code AttU_Net}, which differs
 * from the authors' network: its gate has batch norms and no resampling ({@link AttentionGate2d}),
 * the gating signal is the level below after its doubling, level 1 is gated too, and there is no
 * deep supervision. Its loss is binary cross-entropy of one class; here logits come out.
 *
 * <p>B batch, f1 to f5 the channels of the levels, H x W the image, K classes. Sizes must be
 * multiples of 16, so that what is halved four times can be doubled again.
 *
 * @see <a href="https://arxiv.org/abs/1804.03999">Oktay et al., Attention U-Net, 2018, section
 *     2.2</a>
 * @see <a
 *     href="https://github.com/LeeJunHyun/Image_Segmentation/blob/master/network.py">LeeJunHyun's
 *     code</a>
 */
final class AttentionUnet2d implements Model {

  private static final String[] KEYS = {"name", "in-channels", "classes", "width"};

  private final String name;
  private final int inChannels;
  private final int classes;
  private final int width;
  private final Images images;

  AttentionUnet2d(Config config) {
    Keys keys = Keys.of(config, KEYS);
    this.name = keys.text("name", "a model's name");
    this.inChannels = keys.count("in-channels");
    this.classes = keys.count("classes");
    this.width = keys.integer("width", 2, 1 << 26); // gates have half the channels
    this.images = new Images(name, inChannels, 2);
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
    Tensor x = inputs.get(0); // (B, in-channels, H, W)
    images.requireMultiples(x, 16, "which its four poolings need");

    Tensor x1 = convolutions(g, "Conv1.conv", 1, x); // (B, f1, H, W)
    Tensor x2 = convolutions(g, "Conv2.conv", 2, halved(g, x1)); // (B, f2, H/2, W/2)
    Tensor x3 = convolutions(g, "Conv3.conv", 3, halved(g, x2)); // (B, f3, H/4, W/4)
    Tensor x4 = convolutions(g, "Conv4.conv", 4, halved(g, x3)); // (B, f4, H/8, W/8)
    Tensor x5 = convolutions(g, "Conv5.conv", 5, halved(g, x4)); // (B, f5, H/16, W/16)

    Tensor d5 = up(g, 5, x4, x5); // (B, f4, H/8, W/8)
    Tensor d4 = up(g, 4, x3, d5); // (B, f3, H/4, W/4)
    Tensor d3 = up(g, 3, x2, d4); // (B, f2, H/2, W/2)
    Tensor d2 = up(g, 2, x1, d3); // (B, f1, H, W)
    return List.of(conv(g, "Conv_1x1", 1, d2, classes).apply(d2)); // (B, K, H, W)
  }

  /** The channels of a level, 1 to 5. */
  private long width(int level) {
    return (long) width << (level - 1);
  }

  /** Two 3 x 3 convolutions, each with batch norm and ReLU. */
  private Tensor convolutions(Graph g, String name, int level, Tensor x) {
    Tensor y = normalised(g, name + ".0", name + ".1", x, width(level));
    return normalised(g, name + ".3", name + ".4", y, width(level));
  }

  /** The step up from a level: what lies below, doubled in size, gates the skip connection. */
  private Tensor up(Graph g, int level, Tensor skip, Tensor below) {
    long channels = width(level - 1);
    Tensor doubled = g.resize(below, Resize.NEAREST, 2 * below.size(2), 2 * below.size(3));
    Tensor gating =
        normalised(g, "Up" + level + ".up.1", "Up" + level + ".up.2", doubled, channels);
    Tensor passed =
        new AttentionGate2d(g, "Att" + level + ".", channels, channels, channels / 2)
            .apply(skip, gating);
    return convolutions(g, "Up_conv" + level + ".conv", level - 1, g.concat(passed, gating));
  }

  private static Tensor halved(Graph g, Tensor x) {
    return g.maxPool(x, 2, 2, 0);
  }

  private static Tensor normalised(Graph g, String conv, String norm, Tensor x, long out) {
    return g.relu(g.batchNorm(norm, out).apply(conv(g, conv, 3, x, out).apply(x)));
  }

  /** A convolution that keeps the size, with PyTorch's default first values. */
  private static Conv conv(Graph g, String name, int kernel, Tensor x, long out) {
    return Convs.standard(g, name, x.size(1), out, kernel, kernel).padding(kernel / 2);
  }

  // Variants, by name: the defaults of every key. As published: colours in, one class out.
  static Map<String, Config> variants() {
    return Map.of(
        "attention-unet-2d-64",
        ConfigFactory.parseString("in-channels = 3, classes = 1, width = 64"));
  }
}
