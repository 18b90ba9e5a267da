package sparkvision.metrics;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;

/**
 * Top-1, top-5, loss, confusion and the worst mistakes of a classifier over the samples added.
 *
 * <p>One instance per partition; {@link #merge} joins them. The loss of a sample is the softmax
 * cross-entropy of its logits, without label smoothing, in float64. Equal logits are ranked by
 * class index, the lower one first. Not thread-safe.
 */
public final class ClassificationMetrics implements Serializable {

  private static final long serialVersionUID = 1;

  private static final Comparator<Mistake> WORST_FIRST =
      Comparator.comparingDouble(Mistake::loss).reversed().thenComparing(Mistake::id);

  /**
   * A sample whose predicted class is not its label.
   *
   * @param confidence the softmax probability of the predicted class, 0..1
   * @param image the encoded picture as it was added, not a copy
   */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared by content
  public record Mistake(
      String id, int truth, int predicted, double confidence, double loss, byte[] image)
      implements Serializable {}

  private final int classes;
  private final int worstKept;
  private final long[] confusion; // (truth, predicted), row-major
  private final List<Mistake> worst = new ArrayList<>(); // worst first, at most worstKept
  private long samples;
  private long top5Hits;
  private double lossSum;

  /**
   * Metrics of no samples yet.
   *
   * @param worstKept how many mistakes are kept with their pictures
   */
  public ClassificationMetrics(int classes, int worstKept) {
    if (classes < 2) {
      throw new IllegalArgumentException("Invalid classes: " + classes + " (must be >= 2)");
    }
    if (worstKept < 0) {
      throw new IllegalArgumentException("Invalid worst-kept: " + worstKept + " (must be >= 0)");
    }
    this.classes = classes;
    this.worstKept = worstKept;
    this.confusion = new long[Math.multiplyExact(classes, classes)];
  }

  /**
   * Counts one sample.
   *
   * @param logits holds this sample's logits from {@code offset} on, one per class
   * @param image the encoded picture; kept, not copied, while the sample is among the worst
   * @throws IllegalArgumentException if a logit is not finite or the label is not a class; nothing
   *     is counted then
   */
  public void add(String id, float[] logits, int offset, int label, byte[] image) {
    if (label < 0 || label >= classes) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot evaluate sample %s: label %d is none of the %d classes", id, label, classes));
    }
    int predicted = 0;
    int ahead = 0; // classes ranked before the label
    float truthLogit = logits[offset + label];
    for (int c = 0; c < classes; c++) {
      float logit = logits[offset + c];
      if (!Float.isFinite(logit)) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot evaluate sample %s: logit of class %d is %s, so the weights have diverged",
                id, c, logit));
      }
      if (logit > logits[offset + predicted]) {
        predicted = c;
      }
      if (logit > truthLogit || (logit == truthLogit && c < label)) {
        ahead++;
      }
    }

    double largest = logits[offset + predicted];
    double sum = 0;
    for (int c = 0; c < classes; c++) {
      sum += Math.exp(logits[offset + c] - largest);
    }
    double loss = Math.log(sum) + largest - truthLogit;

    samples++;
    lossSum += loss;
    confusion[label * classes + predicted]++;
    if (ahead < Math.min(5, classes)) {
      top5Hits++;
    }
    if (predicted != label) {
      keep(new Mistake(id, label, predicted, 1 / sum, loss, image));
    }
  }

  /**
   * Adds everything {@code other} has counted; {@code other} stays as it is.
   *
   * @return this
   * @throws IllegalArgumentException if {@code other} was made for other classes or another number
   *     of mistakes
   */
  public ClassificationMetrics merge(ClassificationMetrics other) {
    if (other.classes != classes || other.worstKept != worstKept) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot merge metrics: %d classes and %d mistakes kept here, %d and %d there",
              classes, worstKept, other.classes, other.worstKept));
    }
    samples += other.samples;
    top5Hits += other.top5Hits;
    lossSum += other.lossSum;
    for (int i = 0; i < confusion.length; i++) {
      confusion[i] += other.confusion[i];
    }
    List.copyOf(other.worst).forEach(this::keep);
    return this;
  }

  private void keep(Mistake mistake) {
    int found = Collections.binarySearch(worst, mistake, WORST_FIRST);
    int place = found < 0 ? -found - 1 : found;
    if (place >= worstKept) {
      return;
    }
    worst.add(place, mistake);
    if (worst.size() > worstKept) {
      worst.remove(worstKept);
    }
  }

  public long samples() {
    return samples;
  }

  /** The share of samples whose most likely class is their label, 0..1; NaN of no samples. */
  public double top1() {
    long hits = 0;
    for (int c = 0; c < classes; c++) {
      hits += confusion[c * classes + c];
    }
    return (double) hits / samples;
  }

  /**
   * The share of samples whose label is among the five most likely classes, 0..1, or among all of
   * them where there are fewer than five; NaN of no samples.
   */
  public double top5() {
    return (double) top5Hits / samples;
  }

  /** The mean cross-entropy per sample, in nats; NaN of no samples. */
  public double loss() {
    return lossSum / samples;
  }

  /** How many samples of each class were taken for which: {@code [truth][predicted]}, a copy. */
  public long[][] confusion() {
    long[][] rows = new long[classes][classes];
    for (int truth = 0; truth < classes; truth++) {
      System.arraycopy(confusion, truth * classes, rows[truth], 0, classes);
    }
    return rows;
  }

  /** The share of each class's samples that were recognised; NaN where a class has no samples. */
  public double[] perClassAccuracy() {
    double[] accuracy = new double[classes];
    for (int truth = 0; truth < classes; truth++) {
      long total = 0;
      for (int predicted = 0; predicted < classes; predicted++) {
        total += confusion[truth * classes + predicted];
      }
      accuracy[truth] = (double) confusion[truth * classes + truth] / total;
    }
    return accuracy;
  }

  /**
   * The mean of {@link #perClassAccuracy} over the classes that have samples, 0..1: every class
   * counts alike, however few samples it has; NaN of no samples.
   */
  public double meanPerClassAccuracy() {
    return Means.ofNumbers(perClassAccuracy());
  }

  /** The mistakes of highest loss, worst first; equal losses are ordered by id. */
  public List<Mistake> worst() {
    return List.copyOf(worst);
  }
}
