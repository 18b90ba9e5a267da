package sparkvision.engine;

import java.util.List;
import java.util.Locale;
import sparkvision.graph.Graph;

/** The engines there are. */
public final class Engines {

  private Engines() {}

  /** Every name that {@link #open} knows. */
  public static List<String> names() {
    return List.of("compiled", "nd4j");
  }

  /**
   * An engine for {@code graph} with the default options, and weights made from the graph's seed.
   *
   * @param optimizer null for an inference graph
   * @throws IllegalArgumentException if no engine has this name
   */
  public static Engine open(String name, Graph graph, OptimizerConfig optimizer) {
    return open(name, graph, optimizer, EngineOptions.defaults());
  }

  /**
   * An engine for {@code graph}, with weights made from the graph's seed.
   *
   * @param optimizer null for an inference graph
   * @throws IllegalArgumentException if no engine has this name, or this one has not what {@code
   *     options} ask for
   */
  public static Engine open(
      String name, Graph graph, OptimizerConfig optimizer, EngineOptions options) {
    requireSupport(name, options);
    return switch (name) {
      case "nd4j" -> new Nd4jEngine(graph, optimizer);
      case "compiled" -> new CompiledEngine(graph, optimizer, options);
      default ->
          throw new IllegalArgumentException(
              String.format("Invalid engine: %s (must be one of %s)", name, names()));
    };
  }

  /**
   * Checks that an engine has what options ask for.
   *
   * @throws IllegalArgumentException if it has not
   */
  public static void requireSupport(String name, EngineOptions options) {
    if (name.equals("nd4j")) {
      require("precision", options.precision(), EngineOptions.Precision.FLOAT32);
      require("memory", options.memory(), EngineOptions.Memory.FAST);
    }
  }

  private static void require(String key, Enum<?> asked, Enum<?> only) {
    if (asked != only) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid %s: %s (engine nd4j has only %s)", key, lower(asked), lower(only)));
    }
  }

  private static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }
}
