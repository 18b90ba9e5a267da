package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.weights.HostTensor;

class TokenEncoderTest {

  private static final int DIM = 8;
  private static final String VIM =
      "name = vim, stride = 4, depth = 2, state-size = 3, bidirectional = ssm, ";
  private static final String SIZES =
      ", image-size = [12, 20], patch-size = 4, dim = 8, in-channels = 2, classes = 1";

  /** Blocks that add nothing, and patches that are all alike: what is left is where they lie. */
  @ParameterizedTest
  @CsvSource({
    "'name = vit, depth = 2, heads = 2, mlp-ratio = 2', 0, -1",
    "'name = vim, stride = 4, depth = 2, state-size = 3, bidirectional = ssm, cls-token = middle,"
        + " pool = cls', 7, -1",
    "'name = vim, stride = 4, depth = 2, state-size = 3, bidirectional = ssm, cls-token = double,"
        + " pool = cls', 0, 16",
    "'name = vim, stride = 4, depth = 2, state-size = 3, bidirectional = ssm, cls-token = none,"
        + " pool = mean', -1, -1"
  })
  void givesPatchesInTheirPlaces(String conf, int classToken, int second) {
    TokenEncoder encoder = (TokenEncoder) Trials.model(conf + SIZES);
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    g.output(
        "map", encoder.features(g, "backbone.", g.input("image", 1, 2, 12, 20), List.of(1)).get(0));
    try (Engine engine = Engines.open("compiled", g, null)) {
      Map<String, HostTensor> state = engine.state();
      state.forEach(
          (name, tensor) -> {
            if (name.matches(".*(out_proj|attn.proj|fc2|patch_embed.proj).*")) {
              Arrays.fill(tensor.floats(), 0);
            }
          });
      HostTensor positions = Draw.normal(2, state.get("backbone.pos_embed").shape());
      state.put("backbone.pos_embed", positions);
      engine.load(state);
      HostTensor map = engine.forward(Map.of("image", Draw.normal(1, 1, 2, 12, 20))).get("map");
      assertThat(map.shape()).containsExactly(1, DIM, 3, 5);
      int token = 0;
      for (int patch = 0; patch < 15; patch++, token++) {
        while (token == classToken || token == second) {
          token++;
        }
        for (int c = 0; c < DIM; c++) {
          assertThat(map.floats()[c * 15 + patch])
              .isCloseTo(positions.floats()[token * DIM + c], within(1e-6f));
        }
      }
    }
  }

  /** The classifier reads what the map is made of. */
  @ParameterizedTest
  @CsvSource({"ssm-conv", "block"})
  void encodesWhatTheClassifierReads(String strategy) {
    String conf = VIM.replace("ssm", strategy) + "cls-token = none, pool = mean" + SIZES;
    HostTensor image = Draw.normal(1, 1, 2, 12, 20);
    Graph g = Trials.build(Graph.Mode.INFERENCE, Trials.model(conf), 1, 12, 20);
    Graph encoder = new Graph(Graph.Mode.INFERENCE, 1);
    TokenEncoder model = (TokenEncoder) Trials.model(conf);
    encoder.output("map", model.encoded(encoder, "", encoder.input("image", 1, 2, 12, 20)));
    try (Engine classifier = Engines.open("compiled", g, null);
        Engine dense = Engines.open("compiled", encoder, null)) {
      Map<String, HostTensor> state = classifier.state();
      float[] weight = state.get("head.weight").floats();
      float logit = classifier.forward(Map.of("image", image)).get("logits").floats()[0];
      state.keySet().removeIf(name -> name.startsWith("head."));
      dense.load(state);
      float[] map = dense.forward(Map.of("image", image)).get("map").floats();
      double sum = 0;
      for (int i = 0; i < map.length; i++) {
        sum += map[i] / 15 * weight[i / 15];
      }
      assertThat((double) logit).isCloseTo(sum, within(1e-5));
    }
  }
}
