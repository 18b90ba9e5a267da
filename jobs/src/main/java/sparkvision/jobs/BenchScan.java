package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Losses;
import sparkvision.graph.ScanInputs;
import sparkvision.graph.Tensor;
import sparkvision.kernels.GridLoops;
import sparkvision.weights.HostTensor;

/** Random numbers -> how long the selective scan takes, beside a plain loop and the machine. */
@Command(
    name = "scan",
    mixinStandardHelpOptions = true,
    description =
        "Times the selective scan, forward and backward, and prints a line of JSON for each length.")
final class BenchScan extends ConfJob<BenchScan.Settings> {

  private static final int WARM_UP = 2;

  /**
   * How long the first length runs uncounted: what the compiler makes of vectors is slow at first.
   */
  private static final double WARM_UP_SECONDS = 8;

  private static final int LOOP_STEPS = 3;

  // What the kernel does per sequence, channel, token and state: two exponentials, since the
  // backward pass computes decays again, and so many products, sums or both at once.
  private static final int EXPONENTIALS = 2;
  private static final int FORWARD = 4;
  private static final int BACKWARD = 12;

  // The machine's rate of exponentials: rows that stay in the first cache.
  private static final int COLUMNS = 1024;
  private static final int ROWS = 20_000;
  private static final int RUNS = 5;

  /** {@code conf/bench-scan.conf}. */
  record Settings(
      int batch,
      int channels,
      int states,
      List<Integer> lengths,
      Optional<Integer> threads,
      int steps) {

    Settings {
      require(batch >= 1, "batch", batch, "must be at least 1");
      require(channels >= 1, "channels", channels, "must be at least 1");
      require(states >= 1, "states", states, "must be at least 1");
      require(
          !lengths.isEmpty() && lengths.stream().allMatch(length -> length >= 1),
          "lengths",
          lengths,
          "must be a list of whole numbers >= 1");
      require(steps >= 1, "steps", steps, "must be at least 1");
    }

    EngineOptions options() {
      EngineOptions options = EngineOptions.defaults();
      return threads.map(options::withThreads).orElse(options);
    }
  }

  @Option(
      names = "--on-go",
      description =
          "For a harness: print \"ready\" after warm-up with the first length, then measure and print"
              + " a line for every line \"go\" on standard input.")
  private boolean onGo;

  @Override
  String name() {
    return "bench scan";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    if (onGo) {
      answer(settings);
      return;
    }
    EngineOptions options = settings.options();
    double exponentials = options.threads() * exponentialsPerSecond();
    double products = BenchStep.peak("compiled", options) / 2;
    for (int length : settings.lengths()) {
      Scan scan = new Scan(settings, length);
      double seconds;
      long planned;
      float[] result;
      try (Engine engine = scan.open(options)) {
        if (length == settings.lengths().get(0)) {
          warmUp(scan, engine);
        }
        seconds = median(settings.steps(), () -> scan.run(engine));
        planned = engine.plannedBytes();
        result = engine.forward(scan.inputs()).get("y").floats();
      }
      SequentialScan loop = scan.loop();
      double loopSeconds =
          median(
              LOOP_STEPS,
              () -> {
                loop.run();
                return null;
              });
      requireEqual(result, loop.result());

      double states = (double) settings.batch() * length * settings.channels() * settings.states();
      // A row of the exponentials' loop has a product and a sum for each.
      double ideal =
          EXPONENTIALS * states / exponentials
              + (FORWARD + BACKWARD - EXPONENTIALS) * states / products;
      ObjectNode line = JsonMapper.builder().build().createObjectNode();
      line.put("batch", settings.batch());
      line.put("channels", settings.channels());
      line.put("states", settings.states());
      line.put("length", length);
      line.put("threads", options.threads());
      line.put("step_seconds_median", rounded(seconds, 6));
      line.put("nanoseconds_per_token", rounded(1e9 * seconds / length / settings.batch(), 1));
      line.put("plain_loop_seconds", rounded(loopSeconds, 6));
      line.put("times_the_plain_loop", rounded(loopSeconds / seconds, 2));
      line.put("exponentials_per_second", Math.round(EXPONENTIALS * states / seconds));
      line.put("share_of_peak", rounded(ideal / seconds, 3));
      line.put("planned_bytes", planned);
      line.put("extra_bytes", planned - scan.bytes());
      line.put("all_states_bytes", Math.round(Float.BYTES * states));
      System.out.println(line);
    }
  }

  private void answer(Settings settings) throws Exception {
    Scan scan = new Scan(settings, settings.lengths().get(0));
    try (Engine engine = scan.open(settings.options())) {
      warmUp(scan, engine);
      BufferedReader in =
          new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      System.out.println("ready");
      while ("go".equals(in.readLine())) {
        ObjectNode line = JsonMapper.builder().build().createObjectNode();
        line.put(
            "step_seconds_median", rounded(median(settings.steps(), () -> scan.run(engine)), 6));
        BenchStep.peakResident().ifPresent(bytes -> line.put("peak_resident_bytes", bytes));
        System.out.println(line);
      }
    }
  }

  /** One scan as Vim's mixer has it: sequences of tokens, of which a token's channels are rows. */
  static final class Scan {

    private final Graph graph = new Graph(Graph.Mode.TRAINING, 1);
    private final Map<String, HostTensor> values = new LinkedHashMap<>();
    private final HostTensor weights;
    private final Random random = new Random(1);

    Scan(Settings settings, int length) {
      long batch = settings.batch();
      long channels = settings.channels();
      long states = settings.states();
      Tensor u = sequence("u", batch, length, channels);
      Tensor delta = sequence("delta", batch, length, channels);
      Tensor a = parameter("a", channels, states);
      // As Vim starts: -1 to -N, and steps around a hundredth.
      float[] rates = values.get("a").floats();
      for (int i = 0; i < rates.length; i++) {
        rates[i] = -1 - i % states;
      }
      Tensor b = sequence("b", batch, length, states);
      Tensor c = sequence("c", batch, length, states);
      Tensor d = parameter("d", channels);
      Tensor z = sequence("z", batch, length, channels);
      Tensor bias = parameter("bias", channels);
      Arrays.fill(values.get("bias").floats(), -4.5f);
      Tensor y = graph.selectiveScan(new ScanInputs(u, delta, a, b, c, d, bias), z, false);
      y = graph.permute(y, 0, 2, 1);
      this.weights = normal(y.shape());
      graph.output("y", y);
      graph.loss(Losses.weightedSum(graph, y, graph.input("weights", y.shape())));
    }

    private Tensor sequence(String name, long... shape) {
      return graph.permute(parameter(name, shape), 0, 2, 1);
    }

    /** A parameter: in its place before the scan, and given a gradient. */
    private Tensor parameter(String name, long... shape) {
      values.put(name, normal(shape));
      return graph.parameter(name, Initializer.constant(0), shape);
    }

    private HostTensor normal(long... shape) {
      float[] drawn = new float[Math.toIntExact(Arrays.stream(shape).reduce(1, (p, n) -> p * n))];
      for (int i = 0; i < drawn.length; i++) {
        drawn[i] = (float) random.nextGaussian();
      }
      return HostTensor.of(drawn, shape);
    }

    Engine open(EngineOptions options) {
      Engine engine = Engines.open("compiled", graph, OptimizerConfig.plainSgd(), options);
      engine.load(values);
      return engine;
    }

    Map<String, HostTensor> inputs() {
      return Map.of("weights", weights);
    }

    HostTensor run(Engine engine) {
      return engine.forwardBackward(inputs()).get("loss");
    }

    SequentialScan loop() {
      return new SequentialScan(values, weights);
    }

    /** What any way to compute it holds: inputs, result, and the gradients of all of them. */
    long bytes() {
      long numbers = values.values().stream().mapToLong(value -> value.floats().length).sum();
      return Float.BYTES * 2L * (numbers + weights.floats().length);
    }
  }

  /** Of softplus and all that: vectors of one thread on rows that lie in its cache. */
  private static double exponentialsPerSecond() {
    GridLoops loops = GridLoops.best();
    float[] row = new float[COLUMNS];
    float[] targets = new float[COLUMNS];
    double best = 0;
    for (int run = 0; run < RUNS; run++) {
      Arrays.fill(row, -1);
      long start = System.nanoTime();
      for (int i = 0; i < ROWS; i++) {
        loops.softmaxGradient(row, 1, 0.5f, targets, COLUMNS);
      }
      best = Math.max(best, (double) ROWS * COLUMNS / secondsSince(start));
    }
    return best;
  }

  private static void requireEqual(float[] found, float[] expected) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      difference += Math.pow(found[i] - expected[i], 2);
      norm += Math.pow(expected[i], 2);
    }
    if (!(difference <= 1e-8 * norm)) {
      throw new IllegalStateException("The engine's scan differs from the plain loop");
    }
  }

  private static void warmUp(Scan scan, Engine engine) {
    long start = System.nanoTime();
    do {
      scan.run(engine);
    } while (secondsSince(start) < WARM_UP_SECONDS);
  }

  private static double median(int steps, Callable<?> step) throws Exception {
    double[] seconds = new double[steps];
    for (int i = -WARM_UP; i < steps; i++) {
      long start = System.nanoTime();
      step.call();
      if (i >= 0) {
        seconds[i] = secondsSince(start);
      }
    }
    Arrays.sort(seconds);
    return (seconds[steps / 2] + seconds[(steps - 1) / 2]) / 2;
  }

  private static double rounded(double number, int digits) {
    double unit = Math.pow(10, digits);
    return Math.round(number * unit) / unit;
  }

  private static double secondsSince(long start) {
    return (System.nanoTime() - start) / 1e9;
  }
}
