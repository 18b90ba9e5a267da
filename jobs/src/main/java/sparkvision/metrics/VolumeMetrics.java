package sparkvision.metrics;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
import org.apache.commons.math3.stat.descriptive.rank.Percentile;
import org.apache.commons.math3.stat.descriptive.rank.Percentile.EstimationType;
import sparkvision.data.Sample;

/**
 * Dice and 95 % Hausdorff distance of segmented volumes, by class, as means over cases.
 *
 * <p>One instance per partition; {@link #merge} joins them. Results are the same to the bit however
 * the cases were spread, since means are taken in the order of ids. Class 0 is background. Not
 * thread-safe.
 *
 * <p><b>Dice</b> of a class in a case is 2 |P and T| / (|P| + |T|), in voxels. A case where neither
 * prediction nor truth has the class does not count for it (NaN), as in nnU-Net and in MONAI with
 * {@code ignore_empty}; where one of them has it, Dice is 0.
 *
 * <p><b>The 95 % Hausdorff distance</b> is in millimetres, as MONAI's {@code
 * HausdorffDistanceMetric} with percentile 95: a surface is the voxels of a class of whose six
 * neighbours one is not, outside included (the mask less its erosion); distances go from the centre
 * of each surface voxel to the nearest of the other surface, exactly; of each direction the 95th
 * percentile is taken, interpolated linearly between ranks as by numpy, and of the two the larger.
 * (Others pool both directions before they take the percentile, or weigh voxels by surface area,
 * and come out lower or different.) Where both lack the class it is NaN; where one does, infinite:
 * such a case counts as missed and not in the mean. It has no meaning for background, NaN.
 *
 * <p>Voxels whose true label is 255 belong to no class, whatever was predicted.
 */
public final class VolumeMetrics implements Serializable {

  private static final long serialVersionUID = 1;

  private static final double PERCENTILE = 95;

  /**
   * What came of one volume.
   *
   * @param dice by class, 0..1; NaN where neither has it
   * @param hausdorff95 by class, millimetres; infinite where one lacks it, NaN where both do
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared by content
  public record Case(String id, double[] dice, double[] hausdorff95) implements Serializable {}

  private final int classes;
  private final List<Case> cases = new ArrayList<>();

  /**
   * Metrics of no cases yet.
   *
   * @param classes with background
   */
  public VolumeMetrics(int classes) {
    if (classes < 2 || classes > Sample.IGNORE) {
      throw new IllegalArgumentException("Invalid classes: " + classes + " (must be in 2..255)");
    }
    this.classes = classes;
  }

  /**
   * Counts one volume.
   *
   * @param predicted classes, (D, H, W)
   * @param truth classes or 255, (D, H, W)
   * @param sizes D, H, W
   * @param spacing millimetres along D, H and W
   * @throws IllegalArgumentException if there are more or fewer labels than voxels, or one is no
   *     class; nothing is counted then
   */
  public void add(String id, int[] predicted, int[] truth, int[] sizes, double[] spacing) {
    long voxels = (long) sizes[0] * sizes[1] * sizes[2];
    if (predicted.length != voxels || truth.length != voxels) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot evaluate volume %s: %s voxels, but %d predicted and %d true labels",
              id, Arrays.toString(sizes), predicted.length, truth.length));
    }
    long[] predictedCount = new long[classes];
    long[] trueCount = new long[classes];
    long[] both = new long[classes];
    for (int i = 0; i < voxels; i++) {
      if (truth[i] == Sample.IGNORE) {
        continue;
      }
      refuseUnknown(id, "predicted", predicted[i]);
      refuseUnknown(id, "true", truth[i]);
      predictedCount[predicted[i]]++;
      trueCount[truth[i]]++;
      if (predicted[i] == truth[i]) {
        both[truth[i]]++;
      }
    }
    double[] dice = new double[classes];
    double[] hausdorff = new double[classes];
    hausdorff[0] = Double.NaN;
    for (int c = 0; c < classes; c++) {
      dice[c] = 2.0 * both[c] / (predictedCount[c] + trueCount[c]);
      if (c > 0) {
        hausdorff[c] = hausdorff95(predicted, truth, c, sizes, spacing);
      }
    }
    cases.add(new Case(id, dice, hausdorff));
  }

  private void refuseUnknown(String id, String what, int label) {
    if (label < 0 || label >= classes) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot evaluate volume %s: %s label %d is none of the %d classes",
              id, what, label, classes));
    }
  }

  private static double hausdorff95(
      int[] predicted, int[] truth, int label, int[] sizes, double[] spacing) {
    // Both surfaces lie in the box around both masks, and so do all distances.
    int[] low = sizes.clone();
    int[] high = {-1, -1, -1};
    for (int i = 0; i < truth.length; i++) {
      if (truth[i] != Sample.IGNORE && (predicted[i] == label || truth[i] == label)) {
        int[] place = {i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1], i % sizes[2]};
        for (int axis = 0; axis < 3; axis++) {
          low[axis] = Math.min(low[axis], place[axis]);
          high[axis] = Math.max(high[axis], place[axis]);
        }
      }
    }
    if (high[0] < 0) {
      return Double.NaN;
    }
    int[] box = new int[3];
    Arrays.setAll(box, axis -> high[axis] - low[axis] + 1);
    boolean[] mine = new boolean[box[0] * box[1] * box[2]];
    boolean[] theirs = new boolean[mine.length];
    for (int i = 0; i < mine.length; i++) {
      int d = low[0] + i / (box[1] * box[2]);
      int h = low[1] + i / box[2] % box[1];
      int w = low[2] + i % box[2];
      int at = (d * sizes[1] + h) * sizes[2] + w;
      mine[i] = predicted[at] == label && truth[at] != Sample.IGNORE;
      theirs[i] = truth[at] == label;
    }
    boolean[] mySurface = DistanceTransform.surface(mine, box);
    boolean[] theirSurface = DistanceTransform.surface(theirs, box);
    return Math.max(
        directed(mySurface, theirSurface, box, spacing),
        directed(theirSurface, mySurface, box, spacing));
  }

  private static double directed(boolean[] from, boolean[] to, int[] box, double[] spacing) {
    double[] squared = DistanceTransform.squared(to, box, spacing);
    double[] distances = new double[from.length];
    int count = 0;
    for (int i = 0; i < from.length; i++) {
      if (from[i]) {
        distances[count++] = Math.sqrt(squared[i]);
      }
    }
    if (count == 0 || distances[0] == Double.POSITIVE_INFINITY) {
      return Double.POSITIVE_INFINITY;
    }
    return new Percentile(PERCENTILE)
        .withEstimationType(EstimationType.R_7)
        .evaluate(Arrays.copyOf(distances, count));
  }

  /**
   * Adds all cases of {@code other}, which stays as it is.
   *
   * @return this
   * @throws IllegalArgumentException if {@code other} was made for other classes
   */
  public VolumeMetrics merge(VolumeMetrics other) {
    if (other.classes != classes) {
      throw new IllegalArgumentException(
          String.format("Cannot merge metrics: %d classes here, %d there", classes, other.classes));
    }
    cases.addAll(List.copyOf(other.cases));
    return this;
  }

  /** Sorted by id. */
  public List<Case> cases() {
    return cases.stream().sorted(Comparator.comparing(Case::id)).toList();
  }

  /** The mean Dice of each class; NaN where no case has it. */
  public double[] dice() {
    return means(Case::dice);
  }

  /** The mean 95 % Hausdorff distance of each class, millimetres; NaN where no case has it. */
  public double[] hausdorff95() {
    return means(Case::hausdorff95);
  }

  /** In how many cases either the prediction or the truth lacks each class; 0 for background. */
  public long[] missed() {
    long[] missed = new long[classes];
    for (int c = 0; c < classes; c++) {
      int label = c;
      missed[c] =
          cases.stream()
              .filter(one -> one.hausdorff95()[label] == Double.POSITIVE_INFINITY)
              .count();
    }
    return missed;
  }

  /** The mean of the classes' means, background left out, and classes that no case has. */
  public double meanDice() {
    return Arrays.stream(dice()).skip(1).filter(Double::isFinite).average().orElse(Double.NaN);
  }

  private double[] means(Function<Case, double[]> measure) {
    List<Case> sorted = cases();
    double[] means = new double[classes];
    for (int c = 0; c < classes; c++) {
      int label = c;
      means[c] =
          sorted.stream()
              .mapToDouble(one -> measure.apply(one)[label])
              .filter(Double::isFinite)
              .average()
              .orElse(Double.NaN);
    }
    return means;
  }
}
