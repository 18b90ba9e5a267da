package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.Networks;
import sparkvision.weights.HostTensor;

/** What regions are short for: {@link Graph#lowered}. */
class LoweringTest {

  private static final Set<Node.Kind> NOTHING = EnumSet.noneOf(Node.Kind.class);

  static Set<String> sentences() {
    return Sentences.ALL.keySet();
  }

  @ParameterizedTest
  @MethodSource("sentences")
  void computesWhatTheRegionsDo(String sentence) {
    Graph g = Sentences.graph(sentence, Graph.Precision.FLOAT);
    Tensor y = g.outputs().get("result");
    List<Node> lowered = g.lowered(NOTHING);
    assertThat(lowered).noneMatch(node -> node.kind().isRegion());
    assertThat(lowered).extracting(Node::output).doesNotHaveDuplicates().endsWith(y);

    Map<String, HostTensor> given = Sentences.given(g);
    double[] expected = Naive.run(g, given).get(y);
    assertThat(Naive.run(g, lowered, given).get(y)).containsExactly(expected, within(1e-12));
  }

  @Test
  void knowsEveryRegion() {
    Set<Node.Kind> tried = EnumSet.noneOf(Node.Kind.class);
    for (String sentence : sentences()) {
      Sentences.graph(sentence, Graph.Precision.FLOAT).nodes().stream()
          .map(Node::kind)
          .filter(Node.Kind::isRegion)
          .forEach(tried::add);
    }
    assertThat(Arrays.stream(Node.Kind.values()).filter(Node.Kind::isRegion))
        .containsExactlyElementsOf(tried);
  }

  @Test
  void keepsWhatIsAskedFor() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 5);
    Tensor x = Networks.x(g, 2, 3, 4);
    Tensor norm = g.layerNorm("n", 4, 1e-5).apply(x);
    Tensor y = g.linear("l", 4, 4).apply(norm);
    List<Node> lowered = g.lowered(EnumSet.of(Node.Kind.LAYER_NORM));
    assertThat(lowered.get(0)).isEqualTo(g.nodes().get(0));
    assertThat(lowered)
        .extracting(Node::kind)
        .containsExactly(
            Node.Kind.LAYER_NORM,
            Node.Kind.RESHAPE,
            Node.Kind.MATMUL,
            Node.Kind.ADD,
            Node.Kind.RESHAPE);
    assertThat(lowered.get(1).input(0)).isSameAs(norm);
    assertThat(lowered.get(4).output()).isSameAs(y);
  }

  @Test
  void makesInnerTensorsAnew() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 5);
    g.rmsNorm("n", 4, 1e-5).apply(Networks.x(g, 2, 4));
    List<Node> once = g.lowered(NOTHING);
    List<Node> again = g.lowered(NOTHING);
    assertThat(once).hasSameSizeAs(again).hasSizeGreaterThan(2);
    for (int i = 0; i < once.size() - 1; i++) {
      assertThat(once.get(i).output()).isNotSameAs(again.get(i).output());
    }
    assertThat(g.nodes()).hasSize(1);
  }

  @ParameterizedTest
  @EnumSource(Graph.Mode.class)
  void keepsABatchNormThatTrains(Graph.Mode mode) {
    Graph g = new Graph(mode, 5);
    g.batchNorm("n", 3).apply(Networks.x(g, 4, 3, 2, 2));
    assertThat(g.lowered(NOTHING).contains(g.nodes().get(0)))
        .isEqualTo(mode == Graph.Mode.TRAINING);
  }

  /** A variance as a difference of mean squares would be all rounding here. */
  @Test
  void normalisesWhatIsFarFromZero() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 5);
    Tensor x = Networks.x(g, 2, 4, 3);
    Tensor far = g.addConstant(x, 1e8);
    Tensor layer = g.layerNorm("layer", 3, 1e-5).apply(far);
    Tensor group = g.groupNorm("group", 2, 4, 1e-5).apply(far);
    Tensor nearLayer = g.layerNorm("near", 3, 1e-5).apply(x);
    Tensor nearGroup = g.groupNorm("nearby", 2, 4, 1e-5).apply(x);
    Map<Tensor, double[]> values = Naive.run(g, g.lowered(NOTHING), Map.of());
    assertThat(values.get(layer)).containsExactly(values.get(nearLayer), within(1e-6));
    assertThat(values.get(group)).containsExactly(values.get(nearGroup), within(1e-6));
  }
}
