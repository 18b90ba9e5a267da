package sparkvision.train;

import java.io.Serializable;
import java.util.List;
import sparkvision.data.SampleTransform;
import sparkvision.data.ShardManifest;
import sparkvision.data.Task;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.Mixing;
import sparkvision.data.transform.Resize;
import sparkvision.data.volume.VolumeTransform;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * What depends on the task of a shard set: what a network is given, what it minimises, and what is
 * measured of it.
 */
public sealed interface Objective extends Serializable
    permits Classification, Segmentation, VolumeClassification, VolumeSegmentation {

  /**
   * The objective of training and evaluating on a shard set.
   *
   * @param place of the set, named in errors
   * @param mean per channel, of the training set
   * @param std per channel, likewise
   * @throws IllegalArgumentException if there is none for its task, or a setting does not fit it
   */
  static Objective of(
      ShardManifest shards, String place, TrainConfig config, List<Double> mean, List<Double> std) {
    Objective objective =
        switch (shards.task()) {
          case CLASSIFICATION -> Classification.of(config, mean, std);
          case SEGMENTATION, DETECTION ->
              new Segmentation(config.segmentation(), DenseLoss.of(config), mean, std);
          case VOLUME_SEGMENTATION ->
              new VolumeSegmentation(config.volumes(), DenseLoss.of(config));
          case VOLUME_CLASSIFICATION ->
              new VolumeClassification(config.volumes(), config.labelSmoothing());
        };
    boolean dense = objective.labelShape().length > 0;
    boolean pictures = shards.task() == Task.CLASSIFICATION;
    shards.requireLabels("input", place);
    Mixing mixing = config.augment().mixing(0);
    TrainConfig.check(
        pictures || mixing.mixupAlpha() == 0,
        "augment.mixup-alpha",
        mixing.mixupAlpha(),
        "0 for " + shards.task());
    TrainConfig.check(
        pictures || mixing.cutmixAlpha() == 0,
        "augment.cutmix-alpha",
        mixing.cutmixAlpha(),
        "0 for " + shards.task());
    TrainConfig.check(
        dense || config.loss() == TrainConfig.Loss.CROSS_ENTROPY,
        "loss",
        TrainConfig.spelled(config.loss()),
        "cross-entropy for " + shards.task());
    TrainConfig.check(
        shards.task() != Task.VOLUME_SEGMENTATION
            || config.volumes().fit() == VolumeTransform.Fit.CROP,
        "volumes.fit",
        "resize",
        "crop for " + shards.task() + ": windows of the stored size are measured");
    return objective;
  }

  /** The objective of evaluating a classifier of squares of so many pixels. */
  static Objective classification(
      int imageSize, int resize, Resize.Filter interpolation, List<Double> mean, List<Double> std) {
    return new Classification(
        new TrainConfig.Images(imageSize, resize, interpolation, 0, 0),
        Augment.NONE,
        Mixing.NONE,
        0,
        mean,
        std);
  }

  /** The network's input along each spatial axis, pixels or voxels. */
  int[] inputSize();

  /** Of one sample; see {@link SampleTransform#labelShape}. */
  long[] labelShape();

  /**
   * From samples to a network of so many input channels.
   *
   * @throws IllegalArgumentException if there are no such inputs
   */
  SampleTransform transform(int channels);

  /** How batches are mixed in training. */
  default Mixing mixing() {
    return Mixing.NONE;
  }

  /**
   * Logits that match the labels, the main ones first.
   *
   * @param outputs of the network
   * @throws IllegalArgumentException if the network is for another task
   */
  List<Tensor> logits(Graph graph, List<Tensor> outputs, String model);

  /**
   * What is minimised, of unmixed batches.
   *
   * @param auxiliaryWeight of each of the logits behind the first
   */
  Tensor loss(Graph graph, List<Tensor> logits, Tensor labels, double auxiliaryWeight);

  /** Inputs of one forward pass in an evaluation, where the user wants {@code batchSize}. */
  int evaluationBatch(int batchSize);

  /** The name of {@link Scores#score}. */
  String score();

  /** Measures a network with a batch of {@link #evaluationBatch}. */
  Measurement measure(Inference inference, int classes);
}
