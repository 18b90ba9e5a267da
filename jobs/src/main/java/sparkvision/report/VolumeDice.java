package sparkvision.report;

import static sparkvision.report.Figures.coordinate;

import java.util.stream.Collectors;
import sparkvision.report.VolumeScores.ClassScore;

/** A table of the Dice coefficient of each class, in their order, as means over volumes. */
final class VolumeDice {

  private VolumeDice() {}

  static String render(VolumeScores scores) {
    return Markup.section(
        "dice",
        "Dice per class",
        "Means over volumes; the 95 % Hausdorff distance is in millimetres. A class is missed where"
            + " only one of truth and prediction has it.",
        """
        <table class="accuracy">
        <thead><tr><th>class</th><th class="wide"></th><th class="number">Dice</th><th class="number">HD95</th><th class="number">missed</th></tr></thead>
        <tbody>
        %s</tbody>
        </table>
        """
            .formatted(
                scores.classes().stream().map(VolumeDice::row).collect(Collectors.joining())));
  }

  private static String row(ClassScore score) {
    return """
        <tr><td title="%s">%s</td><td class="wide"><div class="bar"><i class="right" style="width:%s%%"></i></div></td>\
        <td class="number">%s</td><td class="number">%s</td><td class="number">%s</td></tr>
        """
        .formatted(
            Markup.escape(score.name()),
            Markup.escape(score.name()),
            coordinate(score.dice() == null ? 0 : 100 * score.dice()),
            score.dice() == null ? Figures.NONE : Figures.percent(score.dice(), 1),
            score.hausdorff95() == null ? Figures.NONE : Figures.fixed(score.hausdorff95(), 2),
            Figures.count(score.missed()));
  }
}
