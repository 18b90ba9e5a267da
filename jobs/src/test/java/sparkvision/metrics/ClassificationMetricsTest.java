package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.metrics.ClassificationMetrics.Mistake;

class ClassificationMetricsTest {

  private static final byte[] NO_PICTURE = {};

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Answer(String id, float[] logits, int label) {}

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 7, 40})
  void matchesNaiveComputation(int classes) {
    List<Answer> answers = draw(classes, 500, classes);
    ClassificationMetrics metrics = count(classes, 12, answers);

    assertThat(metrics.samples()).isEqualTo(500);
    assertThat(metrics.top1()).isEqualTo(naiveTop(answers, 1)).isStrictlyBetween(0.0, 1.0);
    assertThat(metrics.top5()).isEqualTo(naiveTop(answers, 5));
    double loss = answers.stream().mapToDouble(a -> naiveLoss(a)).average().orElseThrow();
    assertThat(metrics.loss()).isCloseTo(loss, within(1e-9));

    long[][] confusion = new long[classes][classes];
    for (Answer answer : answers) {
      confusion[answer.label][ranking(answer.logits).get(0)]++;
    }
    assertThat(metrics.confusion()).isDeepEqualTo(confusion);
    for (int c = 0; c < classes; c++) {
      double expected = (double) confusion[c][c] / Arrays.stream(confusion[c]).sum();
      assertThat(metrics.perClassAccuracy()[c]).isEqualTo(expected);
    }

    List<String> worst =
        answers.stream()
            .filter(a -> ranking(a.logits).get(0) != a.label)
            .sorted(
                Comparator.comparingDouble((Answer a) -> naiveLoss(a))
                    .reversed()
                    .thenComparing(Answer::id))
            .limit(12)
            .map(Answer::id)
            .collect(Collectors.toList());
    assertThat(metrics.worst()).extracting(Mistake::id).isEqualTo(worst).hasSize(12);
  }

  @Test
  void mergedPartitionsEqualOnePass() {
    List<Answer> answers = draw(9, 600, 4);
    ClassificationMetrics whole = count(9, 20, answers);

    ClassificationMetrics forth = new ClassificationMetrics(9, 20);
    ClassificationMetrics back = new ClassificationMetrics(9, 20);
    int[] cuts = {0, 17, 17, 300, 599, 600};
    for (int i = 1; i < cuts.length; i++) {
      forth.merge(count(9, 20, answers.subList(cuts[i - 1], cuts[i])));
    }
    for (int i = cuts.length - 1; i > 0; i--) {
      back.merge(count(9, 20, answers.subList(cuts[i - 1], cuts[i])));
    }

    for (ClassificationMetrics merged : List.of(forth, back)) {
      assertThat(merged.samples()).isEqualTo(whole.samples());
      assertThat(merged.top1()).isEqualTo(whole.top1());
      assertThat(merged.top5()).isEqualTo(whole.top5());
      assertThat(merged.loss()).isCloseTo(whole.loss(), within(1e-12));
      assertThat(merged.confusion()).isDeepEqualTo(whole.confusion());
      assertThat(merged.worst()).isEqualTo(whole.worst());
    }
  }

  @Test
  void worstMistakesAreTheSameInAnyOrder() {
    float[] logits = {3, 0, 0};
    ClassificationMetrics metrics = new ClassificationMetrics(3, 2);
    for (String id : List.of("d", "b", "c", "a")) {
      metrics.add(id, logits, 0, 1, NO_PICTURE);
    }
    assertThat(metrics.worst()).extracting(Mistake::id).containsExactly("a", "b");
  }

  @Test
  void aMistakeCarriesWhatTheGalleryShows() {
    byte[] picture = {1, 2, 3};
    ClassificationMetrics metrics = new ClassificationMetrics(2, 4);
    float quarter = (float) Math.log(0.25);
    float rest = (float) Math.log(0.75);
    metrics.add("right", new float[] {rest, quarter}, 0, 0, NO_PICTURE);
    metrics.add("wrong", new float[] {9, 9, quarter, rest, 9}, 2, 0, picture);

    assertThat(metrics.worst()).hasSize(1);
    Mistake mistake = metrics.worst().get(0);
    assertThat(mistake.id()).isEqualTo("wrong");
    assertThat(mistake.truth()).isEqualTo(0);
    assertThat(mistake.predicted()).isEqualTo(1);
    assertThat(mistake.confidence()).isCloseTo(0.75, within(1e-7));
    assertThat(mistake.loss()).isCloseTo(-Math.log(0.25), within(1e-7));
    assertThat(mistake.image()).isSameAs(picture);
  }

  @Test
  void equalLogitsAreRankedByClassIndex() {
    ClassificationMetrics metrics = new ClassificationMetrics(7, 0);
    metrics.add("first", new float[7], 0, 0, NO_PICTURE);
    metrics.add("fifth", new float[7], 0, 4, NO_PICTURE);
    metrics.add("sixth", new float[7], 0, 5, NO_PICTURE);

    assertThat(metrics.top1()).isEqualTo(1.0 / 3);
    assertThat(metrics.top5()).isEqualTo(2.0 / 3);
    assertThat(metrics.worst()).isEmpty();
  }

  @Test
  void twoClassesAndOneSample() {
    ClassificationMetrics metrics = new ClassificationMetrics(2, 1);
    metrics.add("only", new float[] {0, 1}, 0, 0, NO_PICTURE);

    assertThat(metrics.top1()).isZero();
    assertThat(metrics.top5()).isEqualTo(1);
    assertThat(metrics.loss()).isCloseTo(Math.log(1 + Math.E), within(1e-12));
    assertThat(metrics.perClassAccuracy()).containsExactly(0, Double.NaN);
    assertThat(metrics.meanPerClassAccuracy()).isZero();
  }

  @Test
  void everyClassCountsAlikeInTheMean() {
    ClassificationMetrics metrics = new ClassificationMetrics(3, 0);
    for (int i = 0; i < 8; i++) {
      metrics.add("common-" + i, new float[] {1, 0, 0}, 0, 0, NO_PICTURE);
    }
    metrics.add("rare-1", new float[] {0, 1, 0}, 0, 1, NO_PICTURE);
    metrics.add("rare-2", new float[] {1, 0, 0}, 0, 1, NO_PICTURE);
    assertThat(metrics.top1()).isEqualTo(0.9);
    assertThat(metrics.meanPerClassAccuracy()).isEqualTo(0.75); // of 1 and 0.5; class 2 is absent
  }

  @Test
  void nothingCountedIsNotANumber() {
    ClassificationMetrics metrics = new ClassificationMetrics(3, 1);
    assertThat(metrics.top1()).isNaN();
    assertThat(metrics.top5()).isNaN();
    assertThat(metrics.loss()).isNaN();
    assertThat(metrics.perClassAccuracy()).containsOnly(Double.NaN);
    assertThat(metrics.meanPerClassAccuracy()).isNaN();
  }

  @Test
  void hugeLogitsDoNotOverflow() {
    ClassificationMetrics metrics = new ClassificationMetrics(2, 1);
    metrics.add("far", new float[] {3e38f, -3e38f}, 0, 1, NO_PICTURE);
    assertThat(metrics.loss()).isCloseTo(6e38, within(1e32));
    assertThat(metrics.worst().get(0).confidence()).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void refusesLogitsThatAreNotFinite(float bad) {
    ClassificationMetrics metrics = new ClassificationMetrics(3, 1);
    assertThatThrownBy(() -> metrics.add("cat/7", new float[] {0, 1, bad}, 0, 0, NO_PICTURE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot evaluate sample cat/7: logit of class 2 is %s, so the weights have diverged",
            bad);
    assertThat(metrics.samples()).isZero();
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 3})
  void refusesALabelThatIsNoClass(int label) {
    ClassificationMetrics metrics = new ClassificationMetrics(3, 1);
    assertThatThrownBy(() -> metrics.add("cat/7", new float[3], 0, label, NO_PICTURE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot evaluate sample cat/7: label %d is none of the 3 classes".formatted(label));
  }

  @Test
  void refusesSizesThatMakeNoSense() {
    assertThatThrownBy(() -> new ClassificationMetrics(1, 1))
        .hasMessage("Invalid classes: 1 (must be >= 2)");
    assertThatThrownBy(() -> new ClassificationMetrics(2, -1))
        .hasMessage("Invalid worst-kept: -1 (must be >= 0)");
  }

  @Test
  void refusesToMergeMetricsOfOtherClasses() {
    ClassificationMetrics three = new ClassificationMetrics(3, 5);
    ClassificationMetrics four = new ClassificationMetrics(4, 5);
    assertThatThrownBy(() -> three.merge(four))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot merge metrics: 3 classes and 5 mistakes kept here, 4 and 5 there");
  }

  @Test
  void survivesSerialization() throws IOException, ClassNotFoundException {
    ClassificationMetrics metrics = count(5, 6, draw(5, 80, 2));
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(metrics);
    }
    ClassificationMetrics copy;
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      copy = (ClassificationMetrics) in.readObject();
    }
    assertThat(copy).usingRecursiveComparison().isEqualTo(metrics);
    copy.merge(metrics);
    assertThat(copy.samples()).isEqualTo(160);
  }

  private static ClassificationMetrics count(int classes, int worstKept, List<Answer> answers) {
    ClassificationMetrics metrics = new ClassificationMetrics(classes, worstKept);
    for (Answer answer : answers) {
      metrics.add(answer.id, answer.logits, 0, answer.label, NO_PICTURE);
    }
    return metrics;
  }

  /** Answers that are right more often than chance; coarse logits, so that ties happen. */
  private static List<Answer> draw(int classes, int samples, long seed) {
    Random random = new Random(seed);
    return IntStream.range(0, samples)
        .mapToObj(
            i -> {
              int label = random.nextInt(classes);
              float[] logits = new float[classes];
              for (int c = 0; c < classes; c++) {
                logits[c] = Math.round(4 * random.nextGaussian()) / 2f;
              }
              logits[label] += 1.5f;
              return new Answer(String.format("s%04d", i), logits, label);
            })
        .collect(Collectors.toList());
  }

  /** All classes, the most likely first; the sort is stable, so ties keep the lower index first. */
  private static List<Integer> ranking(float[] logits) {
    return IntStream.range(0, logits.length)
        .boxed()
        .sorted(Comparator.comparingDouble((Integer c) -> -logits[c]))
        .collect(Collectors.toList());
  }

  private static double naiveTop(List<Answer> answers, int k) {
    long hits =
        answers.stream()
            .filter(a -> ranking(a.logits).stream().limit(k).anyMatch(c -> c == a.label))
            .count();
    return (double) hits / answers.size();
  }

  private static double naiveLoss(Answer answer) {
    double sum = 0;
    for (float logit : answer.logits) {
      sum += Math.exp(logit);
    }
    return -Math.log(Math.exp(answer.logits[answer.label]) / sum);
  }
}
