package sparkvision.graph;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * A convolution over 2 or 3 spatial axes (a cross-correlation, as everywhere in deep learning).
 *
 * <p>Weight (O, C, k...), optional bias (O), under the state-dict names {@code <name>.weight} and
 * {@code <name>.bias}.
 */
public final class Conv {

  private final Graph g;
  private final String name;
  private final Tensor weight;
  private final Tensor bias; // null without
  private final long stride;
  private final long padding;

  Conv(Graph g, String name, Tensor weight, Tensor bias, long stride, long padding) {
    this.g = g;
    this.name = name;
    this.weight = weight;
    this.bias = bias;
    this.stride = stride;
    this.padding = padding;
  }

  /** The same weights with a bias (O), zero at first. */
  public Conv withBias() {
    Tensor zeros = g.parameter(name + ".bias", Initializer.constant(0), weight.size(0));
    return new Conv(g, name, weight, zeros, stride, padding);
  }

  /** The same weights, {@code stride} pixels apart on every axis; 1 if never called. */
  public Conv stride(long stride) {
    return new Conv(g, name, weight, bias, stride, padding);
  }

  /** The same weights, with {@code padding} zeros on every side; 0 if never called. */
  public Conv padding(long padding) {
    return new Conv(g, name, weight, bias, stride, padding);
  }

  /** (B, C, [D,] H, W) → (B, O, [D',] H', W') with H' = ⌊(H + 2·padding − k) / stride⌋ + 1. */
  public Tensor apply(Tensor x) {
    if (x.rank() != weight.rank() || x.size(1) != weight.size(1)) {
      throw new IllegalArgumentException(
          String.format("Cannot apply %s: its weight is %s, the input %s", name, weight, x));
    }
    long[] kernel = Arrays.copyOfRange(weight.shape(), 2, weight.rank());
    long[] strides = filled(kernel.length, stride);
    long[] paddings = filled(kernel.length, padding);
    long[] shape = Graph.slidden(name, x, weight.size(0), kernel, strides, paddings);
    return g.node(
        Node.Kind.CONV,
        bias == null ? List.of(x, weight) : List.of(x, weight, bias),
        Map.of("kernel", kernel, "stride", strides, "padding", paddings),
        shape);
  }

  static long[] filled(int length, long value) {
    long[] sizes = new long[length];
    Arrays.fill(sizes, value);
    return sizes;
  }
}
