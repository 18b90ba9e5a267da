package sparkvision.report;

import java.awt.Color;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * A colour for every class.
 *
 * @param colors 0xRRGGBB by class index
 */
public record Palette(List<Integer> colors) {

  private static final Pattern NUMBERS =
      Pattern.compile("\\s*(\\d{1,3})\\s+(\\d{1,3})\\s+(\\d{1,3})\\s*");

  /** The golden ratio's part of the circle: the hues of any number of classes lie well apart. */
  private static final double HUE_STEP = 0.6180339887498949;

  private static final float[] SATURATIONS = {0.85f, 0.5f, 1};
  private static final float[] BRIGHTNESSES = {0.95f, 0.6f};

  public Palette {
    colors = List.copyOf(colors);
  }

  /** Colours that always are the same for the same index, whatever the number of classes. */
  public static Palette of(int classes) {
    return new Palette(IntStream.range(0, classes).mapToObj(Palette::color).toList());
  }

  private static int color(int index) {
    float hue = (float) (index * HUE_STEP % 1);
    float saturation = SATURATIONS[index % SATURATIONS.length];
    float brightness = BRIGHTNESSES[index % BRIGHTNESSES.length];
    return Color.HSBtoRGB(hue, saturation, brightness) & 0xFFFFFF;
  }

  /**
   * Reads a data set's own colours: a line for each class, with red, green and blue as numbers
   * 0..255 that blanks divide.
   *
   * @throws IllegalArgumentException if a line is not that, or there are not as many as classes
   */
  public static Palette parse(String text, int classes) {
    List<String> lines = text.lines().filter(line -> !line.isBlank()).toList();
    if (lines.size() != classes) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read palette: it has %d colours (must be one for each of the %d classes)",
              lines.size(), classes));
    }
    return new Palette(lines.stream().map(Palette::parseLine).toList());
  }

  private static int parseLine(String line) {
    Matcher numbers = NUMBERS.matcher(line);
    int color = 0;
    for (int i = 1; i <= 3; i++) {
      int number = numbers.matches() ? Integer.parseInt(numbers.group(i)) : -1;
      if (number < 0 || number > 255) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot read palette: found '%s' (must be three numbers in 0..255)", line));
      }
      color = color << 8 | number;
    }
    return color;
  }

  /** {@code #rrggbb}. */
  String css(int index) {
    return String.format(Locale.ROOT, "#%06x", colors.get(index));
  }
}
