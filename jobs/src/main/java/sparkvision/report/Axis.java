package sparkvision.report;

import java.math.BigDecimal;
import java.util.Locale;

/**
 * A linear axis whose ticks are round numbers.
 *
 * @param low the value at the start of the axis
 * @param high the value at its end
 * @param mantissa 1, 2 or 5: ticks are multiples of {@code mantissa * 10^exponent}
 */
record Axis(double low, double high, int mantissa, int exponent) {

  /** An axis over the values with about {@code ticks} ticks; both ends lie on one. */
  static Axis rounded(double low, double high, int ticks) {
    Axis exact = exact(low, high, ticks);
    double step = exact.step();
    return new Axis(
        step * Math.floor(exact.low / step + 1e-9),
        step * Math.ceil(exact.high / step - 1e-9),
        exact.mantissa,
        exact.exponent);
  }

  /** An axis from just {@code low} to just {@code high}, with about {@code ticks} ticks inside. */
  static Axis exact(double low, double high, int ticks) {
    if (!(high > low)) { // one value only: make room around it
      double room = low == 0 ? 1 : Math.abs(low) / 2;
      low -= low > 0 || low < 0 ? room : 0;
      high += room;
    }
    double wanted = (high - low) / ticks;
    int exponent = (int) Math.floor(Math.log10(wanted));
    double fraction = wanted / Math.pow(10, exponent);
    if (fraction > 7.07) {
      return new Axis(low, high, 1, exponent + 1);
    }
    return new Axis(low, high, fraction > 3.16 ? 5 : fraction > 1.41 ? 2 : 1, exponent);
  }

  double step() {
    return mantissa * Math.pow(10, exponent);
  }

  /** The multiples of {@link #step} that lie on the axis, as counts of steps. */
  long firstTick() {
    return (long) Math.ceil(low / step() - 1e-9);
  }

  long lastTick() {
    return (long) Math.floor(high / step() + 1e-9);
  }

  double value(long tick) {
    return tick * step();
  }

  /** How far along the axis a value lies: 0 at {@code low}, 1 at {@code high}. */
  double place(double value) {
    return (value - low) / (high - low);
  }

  /** The tick's value with no more digits than needed: 0.05, 1.5, 12k, 3M, 2e-5. */
  String label(long tick) {
    if (tick == 0) {
      return "0";
    }
    double largest = Math.max(Math.abs(low), Math.abs(high));
    BigDecimal value = BigDecimal.valueOf(tick * mantissa).scaleByPowerOfTen(exponent);
    if (largest < 0.01) {
      int power = (int) Math.floor(Math.log10(largest));
      BigDecimal scaled = value.scaleByPowerOfTen(-power).stripTrailingZeros();
      return scaled.toPlainString() + "e" + power;
    }
    int thousands = largest >= 1e7 ? 2 : largest >= 1e4 ? 1 : 0;
    BigDecimal scaled = value.scaleByPowerOfTen(-3 * thousands);
    int decimals = Math.max(0, 3 * thousands - exponent);
    return String.format(Locale.ROOT, "%,." + decimals + "f", scaled)
        + switch (thousands) {
          case 2 -> "M";
          case 1 -> "k";
          default -> "";
        };
  }
}
