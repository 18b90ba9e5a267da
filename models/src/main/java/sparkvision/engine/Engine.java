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

  /** One optimizer step from the last gradients. */
  void update(double learningRate);

  /** The optimizer's exact state by name; empty before the first step. */
  Map<String, HostTensor> optimizerState();

  /**
   * Continues from a state that {@link #optimizerState} gave; an empty one starts afresh.
   *
   * @throws IllegalArgumentException if a tensor is missing, unknown or of another shape or type
   */
  void loadOptimizerState(Map<String, HostTensor> state);

  /** How many numbers are averaged between ranks: parameters, then float running statistics. */
  int averagedSize();

  /** Copies parameters, then float running statistics, each in the order of declaration. */
  void readAveraged(float[] target);

  /** Replaces parameters and float running statistics; the order is {@link #readAveraged}'s. */
  void writeAveraged(float[] values);

  @Override
  void close();
}
