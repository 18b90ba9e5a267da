package sparkvision.engine;

import java.io.Serializable;

/**
 * How weights follow gradients; PyTorch's optimizers of the same names.
 *
 * @param momentum SGD only; 0 for none
 * @param nesterov SGD only; looks ahead along the momentum
 * @param beta1 Adam and AdamW: decay of the gradients' mean
 * @param beta2 Adam and AdamW: decay of the squared gradients' mean
 * @param epsilon Adam and AdamW: keeps the quotient finite
 * @param weightDecay SGD and Adam add {@code weightDecay}·w to the gradient; AdamW shrinks w itself
 * @param decayNormAndBias whether weights of rank 0 and 1 (norms, biases) decay too
 */
public record OptimizerConfig(
    Name name,
    double momentum,
    boolean nesterov,
    double beta1,
    double beta2,
    double epsilon,
    double weightDecay,
    boolean decayNormAndBias)
    implements Serializable {

  /** The optimizers there are. */
  public enum Name {
    SGD,
    ADAM,
    ADAMW
  }

  public OptimizerConfig {
    require(momentum >= 0 && momentum < 1, "momentum", momentum, "at least 0, below 1");
    require(
        !nesterov || momentum > 0 || name != Name.SGD,
        "nesterov",
        true,
        "false where optimizer.momentum is 0");
    require(beta1 >= 0 && beta1 < 1, "beta1", beta1, "at least 0, below 1");
    require(beta2 >= 0 && beta2 < 1, "beta2", beta2, "at least 0, below 1");
    require(epsilon >= 0, "epsilon", epsilon, "at least 0");
    require(weightDecay >= 0, "weight-decay", weightDecay, "at least 0");
  }

  /** Gradient descent and nothing else: no momentum, no weight decay. */
  public static OptimizerConfig plainSgd() {
    return new OptimizerConfig(Name.SGD, 0, false, 0, 0, 0, 0, true);
  }

  private static void require(boolean holds, String key, Object value, String allowed) {
    if (!holds) {
      throw new IllegalArgumentException(
          String.format("Invalid optimizer.%s: %s (must be %s)", key, value, allowed));
    }
  }
}
