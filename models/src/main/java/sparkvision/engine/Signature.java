package sparkvision.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/** What a tensor from outside must be: its element type and shape. */
record Signature(Tensor.Type type, List<Long> shape) {

  private static final int LISTED = 5;

  static Signature of(Tensor tensor) {
    return of(tensor.type(), tensor.shape());
  }

  static Signature of(Tensor.Type type, long... shape) {
    return new Signature(type, Arrays.stream(shape).boxed().toList());
  }

  /**
   * Compares names, types and shapes.
   *
   * @throws IllegalArgumentException naming what is missing, unknown or of another shape
   */
  static void requireMatch(
      String action, Map<String, Signature> expected, Map<String, HostTensor> found) {
    List<String> missing = new ArrayList<>();
    List<String> misshapen = new ArrayList<>();
    expected.forEach(
        (name, signature) -> {
          HostTensor tensor = found.get(name);
          if (tensor == null) {
            missing.add(name);
          } else if (!signature.matches(tensor)) {
            misshapen.add(String.format("%s is %s, must be %s", name, tensor, signature));
          }
        });
    List<String> unknown =
        found.keySet().stream().filter(name -> !expected.containsKey(name)).toList();
    if (missing.isEmpty() && misshapen.isEmpty() && unknown.isEmpty()) {
      return;
    }
    List<String> complaints = new ArrayList<>();
    complain(complaints, "missing", missing);
    complain(complaints, "unknown", unknown);
    complain(complaints, "misshapen", misshapen);
    throw new IllegalArgumentException("Cannot " + action + ": " + String.join("; ", complaints));
  }

  private static void complain(List<String> complaints, String what, List<String> names) {
    if (names.isEmpty()) {
      return;
    }
    String more = names.size() > LISTED ? " and " + (names.size() - LISTED) + " more" : "";
    complaints.add(
        what + " " + String.join(", ", names.subList(0, Math.min(LISTED, names.size()))) + more);
  }

  private boolean matches(HostTensor tensor) {
    return equals(of(tensor.isFloat() ? Tensor.Type.FLOAT : Tensor.Type.INT64, tensor.shape()));
  }

  @Override
  public String toString() {
    return (type == Tensor.Type.FLOAT ? "float32" : "int64") + shape;
  }
}
