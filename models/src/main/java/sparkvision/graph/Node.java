package sparkvision.graph;

import java.util.List;
import java.util.Map;

/**
 * One word of the vocabulary, used once: what an engine has to compute.
 *
 * <p>Shapes follow from {@code outputs}. Lists of sizes ({@code kernel}, {@code stride}, {@code
 * padding}) hold one entry per spatial axis.
 */
public record Node(
    Kind kind, List<Tensor> inputs, List<Tensor> outputs, Map<String, Object> attributes) {

  /** The words: their inputs → outputs, and their attributes. */
  public enum Kind {
    /** x, weight (O, C, k...) [, bias (O)] → cross-correlation; kernel, stride, padding. */
    CONV,
    /**
     * x, weight, bias, running mean, running variance, batch counter → normalised x; epsilon,
     * momentum. In training the last three inputs are state that the node also changes.
     */
    BATCH_NORM,
    /** x → max(x, 0). */
    RELU,
    /** x → maxima, padded with minus infinity; kernel, stride, padding. */
    MAX_POOL,
    /** x → means, never padded; kernel, stride. */
    AVERAGE_POOL,
    /** x (B, C, ...) → means (B, C). */
    GLOBAL_AVERAGE_POOL,
    /** x (B, I), weight (O, I), bias (O) → (B, O). */
    LINEAR,
    /** Any number of tensors → joined along axis 1. */
    CONCAT,
    /** Two tensors of one shape → their sum. */
    ADD,
    /** Two tensors of one shape → their product, element by element. */
    MULTIPLY,
    /** x → the sum of all its elements. */
    SUM,
    /**
     * x → x with some elements, or whole channels, zeroed and the others scaled; rate, mask (its
     * shape: that of x, or (B, C)), index (tells one dropout of the graph from another). Which
     * ones: {@link Dropout}.
     */
    DROPOUT,
    /** Logits (B, K), labels (B) → mean cross-entropy; smoothing. */
    CROSS_ENTROPY;

    /** Whether the input at {@code index} is int64; all others are float. */
    boolean takesIntegers(int index) {
      return switch (this) {
        case BATCH_NORM -> index == 5;
        case CROSS_ENTROPY -> index == 1;
        default -> false;
      };
    }
  }

  public Node {
    inputs = List.copyOf(inputs);
    outputs = List.copyOf(outputs);
    attributes = Map.copyOf(attributes);
  }

  public Tensor input(int index) {
    return inputs.get(index);
  }

  /** The only output. */
  public Tensor output() {
    return outputs.get(0);
  }

  /** An attribute that is a list of sizes, one per spatial axis. */
  public long[] sizes(String attribute) {
    return ((long[]) attributes.get(attribute)).clone();
  }

  /** An attribute that is a number. */
  public double number(String attribute) {
    return ((Number) attributes.get(attribute)).doubleValue();
  }
}
