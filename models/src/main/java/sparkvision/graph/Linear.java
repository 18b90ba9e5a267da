package sparkvision.graph;

import java.util.List;
import java.util.Map;

/** A linear layer: x·Wᵀ + b with weight W (O, I) and bias b (O). */
public final class Linear {

  private final Graph g;
  private final String name;
  private final Tensor weight;
  private final Tensor bias;

  Linear(Graph g, String name, long in, long out) {
    this.g = g;
    this.name = name;
    this.weight = g.parameter(name + ".weight", Initializer.uniformByFanIn(), out, in);
    this.bias = g.parameter(name + ".bias", Initializer.constant(0), out);
  }

  /** (B, I) → (B, O). */
  public Tensor apply(Tensor x) {
    if (x.rank() != 2 || x.size(1) != weight.size(1)) {
      throw new IllegalArgumentException(
          String.format("Cannot apply %s: its weight is %s, the input %s", name, weight, x));
    }
    return g.node(Node.Kind.LINEAR, List.of(x, weight, bias), Map.of(), x.size(0), weight.size(0));
  }
}
