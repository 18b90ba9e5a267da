package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.autodiff.samediff.VariableType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import sparkvision.Draw;
import sparkvision.Networks;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.weights.HostTensor;

class SameDiffFileTest {

  /** The networks that an inference graph can hold: all but the losses. */
  static Stream<String> networks() {
    return Networks.ALL.keySet().stream().filter(name -> !name.endsWith("cross-entropy"));
  }

  private static Graph graph(String network) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 7);
    g.output("y", Networks.ALL.get(network).apply(g));
    return g;
  }

  @ParameterizedTest
  @MethodSource("networks")
  void plainSameDiffComputesTheSame(String network, @TempDir Path folder) throws IOException {
    Graph g = graph(network);
    Path file = folder.resolve("network.sd");
    HostTensor y;
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      Random random = new Random(3);
      state.forEach(
          (name, tensor) -> {
            if (tensor.isFloat() && tensor.shape().length == 1) {
              for (int i = 0; i < tensor.floats().length; i++) {
                tensor.floats()[i] = 0.5f + random.nextFloat(); // biases, norms that do something
              }
            }
          });
      engine.load(state);
      y = engine.forward(Map.of()).get("y");
      g.save(file, engine.state());
    }

    INDArray output = SameDiff.load(file.toFile(), false).output(Map.of(), "y").get("y");
    assertThat(output.shape()).containsExactly(y.shape());
    assertThat(output.dup('c').data().asFloat()).containsExactly(y.floats(), within(1e-4f));
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactly(file);
    }
  }

  static Stream<Arguments> sentences() {
    return Sentences.ALL.keySet().stream()
        .flatMap(
            sentence ->
                Arrays.stream(Graph.Precision.values())
                    .map(precision -> Arguments.of(sentence, precision)));
  }

  /** In doubles that leaves no room for another formula, and floats take other native code. */
  @ParameterizedTest
  @MethodSource("sentences")
  void plainSameDiffComputesWhatPlainLoopsDo(
      String sentence, Graph.Precision precision, @TempDir Path folder) throws IOException {
    Graph g = Sentences.graph(sentence, precision);
    Tensor y = g.outputs().get("result");
    Map<String, HostTensor> given = Sentences.given(g);
    Path file = folder.resolve("network.sd");
    g.save(file, given);

    Map<String, INDArray> placeholders = new HashMap<>();
    g.inputs()
        .forEach(
            (name, tensor) ->
                placeholders.put(
                    name,
                    Nd4j.createFromArray(given.get(name).longs()).reshape('c', tensor.shape())));
    double[] expected = Naive.run(g, given).get(y);
    INDArray output =
        SameDiff.load(file.toFile(), false).output(placeholders, "result").get("result");
    assertThat(output.shape()).containsExactly(y.shape());
    double[] found = output.dup('c').data().asDouble();
    assertThat(found).hasSameSizeAs(expected);
    double tolerance = precision == Graph.Precision.DOUBLE ? 1e-11 : 2e-5;
    for (int i = 0; i < found.length; i++) {
      assertThat(found[i])
          .as("element %d", i)
          .isCloseTo(expected[i], within(tolerance * (1 + Math.abs(expected[i]))));
    }
  }

  @Test
  void everyWordIsTried() {
    Set<Node.Kind> tried = // in training
        EnumSet.of(Node.Kind.DROPOUT, Node.Kind.ONE_HOT, Node.Kind.CROSS_ENTROPY);
    for (String sentence : Sentences.ALL.keySet()) {
      Graph g = Sentences.graph(sentence, Graph.Precision.FLOAT);
      g.nodes().forEach(node -> tried.add(node.kind()));
    }
    assertThat(tried).containsExactly(Node.Kind.values());
  }

  @Test
  void refusesWhatServesTrainingOnly(@TempDir Path folder) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 7);
    Losses.crossEntropy(g, Networks.x(g, 6, 5), g.indices("labels", 6), 0);
    assertThatThrownBy(() -> g.save(folder.resolve("network.sd"), Sentences.state(g, 3)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot save graph: CROSS_ENTROPY serves training only");
    assertThat(folder).isEmptyDirectory();
  }

  /** SameDiff calls its own results by the names of operations. */
  @Test
  void namesMayBeThoseOfOperations(@TempDir Path folder) throws IOException {
    Graph g = new Graph(Graph.Mode.INFERENCE, 7);
    Tensor x = g.parameter("add", Draw.normal(), 2, 3);
    Tensor y = g.input("relu", 2, 3);
    g.output("softmax", g.softmax(g.add(x, y), 1));
    g.output("sub", g.subtract(x, g.subtract(y, x)));
    Path file = folder.resolve("network.sd");
    g.save(file, Sentences.state(g, 3));
    Map<String, INDArray> outputs =
        SameDiff.load(file.toFile(), false)
            .output(Map.of("relu", Nd4j.ones(2, 3)), "softmax", "sub");
    float[] ones = {1, 1, 1, 1, 1, 1};
    Map<Tensor, double[]> expected = Naive.run(g, Map.of("relu", HostTensor.of(ones, 2, 3)));
    g.outputs()
        .forEach(
            (name, tensor) ->
                assertThat(outputs.get(name).data().asDouble())
                    .containsExactly(expected.get(tensor), within(1e-6)));
  }

  @Test
  void runningStatisticsAreConstants(@TempDir Path folder) throws IOException {
    Graph g = graph("batch norm 2d");
    Path file = folder.resolve("network.sd");
    try (Engine engine = Engines.open("nd4j", g, null)) {
      g.save(file, engine.state());
    }
    SameDiff plain = SameDiff.load(file.toFile(), false);
    assertThat(plain.getVariable("n.weight").getVariableType()).isEqualTo(VariableType.VARIABLE);
    assertThat(plain.getVariable("n.running_mean").getVariableType())
        .isEqualTo(VariableType.CONSTANT);
    assertThat(plain.getVariable("n.running_var").getVariableType())
        .isEqualTo(VariableType.CONSTANT);
    assertThat(plain.hasVariable("n.num_batches_tracked")).isFalse();
  }

  @Test
  void replacesAFileAsAWhole(@TempDir Path folder) throws IOException {
    Graph g = graph("linear");
    Path file = Files.writeString(folder.resolve("network.sd"), "old");
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Map<String, HostTensor> state = engine.state();
      state.remove("l.bias");
      assertThatThrownBy(() -> g.save(file, state))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("Cannot save graph: the state lacks l.bias");
      assertThat(file).hasContent("old");
      g.save(file, engine.state());
    }
    assertThat(SameDiff.load(file.toFile(), false).hasVariable("l.bias")).isTrue();
  }

  @Test
  void refusesAFolderThatIsMissingOrAFileThatCannotBe(@TempDir Path folder) throws IOException {
    Graph g = graph("linear");
    try (Engine engine = Engines.open("nd4j", g, null)) {
      Path nowhere = folder.resolve("missing").resolve("network.sd");
      assertThatThrownBy(() -> g.save(nowhere, engine.state()))
          .isInstanceOf(IOException.class)
          .hasMessage("Cannot save %s: there is no folder %s", nowhere, nowhere.getParent());
      Path file = folder.resolve("network.sd");
      Files.createDirectories(folder.resolve("network.sd.part"));
      assertThatThrownBy(() -> g.save(file, engine.state()))
          .isInstanceOf(IOException.class)
          .hasMessageStartingWith("Cannot save %s: ", file);
      assertThat(file).doesNotExist();
    }
  }
}
