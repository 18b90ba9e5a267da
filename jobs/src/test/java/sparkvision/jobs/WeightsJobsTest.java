package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.linalg.factory.Nd4j;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** {@code import-weights} and {@code export}, from files to files. */
class WeightsJobsTest {

  private static final String VIT =
      "{name = vit, image-size = 16, patch-size = 8, dim = 6, depth = 1, heads = 2, mlp-ratio = 2,"
          + " classes = 3}";

  @TempDir private Path folder;

  /** Initial weights of a model, and what it makes of an input. */
  private record Made(Map<String, HostTensor> state, float[] input, float[] logits) {}

  private static Made made(String model, int size) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 3);
    Model network = Models.of(ConfigFactory.parseString("model = " + model).getConfig("model"));
    long[] shape = network.inputShapes(1, size).get(0);
    Tensor logits = network.apply(g, List.of(g.input("input", shape))).get(0);
    g.output("logits", logits);
    int length = 1;
    for (long axis : shape) {
      length *= (int) axis;
    }
    float[] input = new float[length];
    for (int i = 0; i < length; i++) {
      input[i] = (float) Math.sin(i);
    }
    try (Engine engine = Engines.open("compiled", g, null)) {
      return new Made(
          engine.state(),
          input,
          engine.forward(Map.of("input", HostTensor.of(input, shape))).get("logits").floats());
    }
  }

  private Path write(String name, Map<String, HostTensor> tensors) throws IOException {
    Path file = folder.resolve(name);
    try (OutputStream out = Files.newOutputStream(file)) {
      Safetensors.write(out, tensors, Map.of());
    }
    return file;
  }

  private static Map<String, HostTensor> read(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      return Safetensors.read(in).tensors();
    }
  }

  private Ended importing(Path input, String... more) {
    String[] arguments = new String[4 + more.length];
    arguments[0] = "import-weights";
    arguments[1] = "model=" + VIT;
    arguments[2] = "input=" + input;
    arguments[3] = "output=" + folder.resolve("out/weights.safetensors");
    System.arraycopy(more, 0, arguments, 4, more.length);
    return Ended.run(arguments);
  }

  @Test
  void importsUnderTheModelsNames() throws IOException {
    Map<String, HostTensor> state = made(VIT, 16).state();
    Map<String, HostTensor> given = new LinkedHashMap<>();
    state.forEach((name, tensor) -> given.put("module." + name, tensor));
    given.put("module.head_dist.bias", HostTensor.of(new float[3], 3));
    Ended ended = importing(write("given.safetensors", given));
    assertThat(ended.error()).isEmpty();
    assertThat(ended.code()).isZero();
    assertThat(ended.out())
        .contains(
            "Taken: " + state.size() + " of " + given.size() + " tensors",
            "Renamed: without module.",
            "Unexpected: 1 (head_dist.bias)");
    Map<String, HostTensor> found = read(folder.resolve("out/weights.safetensors"));
    assertThat(found.keySet()).isEqualTo(state.keySet());
    state.forEach((name, t) -> assertThat(found.get(name).floats()).isEqualTo(t.floats()));
  }

  @Test
  void writesNothingUnlessAllIsThereOrItIsAllowed() throws IOException {
    Map<String, HostTensor> given = new LinkedHashMap<>(made(VIT, 16).state());
    given.remove("norm.weight");
    given.put("head.weight", HostTensor.of(new float[60], 10, 6));
    Path file = write("given.safetensors", given);
    Path output = folder.resolve("out/weights.safetensors");
    Ended ended = importing(file);
    assertThat(ended.code()).isEqualTo(4);
    assertThat(ended.error())
        .contains("it lacks 2 of the tensors of vit (allow-missing=true writes the others)");
    assertThat(ended.out())
        .contains("Missing: 1 (norm.weight)", "Misshapen: 1 (head.weight [10, 6], must be [3, 6])");
    assertThat(output).doesNotExist();

    assertThat(importing(file, "allow-missing=true").code()).isZero();
    assertThat(read(output).keySet()).doesNotContain("norm.weight", "head.weight");
  }

  @Test
  void refusesWhatIsNoWeightsFile() throws IOException {
    Path text = Files.writeString(folder.resolve("weights.pth"), "these are no weights");
    Ended ended = importing(text);
    assertThat(ended.code()).isEqualTo(4);
    assertThat(ended.error())
        .contains("it begins neither like a zip archive nor like a pickle")
        .hasLineCount(1);
    Path pickle = folder.resolve("evil.pth");
    String program = "\u0080\u0002cos\nsystem\n(Vtouch " + folder.resolve("trace") + "\ntR.";
    Files.write(pickle, program.getBytes(StandardCharsets.ISO_8859_1));
    assertThat(importing(pickle).code()).isEqualTo(4);
    assertThat(folder.resolve("trace")).doesNotExist();
    assertThat(importing(folder.resolve("none.pth")).code()).isEqualTo(2);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        VIT + "| 16",
        "{name = vim, image-size = 16, patch-size = 8, stride = 4, dim = 8, depth = 2,"
            + " state-size = 4, bidirectional = ssm-conv, cls-token = middle, pool = cls,"
            + " classes = 3} | 16",
        "{name = densenet, spatial-dims = 3, in-channels = 1, growth-rate = 4, blocks = [2],"
            + " init-features = 4, bottleneck = 2, dropout = 0.1, classes = 3} | 12",
        "{name = segformer, dims = [4, 4, 8, 8], heads = [1, 1, 2, 2], mlp-ratios = [2, 2, 2, 2],"
            + " depths = [1, 1, 1, 1], sr-ratios = [8, 4, 2, 1], decoder-dim = 8, classes = 3}"
            + " | 64",
        "{name = attention-unet-2d, in-channels = 1, classes = 2, width = 4} | 16"
      })
  void exportsAGraphThatPlainSameDiffRuns(String model, int size) throws IOException {
    Made made = made(model, size);
    Path file = write("weights.safetensors", made.state());
    Path output = folder.resolve("exported");
    Ended ended =
        Ended.run(
            "export",
            "checkpoint=" + file,
            "model=" + model,
            "image-size=[" + size + "]",
            "output=" + output);
    assertThat(ended.error()).isEmpty();
    assertThat(ended.code()).isZero();
    SameDiff sd = SameDiff.load(output.resolve("graph.sd").toFile(), false);
    float[] found =
        sd.output(
                Map.of(
                    "input",
                    Nd4j.createFromArray(made.input()).reshape(sd.getVariable("input").getShape())),
                "logits")
            .get("logits")
            .dup('c')
            .data()
            .asFloat();
    assertThat(found).containsExactly(made.logits(), within(1e-4f));
    assertThat(read(output.resolve("weights.safetensors")).keySet())
        .isEqualTo(made.state().keySet());
    assertThat(output.resolve("model.json")).content().contains("\"logits\"");
  }

  @Test
  void exportNeedsToKnowTheModel() throws IOException {
    Path file = write("weights.safetensors", made(VIT, 16).state());
    Ended ended = Ended.run("export", "checkpoint=" + file, "output=" + folder.resolve("x"));
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.error()).contains("Cannot run export: key model is missing");
    Ended damaged =
        Ended.run(
            "export",
            "checkpoint=" + write("part.safetensors", Map.of()),
            "model=" + VIT,
            "image-size=[16]",
            "output=" + folder.resolve("x"));
    assertThat(damaged.code()).isEqualTo(4);
    assertThat(damaged.error()).contains("it has no cls_token");
  }
}
