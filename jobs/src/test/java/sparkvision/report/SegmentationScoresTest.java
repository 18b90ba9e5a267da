package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import sparkvision.metrics.SegmentationMetrics;
import sparkvision.report.SegmentationScores.ClassScore;

class SegmentationScoresTest {

  @Test
  void nullStandsWhereThereIsNothingToMeasure() {
    SegmentationMetrics metrics = new SegmentationMetrics(4, 255);
    metrics.add("a", new int[] {0, 0, 1, 1, 255}, new int[] {0, 2, 1, 1, 3});
    SegmentationScores scores =
        SegmentationScores.of(metrics, List.of("sky", "sea", "sand", "sun"));
    assertThat(scores.classes())
        .containsExactly(
            new ClassScore("sky", 0.5, 0.5, 2.0 / 3, 2),
            new ClassScore("sea", 1.0, 1.0, 1.0, 2),
            new ClassScore("sand", 0.0, null, 0.0, 0),
            new ClassScore("sun", null, null, null, 0));
    assertThat(scores.meanIou()).isEqualTo(0.5);
    assertThat(scores.meanAccuracy()).isEqualTo(0.75);
    assertThat(scores.pixelAccuracy()).isEqualTo(0.75);
    assertThat(SegmentationScores.of(new SegmentationMetrics(2, 255), List.of("a", "b")).meanIou())
        .isNull();
    assertThatThrownBy(() -> SegmentationScores.of(metrics, List.of("sky")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid names: 1 (must be one for each of the 4 classes)");
  }
}
