package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

class VitTest {

  private static Model tiny(String more) {
    return Models.of(
        ConfigFactory.parseString(
            "name = vit, image-size = [8, 12], patch-size = 4, dim = 6, depth = 3, heads = 2,"
                + " mlp-ratio = 2, classes = 3, in-channels = 2"
                + more));
  }

  private static Graph build(Graph.Mode mode, Model model, int batch, int... size) {
    Graph g = new Graph(mode, 1);
    Tensor x = g.input("image", model.inputShapes(batch, size).get(0));
    Tensor logits = model.apply(g, List.of(x)).get(0);
    g.output("logits", logits);
    if (mode == Graph.Mode.TRAINING) {
      g.loss(Losses.crossEntropy(g, logits, g.indices("labels", batch), 0));
    }
    return g;
  }

  @ParameterizedTest
  @CsvSource({"deit-tiny, 5717416", "deit-small, 22050664", "deit-base, 86567656"})
  void hasThePublishedNumberOfParameters(String name, long parameters) {
    Model model = Models.of(ConfigFactory.parseString("name = " + name));
    Graph g = build(Graph.Mode.INFERENCE, model, 2, 224);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 1000);
  }

  @Test
  void variantsTakeOtherKeys() {
    Model model =
        Models.of(
            ConfigFactory.parseString(
                "name = deit-tiny, image-size = 32, patch-size = 4, classes = 10,"
                    + " in-channels = 1, depth = 1"));
    long block = 4 * 192 + 4 * 192 * 192 + 4 * 192 + 2 * 4 * 192 * 192 + 5 * 192;
    assertThat(build(Graph.Mode.INFERENCE, model, 1, 32).parameterCount())
        .isEqualTo(192 * 66 + 17 * 192 + block + 2 * 192 + 193 * 10);
  }

  @Test
  void namesItsStateAsTimmDoes() {
    assertThat(build(Graph.Mode.INFERENCE, tiny(", depth = 1"), 1, 8, 12).variables())
        .extracting(Variable::name)
        .containsExactlyInAnyOrder(
            "cls_token",
            "pos_embed",
            "patch_embed.proj.weight",
            "patch_embed.proj.bias",
            "blocks.0.norm1.weight",
            "blocks.0.norm1.bias",
            "blocks.0.attn.qkv.weight",
            "blocks.0.attn.qkv.bias",
            "blocks.0.attn.proj.weight",
            "blocks.0.attn.proj.bias",
            "blocks.0.norm2.weight",
            "blocks.0.norm2.bias",
            "blocks.0.mlp.fc1.weight",
            "blocks.0.mlp.fc1.bias",
            "blocks.0.mlp.fc2.weight",
            "blocks.0.mlp.fc2.bias",
            "norm.weight",
            "norm.bias",
            "head.weight",
            "head.bias");
  }

  @Test
  void startsAsPublished() {
    Model model = Models.of(ConfigFactory.parseString("name = deit-tiny, depth = 1"));
    try (Engine engine = Engines.open("nd4j", build(Graph.Mode.INFERENCE, model, 1, 224), null)) {
      Map<String, HostTensor> state = engine.state();
      for (String drawn :
          List.of("pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc2.weight")) {
        float[] values = state.get(drawn).floats();
        double squares = 0;
        for (float value : values) {
          squares += (double) value * value;
        }
        // Four standard errors of a standard deviation.
        assertThat(Math.sqrt(squares / values.length))
            .as(drawn)
            .isCloseTo(0.02, within(4 * 0.02 / Math.sqrt(2.0 * values.length)));
      }
      for (String zero : List.of("blocks.0.attn.qkv.bias", "blocks.0.mlp.fc1.bias", "head.bias")) {
        assertThat(state.get(zero).floats()).as(zero).containsOnly(0);
      }
      assertThat(state.get("blocks.0.norm1.weight").floats()).containsOnly(1);
      double bound = 1 / Math.sqrt(3.0 * 16 * 16);
      for (String uniform : List.of("patch_embed.proj.weight", "patch_embed.proj.bias")) {
        double largest = 0;
        for (float value : state.get(uniform).floats()) {
          largest = Math.max(largest, Math.abs(value));
        }
        assertThat(largest).as(uniform).isBetween(0.9 * bound, bound);
      }
    }
  }

  @Test
  void dropsPathsMoreOftenTheDeeperTheyAre() {
    List<Node> dropouts =
        build(Graph.Mode.TRAINING, tiny(", drop-path = 0.2"), 5, 8, 12).nodes().stream()
            .filter(node -> node.kind() == Node.Kind.DROPOUT)
            .toList();
    assertThat(dropouts)
        .extracting(node -> node.number("rate"))
        .containsExactly(0.1, 0.1, 0.2, 0.2); // the first block drops nothing
    assertThat(dropouts)
        .allSatisfy(node -> assertThat(node.sizes("mask")).containsExactly(5, 1, 1));
    assertThat(build(Graph.Mode.INFERENCE, tiny(", drop-path = 0.2"), 5, 8, 12).nodes())
        .extracting(Node::kind)
        .doesNotContain(Node.Kind.DROPOUT);
  }

  @Test
  void refusesImagesOfAnotherSize() {
    assertThat(tiny("").inputShapes(4, 8, 12).get(0)).containsExactly(4, 2, 8, 12);
    assertThatThrownBy(() -> tiny("").inputShapes(4, 8))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid image-size: [8] (model vit takes 8 x 12, for which it has position"
                + " embeddings)");
    assertThatThrownBy(() -> tiny("").inputShapes(4, 8, 12, 16))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid image-size: [8, 12, 16] (model vit takes one number or 2)");
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor x = g.input("image", 1, 2, 12, 8);
    assertThatThrownBy(() -> tiny("").apply(g, List.of(x)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build vit: it takes images of 2 channels and 8 x 12 pixels, the input is"
                + " image[1, 2, 12, 8]");
  }

  @Test
  void keepsGradientsFiniteAndLearns() {
    Graph g = build(Graph.Mode.TRAINING, tiny(", drop-path = 0.1"), 4, 8, 12);
    Map<String, HostTensor> batch =
        Map.of(
            "image", Draw.normal(1, g.inputs().get("image").shape()),
            "labels", Draw.labels(2, 3, 4));
    OptimizerConfig adam = OptimizerConfig.of(OptimizerConfig.Name.ADAMW);
    try (Engine engine = Engines.open("nd4j", g, adam)) {
      float first = engine.forwardBackward(batch).get("loss").floats()[0];
      for (Variable variable : g.variables()) {
        float[] gradient = engine.gradient(variable.name()).floats();
        double squares = 0;
        for (float value : gradient) {
          assertThat(value).as(variable.name()).isFinite();
          squares += (double) value * value;
        }
        assertThat(squares).as(variable.name()).isPositive();
      }
      for (int i = 0; i < 30; i++) {
        engine.forwardBackward(batch);
        engine.update(0.02);
      }
      assertThat(engine.forwardBackward(batch).get("loss").floats()[0]).isLessThan(first / 2);
    }
  }
}
