package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import sparkvision.report.Report;

class RunStateTest {

  @Test
  void aLongHistoryStaysShortAndKeepsItsEndAndItsMean() {
    RunState.History history = RunState.History.empty();
    double sum = 0;
    for (int segment = 0; segment < 30; segment++) {
      List<List<RoundReport>> rounds = new ArrayList<>();
      for (int i = 1; i <= 1000; i++) {
        long step = 4L * (1000 * segment + i);
        rounds.add(List.of(new RoundReport(0, step, 10, 10.0 * i, 0.1, 1, 0, 0, 2)));
        sum += i;
      }
      history = history.with(4000L * segment, rounds, List.of(), List.of());
    }
    assertThat(history.rounds()).hasSizeBetween(2000, 4000);
    assertThat(history.rounds().get(history.rounds().size() - 1).step()).isEqualTo(120_000);
    assertThat(history.rounds()).allMatch(round -> round.drift() == 2);
    assertThat(history.meanLoss(120_000, List.of())).isCloseTo(sum / 30_000, within(1e-9));
  }

  @Test
  void theMeanLossBeginsAnewBehindAnEvaluation() {
    Report.EpochPoint evaluated = new Report.EpochPoint(1, 4, 5, null, null);
    RunState.History history =
        RunState.History.empty()
            .with(0, List.of(round(4, 5)), List.of(), List.of(evaluated))
            .with(4, List.of(round(5, 1)), List.of(), List.of());
    assertThat(history.meanLoss(5, List.of(round(8, 3))))
        .as("one step of 1, three of 3")
        .isEqualTo((1 + 3 * 3) / 4.0);
  }

  private static List<RoundReport> round(long step, double loss) {
    return List.of(new RoundReport(0, step, 2, 2 * loss, 0.1, 1, 0, 0, 0));
  }
}
