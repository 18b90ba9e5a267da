package sparkvision.engine;

import java.io.Serializable;

/**
 * How an engine runs a graph, apart from what it computes.
 *
 * @param threads how many threads compute; {@code nd4j} does not look at it: its native libraries
 *     read {@code OMP_NUM_THREADS} when the process starts, and nothing changes that later
 * @param precision what convolutions and matrix products multiply
 * @param memory whether forward results are kept or computed again
 * @param poison a debug switch: every tensor has memory of its own, filled with NaN before it is
 *     written; {@code nd4j} has no such switch and ignores it
 */
public record EngineOptions(int threads, Precision precision, Memory memory, boolean poison)
    implements Serializable {

  /** What convolutions and matrix products multiply; sums and weights are float32 in both. */
  public enum Precision {
    FLOAT32,
    BFLOAT16
  }

  /** What is spared when both cannot be had. */
  public enum Memory {
    /** Time: what the backward pass reads is kept. */
    FAST,
    /** Memory: what is cheap to compute again is dropped. */
    LEAN
  }

  public EngineOptions {
    if (threads < 1) {
      throw new IllegalArgumentException(
          String.format("Invalid threads: %d (must be at least 1)", threads));
    }
  }

  /**
   * As many threads as {@code OMP_NUM_THREADS} says, without it one per processor; float32, fast.
   *
   * @throws IllegalArgumentException if {@code OMP_NUM_THREADS} is no number
   */
  public static EngineOptions defaults() {
    int threads =
        threads(System.getenv("OMP_NUM_THREADS"), Runtime.getRuntime().availableProcessors());
    return new EngineOptions(threads, Precision.FLOAT32, Memory.FAST, false);
  }

  /** OpenMP allows a list, one number per level of nesting; the first is the outermost. */
  static int threads(String variable, int processors) {
    if (variable == null || variable.isBlank()) {
      return processors;
    }
    String outermost = variable.replaceFirst(",.*", "").strip();
    if (!outermost.matches("0*[1-9][0-9]{0,5}")) {
      throw new IllegalArgumentException(
          String.format("Invalid OMP_NUM_THREADS: %s (must be a whole number >= 1)", variable));
    }
    return Integer.parseInt(outermost);
  }

  public EngineOptions withThreads(int number) {
    return new EngineOptions(number, precision, memory, poison);
  }

  public EngineOptions withPrecision(Precision factors) {
    return new EngineOptions(threads, factors, memory, poison);
  }

  public EngineOptions withMemory(Memory spared) {
    return new EngineOptions(threads, precision, spared, poison);
  }

  public EngineOptions withPoison() {
    return new EngineOptions(threads, precision, memory, true);
  }
}
