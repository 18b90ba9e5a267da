package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.EngineOptions.Precision;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Dnnl;
import sparkvision.weights.HostTensor;

class VimTest {

  private static final String BODY =
      "name = vim, image-size = 16, patch-size = 4, stride = 4, dim = 8, depth = 4, state-size = 3,"
          + " classes = 3, in-channels = 2, ";

  private static Model tiny(String more) {
    return Trials.model(BODY + more);
  }

  @ParameterizedTest
  @CsvSource({
    "vim-tiny, 7148008",
    "vim-small, 25796584",
    "vim-base, 97598440",
    "vim-tiny-stride-8, 7250344",
    "vim-small-stride-8, 26001256",
    "vim-base-stride-8, 98007784",
    "'vim-tiny, bidirectional = none', 6419944",
    "'vim-small, bidirectional = sequence', 23898088",
    "'vim-base, bidirectional = block', 92031976",
    "'vim-tiny, bidirectional = ssm', 6567400",
    "'vim-small, bidirectional = ssm', 24193000",
    "'vim-base, bidirectional = ssm', 92621800",
    "'vim-tiny, cls-token = double', 7148392",
    "'vim-tiny, cls-token = none, pool = max', 7147624"
  })
  void hasThePublishedNumberOfParameters(String conf, long parameters) {
    Graph g = Trials.build(Graph.Mode.TRAINING, Trials.model("name = " + conf), 2, 224);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 1000);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "bidirectional = none, cls-token = middle, pool = cls",
        "bidirectional = sequence, flip-probability = 0.5, cls-token = head, pool = cls",
        "bidirectional = block, average-pairs = true, cls-token = double, pool = cls",
        "bidirectional = block, cls-token = none, pool = mean, drop-path = 0.1",
        "bidirectional = ssm, cls-token = none, pool = max",
        "bidirectional = ssm-conv, cls-token = middle, pool = cls, rope = true,"
            + " rope-residual = true, layer-scale = 0.1, stride = 2"
      })
  void learnsAndSurvivesSaveAndLoad(String more, @TempDir Path folder) throws Exception {
    Model model = tiny(more);
    Trials.keepsGradientsFiniteAndLearns(model, 2, 16);
    Trials.survivesSaveAndLoad(model, folder, 2, 20, 24);
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "sequence", "block", "ssm", "ssm-conv"})
  void learnsSixtyFourImagesByHeart(String strategy) {
    Model model =
        Trials.model(
            "name = vim, image-size = 8, patch-size = 4, stride = 4, dim = 32, depth = 2,"
                + " state-size = 4, classes = 4, cls-token = middle, pool = cls, bidirectional = "
                + strategy);
    Graph g = Trials.build(Graph.Mode.TRAINING, model, 64, 8);
    Map<String, HostTensor> images =
        Map.of("image", Draw.normal(1, 64, 3, 8, 8), "labels", Draw.labels(2, 4, 64));
    OptimizerConfig adam = OptimizerConfig.of(OptimizerConfig.Name.ADAMW);
    try (Engine engine = Engines.open("compiled", g, adam)) {
      for (int i = 0; i < 60; i++) {
        engine.forwardBackward(images);
        engine.update(0.005);
      }
      float[] logits = engine.forward(images).get("logits").floats();
      long[] labels = images.get("labels").longs();
      for (int i = 0; i < 64; i++) {
        for (int k = 0; k < 4; k++) {
          assertThat(logits[4 * i + k]).isLessThanOrEqualTo(logits[4 * i + (int) labels[i]]);
        }
      }
    }
  }

  private static float[] logits(Model model, Map<String, float[]> given, HostTensor image) {
    Graph g = Trials.build(Graph.Mode.INFERENCE, model, 1, size(image, 2), size(image, 3));
    try (Engine engine = Engines.open("compiled", g, null)) {
      Map<String, HostTensor> state = engine.state();
      given.forEach(
          (name, values) ->
              System.arraycopy(values, 0, state.get(name).floats(), 0, values.length));
      engine.load(state);
      return engine.forward(Map.of("image", image)).get("logits").floats();
    }
  }

  private static int size(HostTensor image, int axis) {
    return (int) image.shape()[axis];
  }

  /** With embeddings that are all alike, the grid they were learned for does not matter. */
  @ParameterizedTest
  @CsvSource({"head, 0", "middle, 8"})
  void resizesPositionsAroundTheClassToken(String place, int index) {
    String more = "bidirectional = ssm, pool = cls, cls-token = " + place;
    float[] positions = new float[17 * 8];
    Arrays.fill(positions, 0.3f);
    Arrays.fill(positions, index * 8, (index + 1) * 8, -0.7f);
    HostTensor image = Draw.normal(4, 1, 2, 24, 8);
    float[] resized = logits(tiny(more), Map.of("pos_embed", positions), image);

    float[] own = new float[13 * 8];
    Arrays.fill(own, 0.3f);
    int there = index == 0 ? 0 : 6;
    Arrays.fill(own, there * 8, (there + 1) * 8, -0.7f);
    Model made = Trials.model(BODY.replace("image-size = 16", "image-size = [24, 8]") + more);
    assertThat(resized)
        .containsExactly(logits(made, Map.of("pos_embed", own), image), within(1e-5f));
  }

  @Test
  void readsASequenceFromItsEndAsOftenAsAsked() {
    String more = "bidirectional = sequence, cls-token = none, pool = mean, flip-probability = ";
    HostTensor image = Draw.normal(5, 1, 2, 16, 16);
    float[] positions = new float[16 * 8]; // all alike, so that only the order of patches counts
    float[] forward = logits(tiny(more + 0), Map.of("pos_embed", positions), image);
    float[] reversed = logits(tiny(more + 1), Map.of("pos_embed", positions), image);
    float[] rarely = logits(tiny(more + 0.4), Map.of("pos_embed", positions), image);
    assertThat(forward).isNotEqualTo(reversed).isEqualTo(rarely);

    HostTensor mirrored = HostTensor.of(turned(image.floats()), image.shape());
    float[] weights = new float[8 * 2 * 4 * 4]; // alike within a patch, which is mirrored too
    for (int i = 0; i < weights.length; i++) {
      weights[i] = 0.1f * (i / 16 % 5 - 2);
    }
    Map<String, float[]> symmetric =
        Map.of("pos_embed", positions, "patch_embed.proj.weight", weights);
    assertThat(logits(tiny(more + 1), symmetric, mirrored))
        .containsExactly(logits(tiny(more + 0), symmetric, image), within(1e-5f));
  }

  private static float[] turned(float[] pixels) {
    float[] turned = new float[pixels.length];
    int plane = pixels.length / 2;
    for (int i = 0; i < pixels.length; i++) {
      turned[i] = pixels[i / plane * plane + plane - 1 - i % plane];
    }
    return turned;
  }

  @Test
  void drawsTheOrderForEachBatch() {
    Model model =
        tiny("bidirectional = sequence, cls-token = none, pool = mean, flip-probability = 0.5");
    Graph g = Trials.build(Graph.Mode.TRAINING, model, 1, 16);
    Map<String, HostTensor> batch =
        Map.of("image", Draw.normal(6, 1, 2, 16, 16), "labels", Draw.labels(1, 3, 1));
    try (Engine engine = Engines.open("compiled", g, OptimizerConfig.plainSgd())) {
      float[] results = new float[12];
      for (int i = 0; i < results.length; i++) {
        results[i] = engine.forwardBackward(batch).get("logits").floats()[0];
        engine.update(0);
      }
      Arrays.sort(results);
      assertThat(results[0]).isNotEqualTo(results[11]);
      for (float result : results) {
        assertThat(Math.min(result - results[0], results[11] - result)).isLessThan(1e-5f);
      }
    }
  }

  /** The authors' form is a fixture; residuals that do not double give mixers another share. */
  @Test
  void averagesPairsIfAsked() {
    String more = "bidirectional = block, cls-token = none, pool = mean, average-pairs = ";
    HostTensor image = Draw.normal(8, 1, 2, 16, 16);
    assertThat(logits(tiny(more + true), Map.of(), image))
        .isNotEqualTo(logits(tiny(more + false), Map.of(), image));
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "block", "ssm", "ssm-conv"})
  void staysCloseInBfloat16(String strategy) {
    Model model = tiny("cls-token = middle, pool = cls, bidirectional = " + strategy);
    HostTensor image = Draw.normal(7, 2, 2, 16, 16);
    Graph g = Trials.build(Graph.Mode.INFERENCE, model, 2, 16);
    float[] exact;
    try (Engine engine = Engines.open("compiled", g, null)) {
      exact = engine.forward(Map.of("image", image)).get("logits").floats();
    }
    EngineOptions rounded = EngineOptions.defaults().withPrecision(Precision.BFLOAT16);
    try (Engine engine = Engines.open("compiled", g, null, rounded)) {
      float[] found = engine.forward(Map.of("image", image)).get("logits").floats();
      assertThat(found).containsExactly(exact, within(0.01f));
      assertThat(Arrays.equals(found, exact)).isEqualTo(!Dnnl.supportsBfloat16());
    }
  }

  @Test
  void givesMapsOfPatchesForDenseHeads() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Vim model = (Vim) tiny("bidirectional = ssm-conv, cls-token = middle, pool = cls");
    List<Tensor> maps =
        model.features(g, "backbone.", g.input("image", 2, 2, 16, 24), List.of(1, 3));
    assertThat(maps)
        .extracting(Tensor::shape)
        .containsExactly(new long[] {2, 8, 4, 6}, new long[] {2, 8, 4, 6});
    assertThat(g.variables())
        .allMatch(variable -> variable.name().startsWith("backbone."))
        .noneMatch(variable -> variable.name().contains("head"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "bidirectional = ssm, cls-token = none, pool = cls"
            + " | Invalid pool: \"cls\" (must be mean or max without class token)",
        "bidirectional = ssm, cls-token = head, pool = mean"
            + " | Invalid pool: \"mean\" (must be cls)",
        "bidirectional = block, depth = 3, cls-token = head, pool = cls"
            + " | Invalid depth: 3 (must be even, since blocks form pairs)",
        "bidirectional = both, cls-token = head, pool = cls"
            + " | Invalid bidirectional: \"both\" (must be one of none, sequence, block, ssm,"
            + " ssm-conv)"
      })
  void saysWhatItCannotBe(String more, String sentence) {
    assertThatThrownBy(() -> tiny(more)).hasMessage(sentence);
  }

  @Test
  void refusesImagesSmallerThanAPatch() {
    Model model = tiny("bidirectional = ssm, cls-token = head, pool = cls");
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, model, 1, 3, 16))
        .hasMessage("Cannot build vim: image size 3 is too small, its patches need at least 4");
  }
}
