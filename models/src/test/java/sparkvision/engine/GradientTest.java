package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
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
  private static final int SEEDS = 6; // graphs drawn per word
  private static final double STEP = 1e-6;
  private static final int PROBES = 12; // elements tried per parameter

  static List<Words.Case> words() {
    return Words.all();
  }

  @ParameterizedTest
  @MethodSource("words")
  void matchesFiniteDifferences(Words.Case word) {
    for (int seed = 0; seed < SEEDS; seed++) {
      Words.Sample sample =
          word.draw(seed, Graph.Mode.TRAINING, Graph.Precision.DOUBLE, Words.Source.PARAMETERS);
      Tensor loss = sample.graph().loss().orElseThrow();
      try (Nd4jEngine engine = open(sample.graph())) {
        engine.load(sample.state());
        engine.forwardBackward(sample.inputs());
        for (Tensor parameter : parameters(sample.graph())) {
          INDArray values = engine.array(parameter);
          int size = (int) parameter.elements();
          for (int i : new Random(seed).ints(PROBES, 0, size).distinct().toArray()) {
            double value = values.getDouble(i);
            values.putScalar(i, value + STEP);
            engine.forward(sample.inputs());
            double above = engine.array(loss).getDouble(0);
            values.putScalar(i, value - STEP);
            engine.forward(sample.inputs());
            double below = engine.array(loss).getDouble(0);
            values.putScalar(i, value);

            double difference = (above - below) / (2 * STEP);
            double tolerance = 1e-7 * (1 + Math.abs(difference)) + 1e-9 * Math.abs(above);
            assertThat(gradient(engine, parameter, i))
                .as("%s[%d] of %s", parameter, i, sample)
                .isCloseTo(difference, within(tolerance));
          }
        }
      }
    }
  }

  /** Floats take other native code than doubles, and inputs another way than parameters. */
  @ParameterizedTest
  @MethodSource("words")
  void isTheSameInFloatsAndDoubles(Words.Case word) {
    for (int seed = 0; seed < SEEDS; seed++) {
      Words.Sample floats = word.draw(seed);
      Words.Sample doubles =
          word.draw(seed, Graph.Mode.TRAINING, Graph.Precision.DOUBLE, Words.Source.BOTH);
      try (Engine ofFloats = open(floats.graph());
          Engine ofDoubles = open(doubles.graph())) {
        ofFloats.load(floats.state());
        ofDoubles.load(doubles.state());
        ofFloats.forwardBackward(floats.inputs());
        ofDoubles.forwardBackward(doubles.inputs());
        for (String name : differentiated(floats.graph())) {
          float[] expected = ofDoubles.gradient(name).floats();
          float largest = 1;
          for (float value : expected) {
            largest = Math.max(largest, Math.abs(value));
          }
          assertThat(ofFloats.gradient(name).floats())
              .as("%s of %s", name, floats)
              .containsExactly(expected, within(2e-4f * largest));
        }
      }
    }
  }

  @Test
  void isTriedForEveryKindOfNode() {
    Set<Node.Kind> kinds = EnumSet.noneOf(Node.Kind.class);
    for (Words.Case word : words()) {
      for (int seed = 0; seed < SEEDS; seed++) {
        word.draw(seed).graph().nodes().forEach(node -> kinds.add(node.kind()));
      }
    }
    assertThat(kinds).containsExactly(Node.Kind.values());
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

  private static List<Tensor> parameters(Graph g) {
    return g.variables().stream()
        .filter(variable -> variable.role() == Variable.Role.PARAMETER)
        .map(Variable::tensor)
        .toList();
  }

  /** The names of all parameters, and of all inputs whose gradients are requested. */
  private static List<String> differentiated(Graph g) {
    return Stream.concat(parameters(g).stream(), g.requestedGradients().stream())
        .map(Tensor::name)
        .toList();
  }

  /** In double precision; zero where the loss does not depend on the parameter. */
  private static double gradient(Nd4jEngine engine, Tensor parameter, int element) {
    INDArray gradient = engine.gradientArray(parameter);
    return gradient == null ? 0 : gradient.getDouble(element);
  }

  private static Nd4jEngine open(Graph g) {
    return new Nd4jEngine(g, OptimizerConfig.plainSgd());
  }
}
