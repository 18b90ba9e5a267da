package sparkvision.models;

import java.util.ArrayList;
import java.util.List;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;

/**
 * The residual stages of ResNet: four feature maps, of a classifier or, dilated, of a network that
 * labels every pixel.
 *
 * <p>B batch, w width: the channels of the first block's inside, E expansion: 1 for basic blocks, 4
 * for bottlenecks. First values are torchvision's; with CBAM those of CBAM's code, which leaves
 * PyTorch's default to the convolutions of shortcuts.
 *
 * @see <a href="https://arxiv.org/abs/1512.03385">He et al., Deep Residual Learning for Image
 *     Recognition, 2016, section 3.3 and table 1</a>
 * @see <a href="https://arxiv.org/abs/1705.09914">Yu et al., Dilated Residual Networks, 2017,
 *     section 2</a>
 */
final class ResNetBackbone {

  static final List<Integer> DEPTHS = List.of(18, 34, 50, 101);

  private static final int CBAM_REDUCTION = 16;

  /** How the image becomes the first feature map, of w channels unless it is deep. */
  enum Stem {
    /** 7 x 7 convolution of stride 2, max pool: a quarter of the size. */
    IMAGENET,
    /** 3 x 3 convolution: the whole size. */
    CIFAR,
    /** Three 3 x 3 convolutions, the first of stride 2, to 2·w channels, max pool: a quarter. */
    DEEP
  }

  /** What stands at the end of every residual branch. */
  enum Attention {
    NONE,
    CBAM
  }

  /** How the third and the fourth stage see as much without growing smaller. */
  enum Dilation {
    /** They halve the size. */
    NONE,
    /** The strides' windows become holes, behind the stride, as in torchvision: 1, 2, 2... 2, 4. */
    AFTER_STRIDE,
    /** The same holes in all blocks of a stage, as in CCNet: 2, 2... 4, 4. */
    WHOLE_STAGE,
    /** Growing holes in the last stage, as in DANet: 1, 2, 2... 4, 8, 16. */
    MULTI_GRID;

    private long of(int stage, int block) {
      if (stage < 3) {
        return 1;
      }
      long whole = stage == 3 ? 2 : 4;
      return switch (this) {
        case NONE -> 1;
        case AFTER_STRIDE -> block == 0 ? whole / 2 : whole;
        case WHOLE_STAGE -> whole;
        case MULTI_GRID -> stage == 3 ? AFTER_STRIDE.of(stage, block) : whole << Math.min(block, 2);
      };
    }
  }

  private final Graph g;
  private final String prefix;
  private final int[] blocks;
  private final int expansion;
  private final int width;
  private final Stem stem;
  private final Attention attention;
  private final Dilation dilation;

  /**
   * @param prefix what every name begins with: empty, or ending in a dot
   * @param depth one of {@link #DEPTHS}
   * @param width w, 64 in the original
   */
  ResNetBackbone(
      Graph g,
      String prefix,
      int depth,
      int width,
      Stem stem,
      Attention attention,
      Dilation dilation) {
    this.g = g;
    this.prefix = prefix;
    this.blocks = blocks(depth);
    this.expansion = expansion(depth);
    this.width = width;
    this.stem = stem;
    this.attention = attention;
    this.dilation = dilation;
  }

  /** Reads the key {@code depth}. */
  static int depth(Keys keys) {
    int depth = keys.count("depth");
    if (!DEPTHS.contains(depth)) {
      throw keys.invalid("depth", "one of 18, 34, 50, 101");
    }
    return depth;
  }

  // The paper's table 1.
  private static int[] blocks(int depth) {
    return switch (depth) {
      case 18 -> new int[] {2, 2, 2, 2};
      case 34, 50 -> new int[] {3, 4, 6, 3};
      case 101 -> new int[] {3, 4, 23, 3};
      default -> throw new IllegalStateException("Invalid depth: " + depth);
    };
  }

  private static int expansion(int depth) {
    return depth < 50 ? 1 : 4;
  }

  /** Channels of the last feature map. */
  static int channels(int depth, int width) {
    return 8 * expansion(depth) * width;
  }

  /** Declares the weights and computes the four stages' feature maps, fine to coarse. */
  List<Tensor> apply(Tensor x) {
    x = stem(x); // (B, w, H/4, W/4)
    List<Tensor> stages = new ArrayList<>();
    for (int stage = 1; stage <= 4; stage++) {
      int inner = width << (stage - 1); // w, 2·w, 4·w, 8·w
      boolean holes = stage > 2 && dilation != Dilation.NONE;
      long stride = stage == 1 || holes ? 1 : 2;
      for (int j = 0; j < blocks[stage - 1]; j++) {
        String block = prefix + "layer" + stage + "." + j;
        x = block(block, x, inner, j == 0 ? stride : 1, dilation.of(stage, j));
      }
      stages.add(x); // (B, E·inner, h, w)
    }
    return stages;
  }

  private Tensor stem(Tensor x) {
    Tensor y =
        switch (stem) {
          case IMAGENET -> conv(prefix + "conv1", x, width, 7, 2, 1);
          case CIFAR -> conv(prefix + "conv1", x, width, 3, 1, 1);
          case DEEP -> deep(x);
        };
    y = g.relu(norm(prefix + "bn1", y));
    return stem == Stem.CIFAR ? y : g.maxPool(y, 3, 2, 1);
  }

  private Tensor deep(Tensor x) {
    Tensor y = conv(prefix + "conv1.0", x, width, 3, 2, 1); // (B, w, H/2, W/2)
    y = g.relu(norm(prefix + "conv1.1", y));
    y = conv(prefix + "conv1.3", y, width, 3, 1, 1);
    y = g.relu(norm(prefix + "conv1.4", y));
    return conv(prefix + "conv1.6", y, 2L * width, 3, 1, 1); // (B, 2·w, H/2, W/2)
  }

  /** (B, C, h, w) → (B, E·inner, h/stride, w/stride). */
  private Tensor block(String block, Tensor x, long inner, long stride, long holes) {
    long out = expansion * inner;
    Tensor y =
        expansion == 1
            ? basic(block, x, inner, stride, holes)
            : bottleneck(block, x, inner, stride, holes);
    if (attention == Attention.CBAM) {
      y = new Cbam(g, block + ".cbam.", out, CBAM_REDUCTION).apply(y);
    }
    boolean same = stride == 1 && x.size(1) == out;
    return g.relu(g.add(y, same ? x : shortcut(block + ".downsample", x, out, stride)));
  }

  private Tensor basic(String block, Tensor x, long inner, long stride, long holes) {
    Tensor y = conv(block + ".conv1", x, inner, 3, stride, holes);
    y = g.relu(norm(block + ".bn1", y));
    y = conv(block + ".conv2", y, inner, 3, 1, holes);
    return norm(block + ".bn2", y);
  }

  private Tensor bottleneck(String block, Tensor x, long inner, long stride, long holes) {
    Tensor y = conv(block + ".conv1", x, inner, 1, 1, 1);
    y = g.relu(norm(block + ".bn1", y));
    y = conv(block + ".conv2", y, inner, 3, stride, holes);
    y = g.relu(norm(block + ".bn2", y));
    y = conv(block + ".conv3", y, 4 * inner, 1, 1, 1);
    return norm(block + ".bn3", y);
  }

  private Tensor shortcut(String downsample, Tensor x, long out, long stride) {
    Initializer start =
        attention == Attention.CBAM
            ? Initializer.uniformByFanIn()
            : Initializer.kaimingNormalByFanOut();
    Conv conv = g.conv(downsample + ".0", x.size(1), out, 1, 1).startingFrom(start);
    return norm(downsample + ".1", conv.stride(stride).apply(x));
  }

  /** Padded so that stride 1 keeps the size. */
  private Tensor conv(String name, Tensor x, long out, long kernel, long stride, long holes) {
    return g.conv(name, x.size(1), out, kernel, kernel)
        .startingFrom(Initializer.kaimingNormalByFanOut())
        .stride(stride)
        .dilation(holes)
        .padding(holes * (kernel / 2))
        .apply(x);
  }

  private Tensor norm(String name, Tensor x) {
    return g.batchNorm(name, x.size(1)).apply(x);
  }
}
