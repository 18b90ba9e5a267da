package sparkvision.train;

import java.util.ArrayList;
import java.util.List;
import sparkvision.data.Sample;
import sparkvision.graph.Tensor;
import sparkvision.metrics.ClassificationMetrics;

/** Samples with one class each, measured by the batch. */
final class ClassMeasurement implements Measurement {

  /** Mistakes that are kept, pictures included. */
  private static final int WORST = 24;

  /** Writes a sample as the network takes it. */
  @FunctionalInterface
  interface Input {
    void write(Sample sample, float[] target, int offset);
  }

  /** What a report shows of a sample whose class was mistaken: an encoded picture. */
  @FunctionalInterface
  interface Shown {
    /** Of a sample, and of what {@link Input} wrote of it at an offset. */
    byte[] picture(Sample sample, float[] input, int offset);
  }

  private final Inference inference;
  private final Network network;
  private final Input input;
  private final Shown shown;
  private final ClassificationMetrics metrics;
  private final List<Sample> batch = new ArrayList<>();

  ClassMeasurement(Inference inference, int classes, Input input, Shown shown) {
    this.inference = inference;
    this.network = inference.network();
    this.input = input;
    this.shown = shown;
    this.metrics = new ClassificationMetrics(classes, WORST);
  }

  /** The main output, (B, K). */
  static List<Tensor> logits(List<Tensor> outputs, String model, String what) {
    if (outputs.get(0).rank() != 2) {
      throw new IllegalArgumentException(
          String.format("Invalid model: %s (must give one class for %s)", model, what));
    }
    return outputs.subList(0, 1);
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
    float[] inputs = new float[network.batchSize() * length];
    for (int i = 0; i < batch.size(); i++) {
      input.write(batch.get(i), inputs, i * length);
    }
    float[] logits = inference.logits(inputs);
    int classes = logits.length / network.batchSize();
    for (int i = 0; i < batch.size(); i++) {
      Sample sample = batch.get(i);
      byte[] picture = shown.picture(sample, inputs, i * length);
      metrics.add(sample.id(), logits, i * classes, sample.label(), picture);
    }
    batch.clear();
  }
}
