package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SyncTest {

  @Test
  void roundsEndAtMultiplesOfAFixedH() {
    Sync.Rule sync = preset(Sync.Preset.PARAMETER_AVERAGING);
    assertThat(ends(sync, 20, step -> 0.1)).containsExactly(8L, 16L, 24L);
    assertThat(sync.roundEnd(11, 0.1, 20)).as("after a checkpoint in a round").isEqualTo(16);
  }

  @Test
  void postLocalRoundsAreOfOneStepFirst() {
    Sync.Rule sync = preset(Sync.Preset.POST_LOCAL_SGD);
    assertThat(ends(sync, 40, step -> 0.1))
        .startsWith(1L, 2L, 3L)
        .endsWith(19L, 20L, 32L, 48L)
        .hasSize(22);
  }

  /** H = max(4, floor((alpha / rate)^2)): Gu et al., equation 2. */
  @Test
  void roundsOfQsrGrowAsTheRateFalls() {
    Sync.Rule sync = preset(Sync.Preset.QSR);
    assertThat(ends(sync, 100, step -> step < 8 ? 0.01 : 0.0035))
        .containsExactly(4L, 8L, 33L, 58L, 83L, 108L);
    assertThat(sync.roundEnd(7, 0, 100)).isGreaterThanOrEqualTo(100);
  }

  /** Against doubles, for three rounds of one number each. */
  @ParameterizedTest
  @CsvSource({
    "PARAMETER_AVERAGING, 1,   0,   false",
    "SLOWMO,              1,   0.7, false",
    "DILOCO,              0.7, 0.9, true",
  })
  void theOuterStepIsTheFormula(Sync.Preset preset, double eta, double mu, boolean nesterov) {
    float[][] means = {{1.5f, 7}, {1.25f, 8}, {2.75f, 9}};
    OuterStep outer = new OuterStep(preset(preset), new float[] {1, 6}, 1);
    double theta = 1;
    double m = 0;
    for (float[] mean : means) {
      double d = mean[0] - theta;
      m = mu * m + d;
      theta += eta * (nesterov ? d + mu * m : m);
      float[] weights = mean.clone();
      outer.apply(weights);
      assertThat((double) weights[0])
          .isCloseTo(theta, org.assertj.core.api.Assertions.within(1e-6));
      assertThat(weights[1]).as("statistics are the mean").isEqualTo(mean[1]);
    }
    assertThat(outer.state().isEmpty()).isEqualTo(mu == 0);
    if (mu > 0) {
      OuterStep resumed = new OuterStep(preset(preset), new float[] {(float) theta, 9}, 1);
      resumed.load(outer.state());
      float[] one = {3, 1};
      float[] other = {3, 1};
      outer.apply(one);
      resumed.apply(other);
      assertThat(other[0]).isCloseTo(one[0], org.assertj.core.api.Assertions.within(1e-6f));
    }
  }

  @Test
  void theMeanItselfIsNotRounded() {
    OuterStep outer = new OuterStep(preset(Sync.Preset.PARAMETER_AVERAGING), new float[] {1e8f}, 1);
    float[] mean = {0.1f};
    assertThat(outer.drift(new float[] {1e8f + 16})).isEqualTo(16);
    outer.apply(mean);
    assertThat(mean[0]).isEqualTo(0.1f);
  }

  private interface Rate {
    double at(long step);
  }

  private static List<Long> ends(Sync.Rule sync, long total, Rate rate) {
    List<Long> ends = new ArrayList<>();
    for (long step = 0; step < total; step = ends.get(ends.size() - 1)) {
      ends.add(sync.roundEnd(step, rate.at(step), total));
    }
    return ends;
  }

  private static Sync.Rule preset(Sync.Preset preset) {
    return new Sync(
            preset,
            Optional.empty(),
            Optional.empty(),
            0.5,
            0.0175,
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            Sync.Wire.FLOAT32)
        .rule();
  }
}
