package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.EngineOptions.Precision;

class PositionAttentionTest {

  private static Trial trial() {
    return new Trial("name = block/position-attention, channels = 16", new long[] {2, 16, 3, 4});
  }

  @Test
  void matchesNaiveLoops() {
    Trial trial = trial();
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] q = trial.pixelwise("query_conv", x);
      double[][] k = trial.pixelwise("key_conv", x);
      double[][] v = trial.pixelwise("value_conv", x);
      expected.add(Trial.sum(trial.vector("gamma")[0], Trial.attention(q, k, v, 1), x));
    }
    trial.matches(0, expected);
  }

  @ParameterizedTest
  @ValueSource(strings = {"block/position-attention", "block/sagan-attention", "block/criss-cross"})
  void startsAsTheIdentityAndCanLeaveIt(String block) {
    Trial trial = new Trial("channels = 16, name = " + block, new long[] {2, 16, 3, 4});
    trial.asItStarts().matches(0, trial.images(0));
    Map<String, float[]> gradients =
        trial.gradients("compiled", Precision.FLOAT32, Draw.normal(3, 2, 16, 3, 4));
    assertThat(Math.abs(gradients.get("gamma")[0])).isGreaterThan(1e-3f);
  }

  /** Values of 1 everywhere: their mean is 1 whatever the map, if its rows sum to 1. */
  @ParameterizedTest
  @ValueSource(strings = {"block/position-attention", "block/criss-cross"})
  void rowsOfTheMapSumToOne(String block) {
    float[] ones = new float[16];
    Arrays.fill(ones, 1);
    Trial trial =
        new Trial("channels = 16, name = " + block, new long[] {2, 16, 3, 4})
            .with("value_conv.weight", new float[256])
            .with("value_conv.bias", ones)
            .with("gamma", 1);
    float[] x = trial.inputs.get("input.0").floats();
    float[] y = trial.output(0).floats();
    for (int i = 0; i < x.length; i++) {
      assertThat(y[i]).isCloseTo(x[i] + 1, within(1e-5f));
    }
  }

  @Test
  void hasThePublishedNumberOfParameters() {
    assertThat(
            new Trial("name = block/position-attention, channels = 512", new long[] {1, 512, 1, 1})
                .parameters())
        .isEqualTo(328_321);
  }

  @Test
  void refusesFewerChannelsThanEight() {
    assertThatThrownBy(
            () ->
                new Trial("name = block/position-attention, channels = 7", new long[] {1, 7, 1, 1}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot build position attention: it needs at least 8 channels, has 7");
  }
}
