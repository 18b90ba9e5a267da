package sparkvision.train;

import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.deeplearning4j.optimize.solvers.accumulation.EncodingHandler;
import org.deeplearning4j.optimize.solvers.accumulation.encoding.residual.NoOpResidualPostProcessor;
import org.deeplearning4j.optimize.solvers.accumulation.encoding.threshold.AdaptiveThresholdAlgorithm;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Threshold encoding: of an update, numbers beyond a threshold become plus or minus that threshold,
 * and the rest waits for later updates. Nothing is lost: what was sent and what waits add up to the
 * updates. The threshold follows how many numbers pass it. DL4J's {@link EncodingHandler} does it;
 * an update that is not sparse becomes a bitmap of two bits a number.
 *
 * <p>For one thread.
 *
 * @see <a href="https://doi.org/10.21437/Interspeech.2015-354">Strom, Scalable Distributed DNN
 *     Training Using Commodity GPU Cloud Computing, 2015</a>
 */
final class UpdateEncoder {

  // The fourth number of a message.
  private static final int KIND = 3;
  private static final int BITMAP = 1;

  private final EncodingHandler handler;
  private final INDArray pending;
  private final float[] residual;
  private int updates;

  /**
   * @param size numbers in an update
   */
  UpdateEncoder(TrainConfig.Sharing sharing, int size) {
    this.handler =
        new EncodingHandler(
            new AdaptiveThresholdAlgorithm(
                sharing.threshold(),
                sharing.leastShare(),
                sharing.mostShare(),
                AdaptiveThresholdAlgorithm.DEFAULT_DECAY_RATE),
            new NoOpResidualPostProcessor(),
            null,
            false);
    this.pending = Nd4j.create(DataType.FLOAT, size);
    this.residual = new float[size];
  }

  /** What waits for later updates. */
  float[] residual() {
    return residual;
  }

  /** Nothing waits any more. */
  void clear() {
    Arrays.fill(residual, 0);
  }

  /**
   * Encodes an update and what has waited.
   *
   * @return null if no number passed the threshold
   */
  INDArray encode(float[] update) {
    for (int i = 0; i < residual.length; i++) {
      residual[i] += update[i];
    }
    write(residual, pending);
    INDArray message = handler.encodeUpdates(updates++, 0, pending);
    read(pending, residual);
    return message;
  }

  /** Adds what {@code message} says to {@code target}. */
  static void decode(INDArray message, INDArray target) {
    if (message.data().getInt(KIND) == BITMAP) {
      Nd4j.getExecutioner().bitmapDecode(message, target);
    } else {
      Nd4j.getExecutioner().thresholdDecode(message, target);
    }
  }

  static void write(float[] values, INDArray target) {
    floats(target).put(values);
  }

  static void read(INDArray source, float[] values) {
    floats(source).get(values);
  }

  private static FloatPointer floats(INDArray array) {
    return new FloatPointer(array.data().pointer());
  }
}
