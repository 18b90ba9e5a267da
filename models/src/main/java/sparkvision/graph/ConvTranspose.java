package sparkvision.graph;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * A transposed convolution over 1 to 3 spatial axes: what maps the gradient of a convolution's
 * output to that of its input, used forwards to make pictures larger.
 *
 * <p>Weight (C, O/groups, k...) as in PyTorch, optional bias (O), under the state-dict names {@code
 * <name>.weight} and {@code <name>.bias}. Strides, paddings and dilations are one number for all
 * axes or one per axis.
 *
 * @see <a href="https://arxiv.org/abs/1603.07285">Dumoulin and Visin, A guide to convolution
 *     arithmetic for deep learning, 2016, chapter 4</a>
 */
public final class ConvTranspose {

  private final Graph g;
  private final String name;
  private final Tensor weight;
  private final Tensor bias; // null without
  private final long[] stride;
  private final long[] padding;
  private final long[] outputPadding;
  private final long[] dilation;
  private final long groups;

  ConvTranspose(Graph g, String name, Tensor weight) {
    this(
        g,
        name,
        weight,
        null,
        Shapes.filled(weight.rank() - 2, 1),
        new long[weight.rank() - 2],
        new long[weight.rank() - 2],
        Shapes.filled(weight.rank() - 2, 1),
        1);
  }

  private ConvTranspose(
      Graph g,
      String name,
      Tensor weight,
      Tensor bias,
      long[] stride,
      long[] padding,
      long[] outputPadding,
      long[] dilation,
      long groups) {
    this.g = g;
    this.name = name;
    this.weight = weight;
    this.bias = bias;
    this.stride = stride;
    this.padding = padding;
    this.outputPadding = outputPadding;
    this.dilation = dilation;
    this.groups = groups;
  }

  /** The same weights with a bias (O), zero at first. */
  public ConvTranspose withBias() {
    return withBias(Initializer.constant(0));
  }

  /** The same weights with a bias (O). */
  public ConvTranspose withBias(Initializer initializer) {
    Tensor shift = g.parameter(name + ".bias", initializer, channels());
    return new ConvTranspose(
        g, name, weight, shift, stride, padding, outputPadding, dilation, groups);
  }

  /** The same layer with other first values of the weight; to be called before {@link #apply}. */
  public ConvTranspose startingFrom(Initializer initializer) {
    g.reinitialized(weight, initializer);
    return this;
  }

  /** The same weights, {@code stride} output pixels per input pixel; 1 if never called. */
  public ConvTranspose stride(long... stride) {
    long[] strides = Shapes.perAxis(name, "stride", axes(), stride);
    return new ConvTranspose(
        g, name, weight, bias, strides, padding, outputPadding, dilation, groups);
  }

  /** The same weights; {@code padding} pixels are cut off on both sides; 0 if never called. */
  public ConvTranspose padding(long... padding) {
    long[] paddings = Shapes.perAxis(name, "padding", axes(), padding);
    return new ConvTranspose(
        g, name, weight, bias, stride, paddings, outputPadding, dilation, groups);
  }

  /** The same weights; the output is larger by this at its far end; 0 if never called. */
  public ConvTranspose outputPadding(long... outputPadding) {
    long[] paddings = Shapes.perAxis(name, "output padding", axes(), outputPadding);
    return new ConvTranspose(g, name, weight, bias, stride, padding, paddings, dilation, groups);
  }

  /** The same weights, writing pixels that are {@code dilation} apart; 1 if never called. */
  public ConvTranspose dilation(long... dilation) {
    long[] dilations = Shapes.perAxis(name, "dilation", axes(), dilation);
    return new ConvTranspose(
        g, name, weight, bias, stride, padding, outputPadding, dilations, groups);
  }

  /**
   * A transposed convolution whose channels are cut into {@code groups} that do not mix. The weight
   * becomes (C, O/groups, k...), so it is to be called before {@link #apply}; 1 if never called.
   */
  public ConvTranspose groups(long groups) {
    long out = channels();
    if (groups < 1 || weight.size(0) % groups != 0 || out % groups != 0) {
      throw Shapes.error(
          "Cannot build %s: %d groups must divide its %d input and %d output channels",
          name, groups, weight.size(0), out);
    }
    long[] shape = weight.shape();
    shape[1] = out / groups;
    Tensor grouped = g.redeclared(weight, shape);
    return new ConvTranspose(
        g, name, grouped, bias, stride, padding, outputPadding, dilation, groups);
  }

  private int axes() {
    return weight.rank() - 2;
  }

  private long channels() {
    return weight.size(1) * groups;
  }

  /**
   * (B, C, [[D,] H,] W) → (B, O, [[D',] H',] W') with H' = (H − 1)·stride − 2·padding + dilation·(k
   * − 1) + output padding + 1.
   */
  public Tensor apply(Tensor x) {
    if (x.rank() != weight.rank() || x.size(1) != weight.size(0)) {
      throw Shapes.error("Cannot apply %s: its weight is %s, the input %s", name, weight, x);
    }
    long[] kernel = Arrays.copyOfRange(weight.shape(), 2, weight.rank());
    long[] shape =
        Shapes.spread(name, x, channels(), kernel, stride, padding, outputPadding, dilation);
    return g.node(
        Node.Kind.CONV_TRANSPOSE,
        bias == null ? List.of(x, weight) : List.of(x, weight, bias),
        Map.of(
            "kernel",
            kernel,
            "stride",
            stride,
            "padding",
            padding,
            "output-padding",
            outputPadding,
            "dilation",
            dilation,
            "groups",
            groups),
        shape);
  }
}
