package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import sparkvision.train.LearningRate.Schedule;

class LearningRateTest {

  private static final int STEPS_PER_EPOCH = 10;

  @Test
  void stepsMultiplyAtTheirEpochs() {
    LearningRate rate = new LearningRate(0.1, Schedule.STEP, 0, 0, 0, 30, 0.1);
    assertThat(rate.at(299, 900, STEPS_PER_EPOCH)).isEqualTo(0.1);
    assertThat(rate.at(300, 900, STEPS_PER_EPOCH)).isCloseTo(0.01, within(1e-12));
    assertThat(rate.at(899, 900, STEPS_PER_EPOCH)).isCloseTo(0.001, within(1e-12));
  }

  @Test
  void cosineFallsFromBaseToLast() {
    // DeiT's schedule (timm): 5 of 300 epochs behind, from 1e-3 to 1e-5, without warm-up.
    LearningRate rate = new LearningRate(1e-3, Schedule.COSINE, 0, 0, 1e-5, 30, 0.1);
    assertThat(rate.at(0, 3000, STEPS_PER_EPOCH)).isEqualTo(1e-3);
    assertThat(rate.at(50, 3000, STEPS_PER_EPOCH)).isCloseTo(9.993e-4, within(5e-8));
    assertThat(rate.at(1500, 3000, STEPS_PER_EPOCH)).isCloseTo(5.05e-4, within(1e-12));
    assertThat(rate.at(3000, 3000, STEPS_PER_EPOCH)).isCloseTo(1e-5, within(1e-12));
  }

  @Test
  void warmUpRisesLinearlyAndReachesBase() {
    LearningRate rate = new LearningRate(0.4, Schedule.CONSTANT, 1, 0.04, 0, 30, 0.1);
    double before = 0.04;
    double slope = rate.at(1, 100, STEPS_PER_EPOCH) - rate.at(0, 100, STEPS_PER_EPOCH);
    for (int step = 0; step < STEPS_PER_EPOCH; step++) {
      double now = rate.at(step, 100, STEPS_PER_EPOCH);
      assertThat(now - before).isCloseTo(slope, within(1e-12));
      before = now;
    }
    assertThat(rate.at(STEPS_PER_EPOCH, 100, STEPS_PER_EPOCH)).isEqualTo(0.4);
    assertThat(0.4 - before).isCloseTo(slope, within(1e-12));
  }

  @Test
  void refusesWhatIsOutOfRange() {
    assertThatThrownBy(() -> new LearningRate(0.1, Schedule.COSINE, 0, 0.2, 0, 30, 0.1))
        .hasMessage(
            "Invalid learning-rate.warmup-from: 0.2 (must be at least 0, at most"
                + " learning-rate.base)");
  }
}
