package sparkvision.report;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A report as one self-contained HTML page, to be opened from a mail attachment or printed.
 *
 * <p>No script, nothing loaded from outside (the page's own policy forbids it), every text escaped.
 * The markup is well-formed XML. The same report gives the same page, byte for byte.
 */
public final class ReportPage {

  /** With this many classes or fewer, top-5 is always right and says nothing. */
  private static final int TOP5_IS_CERTAIN = 5;

  private ReportPage() {}

  /** The page's text, to be written as UTF-8. */
  public static String render(Report report) {
    String sections =
        Stream.of(
                List.of(History.render(report)),
                findings(report),
                List.of(RankTable.render(report), configuration(report)))
            .flatMap(List::stream)
            .filter(section -> !section.isEmpty())
            .collect(Collectors.joining("\n"));
    return Markup.page(
        report.version(), report.title(), header(report) + "\n" + sections, report.created());
  }

  private static List<String> findings(Report report) {
    if (report.segmentation() == null) {
      return List.of(
          ConfusionMap.render(report), ClassAccuracy.render(report), Gallery.render(report));
    }
    return List.of(
        report.volumes() == null ? "" : VolumeDice.render(report.volumes()),
        ClassIou.render(report.segmentation()),
        Overlay.render(report.overlays(), report.classes(), Palette.of(report.classes().size())));
  }

  private static String figures(Report report) {
    if (report.volumes() != null) {
      return Markup.figure("main", "Mean Dice", percent(report.volumes().meanDice()))
          + Markup.figure("", "Mean IoU", percent(report.segmentation().meanIou()));
    }
    if (report.segmentation() != null) {
      SegmentationScores scores = report.segmentation();
      return Markup.figure("main", "Mean IoU", percent(scores.meanIou()))
          + Markup.figure("", "Mean accuracy", percent(scores.meanAccuracy()))
          + Markup.figure("", "Pixel accuracy", percent(scores.pixelAccuracy()));
    }
    String top5 =
        report.classes().size() <= TOP5_IS_CERTAIN
            ? ""
            : Markup.figure("", "Top-5 accuracy", Figures.percent(report.top5(), 2));
    return Markup.figure("main", "Top-1 accuracy", Figures.percent(report.top1(), 2))
        + top5
        + Markup.figure("", "Loss", Figures.fixed(report.loss(), 4));
  }

  private static String percent(Double share) {
    return share == null ? Figures.NONE : Figures.percent(share, 2);
  }

  private static String header(Report report) {
    return """
        <header>
        <h1>%s</h1>
        <p class="about">%s on %s samples of %s classes</p>
        <dl class="figures">
        %s</dl>
        <dl class="facts">
        %s</dl>
        </header>
        """
        .formatted(
            Markup.escape(report.title()),
            Markup.escape(report.model()),
            Figures.count(report.samples()),
            Figures.count(report.classes().size()),
            figures(report)
                + Markup.figure("", "Samples", Figures.count(report.samples()))
                + Markup.figure(
                    "", "Parameters", Figures.abbreviated((double) report.parameters())),
            Markup.fact(
                    "Model",
                    "%s, %s parameters"
                        .formatted(report.model(), Figures.count(report.parameters())))
                + Markup.fact("Checkpoint", report.checkpoint())
                + (report.step() > 0 ? Markup.fact("Step", Figures.count(report.step())) : "")
                + Markup.fact("Shards", report.shards())
                + Markup.fact(
                    "Evaluation",
                    "%s, %s images/s"
                        .formatted(
                            Figures.duration(report.evaluationSeconds()),
                            Figures.fixed(report.imagesPerSecond(), 1)))
                + Markup.fact("Created", report.created()));
  }

  private static String configuration(Report report) {
    if (report.configuration() == null || report.configuration().isBlank()) {
      return "";
    }
    return """
        <section id="configuration">
        <details>
        <summary>Configuration</summary>
        <pre>%s</pre>
        </details>
        </section>
        """
        .formatted(Markup.escape(report.configuration().strip()));
  }
}
