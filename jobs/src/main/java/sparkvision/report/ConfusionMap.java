package sparkvision.report;

import static sparkvision.report.Figures.coordinate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Which classes were taken for which, as a heat map.
 *
 * <p>Up to {@value #MOST_NAMED} classes each cell has its count and each row its name. Beyond, a
 * map of at most {@value #MOST_BLOCKS} blocks a side stands beside the most confused pairs. Right
 * answers and mistakes have a colour each; mistakes are shaded by the square root of their share of
 * the row, so that rare ones are seen too.
 */
final class ConfusionMap {

  private static final int MOST_NAMED = 30;
  private static final int MOST_BLOCKS = 100;
  private static final int SHADES = 8;

  /** Width of a letter of the labels, on average; names are cut to fit. */
  private static final double LETTER = 6.6;

  /** Width of a digit as a share of the font size, and the smallest font in a cell. */
  private static final double DIGIT = 0.62;

  private static final double SMALLEST = 9.5;

  private static final int MOST_LETTERS = 16;

  private final List<String> classes;
  private final long[][] counts; // (truth, predicted)
  private final int size;

  /** Off-diagonal cells that are not zero, most frequent first. */
  private final List<Pair> pairs;

  private record Pair(int truth, int predicted, long count) {}

  private ConfusionMap(List<String> classes, long[][] counts) {
    this.classes = classes;
    this.counts = counts;
    this.size = classes.size();
    this.pairs = confused(counts);
  }

  static String render(Report report) {
    if (report.classes().isEmpty()) {
      return "";
    }
    ConfusionMap map = new ConfusionMap(report.classes(), report.confusion());
    String legend =
        "<p class=\"legend\">"
            + Markup.key("right", "recognised")
            + " "
            + Markup.key("wrong", "taken for another class")
            + "</p>\n";
    return Markup.section(
        "confusion",
        "Confusion",
        "Rows are labels, columns predictions.",
        legend + (map.size <= MOST_NAMED ? map.named() : map.blocks()));
  }

  private static List<Pair> confused(long[][] counts) {
    List<Pair> pairs = new ArrayList<>();
    for (int truth = 0; truth < counts.length; truth++) {
      for (int predicted = 0; predicted < counts.length; predicted++) {
        if (truth != predicted && counts[truth][predicted] > 0) {
          pairs.add(new Pair(truth, predicted, counts[truth][predicted]));
        }
      }
    }
    pairs.sort(
        Comparator.comparingLong(Pair::count)
            .reversed()
            .thenComparing(Pair::truth)
            .thenComparing(Pair::predicted));
    return pairs;
  }

  private String named() {
    double cell = Math.max(27, Math.min(84, 480.0 / size));
    int letters = Math.min(MOST_LETTERS, classes.stream().mapToInt(String::length).max().orElse(1));
    double label = letters * LETTER + 12;
    boolean slanted = label > cell + 6;
    double top = slanted ? label * 0.71 + 18 : 30;
    double left = label + 6;
    double width = left + size * cell + (slanted ? label * 0.71 : 8);

    StringBuilder cells = new StringBuilder();
    for (int i = 0; i < size; i++) {
      double middle = (i + 0.5) * cell;
      String x = coordinate(left + middle);
      String y = coordinate(top - 8);
      String name =
          "<title>%s</title>%s"
              .formatted(
                  Markup.escape(classes.get(i)), Markup.shorten(classes.get(i), MOST_LETTERS));
      cells.append(
          "<text class=\"%s\" x=\"%s\" y=\"%s\"%s>%s</text>"
              .formatted(
                  slanted ? "start" : "middle",
                  x,
                  y,
                  slanted ? " transform=\"rotate(-45 %s %s)\"".formatted(x, y) : "",
                  name));
      cells.append(
          "<text class=\"end\" x=\"%s\" y=\"%s\">%s</text>\n"
              .formatted(coordinate(left - 8), coordinate(top + middle + 4), name));
    }
    for (int truth = 0; truth < size; truth++) {
      long total = Arrays.stream(counts[truth]).sum();
      for (int predicted = 0; predicted < size; predicted++) {
        cells.append(
            cell(truth, predicted, total, left + predicted * cell, top + truth * cell, cell));
      }
    }
    return """
        <div class="beside">
        <div class="scroll"><svg class="confusion" viewBox="0 0 %s %s" style="width:%spx" role="img" \
        aria-labelledby="title-confusion"><title id="title-confusion">Confusion matrix of %s classes</title>
        %s</svg></div>
        %s</div>
        """
        .formatted(
            coordinate(width),
            coordinate(top + size * cell + 4),
            coordinate(width),
            size,
            cells,
            pairTable(10));
  }

  private String cell(int truth, int predicted, long total, double x, double y, double side) {
    long count = counts[truth][predicted];
    String corner =
        "x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" rx=\"2\""
            .formatted(
                coordinate(x + 1), coordinate(y + 1), coordinate(side - 2), coordinate(side - 2));
    if (count == 0) {
      return "<rect class=\"empty\" " + corner + "/>";
    }
    String text = inCell(count, side);
    boolean hit = truth == predicted;
    double share = (double) count / total;
    double shade = hit ? 0.1 + 0.8 * share : 0.08 + 0.82 * Math.sqrt(share);
    return """
        <g><title>%s taken for %s: %s, %s</title><rect class="%s" %s fill-opacity="%s"/>\
        <text class="middle count%s" x="%s" y="%s" style="font-size:%spx">%s</text></g>
        """
        .formatted(
            Markup.escape(classes.get(truth)),
            Markup.escape(classes.get(predicted)),
            Figures.count(count),
            Figures.percent(share, 1),
            hit ? "right" : "wrong",
            corner,
            coordinate(shade),
            shade > 0.55 ? " on" : "",
            coordinate(x + side / 2),
            coordinate(y + side / 2 + 4),
            coordinate(fontSize(text, side)),
            text);
  }

  /** The count as text that fits a cell: 8,120 or 8120 or 81k. */
  private static String inCell(long count, double side) {
    return Stream.of(Figures.count(count), Long.toString(count))
        .filter(text -> text.length() * DIGIT * SMALLEST <= side - 2)
        .findFirst()
        .orElseGet(() -> Figures.count(count / 1000) + "k");
  }

  private static double fontSize(String text, double side) {
    return Math.max(SMALLEST, Math.min(side < 40 ? 11 : 13, (side - 6) / (text.length() * DIGIT)));
  }

  private String blocks() {
    int block = (size + MOST_BLOCKS - 1) / MOST_BLOCKS; // classes in a block
    int side = (size + block - 1) / block;
    long[][] sums = new long[side][side];
    long[] totals = new long[side];
    for (int truth = 0; truth < size; truth++) {
      for (int predicted = 0; predicted < size; predicted++) {
        sums[truth / block][predicted / block] += counts[truth][predicted];
        totals[truth / block] += counts[truth][predicted];
      }
    }
    String caption =
        block == 1
            ? "Classes by index."
            : "Classes by index; a cell is %s × %s classes.".formatted(block, block);
    return """
        <div class="columns">
        <figure class="map">
        %s<figcaption>%s</figcaption>
        </figure>
        %s</div>
        """
        .formatted(map(sums, totals, block), caption, pairTable(20));
  }

  /** One path per shade instead of ten thousand rectangles. */
  private String map(long[][] sums, long[] totals, int block) {
    int side = sums.length;
    double largest = 0;
    for (int row = 0; row < side; row++) {
      for (int column = 0; column < side; column++) {
        if (row != column && sums[row][column] > 0) {
          largest = Math.max(largest, (double) sums[row][column] / totals[row]);
        }
      }
    }
    StringBuilder[] right = paths();
    StringBuilder[] wrong = paths();
    for (int row = 0; row < side; row++) {
      for (int column = 0; column < side; column++) {
        if (sums[row][column] > 0) {
          double share = (double) sums[row][column] / totals[row];
          double shade = row == column ? share : Math.sqrt(share / largest);
          (row == column ? right : wrong)
              [(int) Math.ceil(shade * SHADES) - 1].append("M%s %sh1v1h-1z".formatted(column, row));
        }
      }
    }

    double scale = 440.0 / side;
    StringBuilder drawing = new StringBuilder();
    drawing.append(
        "<g transform=\"translate(40 22) scale(%s)\" shape-rendering=\"crispEdges\"><rect class=\"empty\" width=\"%s\" height=\"%s\"/>\n"
            .formatted(String.format(Locale.ROOT, "%.5f", scale), side, side));
    for (int shade = 0; shade < SHADES; shade++) {
      String opacity = coordinate((shade + 1.0) / SHADES);
      String path = "<path class=\"%s\" fill-opacity=\"%s\" d=\"%s\"/>\n";
      drawing.append(right[shade].isEmpty() ? "" : path.formatted("right", opacity, right[shade]));
      drawing.append(wrong[shade].isEmpty() ? "" : path.formatted("wrong", opacity, wrong[shade]));
    }
    drawing.append("</g>\n");
    Axis axis = Axis.exact(0, size, 5);
    for (long tick = axis.firstTick(); tick <= axis.lastTick(); tick++) {
      double place = axis.value(tick) / block * scale;
      String text = "<text class=\"%s\" x=\"%s\" y=\"%s\">%s</text>\n";
      drawing.append(text.formatted("middle", coordinate(40 + place), 16, axis.label(tick)));
      drawing.append(text.formatted("end", 34, coordinate(22 + place + 4), axis.label(tick)));
    }
    return """
        <svg class="confusion" viewBox="0 0 496 466" role="img" aria-labelledby="title-confusion">\
        <title id="title-confusion">Confusion matrix of %s classes</title>
        %s</svg>
        """
        .formatted(Figures.count(size), drawing);
  }

  private static StringBuilder[] paths() {
    StringBuilder[] paths = new StringBuilder[SHADES];
    Arrays.setAll(paths, shade -> new StringBuilder());
    return paths;
  }

  private String pairTable(int most) {
    if (pairs.isEmpty()) {
      return "";
    }
    String rows =
        pairs.stream()
            .limit(most)
            .map(
                pair ->
                    """
                    <tr><td title="%s">%s</td><td title="%s">%s</td><td class="number">%s</td><td class="number">%s</td></tr>
                    """
                        .formatted(
                            Markup.escape(classes.get(pair.truth)),
                            Markup.shorten(classes.get(pair.truth), 24),
                            Markup.escape(classes.get(pair.predicted)),
                            Markup.shorten(classes.get(pair.predicted), 24),
                            Figures.count(pair.count),
                            Figures.percent(
                                (double) pair.count / Arrays.stream(counts[pair.truth]).sum(), 1)))
            .collect(Collectors.joining());
    return """
        <table class="pairs">
        <caption>Most confused pairs</caption>
        <thead><tr><th>label</th><th>taken for</th><th class="number">times</th><th class="number">of label</th></tr></thead>
        <tbody>
        %s</tbody>
        </table>
        """
        .formatted(rows);
  }
}
