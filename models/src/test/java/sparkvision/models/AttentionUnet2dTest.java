package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.weights.HostTensor;

class AttentionUnet2dTest {

  private static Model tiny() {
    return Trials.model("name = attention-unet-2d, in-channels = 2, classes = 3, width = 2");
  }

  @Test
  void hasThePublishedNumberOfParameters() {
    Model model = Trials.model("name = attention-unet-2d-64");
    Graph g = Trials.build(Graph.Mode.TRAINING, model, 2, 224, 320);
    assertThat(g.parameterCount()).isEqualTo(34_878_573);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 1, 224, 320);
  }

  @Test
  void startsAsPublished() {
    Model model = Trials.model("name = attention-unet-2d-64");
    try (Engine engine =
        Engines.open("nd4j", Trials.build(Graph.Mode.INFERENCE, model, 1, 16), null)) {
      Map<String, HostTensor> state = engine.state();
      Trials.assertBound(state.get("Conv3.conv.0.weight"), 1 / Math.sqrt(128 * 9));
      Trials.assertBound(state.get("Conv3.conv.0.bias"), 1 / Math.sqrt(128 * 9));
      assertThat(state.get("Conv3.conv.1.weight").floats()).containsOnly(1);
    }
  }

  @Test
  void refusesImagesThatCannotBeHalvedFourTimes() {
    assertThat(tiny().inputShapes(2, 16, 32).get(0)).containsExactly(2, 2, 16, 32);
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, tiny(), 1, 24, 32))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build attention-unet-2d: image size 24 is no multiple of 16, which its four"
                + " poolings need");
  }

  @Test
  void keepsGradientsFiniteAndLearns() {
    Trials.keepsGradientsFiniteAndLearns(tiny(), 2, 32, 16);
  }

  @Test
  void survivesSaveAndLoad(@TempDir Path folder) throws IOException {
    Trials.survivesSaveAndLoad(tiny(), folder, 2, 32, 48);
  }
}
