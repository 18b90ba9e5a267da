package sparkvision.report;

import static sparkvision.report.Figures.coordinate;

import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;

/**
 * A chart of values over steps, as an SVG figure with a legend.
 *
 * @param id unique on the page, of letters
 * @param note plain text beside the title
 * @param lastStep where the horizontal axis ends; it starts at 0
 * @param height of the drawing; its width is {@value #WIDTH}, and the page scales both
 * @param value how a value reads in a tooltip
 */
record LineChart(
    String id,
    String title,
    String note,
    long lastStep,
    int height,
    Scale scale,
    DoubleFunction<String> value,
    List<Series> series) {

  private static final int WIDTH = 520;
  private static final int LEFT = 46;
  private static final int RIGHT = 20;
  private static final int TOP = 10;
  private static final int BOTTOM = 36;

  /** More points than this are thinned: two for each bucket, its lowest and its highest. */
  private static final int BUCKETS = 400;

  private static final int MOST_DOTS = 60;

  /** What the vertical axis covers. */
  enum Scale {
    FROM_ZERO,
    /** Percentages: only where the values lie, and never beyond 100. */
    PERCENT;

    private Axis axis(double lowest, double highest, int ticks) {
      return switch (this) {
        case FROM_ZERO -> Axis.rounded(Math.min(0, lowest), highest, ticks);
        case PERCENT -> {
          double room = Math.max(0, 10 - (highest - lowest)) / 2;
          yield Axis.rounded(Math.max(0, lowest - room), Math.min(100, highest + room), ticks);
        }
      };
    }
  }

  /** How a line looks. */
  enum Look {
    FAINT("raw"),
    STRONG("smooth"),
    DOTTED("marked"),
    COMPUTE("compute"),
    WAIT("wait"),
    EXCHANGE("exchange");

    private final String colorClass;

    Look(String colorClass) {
      this.colorClass = colorClass;
    }
  }

  /** A line through (steps[i], values[i]); steps ascend, values that are not finite are gaps. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  record Series(String name, Look look, double[] steps, double[] values) {

    private double lowest() {
      return finite().min().orElse(Double.NaN);
    }

    /** The highest value that must be seen: a noisy line may lose its rare peaks. */
    private double highest() {
      double[] sorted = finite().sorted().toArray();
      if (sorted.length == 0) {
        return Double.NaN;
      }
      double seen = look == Look.FAINT ? 0.99 : 1;
      return sorted[(int) (seen * (sorted.length - 1))];
    }

    private DoubleStream finite() {
      return Arrays.stream(values).filter(Double::isFinite);
    }

    /** Centred moving average over about a fortieth of the line, half of that at its ends. */
    Series smoothed(String name) {
      int length = values.length;
      double[] sums = new double[length + 1]; // of the finite values before i
      int[] counts = new int[length + 1];
      for (int i = 0; i < length; i++) {
        boolean finite = Double.isFinite(values[i]);
        sums[i + 1] = sums[i] + (finite ? values[i] : 0);
        counts[i + 1] = counts[i] + (finite ? 1 : 0);
      }
      double[] averages = new double[length];
      for (int i = 0; i < length; i++) {
        int from = Math.max(0, i - length / 80);
        int to = Math.min(length, i + length / 80 + 1);
        averages[i] = (sums[to] - sums[from]) / (counts[to] - counts[from]); // NaN in a gap
      }
      return new Series(name, Look.STRONG, steps, averages);
    }

    /** The same line to the eye with a bounded number of points. */
    private Series thinned() {
      if (values.length <= 2 * BUCKETS) {
        return this;
      }
      int[] kept = new int[2 * BUCKETS];
      for (int bucket = 0; bucket < BUCKETS; bucket++) {
        int start = (int) ((long) values.length * bucket / BUCKETS);
        int end = (int) ((long) values.length * (bucket + 1) / BUCKETS);
        int low = start;
        int high = start;
        for (int i = start; i < end; i++) {
          low = values[i] < values[low] || Double.isNaN(values[low]) ? i : low;
          high = values[i] > values[high] || Double.isNaN(values[high]) ? i : high;
        }
        kept[2 * bucket] = Math.min(low, high);
        kept[2 * bucket + 1] = Math.max(low, high);
      }
      return new Series(
          name,
          look,
          Arrays.stream(kept).mapToDouble(i -> steps[i]).toArray(),
          Arrays.stream(kept).mapToDouble(i -> values[i]).toArray());
    }
  }

  String render() {
    Axis steps = Axis.exact(0, (double) lastStep, 6);
    double highest =
        series.stream().mapToDouble(Series::highest).filter(Double::isFinite).max().orElse(1);
    double lowest =
        series.stream().mapToDouble(Series::lowest).filter(Double::isFinite).min().orElse(0);
    Axis values = scale.axis(lowest, highest, height > 200 ? 5 : 4);

    StringBuilder drawing = new StringBuilder();
    drawAxes(drawing, steps, values);
    drawing.append(
        "<clipPath id=\"clip-%s\"><rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"/></clipPath>\n"
            .formatted(id, LEFT, TOP - 4, WIDTH - LEFT - RIGHT + 6, height - TOP - BOTTOM + 8));
    drawing.append("<g clip-path=\"url(#clip-%s)\">\n".formatted(id));
    series.forEach(line -> drawLine(drawing, line, steps, values));
    drawing.append("</g>\n");

    String legend =
        series.size() < 2
            ? ""
            : series.stream()
                .map(s -> Markup.key(s.look.colorClass, s.name))
                .collect(Collectors.joining(" ", "<p class=\"legend\">", "</p>\n"));
    return """
        <figure class="chart">
        <figcaption><b>%s</b> <span>%s</span></figcaption>
        <svg viewBox="0 0 %s %s" role="img" aria-labelledby="title-%s"><title id="title-%s">%s over steps</title>
        %s</svg>
        %s</figure>
        """
        .formatted(
            Markup.escape(title),
            Markup.escape(note),
            WIDTH,
            height,
            id,
            id,
            Markup.escape(title),
            drawing,
            legend);
  }

  private void drawAxes(StringBuilder drawing, Axis steps, Axis values) {
    String line = "<line class=\"%s\" x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\"/>";
    String label = "<text class=\"%s\" x=\"%s\" y=\"%s\">%s</text>\n";
    for (long tick = values.firstTick(); tick <= values.lastTick(); tick++) {
      String y = coordinate(y(values, values.value(tick)));
      String kind = tick == values.firstTick() ? "axis" : "grid";
      drawing.append(line.formatted(kind, LEFT, y, WIDTH - RIGHT, y));
      drawing.append(
          label.formatted(
              "end", LEFT - 8, coordinate(y(values, values.value(tick)) + 4), values.label(tick)));
    }
    int bottom = height - BOTTOM;
    for (long tick = steps.firstTick(); tick <= steps.lastTick(); tick++) {
      String x = coordinate(x(steps, steps.value(tick)));
      drawing.append(line.formatted("axis", x, bottom, x, bottom + 4));
      drawing.append(label.formatted("middle", x, bottom + 17, steps.label(tick)));
    }
    drawing.append(label.formatted("end", WIDTH - RIGHT, height - 4, "step"));
  }

  private void drawLine(StringBuilder drawing, Series line, Axis steps, Axis values) {
    Series thin = line.thinned();
    StringBuilder path = new StringBuilder();
    boolean pen = false;
    for (int i = 0; i < thin.values.length; i++) {
      boolean drawn = Double.isFinite(thin.values[i]);
      if (drawn) {
        path.append(pen ? 'L' : 'M')
            .append(coordinate(x(steps, thin.steps[i])))
            .append(' ')
            .append(coordinate(y(values, thin.values[i])));
        boolean alone =
            !pen && (i + 1 == thin.values.length || !Double.isFinite(thin.values[i + 1]));
        path.append(alone ? "h0" : ""); // round ends make it a dot
      }
      pen = drawn;
    }
    drawing.append("<path class=\"%s\" d=\"%s\"/>\n".formatted(line.look.colorClass, path));

    if (line.look != Look.DOTTED || line.values.length > MOST_DOTS) {
      return;
    }
    for (int i = 0; i < line.values.length; i++) {
      if (Double.isFinite(line.values[i])) {
        drawing.append(
            "<circle class=\"%s\" cx=\"%s\" cy=\"%s\" r=\"3\"><title>step %s: %s</title></circle>\n"
                .formatted(
                    line.look.colorClass,
                    coordinate(x(steps, line.steps[i])),
                    coordinate(y(values, line.values[i])),
                    Figures.count((long) line.steps[i]),
                    value.apply(line.values[i])));
      }
    }
  }

  private double x(Axis steps, double step) {
    return LEFT + steps.place(step) * (WIDTH - LEFT - RIGHT);
  }

  /** Peaks beyond the axis are drawn a little above it, where the clip hides them. */
  private double y(Axis values, double value) {
    double place = Math.max(-0.5, Math.min(1.5, values.place(value)));
    return height - BOTTOM - place * (height - TOP - BOTTOM);
  }
}
