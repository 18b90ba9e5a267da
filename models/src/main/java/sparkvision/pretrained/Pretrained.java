package sparkvision.pretrained;

import com.typesafe.config.Config;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.models.PositionTable;
import sparkvision.weights.HostTensor;

/**
 * A state dict fitted to a network: what of it the network takes, under the network's names.
 *
 * <p>Tensors are taken by name and shape. Names are tried as they are and in the ways that {@link
 * Renaming} knows, with and without what all of them begin with, and below each part of the network
 * that begins like the network's own names ({@code backbone.}); whichever takes most is used.
 * Position embeddings of another grid are resized.
 *
 * @param state what was taken, in the order of the network's variables; counters that are missing
 *     are zero in it
 * @param taken how many tensors were taken
 * @param renamed what was done to the names; empty if nothing
 * @param resized names of position embeddings that were resized
 * @param missing what the network has and the state dict has not; counters of batches do not count
 * @param misshapen what has another shape there, with both shapes
 * @param unexpected what the network has no use for
 */
public record Pretrained(
    Map<String, HostTensor> state,
    int taken,
    String renamed,
    List<String> resized,
    List<String> missing,
    Map<String, String> misshapen,
    List<String> unexpected) {

  /**
   * Fits {@code tensors} to {@code model}.
   *
   * @param size of the inputs that the network will get, one number or one per axis
   */
  public static Pretrained fit(Config model, Map<String, HostTensor> tensors, int... size) {
    Model network = Models.of(model);
    Graph g = new Graph(Graph.Mode.TRAINING, 0);
    List<Tensor> images = new ArrayList<>();
    List<long[]> shapes = network.inputShapes(2, size);
    for (int i = 0; i < shapes.size(); i++) {
      images.add(g.input("input" + i, shapes.get(i)));
    }
    network.apply(g, images);
    return fit(network, g, tensors);
  }

  /** Fits {@code tensors} to the network that is written into a graph. */
  public static Pretrained fit(Model network, Graph g, Map<String, HostTensor> tensors) {
    Pretrained best = null;
    for (Renaming renaming : Renaming.ALL) {
      Map<String, HostTensor> renamed = renaming.change().apply(tensors);
      for (String front : fronts(renamed.keySet())) {
        for (String part : parts(g)) {
          Pretrained fit =
              take(network, g, moved(renamed, front, part), how(renaming, front, part));
          if (best == null || fit.taken > best.taken) {
            best = fit;
          }
        }
      }
    }
    return best;
  }

  /** What most names begin with up to a dot, and nothing. */
  private static Set<String> fronts(Set<String> names) {
    Set<String> fronts = new LinkedHashSet<>();
    fronts.add("");
    String front = "";
    while (true) {
      String before = front;
      Map<String, Long> heads =
          names.stream()
              .filter(name -> name.startsWith(before))
              .filter(name -> name.indexOf('.', before.length()) >= 0)
              .collect(
                  Collectors.groupingBy(
                      name -> name.substring(0, name.indexOf('.', before.length()) + 1),
                      Collectors.counting()));
      front =
          heads.entrySet().stream()
              .filter(entry -> 2 * entry.getValue() > names.size())
              .map(Map.Entry::getKey)
              .findFirst()
              .orElse("");
      if (front.isEmpty()) {
        return fronts;
      }
      fronts.add(front);
    }
  }

  /** What names of the network begin with up to the first dot, and nothing. */
  private static Set<String> parts(Graph g) {
    Set<String> parts = new LinkedHashSet<>();
    parts.add("");
    g.variables().stream()
        .map(Variable::name)
        .filter(name -> name.contains("."))
        .forEach(name -> parts.add(name.substring(0, name.indexOf('.') + 1)));
    return parts;
  }

  private static Map<String, HostTensor> moved(
      Map<String, HostTensor> tensors, String front, String part) {
    Map<String, HostTensor> moved = new LinkedHashMap<>();
    tensors.forEach(
        (name, tensor) -> {
          String rest = name.startsWith(front) ? name.substring(front.length()) : name;
          moved.put(part + rest, tensor);
        });
    return moved;
  }

  private static String how(Renaming renaming, String front, String part) {
    List<String> steps = new ArrayList<>();
    if (!renaming.from().isEmpty()) {
      steps.add("names of " + renaming.from());
    }
    if (!front.isEmpty()) {
      steps.add("without " + front);
    }
    if (!part.isEmpty()) {
      steps.add("below " + part);
    }
    return String.join(", ", steps);
  }

  private static Pretrained take(
      Model network, Graph g, Map<String, HostTensor> tensors, String renamed) {
    Map<String, PositionTable> positions =
        network.positionTables().stream()
            .collect(Collectors.toMap(PositionTable::name, table -> table));
    Map<String, HostTensor> state = new LinkedHashMap<>();
    int taken = 0;
    List<String> resized = new ArrayList<>();
    List<String> missing = new ArrayList<>();
    Map<String, String> misshapen = new LinkedHashMap<>();
    Set<String> unexpected = new TreeSet<>(tensors.keySet());
    for (Variable variable : g.variables()) {
      String name = variable.name();
      HostTensor found = tensors.get(name);
      unexpected.remove(name);
      if (found == null) {
        if (variable.role() == Variable.Role.COUNTER) {
          state.put(name, HostTensor.ofLongs(new long[1]));
        } else {
          missing.add(name);
        }
        continue;
      }
      long[] wanted = variable.tensor().shape();
      int before = state.size();
      if (found.isFloat() == (variable.role() == Variable.Role.COUNTER)) {
        misshapen.put(name, String.format("%s, must be another type of numbers", found));
      } else if (sameElements(found.shape(), wanted)) {
        state.put(name, reshaped(found, wanted));
      } else if (positions.containsKey(name) && positions.get(name).resizable(found, wanted)) {
        state.put(name, positions.get(name).resized(found));
        resized.add(name);
      } else {
        misshapen.put(name, String.format("%s, must be %s", text(found.shape()), text(wanted)));
      }
      taken += state.size() - before;
    }
    return new Pretrained(
        state, taken, renamed, resized, missing, misshapen, List.copyOf(unexpected));
  }

  /** Whether shapes differ in nothing but a scalar's being an array of one. */
  private static boolean sameElements(long[] found, long[] wanted) {
    return Arrays.equals(found, wanted)
        || (found.length <= 1
            && wanted.length <= 1
            && Arrays.stream(found).allMatch(size -> size == 1)
            && Arrays.stream(wanted).allMatch(size -> size == 1));
  }

  private static HostTensor reshaped(HostTensor tensor, long[] shape) {
    return tensor.isFloat()
        ? HostTensor.of(tensor.floats(), shape)
        : HostTensor.ofLongs(tensor.longs(), shape);
  }

  private static String text(long[] shape) {
    return Arrays.toString(shape);
  }

  /** Whether the network takes all that it needs. */
  public boolean isComplete() {
    return missing.isEmpty() && misshapen.isEmpty();
  }
}
