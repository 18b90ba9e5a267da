package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.typesafe.config.Config;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.Tensor;
import sparkvision.models.Models;

/** A model and random numbers -> how long one step takes. */
@Command(
    name = "step",
    mixinStandardHelpOptions = true,
    description = "Times one step of a model on random numbers and prints one line of JSON.")
final class BenchStep extends ConfJob<BenchStep.Settings> {

  /** The engine that is meant to be fast, as soon as there is one. */
  private static final String ENGINE = "compiled";

  private static final int WARM_UP = 2;
  private static final Path STATUS = Path.of("/proc/self/status");

  // The machine's peak: a chain of products of square matrices, run a few times.
  private static final int SIDE = 1536;
  private static final int PRODUCTS = 4;
  private static final int RUNS = 6;

  /** {@code conf/bench-step.conf}. */
  record Settings(
      Config model,
      int batch,
      int image,
      EngineOptions.Precision precision,
      Optional<String> engine,
      Optional<Integer> threads,
      int steps,
      Graph.Mode mode,
      EngineOptions.Memory memory) {

    Settings {
      require(batch >= 1, "batch", batch, "must be at least 1");
      require(image >= 1, "image", image, "must be at least 1");
      require(steps >= 1, "steps", steps, "must be at least 1");
    }

    String engineName() {
      return engine.orElse(ENGINE);
    }

    EngineOptions options() {
      EngineOptions options = EngineOptions.defaults().withPrecision(precision).withMemory(memory);
      return threads.map(options::withThreads).orElse(options);
    }
  }

  /** What was measured of an open engine. */
  private record Measured(
      double[] seconds,
      double compileSeconds,
      OptionalLong peakResident,
      long plannedBytes,
      double flop) {

    /** {@code seconds} come sorted. */
    double median() {
      int half = seconds.length / 2;
      return seconds.length % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
    }
  }

  @Option(
      names = "--explain",
      description = "Print on standard error what the engine says about where time and memory go.")
  private boolean explain;

  @Option(
      names = "--on-go",
      description =
          "For a harness: print \"ready\" after warm-up, then measure and print a line for every"
              + " line \"go\" on standard input; share_of_peak is null.")
  private boolean onGo;

  @Override
  String name() {
    return "bench step";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws IOException {
    String name = settings.engineName();
    EngineOptions options = settings.options();
    RandomStep step =
        new RandomStep(
            Models.of(settings.model()), settings.batch(), settings.image(), settings.mode());
    sayWhoseThreads(name, options);

    Measured measured = null;
    long start = System.nanoTime();
    try (Engine engine = step.open(name, options)) {
      step.run(engine);
      double compileSeconds = secondsSince(start);
      for (int i = 1; i < WARM_UP; i++) {
        step.run(engine);
      }
      if (explain) {
        engine.measure();
      }
      if (onGo) {
        answer(settings, step, engine, compileSeconds);
      } else {
        measured = measure(settings, step, engine, compileSeconds);
      }
      if (explain) {
        String costs = engine.explain().strip();
        System.err.println(costs.isEmpty() ? "Engine " + name + " explains nothing" : costs);
      }
    }
    if (measured != null) {
      // Only now: the matrices are no part of the step's memory.
      System.out.println(
          line(
              settings,
              measured,
              measured.flop() > 0
                  ? OptionalDouble.of(peak(name, options))
                  : OptionalDouble.empty()));
    }
  }

  private static void sayWhoseThreads(String engine, EngineOptions options) {
    int environment = EngineOptions.defaults().threads();
    if (engine.equals("nd4j") && options.threads() != environment) {
      System.err.printf(
          "Engine nd4j computes with %d threads and not with %d: it heeds only OMP_NUM_THREADS%n",
          environment, options.threads());
    }
  }

  private static void answer(
      Settings settings, RandomStep step, Engine engine, double compileSeconds) throws IOException {
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    System.out.println("ready");
    while ("go".equals(in.readLine())) {
      System.out.println(
          line(settings, measure(settings, step, engine, compileSeconds), OptionalDouble.empty()));
    }
  }

  private static Measured measure(
      Settings settings, RandomStep step, Engine engine, double compileSeconds) throws IOException {
    double[] seconds = new double[settings.steps()];
    for (int i = 0; i < seconds.length; i++) {
      long start = System.nanoTime();
      step.run(engine);
      seconds[i] = secondsSince(start);
    }
    Arrays.sort(seconds);
    return new Measured(
        seconds, compileSeconds, peakResident(), engine.plannedBytes(), engine.flopPerStep());
  }

  /** The most memory that this process ever had, where the system tells. */
  static OptionalLong peakResident() throws IOException {
    if (!Files.isReadable(STATUS)) {
      return OptionalLong.empty();
    }
    try (Stream<String> lines = Files.lines(STATUS)) {
      return lines
          .filter(line -> line.startsWith("VmHWM:"))
          .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("[^0-9]", "")))
          .findFirst();
    }
  }

  /** Floating-point operations a second in large matrix products, the best of several runs. */
  static double peak(String engine, EngineOptions options) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 0);
    // A parameter, and one narrow output: nothing large goes in or out.
    Tensor x = g.parameter("x", Initializer.constant(1), SIDE, SIDE);
    Linear square = g.linear("square", SIDE, SIDE);
    for (int i = 0; i < PRODUCTS; i++) {
      x = square.apply(x);
    }
    g.output("y", g.linear("narrow", SIDE, 1).apply(x));
    double flop = 2.0 * SIDE * SIDE * ((double) PRODUCTS * SIDE + 1);
    double best = 0;
    try (Engine run = Engines.open(engine, g, null, options)) {
      for (int i = 0; i < RUNS; i++) {
        long start = System.nanoTime();
        run.forward(Map.of());
        best = Math.max(best, flop / secondsSince(start));
      }
    }
    return best;
  }

  private static ObjectNode line(Settings settings, Measured measured, OptionalDouble peak) {
    double median = measured.median();
    double[] seconds = measured.seconds();
    ObjectNode line = JsonMapper.builder().build().createObjectNode();
    line.put("model", settings.model().getString("name"));
    line.put("batch", settings.batch());
    line.put("image", settings.image());
    line.put("precision", lower(settings.precision()));
    line.put("engine", settings.engineName());
    line.put("threads", settings.options().threads());
    line.put("mode", lower(settings.mode()));
    line.put("step_seconds_median", rounded(median, 6));
    line.put("step_seconds_min", rounded(seconds[0], 6));
    line.put("step_seconds_max", rounded(seconds[seconds.length - 1], 6));
    line.put("images_per_second", rounded(settings.batch() / median, 3));
    put(line, "peak_resident_bytes", measured.peakResident());
    put(line, "planned_bytes", known(measured.plannedBytes()));
    put(line, "flop_per_step", known(Math.round(measured.flop())));
    if (peak.isPresent()) {
      line.put("share_of_peak", rounded(measured.flop() / (median * peak.getAsDouble()), 4));
    } else {
      line.putNull("share_of_peak");
    }
    return line.put("compile_seconds", rounded(measured.compileSeconds(), 3));
  }

  private static OptionalLong known(long number) {
    return number > 0 ? OptionalLong.of(number) : OptionalLong.empty();
  }

  private static void put(ObjectNode line, String key, OptionalLong number) {
    if (number.isPresent()) {
      line.put(key, number.getAsLong());
    } else {
      line.putNull(key);
    }
  }

  private static double rounded(double number, int digits) {
    double unit = Math.pow(10, digits);
    return Math.round(number * unit) / unit;
  }

  private static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  private static double secondsSince(long start) {
    return (System.nanoTime() - start) / 1e9;
  }
}
