package sparkvision.data;

import java.io.Serializable;

/** Turns samples into the numbers that a network is trained with. Thread-safe. */
public interface SampleTransform extends Serializable {

  /** Of one sample's image: (C, H, W), or (1, D, H, W) for volumes. */
  long[] imageShape();

  /** Of one sample's labels: () for a class, (H, W) or (D, H, W) for a class of every place. */
  long[] labelShape();

  /**
   * Writes a training example, a pure function of (seed, epoch, sample id, repeat): the image from
   * {@code images[imageAt]} on, and the labels from {@code labels[labelAt]} on.
   *
   * @param repeat which of the repeats of the sample in its epoch, from 0
   * @throws DataException if the sample cannot be decoded, or lacks what is wanted of it
   */
  void train(
      Sample sample,
      long seed,
      int epoch,
      int repeat,
      float[] images,
      int imageAt,
      long[] labels,
      int labelAt);

  /** What a training example's random numbers come from. */
  static SplitMix stream(Sample sample, long seed, int epoch, int repeat) {
    long id = SplitMix.hash(sample.id());
    return repeat == 0 ? new SplitMix(seed, epoch, id) : new SplitMix(seed, epoch, id, repeat);
  }

  /** How many values an array of this shape has. */
  static int length(long[] shape) {
    int length = 1;
    for (long size : shape) {
      length = Math.multiplyExact(length, Math.toIntExact(size));
    }
    return length;
  }
}
