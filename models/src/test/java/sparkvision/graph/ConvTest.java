package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Shapes, attributes and refusals of {@link Conv} and {@link ConvTranspose}. */
class ConvTest {

  private final Graph g = new Graph(Graph.Mode.TRAINING, 1);
  private final Tensor line = g.input("line", 2, 4, 9);
  private final Tensor x = g.input("x", 2, 4, 9, 8);

  private Node last() {
    return g.nodes().get(g.nodes().size() - 1);
  }

  @Test
  void windowsHaveSizesPerAxis() {
    Tensor y =
        g.conv("c", 4, 6, 3, 2).stride(2, 1).padding(1, 2).dilation(2, 3).withBias().apply(x);
    // (9 + 2 - 4 - 1) / 2 + 1 and 8 + 4 - 3 - 1 + 1
    assertThat(y.shape()).containsExactly(2, 6, 4, 9);
    assertThat(last().sizes("kernel")).containsExactly(3, 2);
    assertThat(last().sizes("stride")).containsExactly(2, 1);
    assertThat(last().sizes("padding")).containsExactly(1, 2);
    assertThat(last().sizes("padding-after")).containsExactly(1, 2);
    assertThat(last().sizes("dilation")).containsExactly(2, 3);
    assertThat(last().integer("groups")).isEqualTo(1);
  }

  @Test
  void groupsShrinkTheWeight() {
    Tensor y = g.conv("c", 4, 8, 3, 3).padding(1).groups(4).withBias().apply(x);
    assertThat(y.shape()).containsExactly(2, 8, 9, 8);
    assertThat(g.variables()).extracting(Variable::name).containsExactly("c.weight", "c.bias");
    assertThat(g.variables().get(0).tensor().shape()).containsExactly(8, 1, 3, 3);
    assertThat(last().input(1)).isSameAs(g.variables().get(0).tensor());
    assertThat(last().integer("groups")).isEqualTo(4);
    assertThat(g.parameterCount()).isEqualTo(8 * 9 + 8);
  }

  @Test
  void causalConvolutionsPadInFront() {
    Conv conv = g.conv("c", 4, 4, 4).causal();
    assertThat(conv.dilation(2).apply(line).shape()).containsExactly(2, 4, 9);
    assertThat(last().sizes("padding")).containsExactly(6);
    assertThat(last().sizes("padding-after")).containsExactly(0);
    assertThat(conv.stride(2).apply(line).shape()).containsExactly(2, 4, 5);
    assertThat(last().sizes("padding")).containsExactly(3);
    assertThat(conv.padding(1).apply(line).shape()).containsExactly(2, 4, 8);
  }

  @Test
  void transposesInvertTheShapesOfConvolutions() {
    for (long size = 3; size < 12; size++) {
      Tensor image = g.input("image" + size, 1, 2, size, size);
      Tensor small = g.conv("c" + size, 2, 3, 3, 3).stride(3).padding(1).apply(image);
      Tensor back =
          g.convTranspose("t" + size, 3, 2, 3, 3)
              .stride(3)
              .padding(1)
              .outputPadding((size + 2 - 3) % 3)
              .apply(small);
      assertThat(back.shape()).containsExactly(image.shape());
    }
  }

  @Test
  void transposesHaveWeightsFromInToOut() {
    Tensor y =
        g.convTranspose("t", 4, 6, 3, 2)
            .stride(2, 3)
            .padding(1, 0)
            .outputPadding(1, 2)
            .dilation(1, 2)
            .groups(2)
            .withBias()
            .apply(x);
    // 8·2 - 2 + 2 + 1 + 1 and 7·3 + 2 + 2 + 1
    assertThat(y.shape()).containsExactly(2, 6, 18, 26);
    assertThat(g.variables().get(0).tensor().shape()).containsExactly(4, 3, 3, 2);
    assertThat(g.variables().get(1).tensor().shape()).containsExactly(6);
    assertThat(last().sizes("output-padding")).containsExactly(1, 2);
    assertThat(last().integer("groups")).isEqualTo(2);
  }

  @Test
  void aChangedLayerCannotBeApplied() {
    Conv conv = g.conv("c", 4, 4, 3, 3);
    Conv grouped = conv.groups(2);
    assertThatThrownBy(() -> conv.apply(x))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot conv c.weight[4, 4, 3, 3]: its layer was changed after it was taken");
    grouped.apply(x);
    assertThatThrownBy(() -> grouped.groups(4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot change c.weight[4, 2, 3, 3]: its layer was applied or changed before");
  }

  @Test
  void refusesWhatDoesNotFit() {
    refuses(g -> g.conv("a", 4, 4).apply(x), "Cannot build a: kernel [] must have 1 to 3 sizes");
    refuses(
        g -> g.conv("b", 4, 4, 1, 1, 1, 1).apply(x),
        "Cannot build b: kernel [1, 1, 1, 1] must have 1 to 3 sizes");
    refuses(
        g -> g.conv("c", 4, 6, 3, 3).groups(4).apply(x),
        "Cannot build c: 4 groups must divide its 4 input and 6 output channels");
    refuses(
        g -> g.conv("d", 4, 6, 3, 3).groups(0).apply(x),
        "Cannot build d: 0 groups must divide its 4 input and 6 output channels");
    refuses(
        g -> g.conv("e", 8, 8, 3, 3).groups(4).apply(x),
        "Cannot apply e: its weight is e.weight[8, 2, 3, 3] in 4 groups, the input x[2, 4, 9, 8]");
    refuses(
        g -> g.conv("f", 4, 4, 3, 3).stride(1, 2, 3).apply(x),
        "Cannot build f: stride [1, 2, 3] must be one number, or 2 for its axes");
    refuses(
        g -> g.conv("h", 4, 4, 3, 3).dilation(0).apply(x),
        "Cannot apply h: dilation [0, 0] must be >= 1");
    refuses(
        g -> g.conv("i", 4, 4, 3, 3).dilation(5).apply(x),
        "Cannot apply i: a window of [3, 3] dilated by [5, 5] with padding [0, 0] does not fit into"
            + " x[2, 4, 9, 8]");
    refuses(
        g -> g.conv("j", 4, 4, 3, 3).causal().apply(x),
        "Cannot build j: causal needs 1 spatial axis, it has 2");
    refuses(
        g -> g.conv("k", 4, 4, 3).apply(x),
        "Cannot apply k: its weight is k.weight[4, 4, 3], the input x[2, 4, 9, 8]");
  }

  @Test
  void transposesRefuseWhatDoesNotFit() {
    refuses(
        g -> g.convTranspose("a", 3, 4, 2, 2).apply(x),
        "Cannot apply a: its weight is a.weight[3, 4, 2, 2], the input x[2, 4, 9, 8]");
    refuses(
        g -> g.convTranspose("b", 4, 4, 2, 2).stride(2).outputPadding(2).apply(x),
        "Cannot apply b: output padding [2, 2] must be >= 0 and less than stride [2, 2] or dilation"
            + " [1, 1]");
    refuses(
        g -> g.convTranspose("c", 4, 4, 2, 2).padding(5).apply(x),
        "Cannot apply c: padding [5, 5] leaves nothing of x[2, 4, 9, 8]");
    refuses(
        g -> g.convTranspose("d", 4, 6, 2, 2).groups(4).apply(x),
        "Cannot build d: 4 groups must divide its 4 input and 6 output channels");
    refuses(
        g -> g.convTranspose("e", 4, 4, 2, 2).stride(0).apply(x),
        "Cannot apply e: kernel [2, 2] and stride [0, 0] must be >= 1, padding [0, 0] >= 0");
    refuses(
        g -> g.convTranspose("f", 4, 4).apply(x),
        "Cannot build f: kernel [] must have 1 to 3 sizes");
  }

  private void refuses(Function<Graph, Tensor> word, String message) {
    assertThatThrownBy(() -> word.apply(g))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
