package sparkvision.metrics;

import java.util.Arrays;

/** Means of measures that not every class has. */
final class Means {

  private Means() {}

  /** The mean of the values that are not NaN; NaN if there are none. */
  static double ofNumbers(double[] values) {
    return Arrays.stream(values).filter(value -> !Double.isNaN(value)).average().orElse(Double.NaN);
  }
}
