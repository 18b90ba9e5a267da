package sparkvision.train;

/** A segment that did not come to its end, for a reason that another try may not meet. */
final class SegmentFailure extends Exception {

  private static final long serialVersionUID = 1;

  /**
   * @param sentence what the user reads
   */
  SegmentFailure(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
