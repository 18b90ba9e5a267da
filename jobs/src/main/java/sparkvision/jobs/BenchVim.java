package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.typesafe.config.ConfigFactory;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.ToDoubleFunction;
import picocli.CommandLine.Command;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;
import sparkvision.models.Models;
import sparkvision.report.LogPlot;

/** Vim-Ti and DeiT-Ti on images of growing size -> time and memory of feature extraction. */
@Command(
    name = "vim",
    mixinStandardHelpOptions = true,
    description = {
      "Times feature extraction with Vim-Ti and DeiT-Ti on images of growing size, and tells the"
          + " memory: a table on standard output, vim.csv and vim.png in a folder.",
      "",
      "vim-tiny and deit-tiny are this project's; deit-tiny-kept writes its attention maps down, as"
          + " the Vision Mamba paper's baseline did; pytorch is eager PyTorch's DeiT-Ti."
    })
final class BenchVim extends ConfJob<BenchVim.Settings> {

  private static final String VIM = "vim-tiny";
  private static final String DEIT = "deit-tiny";
  private static final String KEPT = "deit-tiny-kept";
  private static final String PEER = "pytorch";

  private static final int PATCH = 16;
  private static final double MEGABYTE = 1 << 20;

  /** {@code conf/bench-vim.conf}. */
  record Settings(
      List<Integer> images,
      int batch,
      EngineOptions.Precision precision,
      Optional<Integer> threads,
      int steps,
      Optional<String> peer,
      String output) {

    Settings {
      require(
          !images.isEmpty() && ascend(images),
          "images",
          images,
          "must be ascending multiples of 16");
      require(batch >= 1, "batch", batch, "must be at least 1");
      require(steps >= 1, "steps", steps, "must be at least 1");
    }

    private static boolean ascend(List<Integer> images) {
      int last = 0;
      for (int image : images) {
        if (image <= last || image % PATCH != 0) {
          return false;
        }
        last = image;
      }
      return true;
    }

    EngineOptions options() {
      EngineOptions options = EngineOptions.defaults().withPrecision(precision);
      return threads.map(options::withThreads).orElse(options);
    }
  }

  /**
   * Of one image.
   *
   * @param bytes all that the engine laid out; of the peer the most its process ever held
   */
  private record Cost(int image, double seconds, long bytes) {

    double megabytes() {
      return bytes / MEGABYTE;
    }
  }

  @Override
  String name() {
    return "bench vim";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws IOException {
    Path folder = Files.createDirectories(Path.of(settings.output()));
    Map<String, List<Cost>> costs = new LinkedHashMap<>();
    System.out.printf("%-15s %6s %10s %10s%n", "network", "pixels", "s / image", "MB");
    List<String> networks = new ArrayList<>(List.of(VIM, DEIT, KEPT));
    settings.peer().ifPresent(peer -> networks.add(PEER));
    for (String network : networks) {
      costs.put(network, new ArrayList<>());
      for (int image : settings.images()) {
        Cost cost =
            network.equals(PEER) ? peerCost(settings, image) : cost(settings, network, image);
        costs.get(network).add(cost);
        System.out.printf(
            Locale.ROOT,
            "%-15s %6d %10.4f %10.1f%n",
            network,
            image,
            cost.seconds(),
            cost.megabytes());
      }
    }
    costs.forEach((network, list) -> compare(network, costs.get(VIM), list));
    Files.writeString(folder.resolve("vim.csv"), csv(costs));
    Files.write(folder.resolve("vim.png"), plot(costs).png());
  }

  private static Cost cost(Settings settings, String network, int image) {
    RandomStep step =
        new RandomStep(
            (g, x) ->
                network.equals(KEPT) ? List.of(withKeptMaps(g, x.get(0))) : built(g, x, network),
            List.of(new long[] {settings.batch(), 3, image, image}),
            Graph.Mode.INFERENCE);
    try (Engine engine = step.open("compiled", settings.options())) {
      step.run(engine);
      double[] seconds = new double[settings.steps()];
      for (int i = 0; i < seconds.length; i++) {
        long start = System.nanoTime();
        step.run(engine);
        seconds[i] = (System.nanoTime() - start) / 1e9;
      }
      Arrays.sort(seconds);
      double median = seconds[seconds.length / 2];
      return new Cost(image, median / settings.batch(), engine.plannedBytes());
    }
  }

  private static List<Tensor> built(Graph g, List<Tensor> images, String network) {
    String model = "name = " + network + ", image-size = " + images.get(0).size(2);
    return Models.of(ConfigFactory.parseString(model)).apply(g, images);
  }

  /** DeiT-Ti as eager frameworks compute it without fused attention: every map (B, h, N, N). */
  static Tensor withKeptMaps(Graph g, Tensor image) {
    long dim = 192;
    long heads = 3;
    Initializer start = Initializer.truncatedNormal(0.02);
    Tensor x =
        g.conv("patches", 3, dim, PATCH, PATCH)
            .withBias(Initializer.constant(0))
            .stride(PATCH)
            .apply(image);
    x = g.pad(g.rearrange(x, "b c h w -> b (h w) c"), 1, 1, 0); // a place for the class token
    x = g.add(x, g.parameter("positions", start, 1, x.size(1), dim));
    for (int i = 0; i < 12; i++) {
      Tensor y = g.layerNorm("norm1." + i, dim, 1e-6).apply(x);
      Tensor qkv =
          g.rearrange(
              g.linear("qkv." + i, dim, 3 * dim).apply(y),
              "b n (three h d) -> three b h n d",
              Map.of("three", 3L, "h", heads));
      Tensor energy = g.matmulTransposeB(g.select(qkv, 0, 0), g.select(qkv, 0, 1));
      Tensor map = g.softmax(g.scale(energy, 1 / Math.sqrt((double) dim / heads)), -1);
      y = g.rearrange(g.matmul(map, g.select(qkv, 0, 2)), "b h n d -> b n (h d)");
      x = g.add(x, g.linear("proj." + i, dim, dim).apply(y));
      y = g.layerNorm("norm2." + i, dim, 1e-6).apply(x);
      y = g.gelu(g.linear("fc1." + i, dim, 4 * dim).apply(y));
      x = g.add(x, g.linear("fc2." + i, 4 * dim, dim).apply(y));
    }
    return g.linear("head", dim, 1000)
        .apply(g.layerNorm("norm", dim, 1e-6).apply(g.select(x, 1, 0)));
  }

  /**
   * Asks a process that says "ready" and answers "go" with a line of JSON, as for scripts/bench.
   */
  private static Cost peerCost(Settings settings, int image) {
    List<String> command = new ArrayList<>(List.of(settings.peer().orElseThrow().split(" ")));
    command.addAll(
        List.of(
            "model=deit-tiny",
            "mode=inference",
            "format=contiguous",
            "batch=" + settings.batch(),
            "image=" + image,
            "precision=" + settings.precision().name().toLowerCase(Locale.ROOT),
            "threads=" + settings.options().threads(),
            "steps=" + settings.steps()));
    try {
      Process process =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
      try (BufferedReader answers = process.inputReader(StandardCharsets.UTF_8);
          Writer commands = process.outputWriter(StandardCharsets.UTF_8)) {
        if (!"ready".equals(answers.readLine())) {
          throw new JobException(
              Exit.PREFLIGHT,
              String.format("Cannot run the peer %s: it did not say ready", settings.peer().get()));
        }
        commands.write("go\n");
        commands.flush();
        JsonNode line = JsonMapper.builder().build().readTree(answers.readLine());
        return new Cost(
            image,
            line.get("step_seconds_median").asDouble() / settings.batch(),
            line.get("peak_resident_bytes").asLong());
      } finally {
        process.destroy();
      }
    } catch (IOException e) {
      throw new JobException(
          Exit.PREFLIGHT,
          String.format("Cannot run the peer %s: %s", settings.peer().get(), e.getMessage()),
          e);
    }
  }

  /** Prints how Vim-Ti stands to another network on the largest images, and where it passes it. */
  private static void compare(String other, List<Cost> vim, List<Cost> others) {
    if (other.equals(VIM)) {
      return;
    }
    Cost ours = vim.get(vim.size() - 1);
    Cost theirs = others.get(others.size() - 1);
    OptionalDouble crossing = crossing(vim, others);
    System.out.printf(
        Locale.ROOT,
        "At %d pixels vim-tiny takes %.2f of %s's time and %.2f of its memory; it is %s%n",
        ours.image(),
        ours.seconds() / theirs.seconds(),
        other,
        (double) ours.bytes() / theirs.bytes(),
        crossing.isPresent()
            ? String.format(Locale.ROOT, "faster from about %.0f pixels on", crossing.getAsDouble())
            : ours.seconds() < theirs.seconds() ? "faster at all sizes" : "slower at all sizes");
  }

  /** Where the lines through the last two sizes between which the order changes meet. */
  private static OptionalDouble crossing(List<Cost> vim, List<Cost> others) {
    for (int i = vim.size() - 1; i > 0; i--) {
      double here = Math.log(vim.get(i).seconds() / others.get(i).seconds());
      double before = Math.log(vim.get(i - 1).seconds() / others.get(i - 1).seconds());
      if (here < 0 && before >= 0) {
        double share = before / (before - here);
        double low = Math.log(vim.get(i - 1).image());
        double high = Math.log(vim.get(i).image());
        return OptionalDouble.of(Math.exp(low + share * (high - low)));
      }
    }
    return OptionalDouble.empty();
  }

  private static String csv(Map<String, List<Cost>> costs) {
    StringBuilder text = new StringBuilder("network,pixels,seconds,bytes\n");
    costs.forEach(
        (network, list) ->
            list.forEach(
                cost ->
                    text.append(
                        String.format(
                            Locale.ROOT,
                            "%s,%d,%.6f,%d%n",
                            network,
                            cost.image(),
                            cost.seconds(),
                            cost.bytes()))));
    return text.toString();
  }

  private static LogPlot plot(Map<String, List<Cost>> costs) {
    return new LogPlot(
        "height and width of the image",
        List.of(
            panel("seconds an image", costs, Cost::seconds), panel("MB", costs, Cost::megabytes)));
  }

  private static LogPlot.Panel panel(
      String title, Map<String, List<Cost>> costs, ToDoubleFunction<Cost> value) {
    List<LogPlot.Curve> curves = new ArrayList<>();
    costs.forEach(
        (network, list) ->
            curves.add(
                new LogPlot.Curve(
                    network,
                    list.stream().mapToDouble(Cost::image).toArray(),
                    list.stream().mapToDouble(value).toArray())));
    return new LogPlot.Panel(title, curves);
  }
}
