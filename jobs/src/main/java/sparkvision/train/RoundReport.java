package sparkvision.train;

import java.nio.ByteBuffer;

/**
 * What one rank did since the last averaging.
 *
 * @param rank who
 * @param step training steps that lie behind it
 * @param images images in these steps
 * @param lossSum their loss, summed
 * @param learningRate of the last of these steps
 * @param computeSeconds in forward, backward and update
 * @param waitSeconds waiting for the loader
 * @param exchangeSeconds in the averaging before this one, waiting for slower ranks included
 * @param drift norm of what this rank's parameters moved since the last averaging
 */
public record RoundReport(
    int rank,
    long step,
    long images,
    double lossSum,
    double learningRate,
    double computeSeconds,
    double waitSeconds,
    double exchangeSeconds,
    double drift) {

  /** What it took without the other ranks. */
  double ownSeconds() {
    return computeSeconds + waitSeconds;
  }

  static final int BYTES = Integer.BYTES + 2 * Long.BYTES + 6 * Double.BYTES;

  void writeTo(ByteBuffer out) {
    out.putInt(rank).putLong(step).putLong(images).putDouble(lossSum).putDouble(learningRate);
    out.putDouble(computeSeconds).putDouble(waitSeconds).putDouble(exchangeSeconds);
    out.putDouble(drift);
  }

  static RoundReport readFrom(ByteBuffer in) {
    return new RoundReport(
        in.getInt(),
        in.getLong(),
        in.getLong(),
        in.getDouble(),
        in.getDouble(),
        in.getDouble(),
        in.getDouble(),
        in.getDouble(),
        in.getDouble());
  }
}
