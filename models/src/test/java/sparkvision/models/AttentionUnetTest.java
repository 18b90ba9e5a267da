package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

class AttentionUnetTest {

  private static Model tiny(int gates) {
    return Trials.model(
        "name = attention-unet, spatial-dims = 3, in-channels = 2, classes = 3, feature-scale = 32,"
            + " gates = "
            + gates);
  }

  @ParameterizedTest
  @CsvSource({
    "unet-3d, 5888004",
    "attention-unet-single, 6214151",
    "attention-unet-multi, 6473322"
  })
  void hasThePublishedNumberOfParameters(String name, long parameters) {
    Model model = Trials.model("name = " + name);
    Graph g = Trials.build(Graph.Mode.TRAINING, model, 2, 160, 160, 96);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 4, 160, 160, 96);
  }

  @Test
  void gatesTheUpperThreeLevelsOnly() {
    assertThat(Trials.build(Graph.Mode.INFERENCE, tiny(2), 1, 16).variables())
        .extracting(Variable::name)
        .contains(
            "gating.conv1.0.bias",
            "attentionblock4.gate_block_2.W.1.weight",
            "attentionblock2.combine_gates.0.weight")
        .noneMatch(name -> name.startsWith("attentionblock1"));
    assertThat(Trials.build(Graph.Mode.INFERENCE, tiny(0), 1, 16).variables())
        .extracting(Variable::name)
        .noneMatch(name -> name.contains("attention") || name.contains("gating"));
  }

  @Test
  void startsAsPublished() {
    Graph g = Trials.build(Graph.Mode.INFERENCE, Trials.model("name = unet-3d"), 1, 16);
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      Trials.assertSpread(state.get("conv3.conv1.0.weight"), 0, Math.sqrt(2.0 / (32 * 27)));
      Trials.assertBound(state.get("center.conv2.0.bias"), 1 / Math.sqrt(256 * 27));
      Trials.assertSpread(state.get("center.conv2.1.weight"), 1, 0.02);
      assertThat(state.get("center.conv2.1.bias").floats()).containsOnly(0);
    }
  }

  @Test
  void refusesVolumesThatCannotBeHalvedFourTimes() {
    assertThat(tiny(1).inputShapes(2, 16, 32, 48).get(0)).containsExactly(2, 2, 16, 32, 48);
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, tiny(1), 1, 32, 32, 40))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build attention-unet: image size 40 is no multiple of 16, which its four"
                + " poolings need");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2})
  void keepsGradientsFiniteAndLearns(int gates) {
    Trials.keepsGradientsFiniteAndLearns(tiny(gates), 2, 16);
  }

  @Test
  void survivesSaveAndLoad(@TempDir Path folder) throws IOException {
    Trials.survivesSaveAndLoad(tiny(2), folder, 1, 16, 32, 16);
  }
}
