package sparkvision.graph;

import java.util.List;
import java.util.Map;

/**
 * A linear layer: x·Wᵀ + b with weight W (O, I) and bias b (O), under the state-dict names {@code
 * <name>.weight} and {@code <name>.bias}.
 */
public final class Linear {

  private final Graph g;
  private final String name;
  private final Tensor weight;
  private final Tensor bias; // null without

  Linear(Graph g, String name, long in, long out) {
    this(
        g,
        name,
        g.parameter(name + ".weight", Initializer.uniformByFanIn(), out, in),
        g.parameter(name + ".bias", Initializer.constant(0), out));
  }

  private Linear(Graph g, String name, Tensor weight, Tensor bias) {
    this.g = g;
    this.name = name;
    this.weight = weight;
    this.bias = bias;
  }

  /** The same weight and no bias; to be called before {@link #apply}. */
  public Linear withoutBias() {
    if (bias != null) {
      g.forget(bias);
    }
    return new Linear(g, name, weight, null);
  }

  /** The same layer with other first values of the weight; to be called before {@link #apply}. */
  public Linear startingFrom(Initializer initializer) {
    g.reinitialized(weight, initializer);
    return this;
  }

  /** The layer with its weight times {@code factor}, which is trained as it is. */
  public Linear scaled(double factor) {
    return new Linear(g, name, g.scale(weight, factor), bias);
  }

  /** (..., I) → (..., O), for two axes and more. */
  public Tensor apply(Tensor x) {
    if (x.rank() < 2 || x.size(x.rank() - 1) != weight.size(1)) {
      throw Shapes.error("Cannot apply %s: its weight is %s, the input %s", name, weight, x);
    }
    long[] shape = x.shape();
    shape[shape.length - 1] = weight.size(0);
    return g.node(
        Node.Kind.LINEAR,
        bias == null ? List.of(x, weight) : List.of(x, weight, bias),
        Map.of(),
        shape);
  }
}
