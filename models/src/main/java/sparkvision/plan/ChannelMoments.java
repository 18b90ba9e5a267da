package sparkvision.plan;

/** Mean and variance of a tensor's channels, filled by whoever makes the tensor, when it runs. */
final class ChannelMoments {

  final float[] mean;
  final float[] variance;

  ChannelMoments(int channels) {
    this.mean = new float[channels];
    this.variance = new float[channels];
  }

  void read(float[] intoMean, float[] intoVariance) {
    System.arraycopy(mean, 0, intoMean, 0, mean.length);
    System.arraycopy(variance, 0, intoVariance, 0, variance.length);
  }
}
