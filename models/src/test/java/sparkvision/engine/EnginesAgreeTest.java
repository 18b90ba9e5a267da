package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.graph.Graph;
import sparkvision.graph.Graph.Mode;
import sparkvision.graph.Graph.Precision;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/** The compiled engine against the reference in double precision: every word, random graphs. */
final class EnginesAgreeTest {

  private static final int SEEDS = 27; // of each word: over 2,000 graphs in all
  private static final EngineOptions OPTIONS = EngineOptions.defaults().withThreads(2);
  private static final OptimizerConfig SGD = OptimizerConfig.plainSgd();

  static Stream<Words.Case> words() {
    return Stream.concat(Words.all().stream(), Words.large().stream());
  }

  @Test
  void triesOverTwoThousandGraphs() {
    assertThat(Words.all().size() * SEEDS).isGreaterThanOrEqualTo(2000);
  }

  @ParameterizedTest
  @MethodSource("words")
  void computesWhatTheReferenceComputes(Words.Case word) {
    IntStream.range(0, SEEDS)
        .forEach(
            seed -> {
              Words.Sample exact =
                  word.draw(seed, Mode.TRAINING, Precision.DOUBLE, Words.Source.BOTH);
              Map<String, HostTensor> expected;
              try (Engine nd4j = Engines.open("nd4j", exact.graph(), SGD)) {
                expected = results(nd4j, exact);
              }
              Words.Sample sample =
                  word.draw(seed, Mode.TRAINING, Precision.FLOAT, Words.Source.BOTH);
              int threads = 1 + seed % 2;
              try (Engine compiled =
                  Engines.open("compiled", sample.graph(), SGD, OPTIONS.withThreads(threads))) {
                requireClose(sample, results(compiled, sample), expected, 2e-4);
              }
            });
  }

  @ParameterizedTest
  @MethodSource("words")
  void computesWhatTheReferenceComputesInInference(Words.Case word) {
    for (int seed = 100; seed < 103; seed++) {
      Words.Sample exact = word.draw(seed, Mode.INFERENCE, Precision.DOUBLE, Words.Source.BOTH);
      Map<String, HostTensor> expected;
      try (Engine nd4j = Engines.open("nd4j", exact.graph(), null)) {
        nd4j.load(exact.state());
        expected = nd4j.forward(exact.inputs());
      }
      Words.Sample sample = word.draw(seed, Mode.INFERENCE, Precision.FLOAT, Words.Source.BOTH);
      try (Engine compiled = Engines.open("compiled", sample.graph(), null, OPTIONS)) {
        compiled.load(sample.state());
        requireClose(sample, compiled.forward(sample.inputs()), expected, 2e-4);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("words")
  void givesTheSameBitsWithMemoryOfItsOwnForEveryTensor(Words.Case word) {
    for (int seed = 200; seed < 203; seed++) {
      Words.Sample sample = word.draw(seed);
      Map<String, HostTensor> planned;
      try (Engine compiled = Engines.open("compiled", sample.graph(), SGD, OPTIONS)) {
        planned = results(compiled, sample);
      }
      try (Engine poisoned = Engines.open("compiled", sample.graph(), SGD, OPTIONS.withPoison())) {
        requireSame(sample, results(poisoned, sample), planned);
      }
      try (Engine lean =
          Engines.open(
              "compiled", sample.graph(), SGD, OPTIONS.withMemory(EngineOptions.Memory.LEAN))) {
        requireSame(sample, results(lean, sample), planned);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("words")
  void staysCloseInBfloat16(Words.Case word) {
    for (int seed = 300; seed < 303; seed++) {
      Words.Sample sample = word.draw(seed);
      Map<String, HostTensor> expected;
      try (Engine compiled = Engines.open("compiled", sample.graph(), SGD, OPTIONS)) {
        expected = results(compiled, sample);
      }
      EngineOptions rounded = OPTIONS.withPrecision(EngineOptions.Precision.BFLOAT16);
      try (Engine compiled = Engines.open("compiled", sample.graph(), SGD, rounded)) {
        requireClose(sample, results(compiled, sample), expected, 0.15);
      }
    }
  }

  /** Everything that one step shows: outputs, loss, gradients, moved statistics. */
  private static Map<String, HostTensor> results(Engine engine, Words.Sample sample) {
    engine.load(sample.state());
    Map<String, HostTensor> results = new LinkedHashMap<>(engine.forwardBackward(sample.inputs()));
    Graph graph = sample.graph();
    List<String> names = new ArrayList<>();
    graph.variables().stream()
        .filter(variable -> variable.role() == Variable.Role.PARAMETER)
        .forEach(variable -> names.add(variable.name()));
    graph.requestedGradients().stream().map(Tensor::name).forEach(names::add);
    names.forEach(name -> results.put("gradient of " + name, engine.gradient(name)));
    engine
        .state()
        .forEach(
            (name, tensor) -> {
              if (tensor.isFloat()) {
                results.put(name, tensor);
              }
            });
    return results;
  }

  private static void requireClose(
      Words.Sample sample,
      Map<String, HostTensor> computed,
      Map<String, HostTensor> expected,
      double tolerance) {
    assertThat(computed.keySet()).isEqualTo(expected.keySet());
    expected.forEach(
        (name, tensor) -> {
          float[] a = computed.get(name).floats();
          float[] b = tensor.floats();
          double difference = 0;
          double norm = 0;
          for (int i = 0; i < b.length; i++) {
            difference += Math.pow(a[i] - b[i], 2);
            norm += Math.pow(b[i], 2);
          }
          // Sums that cancel keep the rounding of their terms.
          double allowed = tolerance * (Math.sqrt(norm) + 0.1 * Math.sqrt(b.length));
          assertThat(Math.sqrt(difference))
              .as("%s in %s", name, sample)
              .isLessThanOrEqualTo(allowed);
        });
  }

  private static void requireSame(
      Words.Sample sample, Map<String, HostTensor> computed, Map<String, HostTensor> expected) {
    expected.forEach(
        (name, tensor) ->
            assertThat(computed.get(name).floats())
                .as("%s in %s", name, sample)
                .isEqualTo(tensor.floats()));
  }

  @Test
  void growsByNothingOverAThousandSteps() throws java.io.IOException {
    assumeTrue(java.nio.file.Files.exists(java.nio.file.Path.of("/proc/self/statm")));
    Words.Sample sample = named("network").draw(1);
    try (Engine engine = Engines.open("compiled", sample.graph(), SGD, OPTIONS)) {
      engine.load(sample.state());
      for (int i = 0; i < 200; i++) {
        step(engine, sample);
      }
      System.gc();
      long before = residentBytes();
      for (int i = 0; i < 1000; i++) {
        step(engine, sample);
      }
      System.gc();
      assertThat(residentBytes() - before).isLessThan(16 << 20);
    }
  }

  @Test
  void allocatesLittleOnTheJavaHeapPerStep() {
    Words.Sample sample = named("network").draw(1);
    var threads =
        (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
    try (Engine engine = Engines.open("compiled", sample.graph(), SGD, OPTIONS)) {
      engine.load(sample.state());
      for (int i = 0; i < 50; i++) {
        step(engine, sample);
      }
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < 20; i++) {
        step(engine, sample);
      }
      long perStep = (threads.getCurrentThreadAllocatedBytes() - before) / 20;
      assertThat(perStep).isLessThan(1 << 20);
    }
  }

  private static Words.Case named(String part) {
    return Words.all().stream()
        .filter(word -> word.name().contains(part))
        .findFirst()
        .orElseThrow();
  }

  private static void step(Engine engine, Words.Sample sample) {
    engine.forwardBackward(sample.inputs());
    engine.update(0.001);
  }

  private static long residentBytes() throws java.io.IOException {
    String pages =
        java.nio.file.Files.readString(java.nio.file.Path.of("/proc/self/statm")).split(" ", 3)[1];
    return Long.parseLong(pages) * 4096;
  }
}
