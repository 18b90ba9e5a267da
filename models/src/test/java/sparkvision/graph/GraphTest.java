package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GraphTest {

  private final Graph g = new Graph(Graph.Mode.TRAINING, 1);

  @Test
  void windowsFloorTheirSizes() {
    Tensor x = g.input("x", 2, 3, 29, 30);
    assertThat(g.conv("c", 3, 8, 7, 7).stride(2).padding(3).apply(x).shape())
        .containsExactly(2, 8, 15, 15);
    assertThat(g.maxPool(x, 3, 2, 1).shape()).containsExactly(2, 3, 15, 15);
    assertThat(g.averagePool(x, 2, 2).shape()).containsExactly(2, 3, 14, 15);
    Tensor volume = g.input("v", 1, 1, 9, 8, 7);
    assertThat(g.averagePool(volume, 2, 2).shape()).containsExactly(1, 1, 4, 4, 3);
  }

  @Test
  void recordsEveryWordAsANode() {
    Tensor x = g.input("x", 2, 3, 8, 8);
    Tensor y = g.conv("c", 3, 4, 3, 3).stride(2).padding(1).withBias().apply(x);
    Tensor z = g.relu(y);
    assertThat(g.nodes()).extracting(Node::kind).containsExactly(Node.Kind.CONV, Node.Kind.RELU);
    Node conv = g.nodes().get(0);
    assertThat(conv.inputs()).extracting(Tensor::name).containsExactly("x", "c.weight", "c.bias");
    assertThat(conv.output()).isSameAs(y);
    assertThat(conv.sizes("stride")).containsExactly(2, 2);
    assertThat(conv.sizes("padding")).containsExactly(1, 1);
    assertThat(g.nodes().get(1).input(0)).isSameAs(y);
    assertThat(g.nodes().get(1).output()).isSameAs(z);
    assertThat(g.parameterCount()).isEqualTo(4 * 3 * 9 + 4);
  }

  @Test
  void initialValuesFollowFromSeedAndName() {
    Initializer normal = Initializer.kaimingNormal();
    float[] values = normal.values(1, "a", 64, 32, 3, 3);
    assertThat(normal.values(1, "a", 64, 32, 3, 3)).containsExactly(values);
    assertThat(normal.values(1, "b", 64, 32, 3, 3)).isNotEqualTo(values);
    assertThat(normal.values(2, "a", 64, 32, 3, 3)).isNotEqualTo(values);
  }

  @ParameterizedTest
  @CsvSource({"kaiming, 0.08333", "uniform, 0.03402"})
  void initialValuesHaveTheSpreadOfTheirFanIn(String name, double deviation) {
    // fan-in 288: √(2 / 288), and 1 / √(3·288) for a uniform within ±1 / √288.
    Initializer initializer =
        name.equals("kaiming") ? Initializer.kaimingNormal() : Initializer.uniformByFanIn();
    float[] values = initializer.values(1, "a", 64, 32, 3, 3);
    double sum = 0;
    double squares = 0;
    for (float value : values) {
      sum += value;
      squares += (double) value * value;
    }
    assertThat(Math.abs(sum / values.length)).isLessThan(4 * deviation / Math.sqrt(values.length));
    assertThat(Math.sqrt(squares / values.length)).isBetween(0.97 * deviation, 1.03 * deviation);
  }

  @Test
  void refusesWhatDoesNotFit() {
    Tensor x = g.input("x", 2, 3, 4, 4);
    refuses(
        g -> g.conv("c1", 5, 8, 3, 3).apply(x),
        "Cannot apply c1: its weight is c1.weight[8, 5, 3, 3], the input x[2, 3, 4, 4]");
    refuses(
        g -> g.conv("c2", 3, 8, 7, 7).apply(x),
        "Cannot apply c2: a window of [7, 7] with padding [0, 0] does not fit into x[2, 3, 4, 4]");
    refuses(
        g -> g.batchNorm("n", 4).apply(x),
        "Cannot apply n: it has 4 channels, the input is x[2, 3, 4, 4]");
    refuses(
        g -> g.batchNorm("m", 3).apply(g.input("pixel", 1, 3, 1, 1)),
        "Cannot apply m: training needs more than one value per channel, the input is"
            + " pixel[1, 3, 1, 1]");
    refuses(
        g -> g.linear("l", 4, 2).apply(g.globalAveragePool(x)),
        "Cannot apply l: its weight is l.weight[2, 4], the input [2, 3]");
    refuses(
        g -> g.concat(x, g.maxPool(x, 2, 2, 0)),
        "Cannot concat: sizes differ, found [x[2, 3, 4, 4], [2, 3, 2, 2]]");
    refuses(
        g -> g.add(x, g.globalAveragePool(x)),
        "Cannot ADD: shapes differ, found x[2, 3, 4, 4] and [2, 3]");
    refuses(g -> g.input("x", 1), "Cannot declare x: the name is taken");
    refuses(
        g -> g.input("empty", 0, 3), "Invalid shape of input empty: [0, 3] (sizes must be >= 1)");
    refuses(
        g -> Losses.crossEntropy(g, g.globalAveragePool(x), g.indices("labels", 3), 0),
        "Cannot build cross-entropy: logits must be (B, K) and labels int64 (B), found [2, 3] and"
            + " labels[3]");
  }

  private void refuses(Function<Graph, Tensor> word, String message) {
    assertThatThrownBy(() -> word.apply(g))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
