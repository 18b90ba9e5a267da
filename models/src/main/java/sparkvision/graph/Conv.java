package sparkvision.graph;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * A convolution over 1 to 3 spatial axes (a cross-correlation, as everywhere in deep learning).
 *
 * <p>Weight (O, C/groups, k...), optional bias (O), under the state-dict names {@code
 * <name>.weight} and {@code <name>.bias}. Strides, paddings and dilations are one number for all
 * axes or one per axis.
 */
public final class Conv {

  private final Graph g;
  private final String name;
  private final Tensor weight;
  private final Tensor bias; // null without
  private final long[] stride;
  private final long[] padding; // null if causal
  private final long[] dilation;
  private final long groups;

  Conv(Graph g, String name, Tensor weight) {
    this(
        g,
        name,
        weight,
        null,
        Shapes.filled(weight.rank() - 2, 1),
        new long[weight.rank() - 2],
        Shapes.filled(weight.rank() - 2, 1),
        1);
  }

  private Conv(
      Graph g,
      String name,
      Tensor weight,
      Tensor bias,
      long[] stride,
      long[] padding,
      long[] dilation,
      long groups) {
    this.g = g;
    this.name = name;
    this.weight = weight;
    this.bias = bias;
    this.stride = stride;
    this.padding = padding;
    this.dilation = dilation;
    this.groups = groups;
  }

  /** The same weights with a bias (O), zero at first. */
  public Conv withBias() {
    return withBias(Initializer.constant(0));
  }

  /** The same weights with a bias (O). */
  public Conv withBias(Initializer initializer) {
    Tensor shift = g.parameter(name + ".bias", initializer, weight.size(0));
    return new Conv(g, name, weight, shift, stride, padding, dilation, groups);
  }

  /** The same layer with other first values of the weight; to be called before {@link #apply}. */
  public Conv startingFrom(Initializer initializer) {
    g.reinitialized(weight, initializer);
    return this;
  }

  /** The same weights, {@code stride} pixels apart; 1 if never called. */
  public Conv stride(long... stride) {
    long[] strides = Shapes.perAxis(name, "stride", axes(), stride);
    return new Conv(g, name, weight, bias, strides, padding, dilation, groups);
  }

  /** The same weights, with {@code padding} zeros on both sides; 0 if never called. */
  public Conv padding(long... padding) {
    long[] paddings = Shapes.perAxis(name, "padding", axes(), padding);
    return new Conv(g, name, weight, bias, stride, paddings, dilation, groups);
  }

  /** The same weights, reading pixels that are {@code dilation} apart; 1 if never called. */
  public Conv dilation(long... dilation) {
    long[] dilations = Shapes.perAxis(name, "dilation", axes(), dilation);
    return new Conv(g, name, weight, bias, stride, padding, dilations, groups);
  }

  /**
   * A convolution whose channels are cut into {@code groups} that do not mix: as many as there are
   * channels make it depthwise. The weight becomes (O, C/groups, k...), so it is to be called
   * before {@link #apply}; 1 if never called.
   */
  public Conv groups(long groups) {
    long channels = weight.size(1) * this.groups;
    if (groups < 1 || channels % groups != 0 || weight.size(0) % groups != 0) {
      throw Shapes.error(
          "Cannot build %s: %d groups must divide its %d input and %d output channels",
          name, groups, channels, weight.size(0));
    }
    long[] shape = weight.shape();
    shape[1] = channels / groups;
    Tensor grouped = g.redeclared(weight, shape);
    return new Conv(g, name, grouped, bias, stride, padding, dilation, groups);
  }

  /**
   * The same weights, where no output sees an input to its right: instead of padding on both sides,
   * dilation·(k − 1) zeros come first. For one spatial axis.
   */
  public Conv causal() {
    if (axes() != 1) {
      throw Shapes.error("Cannot build %s: causal needs 1 spatial axis, it has %d", name, axes());
    }
    return new Conv(g, name, weight, bias, stride, null, dilation, groups);
  }

  private int axes() {
    return weight.rank() - 2;
  }

  /**
   * (B, C, [[D,] H,] W) → (B, O, [[D',] H',] W') with H' = ⌊(H + 2·padding − dilation·(k − 1) − 1)
   * / stride⌋ + 1.
   */
  public Tensor apply(Tensor x) {
    if (x.rank() != weight.rank() || x.size(1) != weight.size(1) * groups) {
      throw Shapes.error(
          "Cannot apply %s: its weight is %s%s, the input %s",
          name, weight, groups == 1 ? "" : " in " + groups + " groups", x);
    }
    long[] kernel = Arrays.copyOfRange(weight.shape(), 2, weight.rank());
    long[] before = padding != null ? padding : new long[] {dilation[0] * (kernel[0] - 1)};
    long[] after = padding != null ? padding : new long[1];
    long[] shape = Shapes.slidden(name, x, weight.size(0), kernel, stride, before, after, dilation);
    return g.node(
        Node.Kind.CONV,
        bias == null ? List.of(x, weight) : List.of(x, weight, bias),
        Map.of(
            "kernel",
            kernel,
            "stride",
            stride,
            "padding",
            before,
            "padding-after",
            after,
            "dilation",
            dilation,
            "groups",
            groups),
        shape);
  }
}
