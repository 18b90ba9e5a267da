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
        "Cannot concat [x[2, 3, 4, 4], [2, 3, 2, 2]]: sizes differ beside axis 1");
    refuses(
        g -> g.concat(x, g.globalAveragePool(x)),
        "Cannot concat [x[2, 3, 4, 4], [2, 3]]: ranks must be >= 2 and equal");
    refuses(
        g -> g.concat(g.input("flat", 3)), "Cannot concat [flat[3]]: ranks must be >= 2 and equal");
    refuses(g -> g.concat(), "Cannot concat []: ranks must be >= 2 and equal");
    refuses(
        g -> g.add(x, g.globalAveragePool(x)),
        "Cannot add x[2, 3, 4, 4] and [2, 3]: shapes do not broadcast");
    refuses(
        g -> g.multiply(g.input("three", 3), g.input("two", 2)),
        "Cannot multiply three[3] and two[2]: shapes do not broadcast");
    refuses(g -> g.input("x", 1), "Cannot declare x: the name is taken");
    refuses(g -> g.input("empty", 0, 3), "Cannot declare empty[0, 3]: sizes must be >= 1");
    refuses(
        g -> g.linear("huge", 1024, Integer.MAX_VALUE).apply(x),
        "Cannot declare huge.weight[2147483647, 1024]: it holds more than 2147483639 numbers");
    refuses(
        g -> g.input("vast", Long.MAX_VALUE, Long.MAX_VALUE),
        "Cannot declare vast[9223372036854775807, 9223372036854775807]: it holds more than"
            + " 2147483639 numbers");
    refuses(
        g -> Losses.crossEntropy(g, g.globalAveragePool(x), g.indices("labels", 3), 0),
        "Cannot build cross-entropy: logits must be (B, K, ...) and labels int64 (B, ...), found"
            + " [2, 3] and labels[3]");
  }

  @Test
  void refusesWindowsThatDoNotFit() {
    Tensor line = g.input("line", 2, 3, 9);
    Tensor x = g.input("x", 2, 3, 9, 9);
    String axes = "the input must have 2 or 3 spatial axes, is line[2, 3, 9]";
    refuses(g -> g.maxPool(line, 3, 2, 1), "Cannot apply max pool: " + axes);
    refuses(g -> g.averagePool(line, 2, 2), "Cannot apply average pool: " + axes);
    refuses(g -> g.globalAveragePool(line), "Cannot apply global average pool: " + axes);
    refuses(
        g -> g.conv("c2", 3, 4, 3, 3).stride(0).apply(x),
        "Cannot apply c2: kernel [3, 3] and stride [0, 0] must be >= 1, padding [0, 0] >= 0");
    refuses(
        g -> g.conv("c3", 3, 4, 3, 3).padding(-1).apply(x),
        "Cannot apply c3: kernel [3, 3] and stride [1, 1] must be >= 1, padding [-1, -1] >= 0");
    refuses(
        g -> g.maxPool(x, 0, 1, 0),
        "Cannot apply max pool: kernel [0, 0] and stride [1, 1] must be >= 1, padding [0, 0] >= 0");
    refuses(
        g -> g.averagePool(x, 2, -2),
        "Cannot apply average pool: kernel [2, 2] and stride [-2, -2] must be >= 1, padding [0, 0]"
            + " >= 0");
    refuses(
        g -> g.dropoutChannels(g.input("flat", 3), 0.1),
        "Cannot drop channels of flat[3]: it must be (B, C, ...)");
  }

  @Test
  void refusesIntegersWhereFloatsBelong() {
    Tensor labels = g.indices("labels", 6);
    refuses(g -> g.add(labels, labels), "Cannot add labels[6]: it is int64, must be float");
    refuses(
        g -> g.multiply(g.input("x", 6), labels),
        "Cannot multiply labels[6]: it is int64, must be float");
    refuses(g -> g.relu(labels), "Cannot relu labels[6]: it is int64, must be float");
    assertThatThrownBy(() -> g.output("y", labels))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot declare output y: labels[6] is int64, must be float");
    assertThatThrownBy(() -> g.requestGradient(labels))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot request gradient of labels[6]: it is no float input");
  }

  @Test
  void theNameOfTheLossIsNoOutput() {
    Tensor x = g.input("x", 2);
    assertThatThrownBy(() -> g.output("loss", x))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot declare output loss: the name is taken");
  }

  private void refuses(Function<Graph, Tensor> word, String message) {
    assertThatThrownBy(() -> word.apply(g))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
