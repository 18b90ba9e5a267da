package sparkvision.graph;

import java.util.List;
import java.util.Map;

/**
 * A normalisation of each sample by itself, the same in training and inference: layer norm, group
 * norm or root-mean-square norm, as {@link Graph} names them.
 *
 * <p>Weight (C), one at first, and bias (C), zero at first, which the root-mean-square norm lacks,
 * under the state-dict names {@code <name>.weight} and {@code <name>.bias}.
 */
public final class Norm {

  private final Graph g;
  private final String name;
  private final Node.Kind kind;
  private final List<Tensor> scales; // weight, and perhaps bias
  private final Map<String, Object> attributes;
  private final long channels;

  Norm(Graph g, String name, Node.Kind kind, long channels, Map<String, Object> attributes) {
    this.g = g;
    this.name = name;
    this.kind = kind;
    this.channels = channels;
    this.attributes = attributes;
    double epsilon = (double) attributes.get("epsilon");
    if (!(epsilon >= 0 && epsilon < Double.POSITIVE_INFINITY)) {
      throw Shapes.error("Cannot build %s: epsilon is %s, must be >= 0", name, epsilon);
    }
    Tensor weight = g.parameter(name + ".weight", Initializer.constant(1), channels);
    this.scales =
        kind == Node.Kind.RMS_NORM
            ? List.of(weight)
            : List.of(weight, g.parameter(name + ".bias", Initializer.constant(0), channels));
  }

  /** (..., C), for a group norm (B, C, ...) → the same shape. */
  public Tensor apply(Tensor x) {
    int axis = kind == Node.Kind.GROUP_NORM ? 1 : x.rank() - 1;
    if (x.rank() < 2 || x.size(axis) != channels) {
      throw Shapes.error(
          "Cannot apply %s: it has %d channels on %s axis, the input is %s",
          name, channels, axis == 1 && kind == Node.Kind.GROUP_NORM ? "the second" : "the last", x);
    }
    List<Tensor> inputs =
        scales.size() == 1 ? List.of(x, scales.get(0)) : List.of(x, scales.get(0), scales.get(1));
    return g.node(kind, inputs, attributes, x.shape());
  }
}
