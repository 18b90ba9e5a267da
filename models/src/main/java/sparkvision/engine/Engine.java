package sparkvision.engine;

import java.util.Map;
import sparkvision.weights.HostTensor;

/**
 * Runs one graph: forward, backward, optimizer step, and the state these change.
 *
 * <p>Not thread-safe. Owns memory outside the Java heap until closed. The same graph, seed, inputs
 * and number of threads give the same bits.
 */
public interface Engine extends AutoCloseable {

  /**
   * What the moving average of {@code name} is called in {@link #optimizerState}, before the name.
   */
  String EMA = "ema/";

  /** Every parameter and buffer by state-dict name, in the order of declaration; a copy. */
  Map<String, HostTensor> state();

  /**
   * Replaces every parameter and buffer.
   *
   * @throws IllegalArgumentException if a tensor is missing, unknown or of another shape or type
   */
  void load(Map<String, HostTensor> state);

  /**
   * Computes the outputs by name. A training graph uses batch statistics and moves the running
   * ones.
   *
   * @throws IllegalArgumentException if an input is missing, unknown or of another shape, or a
   *     label is no class, or an index names no place
   */
  Map<String, HostTensor> forward(Map<String, HostTensor> inputs);

  /**
   * As {@link #forward}, and computes the gradients of the loss.
   *
   * @return the outputs, and the scalar {@code loss}
   * @throws IllegalStateException if the graph has no loss
   */
  Map<String, HostTensor> forwardBackward(Map<String, HostTensor> inputs);

  /**
   * The last gradient of a parameter, or of an input for which the graph requests one; a copy. Zero
   * where the loss does not depend on it.
   *
   * @throws IllegalArgumentException if {@code name} is neither
   * @throws IllegalStateException before the first {@link #forwardBackward}
   */
  HostTensor gradient(String name);

  /**
   * Adds the last gradients to a sum. The next update uses the mean of those added, and nothing
   * else, and clears the sum.
   *
   * @throws IllegalStateException before the first {@link #forwardBackward}
   */
  void accumulate();

  /**
   * One optimizer step from the accumulated gradients; if there are none, from the last ones.
   *
   * @throws IllegalStateException before the first {@link #forwardBackward}
   */
  void update(double learningRate);

  /** The optimizer's exact state by name; empty before the first step. */
  Map<String, HostTensor> optimizerState();

  /**
   * Continues from a state that {@link #optimizerState} gave; an empty one starts afresh.
   *
   * @throws IllegalArgumentException if a tensor is missing, unknown or of another shape or type
   */
  void loadOptimizerState(Map<String, HostTensor> state);

  /**
   * The moving average of parameters and float running statistics, and the counters as they are (as
   * timm's ModelEmaV3 has it): a state for {@link #load}. Empty without {@code emaDecay}, and
   * before the first update.
   */
  Map<String, HostTensor> emaState();

  /** How many numbers are averaged between ranks: parameters, then float running statistics. */
  int averagedSize();

  /** Copies parameters, then float running statistics, each in the order of declaration. */
  void readAveraged(float[] target);

  /** Replaces parameters and float running statistics; the order is {@link #readAveraged}'s. */
  void writeAveraged(float[] values);

  /** How many of the averaged numbers, the first ones, are parameters. */
  int parameterCount();

  /**
   * Copies what the next update would use, the mean of the accumulated gradients, else the last
   * ones, and behind them the float running statistics; the order is {@link #readAveraged}'s.
   *
   * @throws IllegalStateException before the first {@link #forwardBackward}
   */
  void readGradients(float[] target);

  /**
   * Gives the gradients of the next update, and nothing else, in place of those of this engine, and
   * replaces the float running statistics; the order is {@link #readAveraged}'s.
   *
   * @throws IllegalStateException before the first {@link #forwardBackward}
   */
  void writeGradients(float[] values);

  /** Bytes that the engine laid out for this graph before the first run; 0 if it does not know. */
  default long plannedBytes() {
    return 0;
  }

  /**
   * Floating-point operations of one run of the graph: forward, and with a loss backward; 0 if the
   * engine does not know.
   */
  default double flopPerStep() {
    return 0;
  }

  /** From now on takes the time of what a step consists of, for {@link #explain}. */
  default void measure() {}

  /**
   * What the runs so far cost, for people: steps by kind with count, work and time, and what holds
   * the memory; several lines, none if there is nothing to say.
   */
  default String explain() {
    return "";
  }

  @Override
  void close();
}
