package sparkvision.report;

import static sparkvision.report.Figures.coordinate;

import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import sparkvision.report.SegmentationScores.ClassScore;

/** A table of the intersection over union of each class, worst first, with the other measures. */
final class ClassIou {

  /** Longer tables are set in two columns. */
  private static final int ONE_COLUMN = 12;

  private ClassIou() {}

  static String render(SegmentationScores scores) {
    List<ClassScore> sorted =
        scores.classes().stream()
            .filter(score -> score.iou() != null)
            .sorted(Comparator.comparing(ClassScore::iou)) // stable: equal ones in class order
            .toList();
    if (sorted.isEmpty()) {
      return "";
    }
    String note =
        "Intersection over union, lowest first. Means over classes: IoU %s, accuracy %s, Dice %s; of all pixels %s are right."
            .formatted(
                percent(scores.meanIou()),
                percent(scores.meanAccuracy()),
                percent(scores.meanDice()),
                percent(scores.pixelAccuracy()));
    int absent = scores.classes().size() - sorted.size();
    if (absent > 0) {
      note +=
          " Neither labelled nor predicted: %s of %s classes."
              .formatted(Figures.count(absent), Figures.count(scores.classes().size()));
    }
    return Markup.section("iou", "IoU per class", note, tables(sorted));
  }

  private static String tables(List<ClassScore> sorted) {
    if (sorted.size() <= ONE_COLUMN) {
      return table(sorted);
    }
    int half = (sorted.size() + 1) / 2;
    return "<div class=\"columns\">\n"
        + table(sorted.subList(0, half))
        + table(sorted.subList(half, sorted.size()))
        + "</div>";
  }

  private static String table(List<ClassScore> scores) {
    return """
        <table class="accuracy">
        <thead><tr><th>class</th><th class="wide"></th><th class="number">IoU</th><th class="number">accuracy</th><th class="number">Dice</th><th class="number">pixels</th></tr></thead>
        <tbody>
        %s</tbody>
        </table>
        """
        .formatted(scores.stream().map(ClassIou::row).collect(Collectors.joining()));
  }

  private static String row(ClassScore score) {
    return """
        <tr><td title="%s">%s</td><td class="wide"><div class="bar"><i class="right" style="width:%s%%"></i></div></td>\
        <td class="number">%s</td><td class="number">%s</td><td class="number">%s</td><td class="number">%s</td></tr>
        """
        .formatted(
            Markup.escape(score.name()),
            Markup.escape(score.name()),
            coordinate(100 * score.iou()),
            percent(score.iou()),
            percent(score.accuracy()),
            percent(score.dice()),
            Figures.abbreviated((double) score.pixels()));
  }

  private static String percent(Double share) {
    return share == null ? Figures.NONE : Figures.percent(share, 1);
  }
}
