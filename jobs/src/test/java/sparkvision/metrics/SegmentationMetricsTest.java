package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SegmentationMetricsTest {

  private static final int IGNORE = 255;

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Answer(int[] truth, int[] predicted) {}

  @Test
  void aKnownCase() {
    // Class 3 is nowhere, class 2 is only predicted.
    SegmentationMetrics metrics = new SegmentationMetrics(4, IGNORE);
    metrics.add("a", new int[] {0, 0, 0, 0, 1, 1, 255, 255}, new int[] {0, 0, 0, 1, 1, 2, 3, 0});

    assertThat(metrics.perClassIou()).containsExactly(3.0 / 4, 1.0 / 3, 0, Double.NaN);
    assertThat(metrics.perClassDice()).containsExactly(6.0 / 7, 2.0 / 4, 0, Double.NaN);
    assertThat(metrics.perClassAccuracy())
        .containsExactly(3.0 / 4, 1.0 / 2, Double.NaN, Double.NaN);
    assertThat(metrics.meanIou()).isCloseTo((3.0 / 4 + 1.0 / 3) / 3, within(1e-15));
    assertThat(metrics.meanDice()).isCloseTo((6.0 / 7 + 1.0 / 2) / 3, within(1e-15));
    assertThat(metrics.meanAccuracy()).isEqualTo(0.625);
    assertThat(metrics.pixelAccuracy()).isEqualTo(4.0 / 6);
    assertThat(metrics.truePixels()).containsExactly(4, 2, 0, 0);
    assertThat(metrics.samples()).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 5, 150})
  void matchesNaiveComputation(int classes) {
    List<Answer> answers = draw(classes, 40);
    SegmentationMetrics metrics = count(classes, answers);
    double[] iou = new double[classes];
    double[] dice = new double[classes];
    double[] accuracy = new double[classes];
    int right = 0;
    int labelled = 0;
    double iouSum = 0;
    double accuracySum = 0;
    double diceSum = 0;
    int seen = 0;
    int labelledClasses = 0;
    for (int c = 0; c < classes; c++) {
      int both = 0;
      int either = 0;
      int truth = 0;
      int predicted = 0;
      for (Answer answer : answers) {
        for (int i = 0; i < answer.truth.length; i++) {
          if (answer.truth[i] == IGNORE) {
            continue;
          }
          boolean is = answer.truth[i] == c;
          boolean said = answer.predicted[i] == c;
          both += is && said ? 1 : 0;
          either += is || said ? 1 : 0;
          truth += is ? 1 : 0;
          predicted += said ? 1 : 0;
        }
      }
      right += both;
      labelled += truth;
      iou[c] = (double) both / either;
      dice[c] = 2.0 * both / (truth + predicted);
      accuracy[c] = (double) both / truth;
      assertThat(metrics.truePixels()[c]).isEqualTo(truth);
      if (either > 0) {
        seen++;
        iouSum += iou[c];
        diceSum += dice[c];
      }
      if (truth > 0) {
        labelledClasses++;
        accuracySum += accuracy[c];
      }
    }
    assertThat(metrics.perClassIou()).isEqualTo(iou);
    assertThat(metrics.perClassDice()).isEqualTo(dice);
    assertThat(metrics.perClassAccuracy()).isEqualTo(accuracy);
    assertThat(seen).isLessThan(classes); // the last class is left out
    assertThat(metrics.meanIou()).isCloseTo(iouSum / seen, within(1e-12));
    assertThat(metrics.meanDice()).isCloseTo(diceSum / seen, within(1e-12));
    assertThat(metrics.meanAccuracy()).isCloseTo(accuracySum / labelledClasses, within(1e-12));
    assertThat(metrics.pixelAccuracy()).isEqualTo((double) right / labelled);
  }

  @Test
  void mergedPartitionsEqualOnePass() {
    List<Answer> answers = draw(6, 30);
    SegmentationMetrics whole = count(6, answers);
    SegmentationMetrics forth = new SegmentationMetrics(6, IGNORE);
    SegmentationMetrics back = new SegmentationMetrics(6, IGNORE);
    int[] cuts = {0, 4, 4, 17, 30};
    for (int i = 1; i < cuts.length; i++) {
      forth.merge(count(6, answers.subList(cuts[i - 1], cuts[i])));
    }
    for (int i = cuts.length - 1; i > 0; i--) {
      back.merge(count(6, answers.subList(cuts[i - 1], cuts[i])));
    }
    for (SegmentationMetrics merged : List.of(forth, back)) {
      assertThat(merged.samples()).isEqualTo(30);
      assertThat(merged.confusion()).isDeepEqualTo(whole.confusion());
      assertThat(merged.meanIou()).isEqualTo(whole.meanIou());
    }
  }

  @Test
  void confusionHasTruthInRows() {
    SegmentationMetrics metrics = new SegmentationMetrics(3, IGNORE);
    metrics.add("a", new int[] {0, 0, 1}, new int[] {2, 2, 0});
    assertThat(metrics.confusion()).isDeepEqualTo(new long[][] {{0, 0, 2}, {1, 0, 0}, {0, 0, 0}});
  }

  @Test
  void nothingCountedIsNotANumber() {
    SegmentationMetrics metrics = new SegmentationMetrics(3, IGNORE);
    metrics.add("a", new int[] {255}, new int[] {1});
    assertThat(metrics.meanIou()).isNaN();
    assertThat(metrics.meanDice()).isNaN();
    assertThat(metrics.meanAccuracy()).isNaN();
    assertThat(metrics.pixelAccuracy()).isNaN();
    assertThat(metrics.perClassIou()).containsOnly(Double.NaN);
  }

  @Test
  void refusesWhatCannotBeCounted() {
    SegmentationMetrics metrics = new SegmentationMetrics(3, IGNORE);
    assertThatThrownBy(() -> metrics.add("a/1", new int[] {0, 3}, new int[] {0, 0}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot evaluate sample a/1: label 3 of pixel 1 is none of the 3 classes");
    assertThatThrownBy(() -> metrics.add("a/1", new int[] {0, 1}, new int[] {0, 255}))
        .hasMessage(
            "Cannot evaluate sample a/1: prediction 255 of pixel 1 is none of the 3 classes");
    assertThatThrownBy(() -> metrics.add("a/1", new int[] {0, 1}, new int[] {0}))
        .hasMessage("Cannot evaluate sample a/1: it has 2 labels and 1 predictions");
    assertThat(metrics.truePixels()).containsOnly(0);
    assertThat(metrics.samples()).isZero();
    assertThatThrownBy(() -> new SegmentationMetrics(1, IGNORE))
        .hasMessage("Invalid classes: 1 (must be >= 2)");
    assertThatThrownBy(() -> new SegmentationMetrics(3, 2))
        .hasMessage("Invalid ignore: 2 (must be none of the 3 classes)");
    assertThatThrownBy(() -> metrics.merge(new SegmentationMetrics(4, -1)))
        .hasMessage("Cannot merge metrics: 3 classes and 255 ignored here, 4 and -1 there");
  }

  @Test
  void survivesSerialization() throws IOException, ClassNotFoundException {
    SegmentationMetrics metrics = count(5, draw(5, 8));
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(metrics);
    }
    try (var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      SegmentationMetrics copy = (SegmentationMetrics) in.readObject();
      assertThat(copy.confusion()).isDeepEqualTo(metrics.confusion());
      assertThat(copy.samples()).isEqualTo(8);
    }
  }

  private static SegmentationMetrics count(int classes, List<Answer> answers) {
    SegmentationMetrics metrics = new SegmentationMetrics(classes, IGNORE);
    for (int i = 0; i < answers.size(); i++) {
      metrics.add("sample-" + i, answers.get(i).truth, answers.get(i).predicted);
    }
    return metrics;
  }

  /** Right in half of the pixels; the last class is never there. */
  private static List<Answer> draw(int classes, int samples) {
    Random random = new Random(classes);
    List<Answer> answers = new ArrayList<>();
    for (int s = 0; s < samples; s++) {
      int[] truth = new int[20 + random.nextInt(30)];
      int[] predicted = new int[truth.length];
      for (int i = 0; i < truth.length; i++) {
        predicted[i] = random.nextInt(classes - 1);
        truth[i] =
            switch (random.nextInt(4)) {
              case 0 -> IGNORE;
              case 1 -> random.nextInt(classes - 1);
              default -> predicted[i];
            };
      }
      answers.add(new Answer(truth, predicted));
    }
    return answers;
  }
}
