package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;
import sparkvision.models.Model;
import sparkvision.weights.HostTensor;

class BenchStepTest {

  private static final List<String> TINY =
      List.of(
          "model=densenet121",
          "model.growth-rate=4",
          "model.blocks=[2, 2]",
          "model.init-features=8",
          "model.classes=3",
          "engine=nd4j",
          "batch=2",
          "image=16",
          "steps=3");

  private static Ended run(String input, List<String> settings, String... more) {
    List<String> arguments = new ArrayList<>(List.of("bench", "step"));
    arguments.addAll(settings);
    arguments.addAll(List.of(more));
    return Ended.runWith(input, arguments.toArray(String[]::new));
  }

  private static JsonNode bench(String... more) throws IOException {
    Ended ended = run("", TINY, more);
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(1);
    return parsed(ended.out().get(0));
  }

  private static JsonNode parsed(String line) throws IOException {
    return JsonMapper.builder().build().readTree(line);
  }

  private static void requireKeys(JsonNode line) {
    assertThat(line.fieldNames())
        .toIterable()
        .containsExactly(
            "model",
            "batch",
            "image",
            "precision",
            "engine",
            "threads",
            "mode",
            "step_seconds_median",
            "step_seconds_min",
            "step_seconds_max",
            "images_per_second",
            "peak_resident_bytes",
            "planned_bytes",
            "flop_per_step",
            "share_of_peak",
            "compile_seconds");
  }

  @Test
  void aTrainingStepIsOneLineWithEveryKeyInOrder() throws IOException {
    JsonNode line = bench();
    requireKeys(line);
    assertThat(line.get("model").asText()).isEqualTo("densenet121");
    assertThat(line.get("batch").asInt()).isEqualTo(2);
    assertThat(line.get("image").asInt()).isEqualTo(16);
    assertThat(line.get("precision").asText()).isEqualTo("float32");
    assertThat(line.get("engine").asText()).isEqualTo("nd4j");
    assertThat(line.get("threads").asInt()).isEqualTo(EngineOptions.defaults().threads());
    assertThat(line.get("mode").asText()).isEqualTo("training");
    double median = line.get("step_seconds_median").asDouble();
    assertThat(median)
        .isPositive()
        .isBetween(
            line.get("step_seconds_min").asDouble(), line.get("step_seconds_max").asDouble());
    assertThat(line.get("images_per_second").asDouble() * median).isCloseTo(2, within(0.01));
    assertThat(line.get("compile_seconds").asDouble()).isPositive();
    if (Files.exists(Path.of("/proc/self/status"))) {
      assertThat(line.get("peak_resident_bytes").asLong())
          .as("a JVM, in bytes")
          .isBetween(50_000_000L, 100_000_000_000L);
    }
    // What nd4j does not know.
    for (String key : List.of("planned_bytes", "flop_per_step", "share_of_peak")) {
      assertThat(line.get(key).isNull()).as(key).isTrue();
    }
  }

  @Test
  void inferenceAndVolumesAreTimedToo() throws IOException {
    JsonNode line = bench("mode=inference", "steps=2", "model.spatial-dims=3", "image=8");
    requireKeys(line);
    assertThat(line.get("mode").asText()).isEqualTo("inference");
    assertThat(line.get("image").asInt()).isEqualTo(8);
    assertThat(2 * line.get("step_seconds_median").asDouble())
        .as("of two, the median is the middle")
        .isCloseTo(
            line.get("step_seconds_min").asDouble() + line.get("step_seconds_max").asDouble(),
            within(3e-6));
  }

  @Test
  void aHarnessAsksForEveryLine() throws IOException {
    Ended ended = run("go\ngo\nend\ngo\n", TINY, "--on-go");
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(3);
    assertThat(ended.out().get(0)).isEqualTo("ready");
    requireKeys(parsed(ended.out().get(1)));
    requireKeys(parsed(ended.out().get(2)));
  }

  @Test
  void anExplanationGoesToStandardError() throws IOException {
    Ended ended = run("", TINY, "--explain", "steps=1");
    assertThat(ended.error()).isEqualToIgnoringNewLines("Engine nd4j explains nothing");
    assertThat(ended.out()).hasSize(1);
    requireKeys(parsed(ended.out().get(0)));
  }

  @Test
  void threadsThatNd4jWillNotHeedAreSaid() {
    int threads = EngineOptions.defaults().threads();
    Ended other = run("", TINY, "steps=1", "threads=" + (threads + 1));
    assertThat(other.code()).isZero();
    assertThat(other.out()).hasSize(1);
    assertThat(other.error()).contains("it heeds only OMP_NUM_THREADS");
    assertThat(run("", TINY, "steps=1", "threads=" + threads).error()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "batch=0              | Invalid batch: 0 (must be at least 1)",
        "image=-3             | Invalid image: -3 (must be at least 1)",
        "image=2              | Cannot build densenet121: image size 2 is too small",
        "steps=0              | Invalid steps: 0 (must be at least 1)",
        "steps=few            | Invalid steps: few (must be a whole number)",
        "threads=0            | Invalid threads: 0 (must be at least 1)",
        "precision=float16    | Invalid precision: float16 (must be one of float32, bfloat16)",
        "precision=bfloat16   | Invalid precision: bfloat16 (engine nd4j has only float32)",
        "memory=lean          | Invalid memory: lean (engine nd4j has only fast)",
        "mode=sleep           | Invalid mode: sleep (must be one of training, inference)",
        "engine=steam         | Invalid engine: steam (must be one of [",
        "model=densenet122    | Invalid model: densenet122 (must be one of",
        "model.growth=3       | Invalid key: growth = ",
        "epochs=3             | Invalid key: epochs (bench step knows [model, batch, image,",
        "batch                | Invalid argument: batch (must be key=value)",
        "--explian            | Unknown option: '--explian'",
      })
  void aWrongSettingIsOneSentenceAndNoLine(String setting, String sentence) {
    Ended ended = run("", TINY, setting);
    assertThat(ended.error()).startsWith(sentence).hasLineCount(1);
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.out()).isEmpty();
  }

  @Test
  void aMissingModelOrBenchmarkIsNamed() {
    Ended model = run("", List.of());
    assertThat(model.error()).startsWith("Cannot run bench step: key model is missing");
    assertThat(model.code()).isEqualTo(2);
    for (Ended ended : List.of(Ended.run("bench"), Ended.run("bench", "stop"))) {
      assertThat(ended.error()).contains("see sparkvision bench --help").hasLineCount(1);
      assertThat(ended.code()).isEqualTo(2);
    }
  }

  /** Reads the inputs, whatever they are, and gives maps. */
  private record Maps(List<long[]> shapes) implements Model {

    @Override
    public String name() {
      return "maps";
    }

    @Override
    public List<long[]> inputShapes(int batch, int... imageSize) {
      return shapes;
    }

    @Override
    public List<Tensor> apply(Graph g, List<Tensor> inputs) {
      List<Tensor> outputs = new ArrayList<>();
      for (Tensor x : inputs) {
        Tensor scale = g.parameter("scale." + outputs.size(), Initializer.constant(1), x.shape());
        outputs.add(g.multiply(x, scale));
      }
      return outputs;
    }
  }

  @Test
  void withoutLogitsTheLossIsAWeightedSumOfAllOutputs() {
    Model model = new Maps(List.of(new long[] {2, 3, 4, 4}, new long[] {2, 5}));
    RandomStep step = new RandomStep(model, 2, 4, Graph.Mode.TRAINING);
    assertThat(step.graph().inputs().keySet())
        .containsExactly("input.0", "input.1", "weights.0", "weights.1");
    try (Engine engine = step.open("nd4j", EngineOptions.defaults())) {
      Map<String, HostTensor> before = engine.state();
      assertThat(step.run(engine).keySet()).containsExactly("loss");
      Map<String, HostTensor> after = engine.state();
      for (String scale : List.of("scale.0", "scale.1")) {
        assertThat(after.get(scale).floats())
            .as("the step updates " + scale)
            .isNotEqualTo(before.get(scale).floats());
      }
    }
    RandomStep inference = new RandomStep(model, 2, 4, Graph.Mode.INFERENCE);
    try (Engine engine = inference.open("nd4j", EngineOptions.defaults())) {
      assertThat(inference.run(engine).keySet()).containsExactly("output.0", "output.1");
    }
  }

  @Test
  void logitsHaveLabels() {
    Model model = new Maps(List.of(new long[] {4, 3}));
    RandomStep step = new RandomStep(model, 4, 1, Graph.Mode.TRAINING);
    assertThat(step.graph().inputs().keySet()).containsExactly("input.0", "labels");
    assertThat(step.graph().inputs().get("labels").shape()).containsExactly(4);
  }

  @Test
  void aModelWithoutParametersStillHasABackwardPass() {
    Model model =
        new Model() {
          @Override
          public String name() {
            return "relu";
          }

          @Override
          public List<long[]> inputShapes(int batch, int... imageSize) {
            return List.of(new long[] {batch, 2, 3});
          }

          @Override
          public List<Tensor> apply(Graph g, List<Tensor> inputs) {
            return List.of(g.relu(inputs.get(0)));
          }
        };
    RandomStep step = new RandomStep(model, 2, 3, Graph.Mode.TRAINING);
    try (Engine engine = step.open("nd4j", EngineOptions.defaults())) {
      step.run(engine);
      assertThat(engine.gradient("input.0").floats()).contains(0f).isNotEqualTo(new float[12]);
    }
  }

  @Test
  void aModelThatMakesNoInputsOfAnImageIsRefused() {
    assertThatThrownBy(() -> new RandomStep(new Maps(List.of()), 2, 4, Graph.Mode.TRAINING))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot bench maps: the shapes of its inputs do not follow from an image size");
  }
}
