package sparkvision.data.volume;

import sparkvision.data.Sample;
import sparkvision.data.SampleTransform;

/** Volumes as {@link VolumeTransform} has them, and the class of each. Thread-safe. */
public record VolumeClassTransform(VolumeTransform volumes) implements SampleTransform {

  @Override
  public long[] imageShape() {
    return volumes.imageShape();
  }

  @Override
  public long[] labelShape() {
    return new long[0];
  }

  @Override
  public void train(
      Sample sample,
      long seed,
      int epoch,
      int repeat,
      float[] images,
      int imageAt,
      long[] labels,
      int labelAt) {
    volumes.train(sample, seed, epoch, repeat, images, imageAt);
    labels[labelAt] = sample.label();
  }
}
