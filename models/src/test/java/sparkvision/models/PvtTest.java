package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

class PvtTest {

  private static Model tiny(String more) {
    return Trials.model(
        "name = pvt, image-size = 64, dims = [4, 4, 8, 6], heads = [1, 2, 2, 3],"
            + " mlp-ratios = [2, 1, 2, 1], depths = [1, 1, 2, 1], sr-ratios = [8, 4, 2, 1],"
            + " classes = 3, in-channels = 2"
            + more);
  }

  @ParameterizedTest
  @CsvSource({
    "pvt-tiny, 13229288",
    "pvt-small, 24485864",
    "pvt-medium, 44208104",
    "pvt-large, 61369320"
  })
  void hasThePublishedNumberOfParameters(String name, long parameters) {
    Graph g = Trials.build(Graph.Mode.TRAINING, Trials.model("name = " + name), 2, 224);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 1000);
  }

  @ParameterizedTest
  @CsvSource({"pvt-tiny, 32, 32", "pvt-tiny, 35, 300", "pvt-small, 512, 384"})
  void takesImagesOfAnySizeFrom32(String name, int height, int width) {
    Model model = Trials.model("name = " + name);
    assertThat(model.inputShapes(2, height, width).get(0)).containsExactly(2, 3, height, width);
    Graph g = Trials.build(Graph.Mode.INFERENCE, model, 2, height, width);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 1000);
  }

  @Test
  void asABackboneItHasFourMapsAndNoHead() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Backbone model = (Backbone) Trials.model("name = pvt-tiny");
    List<Tensor> maps = model.features(g, "backbone.", g.input("image", 2, 3, 70, 96));
    assertThat(maps)
        .extracting(Tensor::shape)
        .containsExactly(
            new long[] {2, 64, 17, 24},
            new long[] {2, 128, 8, 12},
            new long[] {2, 320, 4, 6},
            new long[] {2, 512, 2, 3});
    long head = 512 + 2 * 512 + 513 * 1000; // class token, last norm, classifier
    assertThat(g.parameterCount()).isEqualTo(13229288 - head);
    assertThat(g.variables())
        .extracting(Variable::name)
        .allMatch(name -> name.startsWith("backbone."))
        .contains("backbone.pos_embed4", "backbone.block4.1.mlp.fc2.bias");
  }

  /** Networks whose maps are their position embeddings: nothing else but norms is not zero. */
  private static List<float[]> mapsOfPositions(Map<String, float[]> tables, int h, int w) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Backbone model =
        (Backbone)
            Trials.model(
                "name = pvt, image-size = 64, dims = [1, 1, 1, 1], heads = [1, 1, 1, 1],"
                    + " mlp-ratios = [1, 1, 1, 1], depths = [1, 1, 1, 1],"
                    + " sr-ratios = [8, 4, 2, 1], classes = 2");
    List<Tensor> maps = model.features(g, "", g.input("image", 1, 3, h, w));
    IntStream.range(0, maps.size()).forEach(i -> g.output("map" + i, maps.get(i)));
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      state.values().forEach(tensor -> Arrays.fill(tensor.floats(), 0));
      tables.forEach(
          (name, values) ->
              System.arraycopy(values, 0, state.get(name).floats(), 0, values.length));
      engine.load(state);
      Map<String, HostTensor> out = engine.forward(Map.of("image", Draw.normal(1, 1, 3, h, w)));
      return IntStream.range(0, maps.size()).mapToObj(i -> out.get("map" + i).floats()).toList();
    }
  }

  /** Expected values: interpolate(mode="bilinear") of PyTorch 2. */
  @Test
  void resizesPositionEmbeddingsAsPyTorchDoes() {
    float[] third = {2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9, 0, 4, 5}; // 4 x 4
    float[] fourth = {9, 3, -1, 4, 1}; // the class's, and 2 x 2
    List<float[]> maps = mapsOfPositions(Map.of("pos_embed3", third, "pos_embed4", fourth), 96, 48);
    assertThat(maps.get(2)) // 6 x 3
        .containsExactly(
            new float[] {
              2.833333f, 4, 6.833334f, 2.916667f, 4.25f, 6.833334f, 3, 4.75f, 6.500001f, 3, 5.75f,
              5.166667f, 5.25f, 4, 4.833333f, 7.5f, 2, 4.833334f
            },
            within(1e-5f));
    assertThat(maps.get(3)).containsExactly(new float[] {1, 1.75f, 2.5f}, within(1e-6f)); // 3 x 1
  }

  @Test
  void takesTheFirstPositionsAsTheyLieWhereTheirNumberFits() {
    float[] first = Draw.normal(2, 256).floats();
    float[] second = Draw.normal(3, 64).floats();
    List<float[]> maps =
        mapsOfPositions(Map.of("pos_embed1", first, "pos_embed2", second), 32, 128);
    assertThat(maps.get(0)).containsExactly(first);
    assertThat(maps.get(1)).hasSize(64).isNotEqualTo(second); // 4 x 16 of 8 x 8
  }

  @Test
  void takesImagesWhoseSecondStageIsAsLargeAsItsFirstWasMadeFor() {
    float[] second = new float[64];
    Arrays.fill(second, 7);
    List<float[]> maps = mapsOfPositions(Map.of("pos_embed2", second), 128, 128);
    assertThat(maps.get(1)).hasSize(256).containsOnly(7);
  }

  @Test
  void startsAsPublished() {
    Model model = Trials.model("name = pvt-tiny, depths = [1, 1, 1, 1]");
    Graph g = Trials.build(Graph.Mode.INFERENCE, model, 1, 32);
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      for (String drawn : List.of("pos_embed1", "cls_token", "block1.0.attn.kv.weight")) {
        Trials.assertSpread(state.get(drawn), 0, 0.02);
      }
      Trials.assertBound(state.get("patch_embed2.proj.weight"), 1 / Math.sqrt(64 * 4));
      Trials.assertBound(state.get("patch_embed2.proj.bias"), 1 / Math.sqrt(64 * 4));
      Trials.assertBound(state.get("block1.0.attn.sr.weight"), 1 / Math.sqrt(64 * 64));
      assertThat(state.get("head.bias").floats()).containsOnly(0);
    }
  }

  @Test
  void dropsPathsMoreOftenTheDeeperTheyAre() {
    assertThat(
            Trials.build(Graph.Mode.TRAINING, tiny(", drop-path = 0.2"), 5, 64).nodes().stream()
                .filter(node -> node.kind() == Node.Kind.DROPOUT)
                .map(node -> node.number("rate")))
        .containsExactly(0.05, 0.05, 0.1, 0.1, 0.15000000000000002, 0.15000000000000002, 0.2, 0.2);
  }

  @Test
  void normsHaveTheEpsilonsOfTheCode() {
    List<Double> epsilons =
        Trials.build(Graph.Mode.INFERENCE, tiny(""), 1, 64).nodes().stream()
            .filter(node -> node.kind() == Node.Kind.LAYER_NORM)
            .map(node -> node.number("epsilon"))
            .toList();
    // Patches, a block's first, its reduction's, its second; the last stage does not reduce.
    assertThat(epsilons.subList(0, 4)).containsExactly(1e-5, 1e-6, 1e-5, 1e-6);
    assertThat(epsilons.subList(epsilons.size() - 4, epsilons.size()))
        .containsExactly(1e-5, 1e-6, 1e-6, 1e-6);
  }

  @Test
  void refusesImagesThatCannotWork() {
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, tiny(""), 1, 64, 31))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build pvt: image size 31 is too small, its four stages need at least 32");
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor x = g.input("image", 1, 3, 64, 64);
    assertThatThrownBy(() -> tiny("").apply(g, List.of(x)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build pvt: it takes 2 channels and 2 spatial axes, the input is"
                + " image[1, 3, 64, 64]");
  }

  @Test
  void keepsGradientsFiniteAndLearns() {
    Trials.keepsGradientsFiniteAndLearns(tiny(", drop-path = 0.1"), 4, 64, 40);
  }

  @Test
  void survivesSaveAndLoad(@TempDir Path folder) throws IOException {
    Trials.survivesSaveAndLoad(tiny(""), folder, 2, 64, 96);
  }
}
