package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BiFunction;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;

class BenchAttentionTest {

  @TempDir private Path folder;

  private Ended bench(String... settings) {
    List<String> arguments = new ArrayList<>(List.of("bench", "attention"));
    // However slow the machine is, no block stops for time.
    arguments.addAll(List.of("channels=64", "steps=1", "seconds=1e9", "output=" + folder));
    arguments.addAll(List.of(settings));
    return Ended.run(arguments.toArray(String[]::new));
  }

  /** Bytes by block and side. */
  private Map<String, Long> bytes() throws IOException {
    Map<String, Long> bytes = new HashMap<>();
    for (String line : Files.readAllLines(folder.resolve("attention.csv"))) {
      String[] cells = line.split(",", -1);
      if (!cells[0].equals("block")) {
        bytes.put(cells[0] + " " + cells[1], Long.parseLong(cells[3]));
      }
    }
    return bytes;
  }

  @Test
  void everyBlockHasALineForEverySizeAndAPlace() throws IOException {
    Ended ended = bench("sizes=[8, 16]");
    assertThat(ended.code()).as(ended.error()).isZero();
    List<String> names = List.of(BenchAttention.NAMES.split(", ", -1));
    assertThat(ended.out()).hasSize(1 + 2 * names.size());
    for (String name : names) {
      assertThat(bytes()).containsKeys(name + " 8", name + " 16");
    }
    BufferedImage plot = ImageIO.read(folder.resolve("attention.png").toFile());
    assertThat(plot.getWidth()).isGreaterThan(plot.getHeight());
  }

  @Test
  void onlyTheKeptMapGrowsWithTheSquareOfThePixels() throws IOException {
    String blocks = "blocks=[position-attention-kept, position-attention, criss-cross]";
    Ended ended = bench("sizes=[24, 48]", blocks);
    assertThat(ended.code()).as(ended.error()).isZero();
    Map<String, Long> bytes = bytes();
    assertThat(growth(bytes, "position-attention-kept")).isGreaterThan(10);
    assertThat(growth(bytes, "position-attention")).isLessThan(5);
    assertThat(growth(bytes, "criss-cross")).isLessThan(6);
  }

  private static double growth(Map<String, Long> bytes, String block) {
    return (double) bytes.get(block + " 48") / bytes.get(block + " 24");
  }

  @Test
  void aBlockStopsBeforeItTakesTooMuch() {
    Ended ended = bench("sizes=[8, 64]", "blocks=[criss-cross]", "megabytes=1");
    assertThat(ended.code()).as(ended.error()).isZero();
    assertThat(ended.out()).hasSize(2);
    assertThat(ended.error()).contains("criss-cross: stops before 64 pixels a side: it could take");
  }

  @Test
  void anUnknownBlockIsRefused() {
    Ended ended = bench("blocks=[perception]");
    assertThat(ended.code()).isEqualTo(2);
    assertThat(ended.error()).contains("Invalid blocks: perception (must be of ");
  }

  @Test
  void positionAttentionWithAKeptMapIsPositionAttention() {
    Map<String, Object> keys = Map.of("name", "block/position-attention", "channels", 16);
    Model model = Models.of(ConfigFactory.parseMap(keys));
    float[] block = output((g, x) -> model.apply(g, List.of(x)).get(0));
    float[] kept = output(BenchAttention::withKeptMap);
    assertThat(kept).containsExactly(block, within(1e-5f));
  }

  /** The output with weights that depend on names alone, and no gamma of zero. */
  private static float[] output(BiFunction<Graph, Tensor, Tensor> block) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 0);
    g.output("y", block.apply(g, g.input("x", 1, 16, 5, 7)));
    try (Engine engine = Engines.open("compiled", g, null)) {
      Map<String, HostTensor> state = new HashMap<>();
      engine.state().forEach((name, tensor) -> state.put(name, filled(name, tensor.shape())));
      engine.load(state);
      return engine.forward(Map.of("x", filled("x", new long[] {1, 16, 5, 7}))).get("y").floats();
    }
  }

  private static HostTensor filled(String name, long[] shape) {
    Random random = new Random(name.hashCode());
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    float[] values = new float[(int) elements];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() / 2;
    }
    return HostTensor.of(values, shape);
  }
}
