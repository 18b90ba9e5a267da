package sparkvision.models;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.LongFunction;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/**
 * A table of position embeddings (1, L, C): a grid of patches, row by row, with entries for class
 * tokens among them.
 *
 * @param name of the parameter
 * @param height rows of the grid that the network was made for
 * @param width its columns
 * @param classPlaces where, in a table for so many patches, the entries of class tokens stand
 * @param way how a grid is resized
 */
public record PositionTable(
    String name, long height, long width, LongFunction<List<Long>> classPlaces, Resize way) {

  /** The same table of a network whose names begin with {@code prefix}. */
  PositionTable below(String prefix) {
    return new PositionTable(prefix + name, height, width, classPlaces, way);
  }

  /** Whether a table of a square grid can be made one of this grid, {@code wanted}. */
  public boolean resizable(HostTensor table, long... wanted) {
    long[] shape = table.shape();
    return shape.length == 3
        && wanted.length == 3
        && shape[0] == 1
        && shape[2] == wanted[2]
        && side(shape[1]) * side(shape[1]) == patches(shape[1]);
  }

  private long patches(long entries) {
    return entries - classPlaces.apply(height * width).size();
  }

  private long side(long entries) {
    return Math.round(Math.sqrt((double) Math.max(0, patches(entries))));
  }

  /**
   * A table of a square grid as one of this grid; class tokens keep their entries.
   *
   * @param table {@link #resizable}
   */
  public HostTensor resized(HostTensor table) {
    int channels = (int) table.shape()[2];
    long side = side(table.shape()[1]);
    List<Long> from = classPlaces.apply(side * side);
    List<Long> to = classPlaces.apply(height * width);
    List<float[]> patches = new ArrayList<>();
    List<float[]> classes = new ArrayList<>();
    for (int i = 0; i < table.shape()[1]; i++) {
      float[] entry = Arrays.copyOfRange(table.floats(), i * channels, (i + 1) * channels);
      (from.contains((long) i) ? classes : patches).add(entry);
    }
    List<float[]> entries = new ArrayList<>(resized(patches, side, channels));
    for (int i = 0; i < to.size(); i++) {
      entries.add(to.get(i).intValue(), classes.get(i));
    }
    float[] values = new float[entries.size() * channels];
    for (int i = 0; i < entries.size(); i++) {
      System.arraycopy(entries.get(i), 0, values, i * channels, channels);
    }
    return HostTensor.of(values, 1, entries.size(), channels);
  }

  private List<float[]> resized(List<float[]> patches, long side, int channels) {
    float[] values = new float[patches.size() * channels];
    for (int i = 0; i < patches.size(); i++) {
      System.arraycopy(patches.get(i), 0, values, i * channels, channels);
    }
    Graph g = new Graph(Graph.Mode.INFERENCE, 0);
    Tensor grid = g.rearrange(g.input("grid", side, side, channels), "h w c -> 1 c h w");
    g.output("resized", g.rearrange(g.resize(grid, way, height, width), "1 c h w -> h w c"));
    float[] result;
    try (Engine engine = Engines.open("compiled", g, null)) {
      Map<String, HostTensor> given = Map.of("grid", HostTensor.of(values, side, side, channels));
      result = engine.forward(given).get("resized").floats();
    }
    List<float[]> entries = new ArrayList<>();
    for (int i = 0; i < height * width; i++) {
      entries.add(Arrays.copyOfRange(result, i * channels, (i + 1) * channels));
    }
    return entries;
  }
}
