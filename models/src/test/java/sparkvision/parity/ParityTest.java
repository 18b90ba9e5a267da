package sparkvision.parity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.typesafe.config.ConfigFactory;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

class ParityTest {

  /** Beside the checkout; tests run in the module's directory. */
  private static final Path FIXTURES = Path.of("../../shared/fixtures");

  private static final Map<String, Integer> TENSORS = new LinkedHashMap<>();

  static {
    TENSORS.put("densenet-2d-eval", 1);
    TENSORS.put("densenet-2d-train", 81);
    TENSORS.put("densenet-3d-eval", 1);
    TENSORS.put("densenet-3d-train", 69);
    TENSORS.put("curve-densenet-sgd", 1);
    TENSORS.put("vit-eval", 1);
    TENSORS.put("block-non-local-eval", 1);
    TENSORS.put("block-non-local-gaussian-eval", 1);
    TENSORS.put("block-non-local-dot-product-eval", 1);
    TENSORS.put("block-non-local-concatenation-eval", 1);
    TENSORS.put("block-non-local-subsample-eval", 1);
    TENSORS.put("block-position-attention-eval", 1);
    TENSORS.put("block-channel-attention-eval", 1);
    TENSORS.put("block-cbam-eval", 1);
    TENSORS.put("block-cbam-train", 12);
    TENSORS.put("block-attention-gate-eval", 2);
    TENSORS.put("block-attention-gate-bilinear-eval", 2);
    TENSORS.put("block-attention-gate-train", 16);
    TENSORS.put("block-attention-gate-2d-eval", 1);
    TENSORS.put("block-sagan-attention-eval", 1);
    TENSORS.put("block-sagan-attention-pooled-eval", 1);
    TENSORS.put("block-criss-cross-eval", 1);
    TENSORS.put("block-criss-cross-train", 9);
    TENSORS.put("block-recurrent-criss-cross-eval", 1);
    TENSORS.put("block-interlaced-eval", 1);
    TENSORS.put("block-interlaced-padded-eval", 1);
    TENSORS.put("block-efficient-eval", 1);
    TENSORS.put("block-spatial-reduction-eval", 1);
    TENSORS.put("block-spatial-reduction-1-eval", 1);
    TENSORS.put("block-mix-ffn-eval", 1);
    TENSORS.put("block-segformer-eval", 1);
    TENSORS.put("cbam-resnet-18-eval", 1);
    TENSORS.put("cbam-resnet-50-eval", 1);
    TENSORS.put("danet-head-eval", 3);
    TENSORS.put("ccnet-head-eval", 1);
    TENSORS.put("isanet-head-eval", 1);
    TENSORS.put("upernet-head-eval", 1);
    TENSORS.put("segmenter-head-eval", 1);
    TENSORS.put("pvt-eval", 1);
    TENSORS.put("pvt-resized-eval", 1);
    TENSORS.put("segformer-eval", 1);
    TENSORS.put("segformer-train", 120);
    TENSORS.put("attention-unet-single-eval", 1);
    TENSORS.put("attention-unet-multi-eval", 1);
    TENSORS.put("attention-unet-2d-eval", 1);
    TENSORS.put("block-selective-scan-eval", 1);
    TENSORS.put("block-selective-scan-train", 9);
    TENSORS.put("mamba-mixer-none-eval", 1);
    TENSORS.put("mamba-mixer-ssm-conv-eval", 1);
    TENSORS.put("mamba-mixer-ssm-conv-train", 18);
    TENSORS.put("mamba-mixer-ssm-eval", 1);
    TENSORS.put("vim-block-eval", 1);
    TENSORS.put("vim-none-eval", 1);
    TENSORS.put("vim-sequence-eval", 1);
    TENSORS.put("vim-ssm-conv-eval", 1);
    TENSORS.put("vim-ssm-conv-head-eval", 1);
    TENSORS.put("vim-ssm-conv-mean-eval", 1);
    TENSORS.put("vim-ssm-conv-train", 43);
    TENSORS.put("vim-ssm-eval", 1);
  }

  static Stream<Arguments> fixtures() {
    return TENSORS.keySet().stream()
        .flatMap(
            fixture -> Stream.of("nd4j", "compiled").map(engine -> arguments(fixture, engine)));
  }

  @ParameterizedTest
  @MethodSource("fixtures")
  void everyTensorOfTheFixtureAgrees(String fixture, String engine) {
    Path folder = FIXTURES.resolve(fixture);
    assumeTrue(Files.isDirectory(folder), "no fixtures at " + FIXTURES.toAbsolutePath());

    List<String> lines = new ArrayList<>();
    Parity.Result result = Parity.verify(folder, engine, lines::add);

    assertThat(lines).noneMatch(line -> line.endsWith("FAIL"));
    assertThat(result.failed()).isZero();
    assertThat(result.passed()).isEqualTo(TENSORS.get(fixture));
  }

  /** A fixture of our own: the engine's output for weights as they start. */
  private static Map<String, HostTensor> fixture(Path folder) throws IOException {
    String model =
        "{name = densenet, spatial-dims = 2, in-channels = 1, growth-rate = 2, blocks = [1],"
            + " init-features = 3, bottleneck = 2, dropout = 0.0, classes = 2}";
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor input = g.input("input", 2, 1, 6, 6);
    Model network = Models.of(ConfigFactory.parseString(model));
    g.output("output", network.apply(g, List.of(input)).get(0));
    Map<String, HostTensor> io = new LinkedHashMap<>();
    io.put("input", Draw.normal(1, 2, 1, 6, 6));
    Map<String, HostTensor> weights;
    try (Engine engine = Engines.open("nd4j", g, null)) {
      weights = engine.state();
      io.putAll(engine.forward(Map.of("input", io.get("input"))));
    }
    Files.writeString(
        folder.resolve("fixture.conf"),
        "model = %s, mode = eval, tolerance = 1e-6".formatted(model));
    write(folder, "io", io);
    write(folder, "weights", weights);
    return weights;
  }

  private static void write(Path folder, String name, Map<String, HostTensor> tensors)
      throws IOException {
    try (OutputStream out = Files.newOutputStream(folder.resolve(name + ".safetensors"))) {
      Safetensors.write(out, tensors, Map.of());
    }
  }

  @Test
  void reportsAnOutputThatDiffers(@TempDir Path folder) throws IOException {
    Map<String, HostTensor> weights = fixture(folder);
    List<String> lines = new ArrayList<>();
    assertThat(Parity.verify(folder, "nd4j", lines::add)).isEqualTo(new Parity.Result(1, 0));
    assertThat(lines)
        .singleElement()
        .asString()
        .matches("\\Q" + folder.getFileName() + "\\E output \\[2, 2] error \\S+ pass");

    weights.get("classifier.bias").floats()[0] += 0.01f;
    write(folder, "weights", weights);
    lines.clear();
    assertThat(Parity.verify(folder, "nd4j", lines::add)).isEqualTo(new Parity.Result(0, 1));
    assertThat(lines).singleElement().asString().endsWith("FAIL");
  }

  @Test
  void judgesGradientsZeroGradientsAndStateAfterwards(@TempDir Path folder) throws IOException {
    Map<String, HostTensor> weights = fixture(folder);
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor input = g.input("input", 2, 1, 6, 6);
    g.requestGradient(input);
    String model = Files.readString(folder.resolve("fixture.conf")).replace("eval", "train");
    Tensor output =
        Models.of(ConfigFactory.parseString(model).getConfig("model"))
            .apply(g, List.of(input))
            .get(0);
    g.output("output", output);
    g.loss(Losses.weightedSum(g, output, g.input("loss_weights", 2, 2)));
    Map<String, HostTensor> io = new LinkedHashMap<>();
    io.put("input", Draw.normal(1, 2, 1, 6, 6));
    io.put("loss_weights", Draw.normal(2, 2, 2));
    try (Engine engine = Engines.open("nd4j", g, OptimizerConfig.plainSgd())) {
      engine.load(weights);
      io.put("output", engine.forwardBackward(io).get("output"));
      io.put("grad/input", engine.gradient("input"));
      for (Variable variable : g.variables()) {
        if (variable.role() == Variable.Role.PARAMETER) {
          io.put("grad/" + variable.name(), engine.gradient(variable.name()));
        } else {
          io.put("after/" + variable.name(), engine.state().get(variable.name()));
        }
      }
    }
    io.put("grad/ghost", HostTensor.of(new float[1], 1));
    io.get("after/features.norm5.num_batches_tracked").longs()[0]++;
    write(folder, "io", io);
    String zeros = ", zero-gradients = [\"features.conv0.weight\"], zero-atol = 1e-6";
    Files.writeString(folder.resolve("fixture.conf"), model + zeros);

    List<String> lines = new ArrayList<>();
    Parity.Result result = Parity.verify(folder, "nd4j", lines::add);

    assertThat(result).isEqualTo(new Parity.Result(io.size() - 2 - 3, 3));
    assertThat(lines.stream().filter(line -> line.endsWith("FAIL")))
        .satisfiesExactly(
            line ->
                assertThat(line)
                    .startsWith(
                        folder.getFileName() + " grad/features.conv0.weight [3, 1, 7, 7] zero"),
            line -> assertThat(line).endsWith(" grad/ghost [1] computed nothing FAIL"),
            line ->
                assertThat(line)
                    .endsWith(" after/features.norm5.num_batches_tracked [] differs FAIL"));
  }

  @Test
  void refusesWeightsThatAreNotExactlyTheModels(@TempDir Path folder) throws IOException {
    Map<String, HostTensor> weights = fixture(folder);
    weights.remove("classifier.bias");
    weights.put("classifier.offset", HostTensor.of(new float[2], 2));
    write(folder, "weights", weights);
    assertThatThrownBy(() -> Parity.verify(folder, "nd4j", line -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot verify %s: cannot load state: missing classifier.bias; unknown"
                + " classifier.offset",
            folder);
  }

  @Test
  void refusesAnIncompleteFixture(@TempDir Path folder) throws IOException {
    refuses(folder, "fixture.conf: there is no such file");
    fixture(folder);
    Files.delete(folder.resolve("weights.safetensors"));
    refuses(folder, "weights.safetensors: there is no such file");
    fixture(folder);
    write(folder, "io", Map.of("output", HostTensor.of(new float[4], 2, 2)));
    refuses(folder, "io.safetensors: there is no input");
    write(folder, "io", Map.of("input", HostTensor.of(new float[72], 2, 1, 6, 6)));
    refuses(folder, "io.safetensors: it has 0 outputs, the model 1");

    Files.writeString(folder.resolve("io.safetensors"), "short");
    assertThatThrownBy(() -> Parity.verify(folder, "nd4j", line -> {}))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("Cannot verify %s: io.safetensors: it ends within the header's length", folder);
  }

  @Test
  void refusesAConfThatDoesNotFit(@TempDir Path folder) throws IOException {
    fixture(folder);
    String conf = Files.readString(folder.resolve("fixture.conf"));
    Files.writeString(folder.resolve("fixture.conf"), conf + ", tolerence = 1");
    refuses(
        folder,
        "invalid key: tolerence (must be one of model, mode, tolerance, zero-gradients, zero-atol,"
            + " optimizer)");
    Files.writeString(folder.resolve("fixture.conf"), conf.replace("eval", "test"));
    refuses(folder, "invalid mode: test (must be eval, train or curve)");
    Files.writeString(folder.resolve("fixture.conf"), "mode = eval, tolerance = many");
    assertThatThrownBy(() -> Parity.verify(folder, "nd4j", line -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot verify %s: ", folder)
        .hasMessageContaining("tolerance");
  }

  @Test
  void refusesACurveWithoutStepsOrWithAnotherOptimizer(@TempDir Path folder) throws IOException {
    fixture(folder);
    String conf = Files.readString(folder.resolve("fixture.conf")).replace("eval", "curve");
    Files.writeString(folder.resolve("fixture.conf"), conf);
    refuses(folder, "io.safetensors: there is no batches/input");
    Map<String, HostTensor> io = new LinkedHashMap<>();
    io.put("batches/input", HostTensor.of(new float[0], 0, 2, 1, 6, 6));
    io.put("batches/target", HostTensor.ofLongs(new long[0], 0, 2));
    io.put("losses", HostTensor.of(new float[0], 0));
    write(folder, "io", io);
    refuses(
        folder,
        "io.safetensors: batches/input must be float32 (S, B, ...), batches/target int64 (S, B),"
            + " losses float32 (S), S >= 1; found float32[0, 2, 1, 6, 6], int64[0, 2],"
            + " float32[0]");

    io.put("batches/input", HostTensor.of(new float[72], 1, 2, 1, 6, 6));
    io.put("batches/target", HostTensor.ofLongs(new long[2], 1, 2));
    io.put("losses", HostTensor.of(new float[1], 1));
    write(folder, "io", io);
    String optimizer = ", optimizer {name = adamw, lr = 1, eps = 1e-8, weight-decay = 0, ";
    Files.writeString(folder.resolve("fixture.conf"), conf + optimizer + "betas = [0.9]}");
    refuses(folder, "invalid betas: [0.9] (must be two numbers)");
    Files.writeString(folder.resolve("fixture.conf"), conf + optimizer + "momentum = 0.9}");
    refuses(folder, "invalid key: momentum (must be one of name, lr, betas, eps, weight-decay)");
  }

  private static void refuses(Path folder, String why) {
    assertThatThrownBy(() -> Parity.verify(folder, "nd4j", line -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot verify %s: %s", folder, why);
  }
}
