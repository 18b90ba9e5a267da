package sparkvision.plan;

import sparkvision.graph.Node;

/** How one word of the vocabulary becomes steps, forward and backward. */
interface Kernel {
  void lower(Node node, Lowering lowering);
}
