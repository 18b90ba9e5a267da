package sparkvision.engine;

/**
 * One word as plain loops over row-major doubles: the way of the words that ND4J lacks or gets
 * wrong, and of those where speed does not matter.
 *
 * <p>{@code x} are the float inputs in their order; integer ones are known to the loop already.
 */
interface Loop {

  /** Fills {@code y}, which is all zeros. */
  void forward(double[][] x, double[] y);

  /**
   * Fills the gradients of the inputs from that of the output.
   *
   * @param dx all zeros, or null for an input whose gradient nobody wants
   */
  void backward(double[][] x, double[] y, double[] dy, double[][] dx);
}
