package sparkvision.train;

import java.util.Arrays;

/**
 * A rank's side of averaging.
 *
 * <p>Every rank calls {@link #average} for the same rounds in the same order. After the call all
 * ranks hold the same bits: the float32 sum over ranks in rank order, divided by their number.
 */
interface Exchange extends AutoCloseable {

  /** What the driver wants after a round; the same for every rank. */
  enum Decision {
    GO_ON((byte) 0),
    /** The segment ends here with a checkpoint: the driver was asked to stop. */
    STOP((byte) 1),
    /** A checkpoint of here is written while training goes on. */
    CHECKPOINT((byte) 2);

    private final byte code;

    Decision(byte code) {
      this.code = code;
    }

    byte code() {
      return code;
    }

    static Decision of(byte code) {
      return Arrays.stream(values()).filter(d -> d.code == code).findFirst().orElseThrow();
    }
  }

  /**
   * Replaces {@code values} by their mean over all ranks.
   *
   * @param report goes to the driver along with the round
   * @throws IllegalStateException in one sentence, if another rank or the driver does not answer
   *     within the deadline, or another rank failed
   */
  Decision average(float[] values, RoundReport report);

  /**
   * What rounding has taken so far and the next rounds will add; empty where nothing is rounded.
   */
  default float[] residual() {
    return new float[0];
  }

  /** Bytes that this rank has sent to other ranks so far. */
  default long sentToRanks() {
    return 0;
  }

  /** What this rank tells the driver, besides rounds. */
  DriverLink driver();

  @Override
  void close();
}
