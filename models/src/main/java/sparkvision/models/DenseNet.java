package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * DenseNet-BC for images and volumes: every layer of a block reads all feature maps made before it.
 *
 * <p>2D has torchvision's names and geometry, 3D those of MONAI. B batch, C channels so far, k
 * growth rate, b bottleneck, K classes; shapes are written for 2D, 3D has a depth before H.
 *
 * <p>As a backbone it gives what every block made, after the batch norm and ReLU that follow it:
 * maps of 1/4, 1/8, 1/16 and 1/32 of the image, of 256, 512, 1024 and 1024 channels in
 * DenseNet-121.
 *
 * @see <a href="https://arxiv.org/abs/1608.06993">Huang et al., Densely Connected Convolutional
 *     Networks, 2017, section 3 and table 1</a>
 */
final class DenseNet implements Backbone {

  /** The free keys; a variant gives defaults to all of them. */
  private static final String[] KEYS = {
    "name",
    "spatial-dims",
    "in-channels",
    "growth-rate",
    "blocks",
    "init-features",
    "bottleneck",
    "dropout",
    "classes"
  };

  private final String name;
  private final int spatialDims;
  private final int inChannels;
  private final int growthRate;
  private final List<Integer> blocks;
  private final int initFeatures;
  private final int bottleneck;
  private final double dropout;
  private final int classes;
  private final Images images;

  DenseNet(Config config) {
    Keys keys = Keys.of(config, KEYS);
    this.name = keys.text("name", "a model's name");
    this.spatialDims = keys.integer("spatial-dims", 2, 3);
    this.inChannels = keys.count("in-channels");
    this.growthRate = keys.count("growth-rate");
    this.blocks = keys.counts("blocks");
    this.initFeatures = keys.count("init-features");
    this.bottleneck = keys.count("bottleneck");
    this.dropout = keys.share("dropout");
    this.classes = keys.count("classes");
    this.images = new Images(name, inChannels, spatialDims);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public boolean isHead(String parameter) {
    return parameter.startsWith(headName() + ".");
  }

  @Override
  public List<long[]> inputShapes(int batch, int... imageSize) {
    return images.shapes(batch, imageSize);
  }

  @Override
  public List<Tensor> apply(Graph g, List<Tensor> inputs) {
    List<Tensor> maps = features(g, "", inputs.get(0));
    Tensor x = g.globalAveragePool(maps.get(maps.size() - 1)); // (B, C)
    return List.of(g.linear(headName(), x.size(1), classes).apply(x)); // (B, K)
  }

  @Override
  public List<Tensor> features(Graph g, String prefix, Tensor image) {
    images.requireFitting(image, smallestSize(), blocks.size() + " blocks");
    String features = prefix + "features.";
    Tensor x = image; // (B, in-channels, H, W)

    x = g.conv(features + "conv0", inChannels, initFeatures, cube(7)).stride(2).padding(3).apply(x);
    x = g.relu(g.batchNorm(features + "norm0", initFeatures).apply(x)); // (B, C, H/2, W/2)
    x = g.maxPool(x, 3, 2, 1); // (B, C, H/4, W/4)

    List<Tensor> maps = new ArrayList<>();
    for (int i = 1; i <= blocks.size(); i++) {
      for (int j = 1; j <= blocks.get(i - 1); j++) {
        x = g.concat(x, layer(g, features + layerName(i, j), x)); // (B, C + k, h, w)
      }
      boolean last = i == blocks.size();
      String norm = last ? "norm5" : "transition" + i + ".norm"; // 5 whatever the number of blocks
      x = g.relu(g.batchNorm(features + norm, x.size(1)).apply(x));
      maps.add(x);
      x = last ? x : transition(g, features + "transition" + i, x); // (B, C/2, h/2, w/2)
    }
    return maps;
  }

  /** The k new feature maps of one layer: (B, C, h, w) → (B, k, h, w). */
  private Tensor layer(Graph g, String layer, Tensor x) {
    long width = (long) bottleneck * growthRate;
    Tensor y = g.relu(g.batchNorm(layer + ".norm1", x.size(1)).apply(x));
    y = g.conv(layer + ".conv1", x.size(1), width, cube(1)).apply(y); // (B, b·k, h, w)
    y = g.relu(g.batchNorm(layer + ".norm2", width).apply(y));
    y = g.conv(layer + ".conv2", width, growthRate, cube(3)).padding(1).apply(y); // (B, k, h, w)
    // torchvision drops single elements, MONAI whole channels.
    return spatialDims == 2 ? g.dropout(y, dropout) : g.dropoutChannels(y, dropout);
  }

  /** Halves channels and sizes: (B, C, h, w) → (B, C/2, h/2, w/2). */
  private Tensor transition(Graph g, String transition, Tensor x) {
    Tensor y = g.conv(transition + ".conv", x.size(1), x.size(1) / 2, cube(1)).apply(x);
    return g.averagePool(y, 2, 2);
  }

  private String layerName(int block, int layer) {
    String two = "denseblock" + block + ".denselayer" + layer;
    return spatialDims == 2 ? two : two + ".layers";
  }

  private String headName() {
    return spatialDims == 2 ? "classifier" : "class_layers.out";
  }

  private long[] cube(long size) {
    long[] kernel = new long[spatialDims];
    Arrays.fill(kernel, size);
    return kernel;
  }

  /** The size of which the last transition leaves one pixel. */
  private long smallestSize() {
    long afterStem = 1L << Math.min(blocks.size() - 1, 40); // 2^40 is larger than any image
    return 4 * afterStem - 3; // the stem makes n into ⌈n / 4⌉
  }

  // Variants, by name: the defaults of every key. The paper's table 1; 161 and 264 as published
  // with its code. 2D classifies ImageNet's 1000 classes; 3D takes one channel and has two classes.
  static Map<String, Config> variants() {
    Map<String, Config> variants = new LinkedHashMap<>();
    variants.put("densenet121", variant(2, 32, 64, "[6, 12, 24, 16]"));
    variants.put("densenet161", variant(2, 48, 96, "[6, 12, 36, 24]"));
    variants.put("densenet169", variant(2, 32, 64, "[6, 12, 32, 32]"));
    variants.put("densenet201", variant(2, 32, 64, "[6, 12, 48, 32]"));
    variants.put("densenet264", variant(2, 32, 64, "[6, 12, 64, 48]"));
    variants.put("densenet121-3d", variant(3, 32, 64, "[6, 12, 24, 16]"));
    variants.put("densenet169-3d", variant(3, 32, 64, "[6, 12, 32, 32]"));
    variants.put("densenet201-3d", variant(3, 32, 64, "[6, 12, 48, 32]"));
    variants.put("densenet264-3d", variant(3, 32, 64, "[6, 12, 64, 48]"));
    return variants;
  }

  private static Config variant(int dims, int growthRate, int initFeatures, String blocks) {
    return ConfigFactory.parseString(
        String.format(
            """
            spatial-dims = %d
            in-channels = %d
            growth-rate = %d
            blocks = %s
            init-features = %d
            bottleneck = 4
            dropout = 0.0
            classes = %d
            """,
            dims, dims == 2 ? 3 : 1, growthRate, blocks, initFeatures, dims == 2 ? 1000 : 2));
  }
}
