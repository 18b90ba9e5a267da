package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
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

class DenseNetTest {

  private static Model tiny(int dims, double dropout) {
    return Models.of(
        ConfigFactory.parseString(
            """
            name = densenet
            spatial-dims = %d
            in-channels = 2
            growth-rate = 4
            blocks = [2, 2]
            init-features = 6
            bottleneck = 2
            dropout = %s
            classes = 3
            """
                .formatted(dims, dropout)));
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

  /** Published counts; those of 264 and of 3D follow from the same formulas. */
  @ParameterizedTest
  @CsvSource({
    "densenet121, 1000, 7978856",
    "densenet161, 1000, 28681000",
    "densenet169, 1000, 14149480",
    "densenet201, 1000, 20013928",
    "densenet264, 1000, 33337704",
    "densenet121-3d, 2, 11244674",
    "densenet169-3d, 2, 18546050",
    "densenet201-3d, 2, 25334658",
    "densenet264-3d, 2, 40251266",
    "densenet121-3d, 1000, 12267624",
    "densenet169-3d, 1000, 20207720",
    "densenet201-3d, 1000, 27251816",
    "densenet264-3d, 1000, 42934888"
  })
  void hasThePublishedNumberOfParameters(String name, int classes, long parameters) {
    Model model =
        Models.of(
            ConfigFactory.parseString(String.format("name = %s, classes = %d", name, classes)));
    Graph g = build(Graph.Mode.INFERENCE, model, 1, 224);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(1, classes);
  }

  @ParameterizedTest
  @CsvSource({
    "densenet121-3d, 11242624, 256 512 1024 1024",
    "densenet169-3d, 18542720, 256 512 1280 1664",
    "densenet201-3d, 25330816, 256 512 1792 1920",
    "densenet264-3d, 40245888, 256 512 2304 2688"
  })
  void asABackboneItHasAMapPerBlock(String name, long parameters, String widths) {
    Backbone model = (Backbone) Models.of(ConfigFactory.parseString("name = " + name));
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    List<Tensor> maps = model.features(g, "encoder.", g.input("image", 2, 1, 64, 96, 33));
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(maps.stream().map(map -> String.valueOf(map.size(1))))
        .isEqualTo(List.of(widths.split(" ")));
    assertThat(maps.stream().map(map -> map.size(2))).containsExactly(16L, 8L, 4L, 2L);
    assertThat(maps.stream().map(map -> map.size(4))).containsExactly(9L, 4L, 2L, 1L);
    assertThat(g.variables())
        .extracting(Variable::name)
        .allMatch(variable -> variable.startsWith("encoder.features."));
  }

  /** What a backbone gives is what the classifier reads. */
  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void theLastMapAveragedAndClassifiedIsTheLogits(int dims) {
    Graph g = build(Graph.Mode.INFERENCE, tiny(dims, 0), 2, 9);
    Graph encoder = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor image = encoder.input("image", g.inputs().get("image").shape());
    List<Tensor> maps = ((Backbone) tiny(dims, 0)).features(encoder, "", image);
    encoder.output("averages", encoder.globalAveragePool(maps.get(1)));
    Map<String, HostTensor> values = Map.of("image", Draw.normal(1, image.shape()));
    try (Engine whole = Engines.open("nd4j", g, null);
        Engine part = Engines.open("nd4j", encoder, null)) {
      Map<String, HostTensor> state = whole.state();
      float[] weight =
          state.get(dims == 2 ? "classifier.weight" : "class_layers.out.weight").floats();
      Map<String, HostTensor> shared = part.state();
      shared.replaceAll((name, tensor) -> state.get(name));
      part.load(shared);
      float[] averages = part.forward(values).get("averages").floats(); // (2, C)
      float[] logits = whole.forward(values).get("logits").floats(); // (2, 3)
      int channels = averages.length / 2;
      for (int i = 0; i < logits.length; i++) {
        double sum = 0; // the bias starts at zero
        for (int c = 0; c < channels; c++) {
          sum += (double) averages[i / 3 * channels + c] * weight[i % 3 * channels + c];
        }
        assertThat((double) logits[i]).isCloseTo(sum, within(1e-5));
      }
    }
  }

  @Test
  void variantsTakeOtherKeys() {
    Model model =
        Models.of(ConfigFactory.parseString("name=densenet121, classes=10, in-channels=1"));
    assertThat(build(Graph.Mode.INFERENCE, model, 1, 29).parameterCount())
        .isEqualTo(7_978_856 - 990 * 1025 - 2 * 3136);
  }

  @Test
  void namesItsStateAsTorchvisionDoes() {
    assertThat(build(Graph.Mode.INFERENCE, tiny(2, 0), 1, 5).variables())
        .extracting(Variable::name)
        .startsWith(
            "features.conv0.weight",
            "features.norm0.weight",
            "features.norm0.bias",
            "features.norm0.running_mean",
            "features.norm0.running_var",
            "features.norm0.num_batches_tracked",
            "features.denseblock1.denselayer1.norm1.weight")
        .contains(
            "features.denseblock1.denselayer2.conv2.weight",
            "features.transition1.norm.bias",
            "features.transition1.conv.weight",
            "features.norm5.weight")
        .endsWith("classifier.weight", "classifier.bias");
  }

  @Test
  void namesTheStateOf3dAsMonaiDoes() {
    assertThat(build(Graph.Mode.INFERENCE, tiny(3, 0), 1, 5).variables())
        .extracting(Variable::name)
        .contains("features.denseblock2.denselayer1.layers.norm1.weight")
        .endsWith("class_layers.out.weight", "class_layers.out.bias");
  }

  @Test
  void startsAsPublished() {
    Model model = tiny(2, 0);
    try (Engine engine = Engines.open("nd4j", build(Graph.Mode.INFERENCE, model, 1, 5), null)) {
      Map<String, HostTensor> state = engine.state();
      assertThat(state.get("features.norm5.weight").floats()).containsOnly(1);
      assertThat(state.get("features.norm5.bias").floats()).containsOnly(0);
      assertThat(state.get("features.norm5.running_mean").floats()).containsOnly(0);
      assertThat(state.get("features.norm5.running_var").floats()).containsOnly(1);
      assertThat(state.get("classifier.bias").floats()).containsOnly(0);
      assertThat(state.get("features.norm5.num_batches_tracked").longs()).containsExactly(0);
    }
  }

  /** Ties the layers to their initializers: He's normal of the fan-in, PyTorch's uniform. */
  @ParameterizedTest
  @CsvSource({"2, 49, classifier.weight", "3, 343, class_layers.out.weight"})
  void startsWithTheSpreadOfTheFanIn(int dims, int kernel, String head) {
    Graph g = build(Graph.Mode.INFERENCE, tiny(dims, 0), 1, 5);
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      float[] stem = state.get("features.conv0.weight").floats();
      double squares = 0;
      for (float value : stem) {
        squares += (double) value * value;
      }
      // Four standard errors of a standard deviation.
      double deviation = Math.sqrt(2.0 / (2 * kernel));
      assertThat(Math.sqrt(squares / stem.length))
          .isCloseTo(deviation, within(4 * deviation / Math.sqrt(2.0 * stem.length)));

      double bound = 1 / Math.sqrt((double) state.get(head).shape()[1]);
      float largest = 0;
      for (float value : state.get(head).floats()) {
        largest = Math.max(largest, Math.abs(value));
      }
      assertThat((double) largest).isBetween(0.9 * bound, bound);
    }
  }

  @Test
  void refusesSizesBeyondAnyArray() {
    Model wide = Models.of(ConfigFactory.parseString("name = densenet121, classes = 2147483647"));
    assertThatThrownBy(() -> build(Graph.Mode.INFERENCE, wide, 1, 32))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot declare classifier.weight[2147483647, 1024]: it holds more than 2147483639"
                + " numbers");
    String ones = "1, ".repeat(69) + "1";
    Model deep =
        Models.of(ConfigFactory.parseString("name = densenet121, blocks = [" + ones + "]"));
    assertThatThrownBy(() -> build(Graph.Mode.INFERENCE, deep, 1, 224))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build densenet121: image size 224 is too small, its 70 blocks need at least"
                + " 4398046511101");
  }

  @Test
  void takesOneSizeForSquaresOrOnePerAxis() {
    Model flat = tiny(2, 0);
    assertThat(flat.inputShapes(4, 32).get(0)).containsExactly(4, 2, 32, 32);
    assertThat(flat.inputShapes(4, 32, 48).get(0)).containsExactly(4, 2, 32, 48);
    assertThat(tiny(3, 0).inputShapes(1, 16).get(0)).containsExactly(1, 2, 16, 16, 16);
    assertThatThrownBy(() -> flat.inputShapes(1, 2, 3, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid image-size: [2, 3, 4] (model densenet takes one number or 2)");
  }

  @Test
  void refusesImagesThatAreTooSmall() {
    Model model = Models.of(ConfigFactory.parseString("name = densenet121"));
    build(Graph.Mode.INFERENCE, model, 1, 29);
    assertThatThrownBy(() -> build(Graph.Mode.INFERENCE, model, 1, 28))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build densenet121: image size 28 is too small, its 4 blocks need at least 29");
  }

  @Test
  void refusesInputsOfAnotherRankOrNumberOfChannels() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor x = g.input("image", 1, 3, 32, 32);
    assertThatThrownBy(() -> tiny(2, 0).apply(g, List.of(x)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build densenet: it takes 2 channels and 2 spatial axes, the input is"
                + " image[1, 3, 32, 32]");
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void dropoutActsOnNewFeaturesInTrainingOnly(int dims) {
    Model model = tiny(dims, 0.3);
    List<Node> dropouts =
        build(Graph.Mode.TRAINING, model, 2, 9).nodes().stream()
            .filter(node -> node.kind() == Node.Kind.DROPOUT)
            .toList();
    assertThat(dropouts).hasSize(4);
    for (Node dropout : dropouts) {
      assertThat(dropout.input(0).size(1)).isEqualTo(4);
      // torchvision drops elements, MONAI channels.
      long[] mask = dims == 2 ? dropout.input(0).shape() : new long[] {2, 4, 1, 1, 1};
      assertThat(dropout.sizes("mask")).containsExactly(mask);
    }
    assertThat(build(Graph.Mode.INFERENCE, model, 2, 9).nodes())
        .extracting(Node::kind)
        .doesNotContain(Node.Kind.DROPOUT);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void keepsGradientsFiniteAndLearns(int dims) {
    Graph g = build(Graph.Mode.TRAINING, tiny(dims, 0.1), 4, 11);
    OptimizerConfig sgd =
        OptimizerConfig.of(OptimizerConfig.Name.SGD).withNesterov(0.9).withWeightDecay(1e-4);
    Map<String, HostTensor> batch =
        Map.of(
            "image", Draw.normal(1, g.inputs().get("image").shape()),
            "labels", Draw.labels(2, 3, 4));
    try (Engine engine = Engines.open("nd4j", g, sgd)) {
      float first = engine.forwardBackward(batch).get("loss").floats()[0];
      for (Variable variable : g.variables()) {
        if (variable.role() == Variable.Role.PARAMETER) {
          for (float value : engine.gradient(variable.name()).floats()) {
            assertThat(value).as(variable.name()).isFinite();
          }
        }
      }
      for (int i = 0; i < 15; i++) {
        engine.forwardBackward(batch);
        engine.update(0.05);
      }
      assertThat(engine.forwardBackward(batch).get("loss").floats()[0]).isLessThan(first / 2);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void savedGraphGivesTheSameLogitsInPlainSameDiff(int dims, @TempDir Path folder)
      throws IOException {
    Graph g = build(Graph.Mode.INFERENCE, tiny(dims, 0.2), 2, 13);
    HostTensor image = Draw.normal(1, g.inputs().get("image").shape());
    Path file = folder.resolve("model.sd");
    float[] logits;
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      Random random = new Random(3);
      state.forEach(
          (name, tensor) -> {
            if (tensor.isFloat() && tensor.shape().length == 1) {
              for (int i = 0; i < tensor.floats().length; i++) {
                tensor.floats()[i] = 0.5f + random.nextFloat(); // norms that do something
              }
            }
          });
      engine.load(state);
      logits = engine.forward(Map.of("image", image)).get("logits").floats();
      g.save(file, engine.state());
    }

    SameDiff plain = SameDiff.load(file.toFile(), false);
    INDArray input = Nd4j.createFromArray(image.floats()).reshape(image.shape());
    INDArray output = plain.output(Map.of("image", input), "logits").get("logits");
    assertThat(output.shape()).containsExactly(2, 3);
    assertThat(output.dup('c').data().asFloat()).containsExactly(logits, within(1e-4f));
    assertThat(plain.getVariable("features.conv0.weight")).isNotNull();
  }

  @Test
  void onlyAnInferenceGraphIsSaved(@TempDir Path folder) {
    Graph g = build(Graph.Mode.TRAINING, tiny(2, 0), 2, 9);
    Path file = folder.resolve("model.sd");
    assertThatThrownBy(() -> g.save(file, Map.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot save %s: the graph was built for training", file);
    assertThat(file).doesNotExist();
  }
}
