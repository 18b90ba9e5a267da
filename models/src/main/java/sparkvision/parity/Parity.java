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
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
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
import sparkvision.models.Model;
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
 *   <li>{@code eval}: {@code input}, {@code output}, or {@code input.0}, {@code input.1}, ..., or
 *       {@code input.<name>} where the model names its inputs;
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

  private final String name;
  private final Config conf;
  private final String engine;
  private final Consumer<String> out;
  private final Map<String, HostTensor> weights;
  private final Map<String, HostTensor> io;
  private final double tolerance;
  private int passed;
  private int failed;

  private Parity(Path fixture, String engine, Consumer<String> out) throws IOException {
    this.conf = ConfigFactory.parseFile(existing(fixture, "fixture.conf").toFile()).resolve();
    requireKnown(conf, "model", "mode", "tolerance", "zero-gradients", "zero-atol", "optimizer");
    this.name = String.valueOf(fixture.toAbsolutePath().normalize().getFileName());
    this.engine = engine;
    this.out = out;
    this.weights = read(fixture, "weights.safetensors");
    this.io = read(fixture, "io.safetensors");
    this.tolerance = conf.getDouble("tolerance");
  }

  /**
   * Runs one fixture and reports every tensor on a line: fixture, name, shape, error, verdict.
   *
   * @param fixture the folder
   * @param engine the engine's name
   * @throws IllegalArgumentException if the fixture is incomplete or holds an unknown key, its
   *     model is unknown, or its weights are not exactly the model's
   * @throws UncheckedIOException if a file cannot be read or is malformed
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
    } catch (ConfigException | IllegalArgumentException e) {
      throw new IllegalArgumentException(sentence(fixture, e), e);
    } catch (IOException e) {
      throw new UncheckedIOException(sentence(fixture, e), e);
    }
  }

  private static String sentence(Path fixture, Exception e) {
    String why =
        String.valueOf(e.getMessage())
            .replaceFirst("^Cannot ", "cannot ")
            .replaceFirst("^Invalid ", "invalid ");
    return String.format("Cannot verify %s: %s", fixture, why);
  }

  private static Path existing(Path fixture, String file) {
    if (!Files.isRegularFile(fixture.resolve(file))) {
      throw new IllegalArgumentException(file + ": there is no such file");
    }
    return fixture.resolve(file);
  }

  private static Map<String, HostTensor> read(Path fixture, String file) throws IOException {
    try (InputStream in = new BufferedInputStream(Files.newInputStream(existing(fixture, file)))) {
      return Safetensors.read(in).tensors();
    } catch (IOException e) {
      String why = String.valueOf(e.getMessage()).replace("Cannot read safetensors: ", "");
      throw new IOException(file + ": " + why, e);
    }
  }

  private static void requireKnown(Config config, String... allowed) {
    for (String key : config.root().keySet()) {
      if (!List.of(allowed).contains(key)) {
        throw new IllegalArgumentException(
            String.format("Invalid key: %s (must be one of %s)", key, String.join(", ", allowed)));
      }
    }
  }

  private void run(Graph.Mode mode) {
    boolean training = mode == Graph.Mode.TRAINING;
    Graph g = new Graph(mode, SEED);
    Model model = Models.of(conf.getConfig("model"));
    List<String> inputNames =
        model.inputNames().isEmpty()
            ? family("input")
            : model.inputNames().stream().map(name -> "input." + name).toList();
    List<Tensor> inputs = new ArrayList<>();
    for (String input : inputNames) {
      inputs.add(g.input(input, stored(input).shape()));
    }
    if (inputs.isEmpty()) {
      throw new IllegalArgumentException("io.safetensors: there is no input");
    }
    inputs.forEach(g::requestGradient);
    List<Tensor> outputs = model.apply(g, inputs);
    List<String> outputNames = family("output");
    if (outputNames.size() != outputs.size()) {
      throw new IllegalArgumentException(
          String.format(
              "io.safetensors: it has %d outputs, the model %d",
              outputNames.size(), outputs.size()));
    }
    Map<String, HostTensor> values = new LinkedHashMap<>();
    inputNames.forEach(input -> values.put(input, stored(input)));
    Tensor loss = null;
    for (int i = 0; i < outputs.size(); i++) {
      g.output(outputNames.get(i), outputs.get(i));
      if (training) {
        String factors = outputNames.get(i).replace("output", "loss_weights");
        Tensor weighting = g.input(factors, stored(factors).shape());
        values.put(factors, stored(factors));
        Tensor part = Losses.weightedSum(g, outputs.get(i), weighting);
        loss = loss == null ? part : g.add(loss, part);
      }
    }
    if (training) {
      g.loss(loss);
    }

    try (Engine run = Engines.open(engine, g, training ? OptimizerConfig.plainSgd() : null)) {
      run.load(weights);
      Map<String, HostTensor> results =
          training ? run.forwardBackward(values) : run.forward(values);
      outputNames.forEach(output -> compare(output, results.get(output), stored(output)));
      if (training) {
        compareGradients(g, run, inputNames);
      }
      Map<String, HostTensor> state = run.state();
      for (String after : io.keySet()) {
        if (after.startsWith(AFTER)) {
          compare(after, state.get(after.substring(AFTER.length())), stored(after));
        }
      }
    }
  }

  private void compareGradients(Graph g, Engine run, List<String> inputNames) {
    Set<String> zeros =
        conf.hasPath("zero-gradients")
            ? new LinkedHashSet<>(conf.getStringList("zero-gradients"))
            : Set.of();
    List<String> names = new ArrayList<>(inputNames);
    g.variables().stream()
        .filter(v -> v.role() == Variable.Role.PARAMETER)
        .forEach(v -> names.add(v.name()));
    for (String zero : zeros) {
      if (!names.contains(zero)) {
        throw new IllegalArgumentException(
            String.format("Invalid zero-gradients: %s (the model has no such parameter)", zero));
      }
    }
    for (String tensor : names) {
      HostTensor gradient = run.gradient(tensor);
      if (zeros.contains(tensor)) {
        compareToZero(GRADIENT + tensor, gradient, conf.getDouble("zero-atol"));
      } else {
        compare(GRADIENT + tensor, gradient, stored(GRADIENT + tensor));
      }
    }
    for (String extra : io.keySet()) {
      if (extra.startsWith(GRADIENT) && !names.contains(extra.substring(GRADIENT.length()))) {
        compare(extra, null, stored(extra));
      }
    }
  }

  private void runCurve() {
    HostTensor inputs = stored("batches/input");
    HostTensor targets = stored("batches/target");
    HostTensor losses = stored("losses");
    requireSteps(inputs, targets, losses);
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

  private static void requireSteps(HostTensor inputs, HostTensor targets, HostTensor losses) {
    long[] sizes = inputs.shape();
    if (!inputs.isFloat()
        || targets.isFloat()
        || !losses.isFloat()
        || sizes.length < 2
        || sizes[0] < 1
        || !Arrays.equals(targets.shape(), new long[] {sizes[0], sizes[1]})
        || !Arrays.equals(losses.shape(), new long[] {sizes[0]})) {
      throw new IllegalArgumentException(
          String.format(
              "io.safetensors: batches/input must be float32 (S, B, ...), batches/target int64"
                  + " (S, B), losses float32 (S), S >= 1; found %s, %s, %s",
              inputs, targets, losses));
    }
  }

  private static OptimizerConfig optimizerOf(Config optimizer) {
    String kind = optimizer.getString("name");
    double decay = optimizer.getDouble("weight-decay");
    switch (kind) {
      case "sgd":
        requireKnown(optimizer, "name", "lr", "momentum", "nesterov", "weight-decay");
        double momentum = optimizer.getDouble("momentum");
        boolean nesterov = optimizer.getBoolean("nesterov");
        OptimizerConfig sgd = OptimizerConfig.of(OptimizerConfig.Name.SGD).withWeightDecay(decay);
        return nesterov ? sgd.withNesterov(momentum) : sgd.withMomentum(momentum);
      case "adamw":
        requireKnown(optimizer, "name", "lr", "betas", "eps", "weight-decay");
        List<Double> betas = optimizer.getDoubleList("betas");
        if (betas.size() != 2) {
          throw new IllegalArgumentException(
              String.format("Invalid betas: %s (must be two numbers)", betas));
        }
        double epsilon = optimizer.getDouble("eps");
        return OptimizerConfig.of(OptimizerConfig.Name.ADAMW)
            .withBetas(betas.get(0), betas.get(1))
            .withEpsilon(epsilon)
            .withWeightDecay(decay);
      default:
        throw new IllegalArgumentException(
            String.format("Invalid optimizer: %s (must be sgd or adamw)", kind));
    }
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

  private HostTensor stored(String tensor) {
    if (!io.containsKey(tensor)) {
      throw new IllegalArgumentException("io.safetensors: there is no " + tensor);
    }
    return io.get(tensor);
  }

  private void compare(String what, HostTensor computed, HostTensor stored) {
    if (computed == null
        || computed.isFloat() != stored.isFloat()
        || !Arrays.equals(computed.shape(), stored.shape())) {
      report(what, stored, "computed " + (computed == null ? "nothing" : computed), false);
      return;
    }
    if (!stored.isFloat()) {
      boolean equal = Arrays.equals(computed.longs(), stored.longs());
      report(what, stored, equal ? "equal" : "differs", equal);
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
    report(what, stored, String.format(Locale.ROOT, "error %.2e", error), error <= tolerance);
  }

  private void compareToZero(String what, HostTensor computed, double limit) {
    double squares = 0;
    for (float value : computed.floats()) {
      squares += (double) value * value;
    }
    double size = Math.sqrt(squares / computed.floats().length);
    report(what, computed, String.format(Locale.ROOT, "zero, found %.2e", size), size <= limit);
  }

  private void report(String what, HostTensor tensor, String finding, boolean pass) {
    if (pass) {
      passed++;
    } else {
      failed++;
    }
    out.accept(
        String.format(
            "%s %s %s %s %s",
            name, what, Arrays.toString(tensor.shape()), finding, pass ? "pass" : "FAIL"));
  }
}
