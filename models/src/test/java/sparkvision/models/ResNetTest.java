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
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

class ResNetTest {

  private static Graph build(Graph.Mode mode, String conf, int batch, int... size) {
    Model model = Models.of(ConfigFactory.parseString(conf));
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
  @CsvSource({
    "resnet18, 11689512",
    "resnet34, 21797672",
    "resnet50, 25557032",
    "resnet101, 44549160",
    "cbam-resnet18, 11779392",
    "cbam-resnet34, 21960468",
    "cbam-resnet50, 28089624",
    "cbam-resnet101, 49330172"
  })
  void hasThePublishedNumberOfParameters(String name, long parameters) {
    Graph g = build(Graph.Mode.INFERENCE, "name = " + name, 2, 224);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs().get("logits").shape()).containsExactly(2, 1000);
  }

  @Test
  void namesItsStateAsTorchvisionDoes() {
    assertThat(build(Graph.Mode.INFERENCE, "name = resnet50", 1, 32).variables())
        .extracting(Variable::name)
        .startsWith("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean")
        .contains(
            "layer1.0.conv3.weight",
            "layer1.0.downsample.0.weight",
            "layer1.0.downsample.1.running_var",
            "layer3.5.bn2.num_batches_tracked")
        .doesNotContain("layer1.1.downsample.0.weight")
        .endsWith("fc.weight", "fc.bias");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "name = resnet, depth = 18, stem = cifar",
        "name = resnet, depth = 50, stem = deep",
        "name = cbam-resnet, depth = 18, stem = imagenet",
        "name = cbam-resnet, depth = 50, stem = cifar"
      })
  void keepsGradientsFiniteAndLearns(String conf) {
    Graph g = build(Graph.Mode.TRAINING, conf + ", width = 16, classes = 3", 4, 33, 40);
    Map<String, HostTensor> batch =
        Map.of(
            "image", Draw.normal(1, g.inputs().get("image").shape()),
            "labels", HostTensor.ofLongs(new long[] {0, 1, 2, 0}, 4));
    OptimizerConfig sgd = OptimizerConfig.of(OptimizerConfig.Name.SGD).withMomentum(0.9);
    try (Engine engine = Engines.open("compiled", g, sgd)) {
      float first = engine.forwardBackward(batch).get("loss").floats()[0];
      for (Variable variable : g.variables()) {
        if (variable.role() == Variable.Role.PARAMETER) {
          for (float value : engine.gradient(variable.name()).floats()) {
            assertThat(value).as(variable.name()).isFinite();
          }
        }
      }
      for (int i = 0; i < 10; i++) {
        engine.forwardBackward(batch);
        engine.update(0.01);
      }
      assertThat(engine.forwardBackward(batch).get("loss").floats()[0]).isLessThan(first / 2);
    }
  }

  @Test
  void startsWithTheSpreadOfTheFanOutAndGatesHalfOpen() {
    String conf = "name = cbam-resnet, depth = 18, width = 16, stem = imagenet, classes = 3";
    try (Engine engine = Engines.open("nd4j", build(Graph.Mode.INFERENCE, conf, 1, 32), null)) {
      Map<String, HostTensor> state = engine.state();
      float[] stem = state.get("conv1.weight").floats();
      double squares = 0;
      for (float value : stem) {
        squares += (double) value * value;
      }
      double deviation = Math.sqrt(2.0 / (16 * 49));
      // Four standard errors of a standard deviation.
      assertThat(Math.sqrt(squares / stem.length))
          .isCloseTo(deviation, within(4 * deviation / Math.sqrt(2.0 * stem.length)));
      assertThat(state.get("layer1.0.cbam.SpatialGate.spatial.bn.weight").floats()).containsOnly(0);
      assertThat(state.get("layer1.0.bn2.weight").floats()).containsOnly(1);
    }
  }

  @Test
  void refusesWhatItCannotBe() {
    assertThatThrownBy(() -> Models.of(ConfigFactory.parseString("name = resnet50, depth = 51")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid depth: 51 (must be one of 18, 34, 50, 101)");
    assertThatThrownBy(() -> build(Graph.Mode.INFERENCE, "name = resnet50", 1, 32, 32, 32))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid image-size: [32, 32, 32] (model resnet50 takes one number or 2)");
    assertThatThrownBy(() -> build(Graph.Mode.INFERENCE, "name = cbam-resnet18, width = 8", 1, 32))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot build layer1.0.cbam.CBAM: reduction 16 must be at most its 8 channels");
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor grey = g.input("image", 1, 1, 32, 32);
    assertThatThrownBy(
            () -> Models.of(ConfigFactory.parseString("name = resnet18")).apply(g, List.of(grey)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build resnet18: it takes 3 channels and 2 spatial axes, the input is image[1, 1,"
                + " 32, 32]");
  }
}
