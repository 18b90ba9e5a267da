package sparkvision.report;

import static sparkvision.report.Figures.coordinate;

import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import sparkvision.report.Report.RankThroughput;

/**
 * What each rank did with its time: a row per rank with a bar of computing, waiting, exchanging.
 */
final class RankTable {

  private static final int MOST_ROWS = 40;

  private RankTable() {}

  static String render(Report report) {
    List<RankThroughput> ranks = report.ranks();
    if (ranks.isEmpty()) {
      return "";
    }
    List<RankThroughput> shown =
        ranks.stream()
            .sorted(Comparator.comparingDouble(RankTable::speed))
            .limit(MOST_ROWS)
            .sorted(Comparator.comparingInt(RankThroughput::rank))
            .toList();
    double longest = ranks.stream().mapToDouble(RankTable::seconds).max().orElse(1);

    String note =
        shown.size() < ranks.size()
            ? "The %s slowest of %s ranks.".formatted(shown.size(), Figures.count(ranks.size()))
            : "";
    String rows =
        shown.stream()
            .map(rank -> row(rank, longest, slowest(report, rank.rank())))
            .collect(Collectors.joining());
    return Markup.section(
        "ranks",
        "Throughput per rank",
        note,
        """
        <p class="legend">%s %s %s</p>
        <div class="scroll"><table class="ranks">
        <thead><tr><th class="number">rank</th><th>host</th><th class="number">images</th><th class="number">images/s</th>\
        <th class="wide">time</th><th class="number">compute</th><th class="number">wait</th><th class="number">exchange</th><th class="number">slowest in</th></tr></thead>
        <tbody>
        %s</tbody>
        </table></div>
        """
            .formatted(
                Markup.key("compute", "compute"),
                Markup.key("wait", "wait"),
                Markup.key("exchange", "exchange"),
                rows));
  }

  /** In how many of the rounds it was the last one. */
  private static String slowest(Report report, int rank) {
    long rounds = report.rounds().stream().filter(round -> round.slowestRank() == rank).count();
    return report.rounds().isEmpty()
        ? ""
        : Figures.percent((double) rounds / report.rounds().size(), 0) + " of rounds";
  }

  private static String row(RankThroughput rank, double longest, String slowest) {
    return """
        <tr><td class="number">%s</td><td>%s</td><td class="number">%s</td><td class="number">%s</td>\
        <td class="wide"><div class="bar">%s%s%s</div></td>\
        <td class="number">%s</td><td class="number">%s</td><td class="number">%s</td><td class="number">%s</td></tr>
        """
        .formatted(
            rank.rank(),
            Markup.escape(rank.host()),
            Figures.count(rank.images()),
            Figures.fixed(speed(rank), 1),
            part("compute", rank.computeSeconds(), longest),
            part("wait", rank.waitSeconds(), longest),
            part("exchange", rank.exchangeSeconds(), longest),
            Figures.duration(rank.computeSeconds()),
            Figures.duration(rank.waitSeconds()),
            Figures.duration(rank.exchangeSeconds()),
            slowest);
  }

  private static String part(String kind, double seconds, double longest) {
    double percent = longest > 0 ? 100 * seconds / longest : 0;
    return "<i class=\"%s\" style=\"width:%s%%\"></i>".formatted(kind, coordinate(percent));
  }

  private static double seconds(RankThroughput rank) {
    return rank.computeSeconds() + rank.waitSeconds() + rank.exchangeSeconds();
  }

  private static double speed(RankThroughput rank) {
    return rank.images() / seconds(rank);
  }
}
