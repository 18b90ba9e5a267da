package sparkvision.train;

import java.util.List;
import sparkvision.data.ImageTransform;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.Mixing;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;

/** Pictures and their classes: cross-entropy; top-1. */
record Classification(
    TrainConfig.Images images,
    Augment augment,
    Mixing mixing,
    double labelSmoothing,
    List<Double> mean,
    List<Double> std)
    implements Objective {

  static Classification of(TrainConfig config, List<Double> mean, List<Double> std) {
    return new Classification(
        config.images(),
        config.augment().augment(),
        config.augment().mixing(config.labelSmoothing()),
        config.labelSmoothing(),
        mean,
        std);
  }

  @Override
  public int[] inputSize() {
    return new int[] {images.size(), images.size()};
  }

  @Override
  public long[] labelShape() {
    return new long[0];
  }

  @Override
  public ImageTransform transform(int channels) {
    return images.transform(channels, mean, std, augment);
  }

  @Override
  public List<Tensor> logits(Graph graph, List<Tensor> outputs, String model) {
    return ClassMeasurement.logits(outputs, model, "an image");
  }

  @Override
  public Tensor loss(Graph graph, List<Tensor> logits, Tensor labels, double auxiliaryWeight) {
    return Losses.crossEntropy(graph, logits.get(0), labels, labelSmoothing);
  }

  @Override
  public int evaluationBatch(int batchSize) {
    return batchSize;
  }

  @Override
  public String score() {
    return "top-1";
  }

  @Override
  public Measurement measure(Inference inference, int classes) {
    ImageTransform transform = transform(inference.network().channels());
    return new ClassMeasurement(
        inference, classes, transform::evaluate, (sample, input, offset) -> sample.image());
  }
}
