package sparkvision.plan;

import java.util.Map;
import sparkvision.graph.Node;

/** Kernels that move elements, most of them by looking at the same memory in another way. */
final class Moves {

  private Moves() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CONCAT, Moves::concat);
  }

  private static void concat(Node node, Lowering l) {
    if (l.concatenations.isConcat(node.output())) {
      l.concatenations.concat(node);
      return;
    }
    throw new UnsupportedOperationException();
  }
}
