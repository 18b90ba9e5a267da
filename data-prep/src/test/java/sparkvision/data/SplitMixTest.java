package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

final class SplitMixTest {

  @Test
  void gaussiansHaveTheMomentsOfTheNormalDistribution() {
    SplitMix random = new SplitMix(1);
    double[] moments = new double[5];
    for (int i = 0; i < 200_000; i++) {
      double value = random.gaussian();
      for (int power = 1; power <= 4; power++) {
        moments[power] += Math.pow(value, power) / 200_000;
      }
    }
    assertThat(moments[1]).isCloseTo(0, within(0.01));
    assertThat(moments[2]).isCloseTo(1, within(0.01));
    assertThat(moments[3]).isCloseTo(0, within(0.03));
    assertThat(moments[4]).isCloseTo(3, within(0.06));
  }

  @Test
  void betasHaveTheirMeanAndVariance() {
    for (double[] ab : new double[][] {{0.8, 0.8}, {1, 1}, {0.2, 0.2}, {2, 0.5}}) {
      SplitMix random = new SplitMix(2);
      double sum = 0;
      double squares = 0;
      for (int i = 0; i < 100_000; i++) {
        double value = random.beta(ab[0], ab[1]);
        sum += value / 100_000;
        squares += value * value / 100_000;
      }
      double total = ab[0] + ab[1];
      assertThat(sum).isCloseTo(ab[0] / total, within(0.005));
      assertThat(squares - sum * sum)
          .isCloseTo(ab[0] * ab[1] / (total * total * (total + 1)), within(0.003));
    }
  }
}
