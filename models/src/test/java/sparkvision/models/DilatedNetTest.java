package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;

import com.typesafe.config.ConfigFactory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
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
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** The networks that label every pixel. */
class DilatedNetTest {

  private static final String TINY =
      "depth = 18, width = 8, stem = deep, auxiliary-weight = 0.4, classes = 3";

  private static Graph build(Graph.Mode mode, String conf, int batch, int... size) {
    Model model = Models.of(ConfigFactory.parseString(conf));
    Graph g = new Graph(mode, 1);
    Tensor x = g.input("image", model.inputShapes(batch, size).get(0));
    List<Tensor> outputs = model.apply(g, List.of(x));
    for (int i = 0; i < outputs.size(); i++) {
      g.output("logits." + i, outputs.get(i));
    }
    if (mode == Graph.Mode.TRAINING) {
      Tensor labels = g.indices("labels", batch, x.size(2), x.size(3));
      for (int i = 0; i < outputs.size(); i++) {
        g.loss(
            Losses.crossEntropy(g, outputs.get(i), labels, 0),
            i == 0 ? 1 : model.auxiliaryWeight());
      }
    }
    return g;
  }

  /**
   * Backbones: torchvision's without its classifier (23,508,032 and 42,500,160) and 123,776 more
   * for the deep stem. Heads: published for 19 classes, with 131 classes more.
   */
  @ParameterizedTest
  @CsvSource({
    "danet-resnet50, 47788036, 3",
    "danet-resnet101, 66780164, 3",
    "ccnet-resnet50, 52430189, 2",
    "ccnet-resnet101, 71422317, 2",
    "isanet-resnet50, 40310508, 2",
    "isanet-resnet101, 59302636, 2",
    "non-local-net-resnet50, 50228716, 2",
    "non-local-net-resnet101, 69220844, 2",
    "efficient-attention-net-resnet50, 50228716, 2",
    "efficient-attention-net-resnet101, 69220844, 2"
  })
  void hasAsManyParametersAsItsPartsAndLabelsEveryPixel(String name, long parameters, int outputs) {
    Graph g = build(Graph.Mode.TRAINING, "name = " + name, 2, 97, 129);
    assertThat(g.parameterCount()).isEqualTo(parameters);
    assertThat(g.outputs()).hasSize(outputs);
    assertThat(g.outputs().values())
        .allSatisfy(logits -> assertThat(logits.shape()).containsExactly(2, 150, 97, 129));
  }

  @ParameterizedTest
  @CsvSource({
    "danet-resnet50, 'head.conv6.1, head.conv7.1', 1",
    "ccnet-resnet50, dsn, 0.4",
    "isanet-resnet50, dsn_head, 0.4",
    "non-local-net-resnet50, auxiliary_head, 0.4",
    "efficient-attention-net-resnet50, auxiliary_head, 0.4"
  })
  void anInferenceGraphHasNoAuxiliaryHeads(String name, String heads, double weight) {
    Graph g = build(Graph.Mode.INFERENCE, "name = " + name, 1, 64);
    assertThat(g.outputs()).hasSize(1);
    Model model = Models.of(ConfigFactory.parseString("name = " + name));
    assertThat(model.auxiliaryWeight()).isEqualTo(weight);
    List<String> training =
        build(Graph.Mode.TRAINING, "name = " + name, 1, 64).variables().stream()
            .map(Variable::name)
            .toList();
    List<String> left =
        training.stream()
            .filter(v -> Stream.of(heads.split(", ")).noneMatch(head -> v.startsWith(head + ".")))
            .toList();
    assertThat(g.variables()).extracting(Variable::name).isEqualTo(left);
    assertThat(left).hasSizeLessThan(training.size());
  }

  @Test
  void theHeadIsAllButTheBackbone() {
    Model model = Models.of(ConfigFactory.parseString("name = isanet-resnet50"));
    assertThat(model.isHead("isa_head.0.weight")).isTrue();
    assertThat(model.isHead("dsn_head.3.bias")).isTrue();
    assertThat(model.isHead("backbone.layer4.0.conv1.weight")).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    "'danet-head, inter-channels = 512', 23954619",
    "'ccnet-head, inter-channels = 512, recurrence = 2', 23934100",
    "'isanet-head, inter-channels = 512, down-factor = 8', 11814419"
  })
  void headsHaveThePublishedNumberOfParameters(String head, long parameters) {
    String conf = "in-channels = 2048, classes = 19, name = " + head;
    assertThat(new Trial(conf, new long[] {1, 2048, 1, 1}).parameters()).isEqualTo(parameters);
  }

  /** The last two stages keep an eighth of the size; these are the holes of their 3 x 3 windows. */
  @ParameterizedTest
  @CsvSource({
    "isanet-resnet50, '1, 2, 2, 2, 2, 2', '2, 4, 4'",
    "ccnet-resnet50, '2, 2, 2, 2, 2, 2', '4, 4, 4'",
    "danet-resnet50, '1, 2, 2, 2, 2, 2', '4, 8, 16'"
  })
  void hasTheDilationsOfItsCode(String name, String third, String fourth) {
    Graph g = build(Graph.Mode.INFERENCE, "name = " + name, 1, 64);
    assertThat(holes(g, "backbone.layer3.")).isEqualTo("[" + third + "]");
    assertThat(holes(g, "backbone.layer4.")).isEqualTo("[" + fourth + "]");
    assertThat(
            g.nodes().stream()
                .filter(node -> reads(node, "backbone.layer4.2.conv3.weight"))
                .map(node -> node.output().size(2)))
        .containsExactly(8L);
  }

  private static String holes(Graph g, String stage) {
    return g.nodes().stream()
        .filter(node -> node.kind() == Node.Kind.CONV)
        .filter(node -> node.input(1).name().matches(stage + "\\d+\\.conv2\\.weight"))
        .map(node -> node.sizes("dilation")[0])
        .toList()
        .toString();
  }

  private static boolean reads(Node node, String weight) {
    return node.inputs().size() > 1 && node.input(1).name().equals(weight);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "name = danet, dropout = 0.1, channel-weighting = code",
        "name = danet, dropout = 0, channel-weighting = paper",
        "name = ccnet, dropout = 0.1, recurrence = 2",
        "name = isanet, dropout = 0.05, down-factor = [2, 3]",
        "name = non-local-net, dropout = 0.1, reduction = 2",
        "name = efficient-attention-net, dropout = 0.1, heads = 2"
      })
  void learnsAndSurvivesSaveAndLoad(String conf) throws IOException {
    Graph g = build(Graph.Mode.TRAINING, conf + ", " + TINY, 2, 33, 40);
    HostTensor image = Draw.normal(1, 2, 3, 33, 40);
    long[] halves = IntStream.range(0, 2 * 33 * 40).mapToLong(i -> i % 40 < 20 ? 0 : 2).toArray();
    Map<String, HostTensor> batch =
        Map.of("image", image, "labels", HostTensor.ofLongs(halves, 2, 33, 40));
    OptimizerConfig sgd = OptimizerConfig.of(OptimizerConfig.Name.SGD).withMomentum(0.9);
    Map<String, HostTensor> state;
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
        engine.update(0.02);
      }
      assertThat(engine.forwardBackward(batch).get("loss").floats()[0]).isLessThan(first / 2);
      state = engine.state();
    }

    ByteArrayOutputStream file = new ByteArrayOutputStream();
    Safetensors.write(file, state, Map.of());
    Map<String, HostTensor> read =
        Safetensors.read(new ByteArrayInputStream(file.toByteArray())).tensors();
    assertThat(logits(conf, read, image)).isEqualTo(logits(conf, state, image));
  }

  private static float[] logits(String conf, Map<String, HostTensor> state, HostTensor image) {
    Graph g = build(Graph.Mode.INFERENCE, conf + ", " + TINY, 2, 33, 40);
    try (Engine engine = Engines.open("compiled", g, null)) {
      Map<String, HostTensor> used = new HashMap<>(state);
      used.keySet().retainAll(g.variables().stream().map(Variable::name).toList());
      engine.load(used);
      return engine.forward(Map.of("image", image)).get("logits.0").floats();
    }
  }

  /** As its code has it: batch norms that do not count batches, for which training must not ask. */
  @Test
  void ccNetsHeadsCountNoBatches() {
    assertThat(build(Graph.Mode.TRAINING, "name = ccnet-resnet50", 1, 64).variables())
        .extracting(Variable::name)
        .contains("head.conva.1.running_var", "backbone.bn1.num_batches_tracked")
        .doesNotContain("head.conva.1.num_batches_tracked", "dsn.1.num_batches_tracked");
  }
}
