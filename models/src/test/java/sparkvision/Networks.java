package sparkvision;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;

/** Small networks by name, which together use every word of the vocabulary. */
public final class Networks {

  public static final Map<String, Function<Graph, Tensor>> ALL = new LinkedHashMap<>();

  static {
    ALL.put("conv 2d", g -> g.conv("c", 3, 4, 3, 2).stride(2).padding(1).apply(x(g, 2, 3, 7, 5)));
    ALL.put("conv 2d with bias", g -> g.conv("c", 2, 3, 1, 1).withBias().apply(x(g, 2, 2, 3, 5)));
    ALL.put(
        "conv 3d", g -> g.conv("c", 2, 3, 3, 2, 3).stride(2).padding(1).apply(x(g, 2, 2, 5, 4, 7)));
    ALL.put(
        "conv 3d with bias", g -> g.conv("c", 2, 3, 1, 1, 1).withBias().apply(x(g, 2, 2, 3, 2, 3)));
    ALL.put(
        "conv applied twice",
        g -> {
          Conv conv = g.conv("c", 2, 2, 3, 3).padding(1);
          return conv.apply(g.relu(conv.apply(x(g, 2, 2, 4, 3))));
        });
    ALL.put("batch norm 2d", g -> g.batchNorm("n", 3).apply(x(g, 4, 3, 3, 5)));
    ALL.put("batch norm 3d", g -> g.batchNorm("n", 3).apply(x(g, 2, 3, 3, 2, 5)));
    ALL.put("batch norm of single pixels", g -> g.batchNorm("n", 3).apply(x(g, 5, 3, 1, 1)));
    ALL.put("relu", g -> g.relu(x(g, 2, 3, 4, 5)));
    ALL.put("max pool 2d", g -> g.maxPool(x(g, 2, 3, 7, 6), 3, 2, 1));
    ALL.put("max pool 3d", g -> g.maxPool(x(g, 2, 2, 5, 7, 4), 3, 2, 1));
    ALL.put("average pool 2d", g -> g.averagePool(x(g, 2, 3, 7, 6), 2, 2));
    ALL.put("average pool 3d", g -> g.averagePool(x(g, 2, 2, 5, 7, 4), 2, 2));
    ALL.put("global average pool 2d", g -> g.globalAveragePool(x(g, 2, 3, 4, 5)));
    ALL.put("global average pool 3d", g -> g.globalAveragePool(x(g, 2, 3, 2, 4, 3)));
    ALL.put("linear", g -> g.linear("l", 5, 3).apply(x(g, 4, 5)));
    ALL.put(
        "concat",
        g -> {
          Tensor x = x(g, 2, 3, 4, 3);
          return g.concat(x, g.relu(x), g.conv("c", 3, 2, 1, 1).apply(x));
        });
    ALL.put("concat of one tensor twice", g -> twice(g, x(g, 2, 2, 3, 3, 2)));
    ALL.put(
        "add",
        g -> {
          Tensor x = x(g, 2, 3, 4, 5);
          return g.add(g.add(x, x), g.relu(x));
        });
    ALL.put(
        "multiply",
        g -> {
          Tensor x = x(g, 2, 3, 4, 5);
          return g.multiply(x, g.multiply(x, g.relu(x)));
        });
    ALL.put("sum", g -> g.sum(x(g, 2, 3, 4)));
    ALL.put("dropout", g -> g.dropout(x(g, 2, 3, 4, 5), 0.4));
    ALL.put("dropout of single pixels", g -> g.dropoutChannels(x(g, 3, 6, 1, 1, 1), 0.4));
    ALL.put("dropout of channels", g -> g.dropoutChannels(x(g, 2, 6, 2, 3, 2), 0.4));
    ALL.put("cross-entropy", g -> Losses.crossEntropy(g, x(g, 6, 5), g.indices("labels", 6), 0.0));
    ALL.put(
        "smoothed cross-entropy",
        g -> Losses.crossEntropy(g, x(g, 6, 5), g.indices("labels", 6), 0.1));
  }

  /** What a network reads: a parameter, so that its gradient is tried too. */
  public static Tensor x(Graph g, long... shape) {
    return g.parameter("x", Draw.normal(), shape);
  }

  private static Tensor twice(Graph g, Tensor x) {
    return g.concat(x, x);
  }

  private Networks() {}
}
