package sparkvision.engine;

import java.util.List;
import sparkvision.graph.Graph;

/** The engines there are. */
public final class Engines {

  private Engines() {}

  /** Every name that {@link #open} knows. */
  public static List<String> names() {
    return List.of("nd4j");
  }

  /**
   * An engine for {@code graph}, with weights made from the graph's seed.
   *
   * @param optimizer null for an inference graph
   * @throws IllegalArgumentException if no engine has this name
   */
  public static Engine open(String name, Graph graph, OptimizerConfig optimizer) {
    return switch (name) {
      case "nd4j" -> new Nd4jEngine(graph, optimizer);
      default ->
          throw new IllegalArgumentException(
              String.format("Invalid engine: %s (must be one of %s)", name, names()));
    };
  }
}
