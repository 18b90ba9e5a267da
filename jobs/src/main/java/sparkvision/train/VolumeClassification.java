package sparkvision.train;

import java.util.List;
import sparkvision.data.Images;
import sparkvision.data.volume.VolumeClassTransform;
import sparkvision.data.volume.VolumeTransform;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;

/**
 * Volumes and their classes: cross-entropy on random patches, or on the whole volumes resized;
 * top-1 on the patch at the centre, or on the whole.
 */
record VolumeClassification(VolumeTransform.Options options, double labelSmoothing)
    implements Objective {

  @Override
  public int[] inputSize() {
    return options.patchSize().stream().mapToInt(side -> side).toArray();
  }

  @Override
  public long[] labelShape() {
    return new long[0];
  }

  @Override
  public VolumeClassTransform transform(int channels) {
    TrainConfig.check(channels == 1, "model.in-channels", channels, "1 for volumes");
    return new VolumeClassTransform(new VolumeTransform(options));
  }

  @Override
  public List<Tensor> logits(Graph graph, List<Tensor> outputs, String model) {
    return ClassMeasurement.logits(outputs, model, "a volume");
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
    VolumeTransform volumes = transform(inference.network().channels()).volumes();
    return new ClassMeasurement(
        inference, classes, volumes::evaluate, (sample, input, offset) -> slice(input, offset));
  }

  /** The middle slice of what the network saw, least to most as black to white, upside down. */
  private byte[] slice(float[] input, int offset) {
    int height = options.patchSize().get(1);
    int width = options.patchSize().get(2);
    int start = offset + options.patchSize().get(0) / 2 * height * width;
    float least = Float.POSITIVE_INFINITY;
    float most = Float.NEGATIVE_INFINITY;
    for (int at = start; at < start + height * width; at++) {
      least = Math.min(least, input[at]);
      most = Math.max(most, input[at]);
    }
    byte[] pixels = new byte[height * width];
    for (int at = 0; at < pixels.length; at++) {
      float voxel = input[start + (height - 1 - at / width) * width + at % width];
      pixels[at] = (byte) Math.round(255 * (voxel - least) / Math.max(most - least, 1e-30f));
    }
    return Images.encodePng(new Images.Picture(width, height, 1, pixels));
  }
}
