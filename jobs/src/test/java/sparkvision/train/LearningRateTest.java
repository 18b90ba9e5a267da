package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.train.LearningRate.Schedule;

class LearningRateTest {

  private static final int STEPS_PER_EPOCH = 10;

  private static LearningRate rate(
      double base, Schedule schedule, double warmupEpochs, double warmupFrom, double last) {
    return new LearningRate(base, schedule, warmupEpochs, 0, warmupFrom, last, 0.9, 30, 0.1);
  }

  @Test
  void stepsMultiplyAtTheirEpochs() {
    LearningRate rate = rate(0.1, Schedule.STEP, 0, 0, 0);
    assertThat(rate.at(299, 900, STEPS_PER_EPOCH)).isEqualTo(0.1);
    assertThat(rate.at(300, 900, STEPS_PER_EPOCH)).isCloseTo(0.01, within(1e-12));
    assertThat(rate.at(899, 900, STEPS_PER_EPOCH)).isCloseTo(0.001, within(1e-12));
  }

  @Test
  void cosineFallsFromBaseToLast() {
    // DeiT's schedule (timm): 5 of 300 epochs behind, from 1e-3 to 1e-5, without warm-up.
    LearningRate rate = rate(1e-3, Schedule.COSINE, 0, 0, 1e-5);
    assertThat(rate.at(0, 3000, STEPS_PER_EPOCH)).isEqualTo(1e-3);
    assertThat(rate.at(50, 3000, STEPS_PER_EPOCH)).isCloseTo(9.993e-4, within(5e-8));
    assertThat(rate.at(1500, 3000, STEPS_PER_EPOCH)).isCloseTo(5.05e-4, within(1e-12));
    assertThat(rate.at(3000, 3000, STEPS_PER_EPOCH)).isCloseTo(1e-5, within(1e-12));
  }

  @Test
  void warmUpRisesLinearlyAndReachesBase() {
    LearningRate rate = rate(0.4, Schedule.CONSTANT, 1, 0.04, 0);
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

  /** SegFormer's of mmcv: 6e-5 with power 1, warmed up for 1,500 of 160,000 from a millionth. */
  @ParameterizedTest
  @CsvSource({
    "0, 6e-11",
    "1, 4.005970962525e-8",
    "750, 2.98594048594e-5",
    "1499, 5.93982497896e-5",
    "1500, 5.94375e-5",
    "80000, 3e-5",
    "159999, 3.75e-10"
  })
  void polyIsThatOfMmcv(long step, double expected) {
    LearningRate rate = new LearningRate(6e-5, Schedule.POLY, 0, 1500, 6e-11, 0, 1, 30, 0.1);
    assertThat(rate.at(step, 160_000, 1263)).isCloseTo(expected, withinPercentage(2e-4));
  }

  @Test
  void polyEndsAtLast() {
    LearningRate rate = rate(0.01, Schedule.POLY, 0, 0, 1e-4);
    assertThat(rate.at(0, 100, STEPS_PER_EPOCH)).isEqualTo(0.01);
    assertThat(rate.at(50, 100, STEPS_PER_EPOCH))
        .isCloseTo(1e-4 + 0.0099 * Math.pow(0.5, 0.9), within(1e-15));
    assertThat(rate.at(100, 100, STEPS_PER_EPOCH)).isEqualTo(1e-4);
  }

  /**
   * DeiT's of timm 0.4.12: 1e-3 to 1e-5 over 300 epochs, 5 of them from 1e-6, each rate one epoch
   * late.
   */
  @ParameterizedTest
  @CsvSource({
    "0, 1e-6",
    "1, 1e-6",
    "2, 2.008e-4",
    "5, 8.002e-4",
    "6, 9.99321619704e-4",
    "151, 5.05e-4",
    "299, 1.01085616800e-5"
  })
  void cosineEpochsIsThatOfTimm(int epoch, double expected) {
    LearningRate rate = rate(1e-3, Schedule.COSINE_EPOCHS, 5, 1e-6, 1e-5);
    for (int step : new int[] {0, 7, 9}) {
      assertThat(rate.at(epoch * STEPS_PER_EPOCH + step, 3000, STEPS_PER_EPOCH))
          .isCloseTo(expected, withinPercentage(1e-4));
    }
  }

  @Test
  void warmUpMayBeGivenInIterations() {
    LearningRate iterations = new LearningRate(0.4, Schedule.COSINE, 0, 20, 0.04, 0, 0.9, 30, 0.1);
    LearningRate epochs = rate(0.4, Schedule.COSINE, 2, 0.04, 0);
    for (int step = 0; step < 100; step++) {
      assertThat(iterations.at(step, 100, STEPS_PER_EPOCH))
          .isEqualTo(epochs.at(step, 100, STEPS_PER_EPOCH));
    }
    assertThatThrownBy(() -> new LearningRate(0.4, Schedule.POLY, 1, 20, 0, 0, 0.9, 30, 0.1))
        .hasMessage(
            "Invalid learning-rate.warmup-iterations: 20 (must be 0 where"
                + " learning-rate.warmup-epochs is not)");
  }

  @Test
  void refusesWhatIsOutOfRange() {
    assertThatThrownBy(() -> rate(0.1, Schedule.COSINE, 0, 0.2, 0))
        .hasMessage(
            "Invalid learning-rate.warmup-from: 0.2 (must be at least 0, at most"
                + " learning-rate.base)");
  }
}
