package sparkvision.train;

import java.util.List;
import sparkvision.data.DataException;
import sparkvision.data.Sample;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;
import sparkvision.data.volume.VolumeTransform;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.metrics.SegmentationMetrics;
import sparkvision.metrics.VolumeInference;
import sparkvision.metrics.VolumeMetrics;

/**
 * Volumes and a class for every voxel: a dense loss on random patches; Dice over windows of the
 * patch's size, half of it apart and weighted by a Gaussian, as in nnU-Net.
 */
record VolumeSegmentation(VolumeTransform.Options options, DenseLoss loss) implements Objective {

  private static final double OVERLAP = 0.5;

  @Override
  public int[] inputSize() {
    return options.patchSize().stream().mapToInt(side -> side).toArray();
  }

  @Override
  public long[] labelShape() {
    return options.patchSize().stream().mapToLong(side -> side).toArray();
  }

  @Override
  public VolumeTransform transform(int channels) {
    TrainConfig.check(channels == 1, "model.in-channels", channels, "1 for volumes");
    return new VolumeTransform(options);
  }

  @Override
  public List<Tensor> logits(Graph graph, List<Tensor> outputs, String model) {
    return DenseLoss.logits(graph, outputs, labelShape(), model, "voxel");
  }

  @Override
  public Tensor loss(Graph graph, List<Tensor> logits, Tensor labels, double auxiliaryWeight) {
    return loss.of(graph, logits, labels, auxiliaryWeight);
  }

  @Override
  public int evaluationBatch(int batchSize) {
    return 1; // volumes have as many windows as they have
  }

  @Override
  public String score() {
    return "mean Dice";
  }

  @Override
  public Measurement measure(Inference inference, int classes) {
    return new Windows(
        new VolumeInference(options.patchSize(), OVERLAP, VolumeInference.Weighting.GAUSSIAN),
        inference,
        classes);
  }

  private static final class Windows implements Measurement {
    private final VolumeInference windows;
    private final Inference inference;
    private final int classes;
    private final SegmentationMetrics voxels;
    private final VolumeMetrics volumes;

    Windows(VolumeInference windows, Inference inference, int classes) {
      this.windows = windows;
      this.inference = inference;
      this.classes = classes;
      this.voxels = new SegmentationMetrics(classes, Sample.IGNORE);
      this.volumes = new VolumeMetrics(classes);
    }

    @Override
    public void add(Sample sample) {
      Volume volume = read(sample, sample.image());
      int[] truth = labels(read(sample, sample.mask()));
      float[] scores = windows.predict(volume, classes, inference::logits);
      int[] predicted = VolumeInference.labels(scores, classes);
      int[] sizes = {volume.depth(), volume.height(), volume.width()};
      volumes.add(sample.id(), predicted, truth, sizes, volume.spacing());
      voxels.add(sample.id(), truth, predicted);
    }

    private static Volume read(Sample sample, byte[] encoded) {
      try {
        return Nifti.read(encoded, Nifti.ONLY_CHANNEL);
      } catch (DataException e) {
        throw new DataException("Cannot decode sample " + sample.id() + ": " + e.getMessage(), e);
      }
    }

    private static int[] labels(Volume mask) {
      int[] labels = new int[mask.voxels().length];
      for (int i = 0; i < labels.length; i++) {
        labels[i] = (int) mask.voxels()[i];
      }
      return labels;
    }

    @Override
    public Scores scores() {
      return new Scores.OfVoxels(voxels, volumes);
    }
  }
}
