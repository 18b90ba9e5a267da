package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AxisTest {

  @ParameterizedTest
  @CsvSource({
    "0, 2.31, 5, '0 0.5 1.0 1.5 2.0 2.5'",
    "0, 0.1, 4, '0 0.02 0.04 0.06 0.08 0.10'",
    "66.4, 93.1, 5, '65 70 75 80 85 90 95'",
    "0, 0.0005, 5, '0 1e-4 2e-4 3e-4 4e-4 5e-4'",
    "0, 3e-5, 3, '0 1e-5 2e-5 3e-5'",
    "0, 412, 4, '0 100 200 300 400 500'",
    "0, 7900, 4, '0 2,000 4,000 6,000 8,000'",
    "0, 9000, 4, '0 2k 4k 6k 8k 10k'",
    "0, 45000, 3, '0 20k 40k 60k'",
    "0, 30000000, 3, '0 10M 20M 30M'",
    "-1, 1, 4, '-1.0 -0.5 0 0.5 1.0'",
    "7, 7, 2, '0 5 10 15'",
    "0, 0, 2, '0 0.5 1.0'"
  })
  void ticksAreRoundAndCoverTheValues(double low, double high, int ticks, String labels) {
    assertThat(labels(Axis.rounded(low, high, ticks))).isEqualTo(labels);
  }

  @Test
  void anExactAxisKeepsItsEnds() {
    Axis axis = Axis.exact(0, 4680, 6);
    assertThat(axis.place(4680)).isEqualTo(1);
    assertThat(labels(axis)).isEqualTo("0 1,000 2,000 3,000 4,000");
  }

  @Test
  void neitherTooFewNorTooManyTicks() {
    Random random = new Random(5);
    for (int i = 0; i < 2000; i++) {
      double low = random.nextGaussian() * Math.pow(10, random.nextInt(12) - 6);
      double high = low + Math.abs(random.nextGaussian()) * Math.pow(10, random.nextInt(12) - 6);
      Axis axis = Axis.rounded(low, high, 5);
      assertThat(axis.low()).isLessThanOrEqualTo(low + 1e-6 * axis.step());
      assertThat(axis.high()).isGreaterThanOrEqualTo(high - 1e-6 * axis.step());
      assertThat(axis.lastTick() - axis.firstTick()).isBetween(2L, 10L);
    }
  }

  private static String labels(Axis axis) {
    return LongStream.rangeClosed(axis.firstTick(), axis.lastTick())
        .mapToObj(axis::label)
        .collect(Collectors.joining(" "));
  }
}
