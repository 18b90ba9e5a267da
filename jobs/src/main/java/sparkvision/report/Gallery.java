package sparkvision.report;

import java.util.stream.Collectors;
import sparkvision.report.Report.Mistake;

/** The worst mistakes as pictures. */
final class Gallery {

  private Gallery() {}

  static String render(Report report) {
    if (report.mistakes().isEmpty()) {
      return "";
    }
    return Markup.section(
        "mistakes",
        "Worst mistakes",
        "Wrong predictions of highest loss: what the model said and how sure it was, then the label.",
        report.mistakes().stream()
            .map(Gallery::card)
            .collect(Collectors.joining("", "<div class=\"gallery\">\n", "</div>")));
  }

  private static String card(Mistake mistake) {
    return """
        <figure class="card">
        %s
        <figcaption>
        <span class="said" title="%s"><b>%s</b> <span>%s</span></span>
        <span class="label" title="%s">is %s</span>
        <span class="id" title="%s">%s</span>
        </figcaption>
        </figure>
        """
        .formatted(
            picture(mistake),
            Markup.escape("predicted: " + mistake.predicted()),
            Markup.escape(mistake.predicted()),
            Figures.percent(mistake.confidence(), 1),
            Markup.escape("label: " + mistake.truth()),
            Markup.escape(mistake.truth()),
            Markup.escape(mistake.id() + ", loss " + Figures.fixed(mistake.loss(), 3)),
            Markup.escape(mistake.id()));
  }

  private static String picture(Mistake mistake) {
    Picture picture = Picture.of(mistake.image());
    if (picture == null) {
      return "<div class=\"picture missing\">no picture</div>";
    }
    return picture.markup(mistake.truth() + " taken for " + mistake.predicted());
  }
}
