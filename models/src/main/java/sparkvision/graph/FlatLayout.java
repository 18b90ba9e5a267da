package sparkvision.graph;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The order in which engines keep a graph's floating state in one flat array: all parameters, then
 * all running statistics, each in the order of declaration. Averaging between ranks relies on it.
 */
public final class FlatLayout {

  private static final int LARGEST = Integer.MAX_VALUE - 8; // of Java's arrays

  private final List<Tensor> parameters;
  private final List<Tensor> statistics;
  private final Map<Tensor, Integer> offsets = new LinkedHashMap<>();
  private final int size;

  /**
   * The layout of a graph's state.
   *
   * @throws IllegalArgumentException if it holds more numbers than an array can
   */
  public FlatLayout(Graph graph) {
    this.parameters = tensors(graph, Variable.Role.PARAMETER);
    this.statistics = tensors(graph, Variable.Role.STATISTIC);
    long total = 0;
    for (Tensor tensor : variables()) {
      offsets.put(tensor, (int) Math.min(total, LARGEST));
      total += tensor.elements();
    }
    if (total > LARGEST) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot open engine: parameters and running statistics are %d numbers, must be <= %d",
              total, LARGEST));
    }
    this.size = (int) total;
  }

  private static List<Tensor> tensors(Graph graph, Variable.Role role) {
    List<Tensor> tensors = new ArrayList<>();
    graph.variables().stream()
        .filter(variable -> variable.role() == role)
        .forEach(variable -> tensors.add(variable.tensor()));
    return List.copyOf(tensors);
  }

  public List<Tensor> parameters() {
    return parameters;
  }

  public List<Tensor> statistics() {
    return statistics;
  }

  /** Parameters, then statistics. */
  public List<Tensor> variables() {
    return Stream.concat(parameters.stream(), statistics.stream()).toList();
  }

  /** Where a parameter or a statistic begins, in numbers. */
  public int offset(Tensor variable) {
    return offsets.get(variable);
  }

  /** How many numbers there are. */
  public int size() {
    return size;
  }

  /** How many of them, the first ones, are parameters. */
  public int parameterCount() {
    return statistics.isEmpty() ? size : offsets.get(statistics.get(0));
  }
}
