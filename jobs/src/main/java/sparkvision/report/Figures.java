package sparkvision.report;

import java.util.Locale;

/** Numbers as people read them, the same in every locale. */
final class Figures {

  static final String NONE = "–";

  private Figures() {}

  /** {@code 1,234,567}. */
  static String count(long value) {
    return String.format(Locale.ROOT, "%,d", value);
  }

  /** {@code 987}, {@code 12.3 k}, {@code 7.98 M}: three digits that matter. */
  static String abbreviated(double value) {
    if (!Double.isFinite(value)) {
      return NONE;
    }
    String[] units = {"", " k", " M", " G", " T"};
    int unit = 0;
    while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    int decimals =
        unit == 0 && value == Math.rint(value) ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
    return fixed(value, decimals) + units[unit];
  }

  /** {@code 91.4 %} of a share 0..1. */
  static String percent(double share, int decimals) {
    return Double.isFinite(share) ? fixed(100 * share, decimals) + " %" : NONE;
  }

  static String fixed(double value, int decimals) {
    return Double.isFinite(value)
        ? String.format(Locale.ROOT, "%,." + decimals + "f", value)
        : NONE;
  }

  /** A coordinate in a drawing: at most two decimals, no trailing zeros. */
  static String coordinate(double value) {
    long hundredths = Math.round(100 * value);
    String text = String.format(Locale.ROOT, "%.2f", hundredths / 100.0);
    int end = text.length();
    while (text.charAt(end - 1) == '0') {
      end--;
    }
    return text.substring(0, text.charAt(end - 1) == '.' ? end - 1 : end);
  }

  /** {@code 8.4 s}, {@code 3 min 20 s}, {@code 5 h 12 min}. */
  static String duration(double seconds) {
    if (!Double.isFinite(seconds)) {
      return NONE;
    }
    if (seconds < 59.95) {
      return fixed(seconds, 1) + " s";
    }
    long whole = Math.round(seconds);
    return whole < 3600
        ? whole / 60 + " min " + whole % 60 + " s"
        : count(whole / 3600) + " h " + whole % 3600 / 60 + " min";
  }
}
