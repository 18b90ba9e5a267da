package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class NodeTest {

  @Test
  void cannotBeChangedFromOutside() {
    long[] kernel = {3, 2};
    Map<String, Object> attributes = new HashMap<>(Map.of("kernel", kernel, "slope", 0.5));
    Tensor x = new Tensor("x", Tensor.Type.FLOAT, 2);
    List<Tensor> inputs = new ArrayList<>(List.of(x));
    Node node = new Node(Node.Kind.RELU, inputs, List.of(x), attributes);
    kernel[0] = 7;
    attributes.clear();
    inputs.clear();
    node.sizes("kernel")[1] = 9;
    assertThat(node.sizes("kernel")).containsExactly(3, 2);
    assertThat(node.number("slope")).isEqualTo(0.5);
    assertThat(node.inputs()).containsExactly(x);
    assertThat(node.attributes().values()).noneMatch(long[].class::isInstance);
    assertThatThrownBy(() -> node.attributes().put("slope", 1))
        .isInstanceOf(UnsupportedOperationException.class);
  }

  /** Windows are often declared with arrays that live on. */
  @Test
  void wordsCopyTheirSizes() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    long[] sizes = {2, 2};
    Conv conv = g.conv("c", 1, 1, 1, 1).stride(sizes);
    Tensor x = g.input("x", 1, 1, 9, 9);
    g.maxPool(x, sizes, sizes, new long[2]);
    g.slice(x, new long[4], x.shape(), new long[] {1, 1, 2, 2});
    sizes[0] = 5;
    assertThat(g.nodes().get(0).sizes("kernel")).containsExactly(2, 2);
    assertThat(conv.apply(x).shape()).containsExactly(1, 1, 5, 5);
  }
}
