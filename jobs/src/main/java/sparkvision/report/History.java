package sparkvision.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import sparkvision.report.LineChart.Look;
import sparkvision.report.LineChart.Scale;
import sparkvision.report.LineChart.Series;
import sparkvision.report.Report.EpochPoint;
import sparkvision.report.Report.RoundPoint;

/**
 * The course of training over steps: loss, validation accuracy, learning rate, speed, what rounds
 * spent their time on, and how far ranks drifted in them.
 */
final class History {

  private History() {}

  static String render(Report report) {
    List<RoundPoint> rounds = report.rounds();
    List<EpochPoint> losses =
        report.epochs().stream().filter(point -> point.validationLoss() != null).toList();
    List<EpochPoint> accuracies =
        report.epochs().stream().filter(point -> point.validationScore() != null).toList();

    long last =
        Math.max(
            rounds.stream().mapToLong(RoundPoint::step).max().orElse(1),
            report.epochs().stream().mapToLong(EpochPoint::step).max().orElse(1));

    List<String> charts = new ArrayList<>();
    List<Series> lossLines = lossLines(report, losses);
    if (!lossLines.isEmpty()) {
      charts.add(
          new LineChart(
                  "loss",
                  "Loss",
                  lossNote(losses),
                  last,
                  270,
                  Scale.FROM_ZERO,
                  History::loss,
                  lossLines)
              .render());
    }
    if (!accuracies.isEmpty()) {
      Series line = validation("validation", accuracies, point -> 100 * point.validationScore());
      EpochPoint best =
          accuracies.stream().max(Comparator.comparing(EpochPoint::validationScore)).orElseThrow();
      String note =
          "in %%, best %s at step %s"
              .formatted(Figures.percent(best.validationScore(), 2), Figures.count(best.step()));
      charts.add(
          new LineChart(
                  "accuracy",
                  "Validation " + report.score(),
                  note,
                  last,
                  270,
                  Scale.PERCENT,
                  percent -> Figures.fixed(percent, 2) + " %",
                  List.of(line))
              .render());
    }
    if (!rounds.isEmpty()) {
      Series rate = rounds("learning rate", Look.STRONG, rounds, RoundPoint::learningRate);
      charts.add(
          new LineChart(
                  "rate",
                  "Learning rate",
                  "",
                  last,
                  180,
                  Scale.FROM_ZERO,
                  History::loss,
                  List.of(rate))
              .render());
      Series speed = rounds("rounds", Look.FAINT, rounds, RoundPoint::imagesPerSecond);
      charts.add(
          new LineChart(
                  "speed",
                  "Images per second",
                  "all ranks together",
                  last,
                  180,
                  Scale.FROM_ZERO,
                  Figures::abbreviated,
                  List.of(speed, speed.smoothed("smoothed")))
              .render());
      charts.add(
          new LineChart(
                  "seconds",
                  "Seconds of a round",
                  "a rank's mean; waiting is for its loader",
                  last,
                  180,
                  Scale.FROM_ZERO,
                  History::loss,
                  List.of(
                      rounds("compute", Look.COMPUTE, rounds, RoundPoint::computeSeconds),
                      rounds("wait", Look.WAIT, rounds, RoundPoint::waitSeconds),
                      rounds("exchange", Look.EXCHANGE, rounds, RoundPoint::exchangeSeconds)))
              .render());
      Series drift = rounds("rounds", Look.FAINT, rounds, RoundPoint::drift);
      charts.add(
          new LineChart(
                  "drift",
                  "Drift of the weights",
                  "norm of what a rank moved in a round, a rank's mean",
                  last,
                  180,
                  Scale.FROM_ZERO,
                  History::loss,
                  List.of(drift, drift.smoothed("smoothed")))
              .render());
    }
    if (charts.isEmpty()) {
      return "";
    }
    return Markup.section(
        "training",
        "Training",
        note(report),
        charts.stream().collect(Collectors.joining("", "<div class=\"charts\">\n", "</div>")));
  }

  private static String note(Report report) {
    List<String> parts = new ArrayList<>();
    if (!report.epochs().isEmpty()) {
      EpochPoint last = report.epochs().get(report.epochs().size() - 1);
      parts.add(Figures.abbreviated(last.epoch()) + (last.epoch() == 1 ? " epoch" : " epochs"));
    }
    if (!report.rounds().isEmpty()) {
      int count = report.rounds().size();
      parts.add(Figures.count(count) + (count == 1 ? " round" : " rounds"));
    }
    return String.join(", ", parts);
  }

  private static List<Series> lossLines(Report report, List<EpochPoint> validated) {
    List<Series> lines = new ArrayList<>();
    if (!report.rounds().isEmpty()) {
      Series rounds = rounds("training, each round", Look.FAINT, report.rounds(), RoundPoint::loss);
      lines.add(rounds);
      lines.add(rounds.smoothed("smoothed"));
    } else if (!report.epochs().isEmpty()) {
      lines.add(
          new Series(
              "training, each epoch",
              Look.STRONG,
              report.epochs().stream().mapToDouble(EpochPoint::step).toArray(),
              report.epochs().stream().mapToDouble(EpochPoint::trainLoss).toArray()));
    }
    if (!validated.isEmpty()) {
      lines.add(validation("validation", validated, EpochPoint::validationLoss));
    }
    return lines;
  }

  private static String lossNote(List<EpochPoint> validated) {
    return validated.stream()
        .min(Comparator.comparing(EpochPoint::validationLoss))
        .map(
            best ->
                "validation best %s at step %s"
                    .formatted(loss(best.validationLoss()), Figures.count(best.step())))
        .orElse("");
  }

  private static String loss(double value) {
    return Figures.fixed(value, 4);
  }

  private static Series rounds(
      String name, Look look, List<RoundPoint> points, ToDoubleFunction<RoundPoint> value) {
    return new Series(
        name,
        look,
        points.stream().mapToDouble(RoundPoint::step).toArray(),
        points.stream().mapToDouble(value).toArray());
  }

  private static Series validation(
      String name, List<EpochPoint> points, ToDoubleFunction<EpochPoint> value) {
    return new Series(
        name,
        Look.DOTTED,
        points.stream().mapToDouble(EpochPoint::step).toArray(),
        points.stream().mapToDouble(value).toArray());
  }
}
