package sparkvision.parity;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigException;
import com.typesafe.config.ConfigFactory;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/**
 * Compares a model of ours with numbers that the original implementation gave.
 *
 * <p>A fixture is a folder: {@code fixture.conf} (HOCON: {@code model}, {@code mode}, {@code
 * tolerance}, and for some {@code zero-gradients}, {@code zero-atol}, {@code optimizer}), {@code
 * weights.safetensors} (a state dict) and {@code io.safetensors}, by mode:
 *
 * <ul>
 *   <li>{@code eval}: {@code input}, {@code output}, or {@code input.0}, {@code input.1}, ...;
 *   <li>{@code train}: also {@code loss_weights}, {@code grad/<parameter>}, {@code grad/input}; the
 *       loss is the sum of output · loss_weights;
 *   <li>{@code curve}: {@code batches/input}, {@code batches/target}, {@code losses}, one entry per
 *       optimizer step.
 * </ul>
 *
 * <p>Any may hold {@code after/<buffer>}: state after the forward pass. A tensor passes if ‖a − b‖
 * / ‖b‖ ≤ tolerance, b being the stored one; a zero gradient if its root mean square ≤ zero-atol.
 */
public final class Parity {

  /** How many tensors of a fixture agreed. */
  public record Result(int passed, int failed) {}

  private static final String GRADIENT = "grad/";
  private static final String AFTER = "after/";
  private static final long SEED = 0; // every weight is loaded

  private final Config conf;
  private final String engine;
  private final Consumer<String> out;
  private final Map<String, HostTensor> weights;
  private final Map<String, HostTensor> io;
  private final double tolerance;
  private int passed;
  private int failed;

  private Parity(Path fixture, String engine, Consumer<String> out) {
    Path file = fixture.resolve("fixture.conf");
    if (!Files.isRegularFile(file)) {
      throw new IllegalArgumentException(
          String.format("Cannot verify %s: it has no fixture.conf", fixture));
    }
    this.conf = ConfigFactory.parseFile(file.toFile()).resolve();
    this.engine = engine;
    this.out = out;
    this.weights = read(fixture.resolve("weights.safetensors"));
    this.io = read(fixture.resolve("io.safetensors"));
    this.tolerance = conf.getDouble("tolerance");
  }

  /**
   * Runs one fixture and reports every tensor on a line: name, shape, error, verdict.
   *
   * @param fixture the folder
   * @param engine the engine's name
   * @throws IllegalArgumentException if the fixture is incomplete, its model is unknown, or its
   *     weights are not exactly the model's
   * @throws UncheckedIOException if a file cannot be read
   */
  public static Result verify(Path fixture, String engine, Consumer<String> out) {
    try {
      Parity parity = new Parity(fixture, engine, out);
      String mode = parity.conf.getString("mode");
      switch (mode) {
        case "eval" -> parity.run(Graph.Mode.INFERENCE);
        case "train" -> parity.run(Graph.Mode.TRAINING);
        case "curve" -> parity.runCurve();
        default ->
            throw new IllegalArgumentException(
                String.format("Invalid mode: %s (must be eval, train or curve)", mode));
      }
      return new Result(parity.passed, parity.failed);
    } catch (ConfigException e) {
      throw new IllegalArgumentException(
          String.format("Cannot verify %s: %s", fixture, e.getMessage()), e);
    }
  }

  private static Map<String, HostTensor> read(Path file) {
    try (InputStream in = new BufferedInputStream(Files.newInputStream(file))) {
      return Safetensors.read(in).tensors();
    } catch (IOException e) {
      String why = e.getMessage().replace("Cannot read safetensors: ", "");
      throw new UncheckedIOException("Cannot read " + file + ": " + why, e);
    }
  }

  private void run(Graph.Mode mode) {
    boolean training = mode == Graph.Mode.TRAINING;
    Graph g = new Graph(mode, SEED);
    List<String> inputNames = family("input");
    List<Tensor> inputs = new ArrayList<>();
    for (String name : inputNames) {
      inputs.add(g.input(name, stored(name).shape()));
    }
    List<Tensor> outputs = Models.of(conf.getConfig("model")).apply(g, inputs);
    List<String> outputNames = family("output");
    if (outputNames.size() != outputs.size()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot compare outputs: the model has %d, the fixture %d",
              outputs.size(), outputNames.size()));
    }
    Map<String, HostTensor> values = new LinkedHashMap<>();
    inputNames.forEach(name -> values.put(name, stored(name)));
    Tensor loss = null;
    for (int i = 0; i < outputs.size(); i++) {
      g.output(outputNames.get(i), outputs.get(i));
      if (training) {
        String name = outputNames.get(i).replace("output", "loss_weights");
        Tensor weighting = g.input(name, stored(name).shape());
        values.put(name, stored(name));
        Tensor part = Losses.weightedSum(g, outputs.get(i), weighting);
        loss = loss == null ? part : g.add(loss, part);
      }
    }
    if (training) {
      g.loss(loss);
    }

    try (Engine run = Engines.open(engine, g, training ? plainSgd() : null)) {
      run.load(weights);
      Map<String, HostTensor> results =
          training ? run.forwardBackward(values) : run.forward(values);
      outputNames.forEach(name -> compare(name, results.get(name), stored(name)));
      if (training) {
        compareGradients(g, run, inputNames);
      }
      Map<String, HostTensor> state = run.state();
      for (String name : io.keySet()) {
        if (name.startsWith(AFTER)) {
          compare(name, state.get(name.substring(AFTER.length())), stored(name));
        }
      }
    }
  }

  private void compareGradients(Graph g, Engine run, List<String> inputNames) {
    Set<String> zeros =
        conf.hasPath("zero-gradients")
            ? new HashSet<>(conf.getStringList("zero-gradients"))
            : Set.of();
    List<String> names = new ArrayList<>(inputNames);
    g.variables().stream()
        .filter(v -> v.role() == Variable.Role.PARAMETER)
        .forEach(v -> names.add(v.name()));
    for (String name : names) {
      HostTensor gradient = run.gradient(name);
      if (zeros.contains(name)) {
        compareToZero(GRADIENT + name, gradient, conf.getDouble("zero-atol"));
      } else {
        compare(GRADIENT + name, gradient, stored(GRADIENT + name));
      }
    }
    for (String name : io.keySet()) {
      if (name.startsWith(GRADIENT) && !names.contains(name.substring(GRADIENT.length()))) {
        compare(name, null, stored(name));
      }
    }
  }

  private void runCurve() {
    HostTensor inputs = stored("batches/input");
    HostTensor targets = stored("batches/target");
    HostTensor losses = stored("losses");
    long[] shape = Arrays.copyOfRange(inputs.shape(), 1, inputs.shape().length);
    int steps = losses.floats().length;
    int batch = (int) shape[0];
    int size = inputs.floats().length / steps;

    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    Tensor logits =
        Models.of(conf.getConfig("model")).apply(g, List.of(g.input("input", shape))).get(0);
    g.loss(Losses.crossEntropy(g, logits, g.indices("target", batch), 0));
    Config optimizer = conf.getConfig("optimizer");
    float[] computed = new float[steps];
    try (Engine run = Engines.open(engine, g, optimizerOf(optimizer))) {
      run.load(weights);
      for (int s = 0; s < steps; s++) {
        float[] input = Arrays.copyOfRange(inputs.floats(), s * size, (s + 1) * size);
        long[] target = Arrays.copyOfRange(targets.longs(), s * batch, (s + 1) * batch);
        Map<String, HostTensor> values =
            Map.of(
                "input", HostTensor.of(input, shape), "target", HostTensor.ofLongs(target, batch));
        computed[s] = run.forwardBackward(values).get("loss").floats()[0];
        run.update(optimizer.getDouble("lr"));
      }
    }
    compare("losses", HostTensor.of(computed, steps), losses);
  }

  private static OptimizerConfig plainSgd() {
    return new OptimizerConfig(OptimizerConfig.Name.SGD, 0, false, 0, 0, 0, 0, true);
  }

  private static OptimizerConfig optimizerOf(Config optimizer) {
    String name = optimizer.getString("name");
    double decay = optimizer.getDouble("weight-decay");
    return switch (name) {
      case "sgd" ->
          new OptimizerConfig(
              OptimizerConfig.Name.SGD,
              optimizer.getDouble("momentum"),
              optimizer.getBoolean("nesterov"),
              0,
              0,
              0,
              decay,
              true);
      case "adamw" ->
          new OptimizerConfig(
              OptimizerConfig.Name.ADAMW,
              0,
              false,
              optimizer.getDoubleList("betas").get(0),
              optimizer.getDoubleList("betas").get(1),
              optimizer.getDouble("eps"),
              decay,
              true);
      default ->
          throw new IllegalArgumentException(
              String.format("Invalid optimizer: %s (must be sgd or adamw)", name));
    };
  }

  /** {@code base} alone, or {@code base.0}, {@code base.1}, ... as far as they go. */
  private List<String> family(String base) {
    if (io.containsKey(base)) {
      return List.of(base);
    }
    List<String> names = new ArrayList<>();
    while (io.containsKey(base + "." + names.size())) {
      names.add(base + "." + names.size());
    }
    return names;
  }

  private HostTensor stored(String name) {
    HostTensor tensor = io.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("Cannot compare: io.safetensors lacks " + name);
    }
    return tensor;
  }

  private void compare(String name, HostTensor computed, HostTensor stored) {
    if (computed == null
        || computed.isFloat() != stored.isFloat()
        || !Arrays.equals(computed.shape(), stored.shape())) {
      report(name, stored, "computed " + (computed == null ? "nothing" : computed), false);
      return;
    }
    if (!stored.isFloat()) {
      boolean equal = Arrays.equals(computed.longs(), stored.longs());
      report(name, stored, equal ? "equal" : "differs", equal);
      return;
    }
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < stored.floats().length; i++) {
      double b = stored.floats()[i];
      double d = computed.floats()[i] - b;
      difference += d * d;
      norm += b * b;
    }
    double error = difference == 0 ? 0 : Math.sqrt(difference) / Math.sqrt(norm);
    report(name, stored, String.format(Locale.ROOT, "error %.2e", error), error <= tolerance);
  }

  private void compareToZero(String name, HostTensor computed, double limit) {
    double squares = 0;
    for (float value : computed.floats()) {
      squares += (double) value * value;
    }
    double size = Math.sqrt(squares / computed.floats().length);
    report(name, computed, String.format(Locale.ROOT, "zero, found %.2e", size), size <= limit);
  }

  private void report(String name, HostTensor tensor, String finding, boolean pass) {
    if (pass) {
      passed++;
    } else {
      failed++;
    }
    out.accept(
        String.format(
            "%s %s %s %s", name, Arrays.toString(tensor.shape()), finding, pass ? "pass" : "FAIL"));
  }
}
