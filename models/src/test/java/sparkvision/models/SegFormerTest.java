package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

class SegFormerTest {

  private static final long UNUSED = 129 * 150; // conv_seg, which published counts leave out

  private static Model tiny(String more) {
    return Trials.model(
        "name = segformer, dims = [4, 4, 8, 6], heads = [1, 2, 2, 3], depths = [1, 1, 2, 1],"
            + " mlp-ratios = [2, 1, 2, 1], sr-ratios = [8, 4, 2, 1], decoder-dim = 8, classes = 3,"
            + " in-channels = 2"
            + more);
  }

  @ParameterizedTest
  @CsvSource({
    "segformer-b0, 3319392, 3752694",
    "segformer-b1, 13151424, 13715798",
    "segformer-b2, 24196288, 27461974",
    "segformer-b3, 44072128, 47337814",
    "segformer-b4, 60842688, 64108374",
    "segformer-b5, 81443008, 84708694"
  })
  void hasThePublishedNumberOfParameters(String name, long encoder, long all) {
    Model model = Trials.model("name = " + name);
    Graph g = Trials.build(Graph.Mode.TRAINING, model, 2, 512);
    assertThat(g.parameterCount()).isEqualTo(all + UNUSED);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 150, 128, 128);

    Graph alone = new Graph(Graph.Mode.INFERENCE, 1);
    ((Backbone) model).features(alone, "", alone.input("image", 2, 3, 64, 64));
    assertThat(alone.parameterCount()).isEqualTo(encoder);
  }

  @Test
  void asABackboneItHasFourMaps() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Backbone model = (Backbone) Trials.model("name = segformer-b0");
    List<Tensor> maps = model.features(g, "encoder.", g.input("image", 2, 3, 61, 83));
    assertThat(maps)
        .extracting(Tensor::shape)
        .containsExactly(
            new long[] {2, 32, 16, 21},
            new long[] {2, 64, 8, 11},
            new long[] {2, 160, 4, 6},
            new long[] {2, 256, 2, 3});
    assertThat(g.variables())
        .extracting(Variable::name)
        .allMatch(name -> name.startsWith("encoder."))
        .contains("encoder.patch_embed1.proj.weight", "encoder.norm4.bias");
  }

  @ParameterizedTest
  @CsvSource({"29, 29, 8, 8", "30, 100, 8, 25", "64, 33, 16, 9"})
  void logitsAreOnTheFinestMap(int height, int width, int rows, int columns) {
    assertThat(tiny("").inputShapes(1, height, width).get(0)).containsExactly(1, 2, height, width);
    Graph g = Trials.build(Graph.Mode.INFERENCE, tiny(""), 1, height, width);
    assertThat(g.outputs().get("logits").shape()).containsExactly(1, 3, rows, columns);
  }

  @Test
  void startsAsPublished() {
    Model model = Trials.model("name = segformer-b0");
    try (Engine engine =
        Engines.open("nd4j", Trials.build(Graph.Mode.INFERENCE, model, 1, 32), null)) {
      Map<String, HostTensor> state = engine.state();
      Trials.assertSpread(state.get("backbone.block1.0.mlp.fc1.weight"), 0, 0.02);
      // Of the fan-out.
      Trials.assertSpread(
          state.get("backbone.patch_embed2.proj.weight"), 0, Math.sqrt(2.0 / (64 * 9)));
      Trials.assertSpread(
          state.get("backbone.block1.0.attn.sr.weight"), 0, Math.sqrt(2.0 / (32 * 64)));
      Trials.assertSpread(
          state.get("decode_head.linear_fuse.conv.weight"), 0, Math.sqrt(2.0 / 256));
      Trials.assertSpread(state.get("decode_head.conv_seg.weight"), 0, 0.01);
      Trials.assertBound(state.get("decode_head.linear_pred.weight"), 1 / 16.0);
      assertThat(state.get("backbone.patch_embed2.proj.bias").floats()).containsOnly(0);
    }
  }

  @Test
  void dropsInTrainingOnly() {
    Model model = tiny(", drop-path = 0.2, dropout = 0.3");
    assertThat(
            Trials.build(Graph.Mode.TRAINING, model, 5, 32).nodes().stream()
                .filter(node -> node.kind() == Node.Kind.DROPOUT)
                .map(node -> node.number("rate")))
        .containsExactly(
            0.05, 0.05, 0.1, 0.1, 0.15000000000000002, 0.15000000000000002, 0.2, 0.2, 0.3);
    assertThat(Trials.build(Graph.Mode.INFERENCE, model, 5, 32).nodes())
        .extracting(Node::kind)
        .doesNotContain(Node.Kind.DROPOUT);
  }

  @Test
  void refusesImagesThatAreTooSmall() {
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, tiny(""), 1, 28, 64))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build segformer: image size 28 is too small, its four stages need at least 29");
  }

  @Test
  void keepsGradientsFiniteAndLearns() {
    Trials.keepsGradientsFiniteAndLearns(tiny(", drop-path = 0.1, dropout = 0.1"), 2, 29, 34);
  }

  @Test
  void survivesSaveAndLoad(@TempDir Path folder) throws IOException {
    Trials.survivesSaveAndLoad(tiny(""), folder, 2, 33, 61);
  }
}
