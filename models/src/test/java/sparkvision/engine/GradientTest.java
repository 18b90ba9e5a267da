package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.EnumSet;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.linalg.api.ndarray.INDArray;
import sparkvision.Draw;
import sparkvision.Networks;
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

  static Set<String> networks() {
    return Networks.ALL.keySet();
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
  void isTriedForEveryKindOfNodeThatHasAKernel() {
    Set<Node.Kind> kinds = EnumSet.noneOf(Node.Kind.class);
    for (String network : networks()) {
      graph(network, Graph.Precision.FLOAT).nodes().forEach(node -> kinds.add(node.kind()));
    }
    assertThat(kinds)
        .containsExactlyInAnyOrder(
            Node.Kind.CONV,
            Node.Kind.BATCH_NORM,
            Node.Kind.RELU,
            Node.Kind.MAX_POOL,
            Node.Kind.AVERAGE_POOL,
            Node.Kind.GLOBAL_AVERAGE_POOL,
            Node.Kind.LINEAR,
            Node.Kind.CONCAT,
            Node.Kind.ADD,
            Node.Kind.MULTIPLY,
            Node.Kind.SUM,
            Node.Kind.DROPOUT,
            Node.Kind.CROSS_ENTROPY);
  }

  @Test
  void ofAnInputMatchesThatOfAParameter() {
    HostTensor values = Draw.normal(3, 2, 3, 4, 5);
    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    Tensor weights = g.input("weights", 2, 3, 4, 5);
    Tensor x = g.input("x", 2, 3, 4, 5);
    g.requestGradient(x);
    g.loss(Losses.weightedSum(g, g.relu(x), weights));
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
  void ofAnInputOutlivesALaterForward() {
    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    Tensor x = g.input("x", 2, 3, 6, 6);
    g.requestGradient(x);
    Tensor y = g.relu(g.batchNorm("n", 4).apply(g.conv("c", 3, 4, 3, 3).apply(x)));
    g.loss(Losses.weightedSum(g, y, g.parameter("weighting", Draw.normal(), y.shape())));
    try (Engine engine = open(g)) {
      engine.forwardBackward(Map.of("x", Draw.normal(3, 2, 3, 6, 6)));
      float[] gradient = engine.gradient("x").floats();
      engine.forward(Map.of("x", Draw.normal(4, 2, 3, 6, 6)));
      assertThat(engine.gradient("x").floats()).containsExactly(gradient);
    }
  }

  /** What an input feeds is differentiated for its weights, and for the input only on request. */
  @Test
  void ofWeightsIsTheSameWithAndWithoutThatOfTheInput() {
    Map<String, HostTensor> inputs = Map.of("x", Draw.normal(3, 2, 3, 6, 6));
    Graph[] graphs = new Graph[2];
    for (int i = 0; i < 2; i++) {
      Graph g = new Graph(Graph.Mode.TRAINING, SEED);
      Tensor x = g.input("x", 2, 3, 6, 6);
      Tensor y = g.conv("c", 3, 4, 3, 3).padding(1).apply(g.batchNorm("n", 3).apply(x));
      y = g.globalAveragePool(g.concat(x, g.multiply(y, g.conv("d", 3, 4, 1, 1).apply(x))));
      y =
          g.multiply(
              g.linear("l", 7, 4).apply(y), g.linear("m", 3, 4).apply(g.globalAveragePool(x)));
      g.loss(Losses.weightedSum(g, y, g.parameter("weighting", Draw.normal(), y.shape())));
      graphs[i] = g;
    }
    graphs[0].requestGradient(graphs[0].inputs().get("x"));
    try (Engine requested = open(graphs[0]);
        Engine plain = open(graphs[1])) {
      requested.forwardBackward(inputs);
      plain.forwardBackward(inputs);
      assertThat(requested.gradient("x").floats()).doesNotContain(0);
      for (Variable variable : graphs[0].variables()) {
        if (variable.role() == Variable.Role.PARAMETER) {
          assertThat(plain.gradient(variable.name()).floats())
              .as(variable.name())
              .containsExactly(requested.gradient(variable.name()).floats());
        }
      }
      assertThatThrownBy(() -> plain.gradient("x"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Invalid name: x (must be a parameter, or an input whose gradient was requested)");
    }
  }

  @Test
  void isZeroForWhatTheLossDoesNotUse() {
    Graph g = new Graph(Graph.Mode.TRAINING, SEED);
    g.linear("unused", 2, 3);
    g.requestGradient(g.input("ignored", 2));
    g.loss(g.sum(Networks.x(g, 2, 2)));
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
    Tensor y = Networks.ALL.get(network).apply(g);
    g.output("y", y);
    if (y.rank() == 0) {
      g.loss(y);
    } else {
      g.loss(Losses.weightedSum(g, y, g.parameter("weighting", Draw.normal(), y.shape())));
    }
    return g;
  }

  private static Nd4jEngine open(Graph g) {
    return new Nd4jEngine(g, OptimizerConfig.plainSgd());
  }

  private static Map<String, HostTensor> inputs(Graph g) {
    return g.inputs().containsKey("labels") ? Map.of("labels", Draw.labels(5, 5, 6)) : Map.of();
  }
}
