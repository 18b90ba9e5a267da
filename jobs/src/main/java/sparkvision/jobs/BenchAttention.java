package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.ToDoubleFunction;
import picocli.CommandLine.Command;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;
import sparkvision.models.Models;
import sparkvision.report.LogPlot;

/** Attention blocks on maps of growing size -> time and memory of a step. */
@Command(
    name = "attention",
    mixinStandardHelpOptions = true,
    description = {
      "Times a step of every attention block on maps of growing size, and tells its memory: a table"
          + " on standard output, attention.csv and attention.png in a folder.",
      "",
      "Blocks: " + BenchAttention.NAMES + "."
    })
final class BenchAttention extends ConfJob<BenchAttention.Settings> {

  static final String NAMES =
      "position-attention-kept, position-attention, non-local, sagan-attention-pooled,"
          + " recurrent-criss-cross, criss-cross, interlaced, efficient, spatial-reduction,"
          + " segformer, channel-attention, cbam, attention-gate";

  private static final double MEGABYTE = 1 << 20;

  /** {@code conf/bench-attention.conf}. */
  record Settings(
      int channels,
      int batch,
      List<Integer> sizes,
      List<String> blocks,
      Graph.Mode mode,
      EngineOptions.Precision precision,
      Optional<Integer> threads,
      int steps,
      double seconds,
      double megabytes,
      String output) {

    Settings {
      require(
          channels >= 64 && channels % 64 == 0, "channels", channels, "must be a multiple of 64");
      require(batch >= 1, "batch", batch, "must be at least 1");
      require(!sizes.isEmpty() && ascend(sizes), "sizes", sizes, "must ascend, from 1 on");
      for (String block : blocks) {
        require(names().contains(block), "blocks", block, "must be of " + NAMES);
      }
      require(steps >= 1, "steps", steps, "must be at least 1");
      blocks = blocks.isEmpty() ? names() : blocks;
    }

    private static boolean ascend(List<Integer> sizes) {
      int last = 0;
      for (int size : sizes) {
        if (size <= last) {
          return false;
        }
        last = size;
      }
      return true;
    }

    private static List<String> names() {
      return List.of(NAMES.split(", "));
    }
  }

  /** A block for maps of one size, with the shapes that it reads. */
  private record Block(BiFunction<Graph, List<Tensor>, List<Tensor>> part, List<long[]> shapes) {}

  /**
   * What one block costs on maps of one size.
   *
   * @param bytes all memory that the engine laid out for the step, but what the step reads
   * @param inputBytes what it reads: the maps and, in training, the weights of the random loss
   */
  private record Cost(int size, double seconds, long bytes, long inputBytes) {

    double megabytes() {
      return bytes / MEGABYTE;
    }
  }

  @Override
  String name() {
    return "bench attention";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws IOException {
    Path folder = Files.createDirectories(Path.of(settings.output()));
    Map<String, List<Cost>> costs = new LinkedHashMap<>();
    System.out.printf(
        "%-24s %5s %10s %10s %12s %12s%n",
        "block", "side", "seconds", "MB", "bytes/pixel", "MB of inputs");
    for (String name : settings.blocks()) {
      costs.put(name, costs(settings, name));
    }
    Files.writeString(folder.resolve("attention.csv"), csv(costs));
    if (costs.values().stream().anyMatch(list -> !list.isEmpty())) {
      Files.write(folder.resolve("attention.png"), plot(settings, costs).png());
    }
  }

  private static List<Cost> costs(Settings settings, String name) {
    List<Cost> costs = new ArrayList<>();
    for (int size : settings.sizes()) {
      String reason = costs.isEmpty() ? "" : tooMuch(settings, costs.get(costs.size() - 1), size);
      if (!reason.isEmpty()) {
        System.err.printf("%s: stops before %d pixels a side: %s%n", name, size, reason);
        break;
      }
      try {
        Cost cost = cost(settings, block(settings, name, size), size);
        costs.add(cost);
        System.out.printf(
            Locale.ROOT,
            "%-24s %5d %10.4f %10.1f %12.0f %12.1f%n",
            name,
            size,
            cost.seconds(),
            cost.megabytes(),
            (double) cost.bytes() / ((long) size * size * settings.batch()),
            cost.inputBytes() / MEGABYTE);
      } catch (IllegalArgumentException e) {
        System.err.printf("%s: not for %d pixels a side: %s%n", name, size, e.getMessage());
      }
    }
    return costs;
  }

  /** Why a block is not tried on larger maps; empty if it is. */
  private static String tooMuch(Settings settings, Cost last, int size) {
    double growth = Math.pow((double) size / last.size(), 4);
    if (last.seconds() * growth > settings.seconds()) {
      return String.format(Locale.ROOT, "a step could take %.0f seconds", last.seconds() * growth);
    }
    if (last.megabytes() * growth > settings.megabytes()) {
      return String.format(Locale.ROOT, "it could take %.0f MB", last.megabytes() * growth);
    }
    return "";
  }

  private static Cost cost(Settings settings, Block block, int size) {
    RandomStep step = new RandomStep(block.part(), block.shapes(), settings.mode());
    if (settings.mode() == Graph.Mode.TRAINING) {
      step.requestInputGradients();
    }
    EngineOptions options = EngineOptions.defaults().withPrecision(settings.precision());
    options = settings.threads().map(options::withThreads).orElse(options);
    try (Engine engine = step.open("compiled", options)) {
      step.run(engine);
      double[] seconds = new double[settings.steps()];
      for (int i = 0; i < seconds.length; i++) {
        long start = System.nanoTime();
        step.run(engine);
        seconds[i] = (System.nanoTime() - start) / 1e9;
      }
      Arrays.sort(seconds);
      long inputs = step.inputBytes();
      return new Cost(size, seconds[seconds.length / 2], engine.plannedBytes() - inputs, inputs);
    }
  }

  private static Block block(Settings settings, String name, int size) {
    int channels = settings.channels();
    long[] map = {settings.batch(), channels, size, size};
    long[] tokens = {settings.batch(), (long) size * size, channels};
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("name", "block/" + name);
    List<long[]> shapes = List.of(map);
    switch (name) {
      case "position-attention-kept" -> {
        return new Block((g, x) -> List.of(withKeptMap(g, x.get(0))), shapes);
      }
      case "non-local" ->
          keys.putAll(Map.of("channels", channels, "reduction", 2, "mode", "embedded-gaussian"));
      case "recurrent-criss-cross" -> keys.putAll(Map.of("channels", channels, "recurrence", 2));
      case "interlaced" ->
          keys.putAll(
              Map.of(
                  "channels",
                  channels,
                  "key-channels",
                  channels / 2,
                  "value-channels",
                  channels,
                  "out-channels",
                  channels,
                  "down-factor",
                  List.of(8, 8)));
      case "efficient" ->
          keys.putAll(
              Map.of(
                  "channels",
                  channels,
                  "key-channels",
                  channels / 2,
                  "heads",
                  1,
                  "value-channels",
                  channels / 2));
      case "spatial-reduction", "segformer" -> {
        shapes = List.of(tokens);
        keys.putAll(
            Map.of(
                "dim",
                channels,
                "heads",
                channels / 64,
                "sr-ratio",
                8,
                "height",
                size,
                "width",
                size));
        if (name.equals("segformer")) {
          keys.put("mlp-ratio", 4);
        }
      }
      case "channel-attention" -> {}
      case "cbam" -> keys.putAll(Map.of("channels", channels, "reduction", 16));
      case "attention-gate" -> {
        shapes = List.of(map, new long[] {settings.batch(), channels, size / 2, size / 2});
        keys.putAll(
            Map.of(
                "spatial-dims",
                2,
                "in-channels",
                channels,
                "gating-channels",
                channels,
                "inter-channels",
                channels));
      }
      default -> keys.put("channels", channels);
    }
    Config model = ConfigFactory.parseMap(keys);
    return new Block(Models.of(model)::apply, shapes);
  }

  /**
   * {@code PositionAttention} as eager frameworks compute it: the whole map, N·N, is written and
   * kept for the backward pass.
   */
  static Tensor withKeptMap(Graph g, Tensor x) {
    long channels = x.size(1);
    Tensor q = pixelwise(g, "query_conv", x, channels / 8);
    Tensor k = pixelwise(g, "key_conv", x, channels / 8);
    Tensor v = pixelwise(g, "value_conv", x, channels);
    Tensor map = g.softmax(g.matmulTransposeB(q, k), -1); // (B, N, N)
    Tensor context = g.transpose(g.matmul(map, v), 1, 2); // (B, C, N)
    Tensor gamma = g.parameter("gamma", Initializer.constant(0), 1);
    return g.add(g.multiply(gamma, g.reshape(context, x.shape())), x);
  }

  /** (B, N, {@code out}) of a map. */
  private static Tensor pixelwise(Graph g, String name, Tensor x, long out) {
    Conv conv = g.conv(name, x.size(1), out, 1, 1).withBias(Initializer.constant(0));
    return g.rearrange(conv.apply(x), "b c h w -> b (h w) c");
  }

  private static String csv(Map<String, List<Cost>> costs) {
    StringBuilder text = new StringBuilder("block,side,seconds,bytes,input_bytes\n");
    costs.forEach(
        (name, list) -> {
          for (Cost cost : list) {
            text.append(
                String.format(
                    Locale.ROOT,
                    "%s,%d,%.6f,%d,%d%n",
                    name,
                    cost.size(),
                    cost.seconds(),
                    cost.bytes(),
                    cost.inputBytes()));
          }
        });
    return text.toString();
  }

  private static LogPlot plot(Settings settings, Map<String, List<Cost>> costs) {
    String step =
        String.format(
            "%s, %d channels",
            settings.mode().name().toLowerCase(Locale.ROOT), settings.channels());
    return new LogPlot(
        "height and width of the map",
        List.of(
            panel("seconds a step (" + step + ")", costs, Cost::seconds),
            panel("MB beside the inputs", costs, Cost::megabytes)));
  }

  private static LogPlot.Panel panel(
      String title, Map<String, List<Cost>> costs, ToDoubleFunction<Cost> value) {
    List<LogPlot.Curve> curves = new ArrayList<>();
    costs.forEach(
        (name, list) ->
            curves.add(
                new LogPlot.Curve(
                    name,
                    list.stream().mapToDouble(Cost::size).toArray(),
                    list.stream().mapToDouble(value).toArray())));
    return new LogPlot.Panel(title, curves);
  }
}
