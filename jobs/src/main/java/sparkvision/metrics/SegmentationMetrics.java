package sparkvision.metrics;

import java.io.Serializable;
import java.util.Arrays;

/**
 * Intersection over union, Dice and accuracy of a segmentation over the pixels, or voxels, of the
 * samples added.
 *
 * <p>One instance per partition; {@link #merge} joins them. Everything is a ratio of exact counts,
 * so it does not depend on how samples were spread. Not thread-safe.
 *
 * <p>With the pixels of class c that are right (I), predicted (P) and true (T), ignored ones left
 * out: IoU = I / (P + T - I), Dice = 2I / (P + T), accuracy = I / T; a mean is over the classes
 * where the ratio exists. That is mmsegmentation's {@code IoUMetric}
 * (mmseg/evaluation/metrics/iou_metric.py), but for labels that are no class: it lets them pass.
 *
 * @see <a href="https://arxiv.org/abs/1411.4038">Long, Shelhamer, Darrell, Fully Convolutional
 *     Networks for Semantic Segmentation, 2015, section 5, metrics</a>
 */
public final class SegmentationMetrics implements Serializable {

  private static final long serialVersionUID = 1;

  private final int classes;
  private final int ignore;
  private final long[] confusion; // (truth, predicted), row-major
  private long samples;

  /**
   * Metrics of no samples yet.
   *
   * @param ignore the label of pixels that count for nothing, such as 255; no class
   */
  public SegmentationMetrics(int classes, int ignore) {
    if (classes < 2) {
      throw new IllegalArgumentException("Invalid classes: " + classes + " (must be >= 2)");
    }
    if (ignore >= 0 && ignore < classes) {
      throw new IllegalArgumentException(
          String.format("Invalid ignore: %d (must be none of the %d classes)", ignore, classes));
    }
    this.classes = classes;
    this.ignore = ignore;
    this.confusion = new long[Math.multiplyExact(classes, classes)];
  }

  /**
   * Counts one sample.
   *
   * @param truth the label of each pixel
   * @param predicted the class of each pixel, in the same order
   * @throws IllegalArgumentException if the numbers of pixels differ, a label is neither a class
   *     nor ignored, or a predicted class is none; nothing is counted then
   */
  public void add(String id, int[] truth, int[] predicted) {
    if (truth.length != predicted.length) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot evaluate sample %s: it has %d labels and %d predictions",
              id, truth.length, predicted.length));
    }
    for (int i = 0; i < truth.length; i++) {
      requireClass(id, "label", i, truth[i], truth[i] == ignore);
      requireClass(id, "prediction", i, predicted[i], false);
    }
    samples++;
    for (int i = 0; i < truth.length; i++) {
      if (truth[i] != ignore) {
        confusion[truth[i] * classes + predicted[i]]++;
      }
    }
  }

  private void requireClass(String id, String what, int pixel, int value, boolean ignored) {
    if (!ignored && (value < 0 || value >= classes)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot evaluate sample %s: %s %d of pixel %d is none of the %d classes",
              id, what, value, pixel, classes));
    }
  }

  /**
   * Adds everything {@code other} has counted; {@code other} stays as it is.
   *
   * @return this
   * @throws IllegalArgumentException if {@code other} was made for other classes or another ignored
   *     label
   */
  public SegmentationMetrics merge(SegmentationMetrics other) {
    if (other.classes != classes || other.ignore != ignore) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot merge metrics: %d classes and %d ignored here, %d and %d there",
              classes, ignore, other.classes, other.ignore));
    }
    samples += other.samples;
    for (int i = 0; i < confusion.length; i++) {
      confusion[i] += other.confusion[i];
    }
    return this;
  }

  public long samples() {
    return samples;
  }

  /** How many pixels of each class were taken for which: {@code [truth][predicted]}, a copy. */
  public long[][] confusion() {
    long[][] rows = new long[classes][];
    for (int truth = 0; truth < classes; truth++) {
      rows[truth] = Arrays.copyOfRange(confusion, truth * classes, (truth + 1) * classes);
    }
    return rows;
  }

  /** Labelled pixels of each class. */
  public long[] truePixels() {
    long[] pixels = new long[classes];
    for (int i = 0; i < confusion.length; i++) {
      pixels[i / classes] += confusion[i];
    }
    return pixels;
  }

  private long[] predictedPixels() {
    long[] pixels = new long[classes];
    for (int i = 0; i < confusion.length; i++) {
      pixels[i % classes] += confusion[i];
    }
    return pixels;
  }

  /** Intersection over union of each class, 0..1; NaN where it is neither true nor predicted. */
  public double[] perClassIou() {
    long[] truth = truePixels();
    long[] predicted = predictedPixels();
    return ratios(c -> right(c), c -> predicted[c] + truth[c] - right(c));
  }

  /** The Dice coefficient (F1) of each class, 0..1; NaN where it is neither true nor predicted. */
  public double[] perClassDice() {
    long[] truth = truePixels();
    long[] predicted = predictedPixels();
    return ratios(c -> 2 * right(c), c -> predicted[c] + truth[c]);
  }

  /** The share of each class's pixels that were recognised, 0..1; NaN where it has none. */
  public double[] perClassAccuracy() {
    long[] truth = truePixels();
    return ratios(c -> right(c), c -> truth[c]);
  }

  /** mIoU: the mean over the classes that are true or predicted, 0..1; NaN of no pixels. */
  public double meanIou() {
    return Means.ofNumbers(perClassIou());
  }

  /** The mean Dice over the classes that are true or predicted, 0..1; NaN of no pixels. */
  public double meanDice() {
    return Means.ofNumbers(perClassDice());
  }

  /** mAcc: the mean accuracy over the classes that have pixels, 0..1; NaN of no pixels. */
  public double meanAccuracy() {
    return Means.ofNumbers(perClassAccuracy());
  }

  /** aAcc: the share of all labelled pixels whose class is right, 0..1; NaN of no pixels. */
  public double pixelAccuracy() {
    long right = 0;
    for (int c = 0; c < classes; c++) {
      right += right(c);
    }
    return (double) right / Arrays.stream(confusion).sum();
  }

  private long right(int c) {
    return confusion[c * classes + c];
  }

  private interface Count {
    long of(int c);
  }

  private double[] ratios(Count part, Count whole) {
    double[] ratios = new double[classes];
    Arrays.setAll(ratios, c -> (double) part.of(c) / whole.of(c));
    return ratios;
  }
}
