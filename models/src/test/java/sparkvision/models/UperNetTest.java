package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.commons.math3.special.Erf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

class UperNetTest {

  private static final String VIM =
      "backbone { name = vim, image-size = 16, patch-size = 4, stride = 4, dim = 8, depth = 4,"
          + " state-size = 3, bidirectional = ssm-conv, in-channels = 2, classes = 1, ";
  private static final String VIT =
      "backbone { name = vit, image-size = [16, 24], patch-size = 4, dim = 8, depth = 4, heads = 2,"
          + " mlp-ratio = 2, in-channels = 2, classes = 1 }";
  private static final String HEAD =
      ", blocks = [1, 2, 3, 4], channels = 12, pool-scales = [1, 2, 3], dropout = 0,"
          + " auxiliary-channels = 5, auxiliary-weight = 0.4, classes = 3";

  private static Model model(String backbone) {
    return Trials.model("name = upernet, " + backbone + HEAD);
  }

  /** Vim's: those of the authors' code. The others: their parts, counted by hand. */
  @ParameterizedTest
  @CsvSource({
    "'upernet-vim-tiny', 512, 12311276",
    "'upernet-vim-tiny, backbone.image-size = 1024', 1024, 12901100",
    "'upernet-vim-small', 512, 45448364",
    "'upernet-deit-tiny', 512, 10880684",
    "'upernet-deit-small', 512, 41702444"
  })
  void hasAsManyParametersAsTheOriginal(String conf, int size, long parameters) {
    Model model = Trials.model("name = " + conf);
    Graph g = Trials.build(Graph.Mode.TRAINING, model, 2, size);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 150, size / 4, size / 4);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        VIM + "cls-token = none, pool = mean, features = mixer }",
        VIM + "cls-token = middle, pool = cls, rope = true }",
        VIT
      })
  void learnsAndSurvivesSaveAndLoad(String backbone, @TempDir Path folder) throws Exception {
    Model model = model(backbone);
    int[] size = {16, 24};
    Trials.keepsGradientsFiniteAndLearns(model, 2, size);
    Trials.survivesSaveAndLoad(model, folder, 2, size);
  }

  @Test
  void onlyATrainingGraphHasTheAuxiliaryHead() {
    Model model = model(VIT);
    assertThat(model.auxiliaryWeight()).isEqualTo(0.4);
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    List<Tensor> outputs = model.apply(g, List.of(g.input("image", 2, 2, 16, 24)));
    assertThat(outputs)
        .extracting(Tensor::shape)
        .containsExactly(new long[] {2, 3, 16, 24}, new long[] {2, 3, 4, 6});
    assertThat(g.variables()).extracting(Variable::name).contains("auxiliary_head.conv_seg.bias");
    Graph inference = Trials.build(Graph.Mode.INFERENCE, model, 2, 16, 24);
    assertThat(inference.variables())
        .noneMatch(variable -> variable.name().startsWith("auxiliary_head."));
  }

  @Test
  void theHeadIsAllButTheBackbone() {
    Model model = model(VIT);
    assertThat(model.isHead("decode_head.conv_seg.weight")).isTrue();
    assertThat(model.isHead("auxiliary_head.conv_seg.weight")).isTrue();
    assertThat(model.isHead("backbone.fpn1.0.weight")).isFalse();
  }

  /** The maps of the blocks, a pyramid in plain loops, and the head by itself. */
  @Test
  void isItsPartsOneAfterTheOther() {
    Graph whole = Trials.build(Graph.Mode.INFERENCE, model(VIT), 2, 16, 24);
    Map<String, HostTensor> state = new HashMap<>();
    Draw draw = new Draw(7);
    for (Variable variable : whole.variables()) {
      long[] shape = variable.tensor().shape();
      state.put(
          variable.name(),
          variable.role() == Variable.Role.COUNTER
              ? HostTensor.ofLongs(new long[1])
              : variable.name().endsWith("var") ? draw.positive(shape) : draw.values(shape));
    }
    HostTensor image = draw.values(2, 2, 16, 24);
    float[] expected = run(whole, state, Map.of("image", image)).get("logits").floats();

    Graph encoder = new Graph(Graph.Mode.INFERENCE, 1);
    TokenEncoder vit =
        (TokenEncoder) Models.of(ConfigFactory.parseString(VIT).getConfig("backbone"));
    List<Tensor> maps =
        vit.features(
            encoder, "backbone.", encoder.input("image", 2, 2, 16, 24), List.of(0, 1, 2, 3));
    IntStream.range(0, 4).forEach(i -> encoder.output("map" + i, maps.get(i)));
    Map<String, HostTensor> made = run(encoder, state, Map.of("image", image));
    Map<String, HostTensor> levels = new HashMap<>();
    HostTensor finest = doubled(made.get("map0"), state, "backbone.fpn1.0");
    finest = doubled(activated(finest, state), state, "backbone.fpn1.3");
    levels.put("level0", finest);
    levels.put("level1", doubled(made.get("map1"), state, "backbone.fpn2.0"));
    levels.put("level2", made.get("map2"));
    levels.put("level3", halved(made.get("map3")));

    Graph head = new Graph(Graph.Mode.INFERENCE, 1);
    List<Tensor> inputs = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      inputs.add(head.input("level" + i, levels.get("level" + i).shape()));
    }
    String conf =
        "name = upernet-head, in-channels = [8, 8, 8, 8], channels = 12, classes = 3,"
            + " pool-scales = [1, 2, 3]";
    head.output("logits", Trials.model(conf).apply(head, inputs).get(0));
    Map<String, HostTensor> ofHead = new HashMap<>();
    state.forEach((name, value) -> ofHead.put(name.replace("decode_head.", ""), value));
    float[] found = run(head, ofHead, levels).get("logits").floats();
    double size = 0;
    for (float value : expected) {
      size = Math.max(size, Math.abs(value));
    }
    assertThat(found).containsExactly(expected, within((float) (1e-4 * size)));
  }

  private static Map<String, HostTensor> run(
      Graph g, Map<String, HostTensor> state, Map<String, HostTensor> inputs) {
    Map<String, HostTensor> own = new HashMap<>(state);
    own.keySet().retainAll(g.variables().stream().map(Variable::name).toList());
    try (Engine engine = Engines.open("compiled", g, null)) {
      engine.load(own);
      return engine.forward(inputs);
    }
  }

  /** A transposed convolution with windows of 2 x 2 that do not overlap. */
  private static HostTensor doubled(HostTensor x, Map<String, HostTensor> state, String layer) {
    int height = (int) x.shape()[2];
    int width = (int) x.shape()[3];
    float[] weight = state.get(layer + ".weight").floats();
    float[] bias = state.get(layer + ".bias").floats();
    int channels = bias.length;
    float[] y = new float[4 * x.floats().length];
    for (int i = 0; i < y.length; i++) {
      int column = i % (2 * width);
      int row = i / (2 * width) % (2 * height);
      int out = i / (4 * width * height) % channels;
      int sample = i / (4 * width * height) / channels;
      double sum = bias[out];
      for (int c = 0; c < channels; c++) {
        int place = ((sample * channels + c) * height + row / 2) * width + column / 2;
        sum += x.floats()[place] * weight[((c * channels + out) * 2 + row % 2) * 2 + column % 2];
      }
      y[i] = (float) sum;
    }
    return HostTensor.of(y, x.shape()[0], channels, 2L * height, 2L * width);
  }

  /** Batch norm and GELU. */
  private static HostTensor activated(HostTensor x, Map<String, HostTensor> state) {
    String norm = "backbone.fpn1.1.";
    int pixels = (int) (x.shape()[2] * x.shape()[3]);
    int channels = (int) x.shape()[1];
    float[] y = new float[x.floats().length];
    for (int i = 0; i < y.length; i++) {
      int c = i / pixels % channels;
      double centred = x.floats()[i] - state.get(norm + "running_mean").floats()[c];
      double deviation = Math.sqrt(state.get(norm + "running_var").floats()[c] + 1e-5);
      double value =
          centred / deviation * state.get(norm + "weight").floats()[c]
              + state.get(norm + "bias").floats()[c];
      y[i] = (float) (value * 0.5 * (1 + Erf.erf(value / Math.sqrt(2))));
    }
    return HostTensor.of(y, x.shape());
  }

  /** Maxima of 2 x 2 windows. */
  private static HostTensor halved(HostTensor x) {
    List<double[][]> images = Trial.images(x);
    int width = (int) x.shape()[3];
    float[] y = new float[x.floats().length / 4];
    int at = 0;
    for (double[][] image : images) {
      for (double[] channel : Trial.maxPool(image, width)) {
        for (double value : channel) {
          y[at++] = (float) value;
        }
      }
    }
    return HostTensor.of(y, x.shape()[0], x.shape()[1], x.shape()[2] / 2, width / 2);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "name = upernet-vim-tiny, backbone.dim = big"
            + " | Invalid dim: \"big\" (must be a whole number >= 1)",
        "name = upernet-vim-tiny, blocks = [6, 12, 18, 25]"
            + " | Invalid blocks: [6,12,18,25] (must be ascending, up to the backbone's 24)",
        "name = upernet-vim-tiny, blocks = [6, 12, 12, 24]"
            + " | Invalid blocks: [6,12,12,24] (must be ascending, up to the backbone's 24)",
        "name = upernet, channels = 3"
            + " | Invalid backbone: missing (must be a model's name and keys in braces)",
        "name = upernet, backbone { name = resnet50 }"
            + " | Invalid backbone: {\"name\":\"resnet50\"} (must be a vision transformer or Vim)"
      })
  void refusesAConfThatDoesNotFit(String conf, String message) {
    assertThatThrownBy(() -> Trials.model(conf))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "block | Cannot read features of vim: its blocks form pairs",
        "sequence | Cannot read maps of vim: its tokens are reversed by chance"
      })
  void refusesStrategiesWhoseBlocksGiveNoMaps(String strategy, String message) {
    String backbone = VIM.replace("ssm-conv", strategy) + "cls-token = none, pool = mean }";
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, model(backbone), 1, 16))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
