package sparkvision.train;

import java.util.ArrayList;
import java.util.List;
import sparkvision.data.ImageTransform;
import sparkvision.data.Sample;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.Mixing;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.metrics.ClassificationMetrics;

/** Pictures and their classes: cross-entropy; top-1. */
record Classification(
    TrainConfig.Images images,
    Augment augment,
    Mixing mixing,
    double labelSmoothing,
    List<Double> mean,
    List<Double> std)
    implements Objective {

  /** Mistakes that are kept, pictures included. */
  private static final int WORST = 24;

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
    if (outputs.get(0).rank() != 2) {
      throw new IllegalArgumentException(
          String.format("Invalid model: %s (must give one class for an image)", model));
    }
    return outputs.subList(0, 1);
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
    return new Batches(
        inference,
        transform(inference.network().channels()),
        new ClassificationMetrics(classes, WORST));
  }

  /** Samples by the batch. */
  private static final class Batches implements Measurement {
    private final Inference inference;
    private final Network network;
    private final ImageTransform transform;
    private final ClassificationMetrics metrics;
    private final List<Sample> batch = new ArrayList<>();

    Batches(Inference inference, ImageTransform transform, ClassificationMetrics metrics) {
      this.inference = inference;
      this.network = inference.network();
      this.transform = transform;
      this.metrics = metrics;
    }

    @Override
    public void add(Sample sample) {
      batch.add(sample);
      if (batch.size() == network.batchSize()) {
        run();
      }
    }

    @Override
    public Scores scores() {
      if (!batch.isEmpty()) {
        run();
      }
      return new Scores.OfClasses(metrics);
    }

    /** A last, smaller batch is filled up with zeros whose logits nobody reads. */
    private void run() {
      int length = network.imageLength();
      float[] images = new float[network.batchSize() * length];
      for (int i = 0; i < batch.size(); i++) {
        transform.evaluate(batch.get(i), images, i * length);
      }
      float[] logits = inference.logits(images);
      int classes = logits.length / network.batchSize();
      for (int i = 0; i < batch.size(); i++) {
        Sample sample = batch.get(i);
        metrics.add(sample.id(), logits, i * classes, sample.label(), sample.image());
      }
      batch.clear();
    }
  }
}
