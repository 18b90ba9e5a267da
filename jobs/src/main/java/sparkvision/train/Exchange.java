package sparkvision.train;

/**
 * A rank's side of parameter averaging.
 *
 * <p>Every rank calls {@link #average} for the same rounds in the same order. After the call all
 * ranks hold the same bits: the float32 sum over ranks in rank order, divided by their number.
 */
interface Exchange extends AutoCloseable {

  /**
   * Replaces {@code values} by their mean over all ranks.
   *
   * @param report goes to the driver along with the round
   * @throws IllegalStateException in one sentence, if another rank or the driver does not answer
   *     within the deadline, or another rank failed
   */
  void average(float[] values, RoundReport report);

  /** Tells the driver, before the task throws, why this rank gives up. */
  void fail(RankFailure failure);

  @Override
  void close();
}
