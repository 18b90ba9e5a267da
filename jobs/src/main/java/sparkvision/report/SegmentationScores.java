package sparkvision.report;

import java.util.ArrayList;
import java.util.List;
import sparkvision.metrics.SegmentationMetrics;

/**
 * What the evaluation of a segmentation found; shares are 0..1, and null where there is nothing to
 * measure.
 *
 * @param meanIou mIoU
 * @param meanAccuracy mAcc
 * @param pixelAccuracy aAcc
 * @param classes by class index
 */
public record SegmentationScores(
    Double meanIou,
    Double meanAccuracy,
    Double meanDice,
    Double pixelAccuracy,
    List<ClassScore> classes) {

  /**
   * The scores of one class.
   *
   * @param pixels that have this label
   */
  public record ClassScore(String name, Double iou, Double accuracy, Double dice, long pixels) {}

  public SegmentationScores {
    classes = List.copyOf(classes);
  }

  /**
   * The scores of everything that {@code metrics} has counted.
   *
   * @param names of the classes, by index
   */
  public static SegmentationScores of(SegmentationMetrics metrics, List<String> names) {
    double[] iou = metrics.perClassIou();
    double[] accuracy = metrics.perClassAccuracy();
    double[] dice = metrics.perClassDice();
    long[] pixels = metrics.truePixels();
    if (names.size() != iou.length) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid names: %d (must be one for each of the %d classes)",
              names.size(), iou.length));
    }
    List<ClassScore> classes = new ArrayList<>();
    for (int c = 0; c < iou.length; c++) {
      classes.add(
          new ClassScore(
              names.get(c), number(iou[c]), number(accuracy[c]), number(dice[c]), pixels[c]));
    }
    return new SegmentationScores(
        number(metrics.meanIou()),
        number(metrics.meanAccuracy()),
        number(metrics.meanDice()),
        number(metrics.pixelAccuracy()),
        classes);
  }

  private static Double number(double value) {
    return Double.isNaN(value) ? null : value;
  }
}
