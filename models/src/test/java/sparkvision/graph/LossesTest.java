package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.weights.HostTensor;

class LossesTest {

  private static final int[] SHAPE = {2, 3, 4, 5};
  private static final HostTensor X = Draw.normal(1, 2, 3, 4, 5);
  private static final HostTensor T = Draw.normal(2, 2, 3, 4, 5);

  private final Graph g = new Graph(Graph.Mode.TRAINING, 1);
  private final Tensor x = g.input("x", X.shape());
  private final Tensor t = g.input("t", T.shape());

  /** The value of a scalar. */
  private double value(Tensor scalar) {
    assertThat(scalar.rank()).isZero();
    return Naive.run(g, Map.of("x", X, "t", T)).get(scalar)[0];
  }

  @Test
  void diceIsTheMeanOverBatchAndClasses() {
    double sum = 0;
    int pixels = SHAPE[2] * SHAPE[3];
    for (int row = 0; row < SHAPE[0] * SHAPE[1]; row++) {
      double overlap = 0;
      double total = 0;
      for (int i = row * pixels; i < (row + 1) * pixels; i++) {
        double p = 1 / (1 + Math.exp(-X.floats()[i]));
        double target = T.floats()[i] > 0 ? 1 : 0;
        overlap += p * target;
        total += p + target;
      }
      sum += (2 * overlap + 0.01) / (total + 0.01);
    }
    Tensor target = g.scale(g.add(sign(t), one()), 0.5);
    assertThat(value(Losses.dice(g, g.sigmoid(x), target, 0.01)))
        .isCloseTo(1 - sum / (SHAPE[0] * SHAPE[1]), within(1e-9));
  }

  /** Label 7 is to ignore; label 2 is nowhere in the second sample. */
  @Test
  void softDiceOfLabelsIsThatOfAllClassesWithTheBackground() {
    int pixels = SHAPE[2] * SHAPE[3];
    long[] labels = new long[SHAPE[0] * pixels];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = i % 4 == 3 ? 7 : i < pixels ? i % 3 : i % 2;
    }
    double sum = 0;
    for (int b = 0; b < SHAPE[0]; b++) {
      for (int k = 0; k < SHAPE[1]; k++) {
        double overlap = 0;
        double total = 0;
        for (int i = 0; i < pixels; i++) {
          long label = labels[b * pixels + i];
          if (label == 7) {
            continue;
          }
          double powers = 0;
          for (int other = 0; other < SHAPE[1]; other++) {
            powers += Math.exp(X.floats()[(b * SHAPE[1] + other) * pixels + i]);
          }
          double p = Math.exp(X.floats()[(b * SHAPE[1] + k) * pixels + i]) / powers;
          overlap += label == k ? p : 0;
          total += p + (label == k ? 1 : 0);
        }
        sum += (2 * overlap + 0.01) / (total + 0.01);
      }
    }
    Tensor given = g.indices("labels", SHAPE[0], SHAPE[2], SHAPE[3]);
    Tensor loss = Losses.softDice(g, x, given, 0.01, 7);
    HostTensor values = HostTensor.ofLongs(labels, given.shape());
    assertThat(Naive.run(g, Map.of("x", X, "t", T, "labels", values)).get(loss)[0])
        .isCloseTo(1 - sum / (SHAPE[0] * SHAPE[1]), within(1e-9));
  }

  /** t / |t|. */
  private Tensor sign(Tensor t) {
    return g.divide(t, g.abs(t));
  }

  private Tensor one() {
    return g.exp(g.scale(x, 0));
  }

  @Test
  void diceOfAPerfectAnswerIsZeroEvenForAClassThatIsNowhere() {
    Tensor none = g.scale(x, 0);
    assertThat(value(Losses.dice(g, none, none, 0.01))).isCloseTo(0, within(1e-12));
    assertThat(value(Losses.dice(g, one(), one(), 0.01))).isCloseTo(0, within(1e-12));
  }

  @Test
  void binaryCrossEntropyIsTheMeanOverAllElements() {
    double sum = 0;
    for (int i = 0; i < X.floats().length; i++) {
      double p = 1 / (1 + Math.exp(-X.floats()[i]));
      double target = 1 / (1 + Math.exp(-T.floats()[i]));
      sum -= target * Math.log(p) + (1 - target) * Math.log(1 - p);
    }
    assertThat(value(Losses.bceWithLogits(g, x, g.sigmoid(t))))
        .isCloseTo(sum / X.floats().length, within(1e-9));
  }

  @Test
  void smoothL1IsAParabolaThatBecomesALine() {
    for (double beta : new double[] {0, 0.5, 2}) {
      double sum = 0;
      for (int i = 0; i < X.floats().length; i++) {
        double d = Math.abs((double) X.floats()[i] - T.floats()[i]);
        sum += d < beta ? d * d / (2 * beta) : d - beta / 2;
      }
      assertThat(value(Losses.smoothL1(g, x, t, beta)))
          .isCloseTo(sum / X.floats().length, within(1e-9));
    }
  }

  @Test
  void hingesOfTwoPlayers() {
    double discriminator = 0;
    double generator = 0;
    for (int i = 0; i < X.floats().length; i++) {
      discriminator += Math.max(0, 1.0 - X.floats()[i]) + Math.max(0, 1.0 + T.floats()[i]);
      generator -= T.floats()[i];
    }
    assertThat(value(Losses.hingeDiscriminator(g, x, t)))
        .isCloseTo(discriminator / X.floats().length, within(1e-9));
    assertThat(value(Losses.hingeGenerator(g, t)))
        .isCloseTo(generator / X.floats().length, within(1e-9));
  }

  @Test
  void lossIsTheWeightedSumOfItsParts() {
    Tensor first = g.mean(x);
    Tensor second = g.sum(t);
    Tensor third = g.mean(g.multiply(x, t));
    g.loss(first);
    assertThat(g.loss()).containsSame(first);
    g.loss(second, 0.4);
    g.loss(third, -2);
    double expected = value(first) + 0.4 * value(second) - 2 * value(third);
    assertThat(value(g.loss().orElseThrow())).isCloseTo(expected, within(1e-12));
  }

  @Test
  void oneWeightedPartIsALossToo() {
    Tensor mean = g.mean(x);
    g.loss(mean, 0.4);
    assertThat(value(g.loss().orElseThrow())).isCloseTo(0.4 * value(mean), within(1e-12));
  }

  @Test
  void crossEntropyRecordsItsTerms() {
    Tensor labels = g.indices("labels", 2, 4, 5);
    Tensor weights = g.input("weights", 3);
    Losses.crossEntropy(g, x, labels, 0.1, 255, weights);
    Losses.crossEntropy(g, x, labels, 0);
    Node all = g.nodes().get(0);
    assertThat(all.inputs()).containsExactly(x, labels, weights);
    assertThat(all.output().rank()).isZero();
    assertThat(all.number("smoothing")).isEqualTo(0.1);
    assertThat(all.integer("ignore-index")).isEqualTo(255);
    Node plain = g.nodes().get(1);
    assertThat(plain.inputs()).containsExactly(x, labels);
    assertThat(plain.integer("ignore-index")).isEqualTo(Losses.IGNORE_NOTHING);
  }

  /** Probabilities of the label are 0.1, 0.3, 0.5, 0.8 and 0.9. */
  @ParameterizedTest
  @CsvSource({
    "0.7, 0, 3",
    "0.7, 2, 3",
    "0.7, 4, 4",
    "0.7, 100, 4", // the surest is not below itself
    "0.3, 0, 1",
    "0.3, 2, 2",
    "1, 0, 5",
    "0.05, 0, 0"
  })
  void hardCrossEntropyCountsTheLeastProbableLabels(double threshold, long leastKept, int count) {
    double[] probabilities = {0.9, 0.1, 0.8, 0.3, 0.5};
    float[] logits = new float[12];
    for (int i = 0; i < 5; i++) {
      logits[2 * i + 1] = (float) Math.log(probabilities[i] / (1 - probabilities[i]));
    }
    Tensor x = g.input("pixels", 6, 2);
    Tensor labels = g.indices("labels", 6);
    Tensor loss = Losses.hardCrossEntropy(g, x, labels, 0, 255, threshold, leastKept);
    Map<String, HostTensor> given =
        Map.of(
            "x",
            X,
            "t",
            T,
            "pixels",
            HostTensor.of(logits, 6, 2),
            "labels",
            HostTensor.ofLongs(new long[] {1, 1, 1, 1, 1, 255}, 6));
    double expected =
        -Arrays.stream(probabilities).sorted().limit(count).map(Math::log).average().orElse(0);
    assertThat(Naive.run(g, given).get(loss)[0]).isCloseTo(expected, within(1e-6));
  }

  @Test
  void refusesWhatDoesNotFit() {
    Tensor labels = g.indices("labels", 2, 4, 5);
    refuses(
        g -> Losses.crossEntropy(g, x, g.indices("l3", 2, 5, 4), 0),
        "Cannot build cross-entropy: logits must be (B, K, ...) and labels int64 (B, ...), found"
            + " x[2, 3, 4, 5] and l3[2, 5, 4]");
    refuses(
        g -> Losses.crossEntropy(g, x, g.input("soft", 2, 4, 5), 0),
        "Cannot build cross-entropy: logits must be (B, K, ...) and labels int64 (B, ...), found"
            + " x[2, 3, 4, 5] and soft[2, 4, 5]");
    refuses(
        g -> Losses.crossEntropy(g, x, labels, 1),
        "Invalid label-smoothing: 1.0 (must be in [0, 1))");
    refuses(
        g -> Losses.crossEntropy(g, x, labels, 0, 255, g.input("weights", 4)),
        "Cannot build cross-entropy: class weights must be (K), found weights[4] for logits"
            + " x[2, 3, 4, 5]");
    refuses(
        g -> Losses.hardCrossEntropy(g, x, labels, 0, 255, 1.5, 0),
        "Invalid threshold: 1.5 (must be in [0, 1])");
    refuses(
        g -> Losses.hardCrossEntropy(g, x, labels, 0, 255, 0.7, -1),
        "Invalid least-kept: -1 (must be >= 0)");
    refuses(
        g -> Losses.softCrossEntropy(g, x, g.mean(t, 1)),
        "Cannot build soft cross-entropy: x[2, 3, 4, 5] and [2, 4, 5] must be of one shape with at"
            + " least 2 axes");
    refuses(
        g -> Losses.dice(g, g.mean(x, 2, 3), g.mean(t, 2, 3), 1),
        "Cannot build dice: [2, 3] and [2, 3] must be of one shape with at least 3 axes");
    refuses(
        g -> Losses.softDice(g, x, g.indices("l4", 2, 5, 4), 1, 255),
        "Cannot build soft dice: logits must be (B, K, ...) and labels int64 (B, ...), found"
            + " x[2, 3, 4, 5] and l4[2, 5, 4]");
    refuses(g -> Losses.dice(g, x, t, 0), "Invalid smooth: 0.0 (must be > 0)");
    refuses(
        g -> Losses.bceWithLogits(g, x, g.mean(t)),
        "Cannot build binary cross-entropy: x[2, 3, 4, 5] and [] must be of one shape");
    refuses(g -> Losses.smoothL1(g, x, t, -1), "Invalid beta: -1.0 (must be >= 0)");
    refuses(
        g -> Losses.weightedSum(g, x, g.mean(t)),
        "Cannot build weighted sum: x[2, 3, 4, 5] and [] must be of one shape");
    assertThatThrownBy(() -> g.loss(x))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot declare loss: it must be a float scalar, found x[2, 3, 4, 5]");
    assertThatThrownBy(() -> g.loss(g.counter("steps")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot declare loss: it must be a float scalar, found steps[]");
    assertThatThrownBy(() -> g.loss(g.mean(x), Double.NaN))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid loss weight: NaN (must be finite)");
  }

  private void refuses(Function<Graph, Tensor> word, String message) {
    assertThatThrownBy(() -> word.apply(g))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }
}
