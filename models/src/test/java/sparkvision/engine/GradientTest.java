package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.linalg.api.ndarray.INDArray;
import sparkvision.Draw;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/** Every word's gradient, against finite differences in double precision. */
class GradientTest {

  private static final long SEED = 11;
  private static final double STEP = 1e-6;
  private static final int PROBES = 25; // elements tried per variable

  /** Small networks by name; each {@link #x} is a parameter, so that its gradient is tried too. */
  private static final Map<String, Function<Graph, Tensor>> NETWORKS = new LinkedHashMap<>();

  static {
    NETWORKS.put(
        "conv 2d", g -> g.conv("c", 3, 4, 3, 2).stride(2).padding(1).apply(x(g, 2, 3, 7, 5)));
    NETWORKS.put(
        "conv 2d with bias", g -> g.conv("c", 2, 3, 1, 1).withBias().apply(x(g, 2, 2, 3, 5)));
    NETWORKS.put(
        "conv 3d", g -> g.conv("c", 2, 3, 3, 2, 3).stride(2).padding(1).apply(x(g, 2, 2, 5, 4, 7)));
    NETWORKS.put(
        "conv 3d with bias", g -> g.conv("c", 2, 3, 1, 1, 1).withBias().apply(x(g, 2, 2, 3, 2, 3)));
    NETWORKS.put(
        "conv applied twice",
        g -> {
          Conv conv = g.conv("c", 2, 2, 3, 3).padding(1);
          return conv.apply(g.relu(conv.apply(x(g, 2, 2, 4, 3))));
        });
    NETWORKS.put("batch norm 2d", g -> g.batchNorm("n", 3).apply(x(g, 4, 3, 3, 5)));
    NETWORKS.put("batch norm 3d", g -> g.batchNorm("n", 3).apply(x(g, 2, 3, 3, 2, 5)));
    NETWORKS.put("batch norm of single pixels", g -> g.batchNorm("n", 3).apply(x(g, 5, 3, 1, 1)));
    NETWORKS.put("relu", g -> g.relu(x(g, 2, 3, 4, 5)));
    NETWORKS.put("max pool 2d", g -> g.maxPool(x(g, 2, 3, 7, 6), 3, 2, 1));
    NETWORKS.put("max pool 3d", g -> g.maxPool(x(g, 2, 2, 5, 7, 4), 3, 2, 1));
    NETWORKS.put("average pool 2d", g -> g.averagePool(x(g, 2, 3, 7, 6), 2, 2));
    NETWORKS.put("average pool 3d", g -> g.averagePool(x(g, 2, 2, 5, 7, 4), 2, 2));
    NETWORKS.put("global average pool 2d", g -> g.globalAveragePool(x(g, 2, 3, 4, 5)));
    NETWORKS.put("global average pool 3d", g -> g.globalAveragePool(x(g, 2, 3, 2, 4, 3)));
    NETWORKS.put("linear", g -> g.linear("l", 5, 3).apply(x(g, 4, 5)));
    NETWORKS.put(
        "concat",
        g -> {
          Tensor x = x(g, 2, 3, 4, 3);
          return g.concat(x, g.relu(x), g.conv("c", 3, 2, 1, 1).apply(x));
        });
    NETWORKS.put("concat of one tensor twice", g -> twice(g, x(g, 2, 2, 3, 3, 2)));
    NETWORKS.put(
        "add",
        g -> {
          Tensor x = x(g, 2, 3, 4, 5);
          return g.add(g.add(x, x), g.relu(x));
        });
    NETWORKS.put(
        "multiply",
        g -> {
          Tensor x = x(g, 2, 3, 4, 5);
          return g.multiply(x, g.multiply(x, g.relu(x)));
        });
    NETWORKS.put("sum", g -> g.sum(x(g, 2, 3, 4)));
    NETWORKS.put("dropout", g -> g.dropout(x(g, 2, 3, 4, 5), 0.4));
    NETWORKS.put("dropout of single pixels", g -> g.dropoutChannels(x(g, 3, 6, 1, 1, 1), 0.4));
    NETWORKS.put("dropout of channels", g -> g.dropoutChannels(x(g, 2, 6, 2, 3, 2), 0.4));
    NETWORKS.put(
        "cross-entropy", g -> Losses.crossEntropy(g, x(g, 6, 5), g.indices("labels", 6), 0.0));
    NETWORKS.put(
        "smoothed cross-entropy",
        g -> Losses.crossEntropy(g, x(g, 6, 5), g.indices("labels", 6), 0.1));
  }

  private static Tensor x(Graph g, long... shape) {
    return g.parameter("x", Draw.normal(), shape);
  }

  private static Tensor twice(Graph g, Tensor x) {
    return g.concat(x, x);
  }

  static Set<String> networks() {
    return NETWORKS.keySet();
  }

  @ParameterizedTest
  @MethodSource("networks")
  void matchesFiniteDifferences(String network) {
    Graph g = graph(network, Graph.Precision.DOUBLE);
    Tensor loss = g.loss().orElseThrow();
    try (Nd4jEngine engine = open(g)) {
      engine.forwardBackward(inputs(g));
      for (Variable variable : g.variables()) {
        if (variable.role() != Variable.Role.PARAMETER) {
          continue;
        }
        INDArray values = engine.array(variable.tensor());
        int size = (int) variable.tensor().elements();
        for (int i : new Random(SEED).ints(PROBES, 0, size).distinct().toArray()) {
          double value = values.getDouble(i);
          values.putScalar(i, value + STEP);
          engine.forward(inputs(g));
          double above = engine.array(loss).getDouble(0);
          values.putScalar(i, value - STEP);
          engine.forward(inputs(g));
          double below = engine.array(loss).getDouble(0);
          values.putScalar(i, value);
          double gradient = engine.gradientArray(variable.tensor()).getDouble(i);

          double difference = (above - below) / (2 * STEP);
          assertThat(gradient)
              .as("%s[%d]", variable.name(), i)
              .isCloseTo(difference, within(1e-7 * (1 + Math.abs(difference)) + 1e-9 * above));
        }
      }
    }
  }

  /** Floats take other native code than doubles. */
  @ParameterizedTest
  @MethodSource("networks")
  void isTheSameInFloatsAndDoubles(String network) {
    Graph floats = graph(network, Graph.Precision.FLOAT);
    Graph doubles = graph(network, Graph.Precision.DOUBLE);
    try (Engine ofFloats = open(floats);
        Engine ofDoubles = open(doubles)) {
      ofDoubles.load(ofFloats.state());
      float loss = ofFloats.forwardBackward(inputs(floats)).get("loss").floats()[0];
      assertThat(loss)
          .isCloseTo(
              ofDoubles.forwardBackward(inputs(doubles)).get("loss").floats()[0], within(1e-4f));
      for (Variable variable : floats.variables()) {
        if (variable.role() == Variable.Role.PARAMETER) {
          assertThat(ofFloats.gradient(variable.name()).floats())
              .as(variable.name())
              .containsExactly(ofDoubles.gradient(variable.name()).floats(), within(2e-4f));
        }
      }
    }
  }

  @Test
  void isTriedForEveryKindOfNode() {
    Set<Node.Kind> kinds = EnumSet.noneOf(Node.Kind.class);
    for (String network : networks()) {
      graph(network, Graph.Precision.FLOAT).nodes().forEach(node -> kinds.add(node.kind()));
    }
    assertThat(kinds).containsExactly(Node.Kind.values());
  }

  @Test
  void ofAnInputMatchesThatOfAParameter() {
    HostTensor values = Draw.normal(3, 2, 3, 4, 5);
    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    Tensor weights = g.input("weights", 2, 3, 4, 5);
    g.loss(Losses.weightedSum(g, g.relu(g.input("x", 2, 3, 4, 5)), weights));
    HostTensor factors = Draw.normal(4, 2, 3, 4, 5);
    try (Engine engine = open(g)) {
      engine.forwardBackward(Map.of("x", values, "weights", factors));
      float[] gradient = engine.gradient("x").floats();
      for (int i = 0; i < gradient.length; i++) {
        assertThat(gradient[i]).isEqualTo(values.floats()[i] > 0 ? factors.floats()[i] : 0);
      }
    }
  }

  @Test
  void isZeroForWhatTheLossDoesNotUse() {
    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    g.linear("unused", 2, 3);
    g.input("ignored", 2);
    g.loss(g.sum(x(g, 2, 2)));
    try (Engine engine = open(g)) {
      engine.forwardBackward(Map.of("ignored", HostTensor.of(new float[2], 2)));
      assertThat(engine.gradient("unused.weight").floats()).containsOnly(0);
      assertThat(engine.gradient("ignored").floats()).containsOnly(0);
      assertThat(engine.gradient("x").floats()).containsOnly(1);
    }
  }

  /** The loss is a random weighting of the network's output, unless that is a scalar. */
  private static Graph graph(String network, Graph.Precision precision) {
    Graph g = new Graph(Graph.Mode.TRAINING, SEED, precision);
    Tensor y = NETWORKS.get(network).apply(g);
    g.output("y", y);
    if (y.rank() == 0) {
      g.loss(y);
    } else {
      g.loss(Losses.weightedSum(g, y, g.parameter("weighting", Draw.normal(), y.shape())));
    }
    return g;
  }

  private static Nd4jEngine open(Graph g) {
    return new Nd4jEngine(
        g, new OptimizerConfig(OptimizerConfig.Name.SGD, 0, false, 0, 0, 0, 0, true));
  }

  private static Map<String, HostTensor> inputs(Graph g) {
    return g.inputs().containsKey("labels") ? Map.of("labels", Draw.labels(5, 5, 6)) : Map.of();
  }
}
