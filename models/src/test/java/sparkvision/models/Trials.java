package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** What every network with an image, or a volume, and logits (B, K, ...) is put through. */
final class Trials {

  private static final List<String> ENGINES = List.of("nd4j", "compiled");

  private Trials() {}

  /** A model by its conf. */
  static Model model(String conf) {
    return Models.of(ConfigFactory.parseString(conf));
  }

  /** The network, in training with cross-entropy against labels (B, ...). */
  static Graph build(Graph.Mode mode, Model model, int batch, int... size) {
    Graph g = new Graph(mode, 1);
    Tensor x = g.input("image", model.inputShapes(batch, size).get(0));
    Tensor logits = model.apply(g, List.of(x)).get(0);
    g.output("logits", logits);
    if (mode == Graph.Mode.TRAINING) {
      long[] places = logits.shape();
      places[1] = places[0];
      Tensor labels = g.indices("labels", Arrays.copyOfRange(places, 1, places.length));
      g.loss(Losses.crossEntropy(g, logits, labels, 0));
    }
    return g;
  }

  /** On both engines gradients are finite, and some steps on one batch lower its loss. */
  static void keepsGradientsFiniteAndLearns(Model model, int batch, int... size) {
    for (String name : ENGINES) {
      Graph g = build(Graph.Mode.TRAINING, model, batch, size);
      long classes = g.outputs().get("logits").size(1);
      Draw draw = new Draw(1);
      Map<String, HostTensor> values =
          Map.of(
              "image", draw.values(g.inputs().get("image").shape()),
              "labels", draw.indices((int) classes, g.inputs().get("labels").shape()));
      OptimizerConfig adam = OptimizerConfig.of(OptimizerConfig.Name.ADAMW);
      try (Engine engine = Engines.open(name, g, adam)) {
        float first = engine.forwardBackward(values).get("loss").floats()[0];
        for (Variable variable : g.variables()) {
          if (variable.role() == Variable.Role.PARAMETER) {
            for (float value : engine.gradient(variable.name()).floats()) {
              assertThat(value).as(name + " " + variable.name()).isFinite();
            }
          }
        }
        for (int i = 0; i < 15; i++) {
          engine.update(0.01);
          engine.forwardBackward(values);
        }
        float last = engine.forwardBackward(values).get("loss").floats()[0];
        assertThat(last).as(name).isLessThan(0.9f * first);
      }
    }
  }

  /** Weights that come back from safetensors, and the graph in plain SameDiff, give its logits. */
  static void survivesSaveAndLoad(Model model, Path folder, int batch, int... size)
      throws IOException {
    Graph g = build(Graph.Mode.INFERENCE, model, batch, size);
    HostTensor image = Draw.normal(1, g.inputs().get("image").shape());
    Path file = folder.resolve("model.sd");
    ByteArrayOutputStream weights = new ByteArrayOutputStream();
    float[] logits;
    try (Engine engine = Engines.open("compiled", g, null)) {
      engine.load(lively(engine.state()));
      logits = engine.forward(Map.of("image", image)).get("logits").floats();
      Safetensors.write(weights, engine.state(), Map.of());
      g.save(file, engine.state());
    }

    Graph again = build(Graph.Mode.INFERENCE, model, batch, size);
    try (Engine engine = Engines.open("compiled", again, null)) {
      byte[] bytes = weights.toByteArray();
      engine.load(Safetensors.read(new ByteArrayInputStream(bytes)).tensors());
      assertThat(engine.forward(Map.of("image", image)).get("logits").floats())
          .containsExactly(logits);
    }

    SameDiff plain = SameDiff.load(file.toFile(), false);
    INDArray input = Nd4j.createFromArray(image.floats()).reshape(image.shape());
    INDArray output = plain.output(Map.of("image", input), "logits").get("logits");
    assertThat(output.shape()).containsExactly(g.outputs().get("logits").shape());
    assertThat(output.dup('c').data().asFloat()).containsExactly(logits, within(1e-4f));
  }

  /** Every vector other than it starts, so that no norm or bias does nothing. */
  private static Map<String, HostTensor> lively(Map<String, HostTensor> state) {
    Random random = new Random(3);
    state.forEach(
        (name, tensor) -> {
          if (tensor.isFloat() && tensor.shape().length == 1) {
            for (int i = 0; i < tensor.floats().length; i++) {
              tensor.floats()[i] = 0.5f + random.nextFloat();
            }
          }
        });
    return state;
  }

  /** The standard deviation of values around {@code mean} is close to what it should be. */
  static void assertSpread(HostTensor tensor, double mean, double deviation) {
    double squares = 0;
    for (float value : tensor.floats()) {
      squares += (value - mean) * (value - mean);
    }
    int count = tensor.floats().length;
    // Four standard errors of a standard deviation.
    assertThat(Math.sqrt(squares / count))
        .isCloseTo(deviation, within(4 * deviation / Math.sqrt(2.0 * count)));
  }

  /** The largest value is close to the bound of a uniform distribution. */
  static void assertBound(HostTensor tensor, double bound) {
    double largest = 0;
    for (float value : tensor.floats()) {
      largest = Math.max(largest, Math.abs(value));
    }
    assertThat(largest).isBetween(0.9 * bound, bound);
  }
}
