package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class DropoutTest {

  private static float[] mask(long seed, long step, long index, double rate) {
    float[] mask = new float[100_000];
    Dropout.fill(mask, seed, step, index, rate);
    return mask;
  }

  @Test
  void dropsTheShareAskedForAndScalesTheRest() {
    int dropped = 0;
    for (float value : mask(1, 2, 3, 0.2)) {
      if (value == 0) {
        dropped++;
      } else {
        assertThat(value).isEqualTo(1.25f);
      }
    }
    // Four standard deviations of a binomial share.
    assertThat(dropped / 1e5).isCloseTo(0.2, within(4 * Math.sqrt(0.2 * 0.8 / 1e5)));
  }

  @Test
  void isAPureFunctionOfSeedStepAndPlace() {
    float[] mask = mask(1, 2, 3, 0.5);
    assertThat(mask(1, 2, 3, 0.5)).containsExactly(mask);
    assertThat(mask(2, 2, 3, 0.5)).isNotEqualTo(mask);
    assertThat(mask(1, 3, 3, 0.5)).isNotEqualTo(mask);
    assertThat(mask(1, 2, 4, 0.5)).isNotEqualTo(mask);
  }

  @Test
  void everyDropoutOfAGraphHasAPlaceOfItsOwn() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor x = g.input("x", 2, 3);
    g.dropout(g.dropoutChannels(g.dropout(x, 0.1), 0.2), 0.1);
    assertThat(g.nodes()).extracting(node -> node.number("index")).containsExactly(0.0, 1.0, 2.0);
  }

  @Test
  void noiseSeedsFollowFromSeedAndStream() {
    long seed = new Graph(Graph.Mode.TRAINING, 1).noiseSeed();
    assertThat(new Graph(Graph.Mode.TRAINING, 1).withNoise(0).noiseSeed()).isEqualTo(seed);
    assertThat(new Graph(Graph.Mode.TRAINING, 1).withNoise(1).noiseSeed()).isNotEqualTo(seed);
    assertThat(new Graph(Graph.Mode.TRAINING, 2).noiseSeed()).isNotEqualTo(seed);
  }

  @Test
  void isNoNodeInInferenceOrAtRateZero() {
    Graph inference = new Graph(Graph.Mode.INFERENCE, 1);
    Tensor x = inference.input("x", 2, 3, 4, 4);
    assertThat(inference.dropout(x, 0.5)).isSameAs(x);
    assertThat(inference.dropoutChannels(x, 0.5)).isSameAs(x);
    Graph training = new Graph(Graph.Mode.TRAINING, 1);
    Tensor y = training.input("x", 2, 3, 4, 4);
    assertThat(training.dropout(y, 0)).isSameAs(y);
    assertThat(training.dropout(y, 0.5)).isNotSameAs(y);
  }

  @Test
  void refusesARateThatIsNoShare() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    assertThatThrownBy(() -> g.dropout(g.input("x", 2), 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid dropout: 1.0 (must be in [0, 1))");
  }
}
