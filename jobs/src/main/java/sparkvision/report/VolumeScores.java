package sparkvision.report;

import java.util.ArrayList;
import java.util.List;
import sparkvision.metrics.VolumeMetrics;

/**
 * What the evaluation of segmented volumes found, as means over volumes; null where there is
 * nothing to measure.
 *
 * @param meanDice of the classes but background, 0..1
 * @param classes by class index
 */
public record VolumeScores(Double meanDice, List<ClassScore> classes) {

  /**
   * The scores of one class.
   *
   * @param dice 0..1
   * @param hausdorff95 millimetres
   * @param missed volumes where only one of truth and prediction has the class
   */
  public record ClassScore(String name, Double dice, Double hausdorff95, long missed) {}

  public VolumeScores {
    classes = List.copyOf(classes);
  }

  /**
   * The scores of all cases.
   *
   * @param names of the classes, by index
   */
  public static VolumeScores of(VolumeMetrics metrics, List<String> names) {
    double[] dice = metrics.dice();
    double[] hausdorff = metrics.hausdorff95();
    long[] missed = metrics.missed();
    List<ClassScore> classes = new ArrayList<>();
    for (int c = 0; c < names.size(); c++) {
      classes.add(new ClassScore(names.get(c), number(dice[c]), number(hausdorff[c]), missed[c]));
    }
    return new VolumeScores(number(metrics.meanDice()), classes);
  }

  private static Double number(double value) {
    return Double.isNaN(value) ? null : value;
  }
}
