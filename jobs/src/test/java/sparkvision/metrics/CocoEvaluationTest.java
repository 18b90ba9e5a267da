package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import sparkvision.data.TaskBytes;
import sparkvision.data.coco.Box;
import sparkvision.data.coco.Rle;
import sparkvision.metrics.CocoEvaluation.Detection;
import sparkvision.metrics.CocoEvaluation.Summary;
import sparkvision.metrics.CocoEvaluation.Truth;

class CocoEvaluationTest {

  private record Image(long id, List<Truth> truths, List<Detection> detections) {}

  private static CocoEvaluation boxes(int categories) {
    return new CocoEvaluation(CocoEvaluation.Type.BBOX, categories);
  }

  private static Truth truth(int category, double x, double size) {
    return new Truth(category, new Box(x, 0, size, size), null, size * size, false);
  }

  private static Truth crowd(int category, double x, double size) {
    return new Truth(category, new Box(x, 0, size, size), null, size * size, true);
  }

  private static Detection detection(int category, double x, double size, double score) {
    return new Detection(category, new Box(x, 0, size, size), null, size * size, score);
  }

  private static CocoEvaluation add(CocoEvaluation evaluation, List<Image> images) {
    images.forEach(image -> evaluation.add(image.id, image.truths, image.detections));
    return evaluation;
  }

  static double[] numbers(Summary summary) {
    return new double[] {
      summary.ap(), summary.ap50(), summary.ap75(),
      summary.apSmall(), summary.apMedium(), summary.apLarge(),
      summary.ar1(), summary.ar10(), summary.ar100(),
      summary.arSmall(), summary.arMedium(), summary.arLarge()
    };
  }

  @Test
  void nothingToFindIsMinusOne() {
    Summary none = new Summary(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    assertThat(boxes(3).summary()).isEqualTo(none);
    CocoEvaluation falseAlarms = boxes(3);
    falseAlarms.add(1, List.of(crowd(0, 5, 50)), List.of(detection(0, 5, 50, 0.9)));
    assertThat(falseAlarms.summary()).isEqualTo(none);
  }

  @Test
  void findingAllIsOneAndFindingNoneIsZero() {
    CocoEvaluation all = boxes(2);
    all.add(1, List.of(truth(0, 0, 50)), List.of(detection(0, 0, 50, 0.1)));
    // Precision is 1 / (1 + 2^-52), as the original computes it.
    assertThat(numbers(all.summary()))
        .containsExactly(new double[] {1, 1, 1, -1, 1, -1, 1, 1, 1, -1, 1, -1}, within(1e-12));
    CocoEvaluation none = boxes(2);
    none.add(1, List.of(truth(0, 0, 100)), List.of());
    assertThat(none.summary()).isEqualTo(new Summary(0, 0, 0, -1, -1, 0, 0, 0, 0, -1, -1, 0));
  }

  @Test
  void precisionFallsWithEveryFalseAlarmBeforeAMatch() {
    CocoEvaluation evaluation = boxes(1);
    // Overlap 0.6 with the first object: it counts at 0.50, 0.55 and 0.60.
    evaluation.add(
        1,
        List.of(truth(0, 0, 100), truth(0, 1_000, 100)),
        List.of(
            detection(0, 0, 100, 0.5),
            detection(0, 500, 100, 0.9),
            new Detection(0, new Box(1_000, 0, 60, 100), null, 6_000, 0.4)));
    Summary summary = evaluation.summary();
    // Recalls 0..0.50 at precision 1/2 (or 2/3, if the third counts), 0.51..1 at 2/3 or never.
    assertThat(summary.ap50()).isCloseTo(2.0 / 3, within(1e-12));
    assertThat(summary.ap75()).isCloseTo(51.0 / 101 / 2, within(1e-12));
    assertThat(summary.ap()).isCloseTo((3 * 2.0 / 3 + 7 * 51.0 / 101 / 2) / 10, within(1e-12));
    assertThat(summary.ar1()).as("the surest one is the false alarm").isZero();
    assertThat(summary.ar100()).isCloseTo((3 * 1 + 7 * 0.5) / 10, within(1e-12));
  }

  @Test
  void aCrowdTakesAnyNumberAndNoneOfThemCounts() {
    CocoEvaluation evaluation = boxes(1);
    evaluation.add(
        1,
        List.of(crowd(0, 0, 500), truth(0, 600, 100)),
        List.of(
            detection(0, 10, 40, 0.9), detection(0, 100, 40, 0.9), detection(0, 600, 100, 0.5)));
    assertThat(evaluation.summary().ap()).isCloseTo(1, within(1e-12));
  }

  @Test
  void onlyAHundredDetectionsOfACategoryAndImageCount() {
    List<Detection> detections = new ArrayList<>();
    for (int i = 0; i < 99; i++) {
      detections.add(detection(0, 1_000, 10, 0.9));
    }
    detections.add(detection(1, 1_000, 10, 0.95));
    detections.add(detection(0, 0, 100, 0.5));
    CocoEvaluation within = boxes(2);
    within.add(1, List.of(truth(0, 0, 100)), detections);
    assertThat(within.summary().ar100()).isEqualTo(1);
    assertThat(within.summary().ar10()).isZero();

    detections.add(0, detection(0, 1_000, 10, 0.9));
    CocoEvaluation beyond = boxes(2);
    beyond.add(1, List.of(truth(0, 0, 100)), detections);
    assertThat(beyond.summary().ar100()).isZero();
  }

  @Test
  void equalScoresStayInOrder() {
    Detection good = detection(0, 0, 100, 0.0);
    Detection bad = detection(0, 500, 100, -0.0);
    CocoEvaluation first = boxes(1);
    first.add(1, List.of(truth(0, 0, 100)), List.of(good, bad));
    assertThat(first.summary().ap()).isCloseTo(1, within(1e-12));
    CocoEvaluation second = boxes(1);
    second.add(1, List.of(truth(0, 0, 100)), List.of(bad, good));
    assertThat(second.summary().ap()).isCloseTo(0.5, within(1e-12));
    // Images go by their id, not as they were added.
    CocoEvaluation apart = boxes(1);
    apart.add(8, List.of(), List.of(bad));
    apart.add(7, List.of(truth(0, 0, 100)), List.of(good));
    assertThat(apart.summary().ap()).isCloseTo(1, within(1e-12));
  }

  @Test
  void masksAreComparedByPixels() {
    Rle half = Rle.ofBox(new Box(0, 0, 5, 10), 10, 10);
    Rle whole = Rle.ofBox(new Box(0, 0, 10, 10), 10, 10);
    CocoEvaluation evaluation = new CocoEvaluation(CocoEvaluation.Type.SEGM, 1);
    evaluation.add(
        1,
        List.of(new Truth(0, null, whole, 100, false)),
        List.of(new Detection(0, null, half, 50, 1)));
    assertThat(evaluation.summary().ap50()).isCloseTo(1, within(1e-12));
    assertThat(evaluation.summary().ap()).isCloseTo(0.1, within(1e-12));
    assertThat(evaluation.summary().apSmall()).isCloseTo(0.1, within(1e-12));

    Rle other = Rle.ofBox(new Box(0, 0, 10, 5), 5, 20);
    assertThatThrownBy(
            () ->
                evaluation.add(
                    2,
                    List.of(new Truth(0, null, whole, 100, false)),
                    List.of(new Detection(0, null, other, 50, 1))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid mask: 10 x 10 (must be 20 x 5 like the other)");
  }

  @Test
  void anySplitOfTheImagesGivesTheSameBits() {
    List<Image> images = draw(60, new Random(3));
    Summary whole = add(boxes(4), images).summary();
    assertThat(whole.ap()).isBetween(0.05, 0.95);
    assertThat(whole.arSmall()).isBetween(0.05, 0.95);

    CocoEvaluation merged = boxes(4);
    for (int part = 6; part >= 0; part--) {
      List<Image> some = new ArrayList<>();
      for (int i = part; i < images.size(); i += 7) {
        some.add(images.get(i));
      }
      byte[] sent = TaskBytes.pack(add(boxes(4), some));
      merged.merge(TaskBytes.unpack(sent, CocoEvaluation.class));
    }
    assertThat(merged.images()).isEqualTo(60);
    assertThat(merged.summary()).isEqualTo(whole);
  }

  /** Objects of all sizes, found about; scores of one digit, so that many are equal. */
  private static List<Image> draw(int count, Random random) {
    List<Image> images = new ArrayList<>();
    for (int id = 0; id < count; id++) {
      List<Truth> truths = new ArrayList<>();
      List<Detection> detections = new ArrayList<>();
      for (int i = random.nextInt(6); i > 0; i--) {
        double size = new double[] {10, 30, 60, 120}[random.nextInt(4)];
        double x = random.nextInt(400);
        int category = random.nextInt(4);
        truths.add(random.nextInt(8) == 0 ? crowd(category, x, size) : truth(category, x, size));
        for (int j = random.nextInt(4); j > 0; j--) {
          detections.add(
              detection(
                  category,
                  x + size * random.nextDouble() * 0.3,
                  size * (1 + random.nextDouble() * 0.2),
                  random.nextInt(10) / 10.0));
        }
      }
      images.add(new Image(id * 37 % count, truths, detections));
    }
    return images;
  }

  @Test
  void refusesWhatCannotBeCounted() {
    CocoEvaluation evaluation = boxes(2);
    evaluation.add(1, List.of(), List.of());
    refuses(() -> evaluation.add(1, List.of(), List.of()), "image 1: it was added before");
    refuses(
        () -> evaluation.add(2, List.of(truth(2, 0, 1)), List.of()),
        "Invalid category: 2 (there are 2)");
    refuses(
        () -> evaluation.add(2, List.of(), List.of(detection(-1, 0, 1, 1))),
        "Invalid category: -1 (there are 2)");
    refuses(
        () -> evaluation.add(2, List.of(), List.of(detection(0, 0, 1, Double.NaN))),
        "image 2: a score is NaN");
    refuses(() -> evaluation.merge(boxes(3)), "BBOX of 2 categories here, BBOX of 3 there");
    CocoEvaluation other = boxes(2);
    other.add(1, List.of(), List.of());
    refuses(() -> evaluation.merge(other), "both have image 1");
    refuses(() -> boxes(0), "Invalid categories: 0 (must be >= 1)");
  }

  private static void refuses(Runnable work, String reason) {
    assertThatThrownBy(work::run)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason);
  }
}
