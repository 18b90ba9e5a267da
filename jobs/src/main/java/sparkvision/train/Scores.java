package sparkvision.train;

import java.io.Serializable;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import sparkvision.metrics.ClassificationMetrics;
import sparkvision.metrics.SegmentationMetrics;
import sparkvision.metrics.VolumeMetrics;
import sparkvision.report.Overlay;

/** What an evaluation found; those of the partitions are merged. */
public sealed interface Scores extends Serializable {

  long samples();

  /** The figure by which checkpoints are compared, 0..1; NaN of nothing. */
  double score();

  /** Mean loss per sample, nats; null where it is not measured. */
  Double loss();

  /** These and the others, which are of the same kind. */
  Scores merge(Scores other);

  /** Of pictures with a class; the score is top-1. */
  record OfClasses(ClassificationMetrics metrics) implements Scores {

    @Override
    public long samples() {
      return metrics.samples();
    }

    @Override
    public double score() {
      return metrics.top1();
    }

    @Override
    public Double loss() {
      return metrics.loss();
    }

    @Override
    public Scores merge(Scores other) {
      return new OfClasses(metrics.merge(((OfClasses) other).metrics));
    }
  }

  /**
   * Of pictures with label maps; the score is mIoU.
   *
   * @param worst the pictures of lowest pixel accuracy, lowest first
   */
  record OfPixels(SegmentationMetrics metrics, List<Shown> worst) implements Scores {

    private static final int KEPT = 12;

    private static final Comparator<Shown> LOWEST_FIRST =
        Comparator.comparingDouble(Shown::accuracy).thenComparing(shown -> shown.example().id());

    /**
     * A picture to be shown.
     *
     * @param accuracy share of its labelled pixels that are right, 0..1
     */
    public record Shown(double accuracy, Overlay.Example example) implements Serializable {}

    /** Those of both lists that are kept. */
    static List<Shown> lowest(List<Shown> some, List<Shown> others) {
      return List.copyOf(
          Stream.concat(some.stream(), others.stream()).sorted(LOWEST_FIRST).limit(KEPT).toList());
    }

    /** What to show of the worst. */
    public List<Overlay.Example> examples() {
      return worst.stream().map(Shown::example).toList();
    }

    @Override
    public long samples() {
      return metrics.samples();
    }

    @Override
    public double score() {
      return metrics.meanIou();
    }

    @Override
    public Double loss() {
      return null;
    }

    @Override
    public Scores merge(Scores other) {
      OfPixels more = (OfPixels) other;
      return new OfPixels(metrics.merge(more.metrics), lowest(worst, more.worst));
    }
  }

  /**
   * Of volumes with label maps; the score is the mean Dice of the classes but background.
   *
   * @param voxels counted over all volumes together
   * @param volumes measured one by one
   */
  record OfVoxels(SegmentationMetrics voxels, VolumeMetrics volumes) implements Scores {

    @Override
    public long samples() {
      return voxels.samples();
    }

    @Override
    public double score() {
      return volumes.meanDice();
    }

    @Override
    public Double loss() {
      return null;
    }

    @Override
    public Scores merge(Scores other) {
      OfVoxels more = (OfVoxels) other;
      return new OfVoxels(voxels.merge(more.voxels), volumes.merge(more.volumes));
    }
  }
}
