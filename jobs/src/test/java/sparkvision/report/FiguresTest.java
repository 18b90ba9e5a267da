package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FiguresTest {

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "7, 7",
    "987, 987",
    "999.6, 1.00 k",
    "12345, 12.3 k",
    "7978856, 7.98 M",
    "2.5, 2.50"
  })
  void abbreviatesToThreeDigits(double value, String text) {
    assertThat(Figures.abbreviated(value)).isEqualTo(text);
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "-0.001, 0", "0.5, 0.5", "12.345, 12.35", "100, 100", "-3.10, -3.1"})
  void coordinatesAreShort(double value, String text) {
    assertThat(Figures.coordinate(value)).isEqualTo(text);
  }

  @ParameterizedTest
  @CsvSource({"8.44, 8.4 s", "59.97, 1 min 0 s", "200, 3 min 20 s", "18720, 5 h 12 min"})
  void durationsAreInWords(double seconds, String text) {
    assertThat(Figures.duration(seconds)).isEqualTo(text);
  }

  @Test
  void whatIsNotANumberIsADash() {
    assertThat(Figures.percent(Double.NaN, 1)).isEqualTo("–");
    assertThat(Figures.fixed(Double.POSITIVE_INFINITY, 1)).isEqualTo("–");
    assertThat(Figures.duration(Double.NaN)).isEqualTo("–");
    assertThat(Figures.abbreviated(Double.NaN)).isEqualTo("–");
  }
}
