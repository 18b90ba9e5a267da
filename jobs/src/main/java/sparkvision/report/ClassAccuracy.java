package sparkvision.report;

import static sparkvision.report.Figures.coordinate;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Bars of the accuracy of each class, worst first; of many classes, the worst and the best. */
final class ClassAccuracy {

  private static final int MOST_BARS = 40;

  private ClassAccuracy() {}

  static String render(Report report) {
    List<Integer> sorted =
        IntStream.range(0, report.classes().size())
            .filter(c -> report.perClassAccuracy().get(c) != null)
            .boxed()
            .sorted(
                Comparator.comparingDouble((Integer c) -> report.perClassAccuracy().get(c))
                    .thenComparing(c -> c))
            .toList();
    if (sorted.isEmpty()) {
      return "";
    }
    int absent = report.classes().size() - sorted.size();
    String note = "The share of each class's samples that were recognised, lowest first.";
    if (absent > 0) {
      note +=
          " Without samples: %s of %s classes."
              .formatted(Figures.count(absent), Figures.count(report.classes().size()));
    }
    return Markup.section("classes", "Accuracy per class", note, bars(report, sorted));
  }

  private static String bars(Report report, List<Integer> sorted) {
    if (sorted.size() > MOST_BARS) {
      int half = MOST_BARS / 2;
      List<Integer> worst = sorted.subList(0, half);
      List<Integer> best = sorted.subList(sorted.size() - half, sorted.size());
      return columns(
          table(report, "The %s worst".formatted(half), worst),
          table(report, "The %s best".formatted(half), best));
    }
    if (sorted.size() > 12) {
      int half = (sorted.size() + 1) / 2;
      return columns(
          table(report, "", sorted.subList(0, half)),
          table(report, "", sorted.subList(half, sorted.size())));
    }
    return table(report, "", sorted);
  }

  private static String columns(String left, String right) {
    return "<div class=\"columns\">\n" + left + right + "</div>";
  }

  private static String table(Report report, String caption, List<Integer> classes) {
    String rows = classes.stream().map(c -> row(report, c)).collect(Collectors.joining());
    return """
        <table class="accuracy">
        %s<thead><tr><th>class</th><th class="wide"></th><th class="number">accuracy</th><th class="number">samples</th></tr></thead>
        <tbody>
        %s</tbody>
        </table>
        """
        .formatted(caption.isEmpty() ? "" : "<caption>" + caption + "</caption>\n", rows);
  }

  private static String row(Report report, int c) {
    double share = report.perClassAccuracy().get(c);
    String name = report.classes().get(c);
    return """
        <tr><td title="%s">%s</td><td class="wide"><div class="bar"><i class="right" style="width:%s%%"></i></div></td>\
        <td class="number">%s</td><td class="number">%s</td></tr>
        """
        .formatted(
            Markup.escape(name),
            Markup.escape(name),
            coordinate(100 * share),
            Figures.percent(share, 1),
            Figures.count(Arrays.stream(report.confusion()[c]).sum()));
  }
}
