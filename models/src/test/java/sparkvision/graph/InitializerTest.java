package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class InitializerTest {

  @Test
  void aTruncatedNormalEndsAtTwo() {
    float[] wide = Initializer.truncatedNormal(2).values(1, "w", 100, 100);
    double squares = 0;
    for (float value : wide) {
      assertThat(value).isBetween(-2f, 2f);
      squares += (double) value * value;
    }
    // A standard normal between ±1 has variance 1 − 2·φ(1) / (2·Φ(1) − 1) = 0.2911.
    assertThat(squares / wide.length).isCloseTo(4 * 0.2911, within(0.04));
  }

  @Test
  void aNormalHasItsMeanAndDeviation() {
    assertMoments(Initializer.normal(1, 0.02).values(1, "w", 100, 100), 1, 0.02);
  }

  /** 20 outputs in windows of 3 x 3 feed the gradient of one input. */
  @Test
  void heNormalsOfTheFanOutCountOutputs() {
    float[] values = Initializer.kaimingNormalByFanOut().values(1, "w", 20, 60, 3, 3);
    assertMoments(values, 0, Math.sqrt(2.0 / (20 * 9)));
  }

  private static void assertMoments(float[] values, double mean, double deviation) {
    double sum = 0;
    double squares = 0;
    for (float value : values) {
      sum += value;
      squares += (value - mean) * (value - mean);
    }
    double error = deviation / Math.sqrt(values.length); // a standard error; four are allowed
    assertThat(sum / values.length).isCloseTo(mean, within(4 * error));
    assertThat(Math.sqrt(squares / values.length)).isCloseTo(deviation, within(4 * error));
  }

  @Test
  void aUniformOneFillsItsRange() {
    float[] values = Initializer.uniform(0.5).values(1, "b", 10_000);
    float least = 0;
    float most = 0;
    for (float value : values) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
    assertThat((double) least).isBetween(-0.5, -0.499);
    assertThat((double) most).isBetween(0.499, 0.5);
  }

  @Test
  void aLayerStartsFromAnother() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor x = g.input("x", 2, 3);
    Linear linear = g.linear("l", 3, 4).startingFrom(Initializer.constant(7));
    Conv conv =
        g.conv("c", 3, 4, 1)
            .startingFrom(Initializer.constant(8))
            .withBias(Initializer.constant(9));
    assertThat(conv).isNotNull();
    assertThat(g.variables())
        .extracting(v -> v.name() + v.initializer().values(1, v.name(), 1)[0])
        .containsExactly("l.weight7.0", "l.bias0.0", "c.weight8.0", "c.bias9.0");
    linear.apply(x);
    assertThatThrownBy(() -> linear.startingFrom(Initializer.constant(1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot change l.weight[4, 3]: its layer was applied or changed before");
  }
}
