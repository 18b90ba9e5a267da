package sparkvision.engine;

import java.io.Serializable;
import java.util.List;
import sparkvision.graph.Graph;

/**
 * How weights follow gradients.
 *
 * <p>SGD, Adam and AdamW are PyTorch's. LAMB and LARS scale the step of every weight of rank 2 or
 * more to its own norm; norms and biases (rank 0 and 1) move as Adam's and SGD's would, since a
 * vector's norm says nothing about how far it may go. {@code g} is the gradient after clipping:
 *
 * <pre>
 *   LAMB  u = m / (sqrt(v) + epsilon) + weightDecay·w;  w -= rate · |w| / |u| · u
 *   LARS  r = trustCoefficient·|w| / (|g| + weightDecay·|w| + epsilon);  SGD with r·(g + weightDecay·w)
 * </pre>
 *
 * <p>LAMB's m and v are Adam's, bias-corrected as in the paper's algorithm 2 and in NVIDIA's and
 * timm's code. LARS keeps the rate outside of the momentum, as NVIDIA's apex, timm and PyTorch's
 * SGD do; in the paper's algorithm 1 the momentum remembers past rates. In both the ratio is 1
 * where a norm is 0.
 *
 * @param momentum SGD and LARS; 0 for none
 * @param nesterov SGD and LARS; looks ahead along the momentum
 * @param beta1 Adam, AdamW and LAMB: decay of the gradients' mean
 * @param beta2 Adam, AdamW and LAMB: decay of the squared gradients' mean
 * @param epsilon all but SGD: keeps the quotient finite
 * @param trustCoefficient LARS: how far one step may go, relative to the weights' norm and the rate
 * @param weightDecay SGD, Adam and LARS add {@code weightDecay}·w to the gradient, LAMB to the
 *     direction; AdamW shrinks w itself
 * @param decayNormAndBias whether weights of rank 0 and 1 (norms, biases) decay too
 * @param noDecay parameters whose name contains one of these do not decay
 * @param headRate what the rate of the head's parameters is multiplied by ({@link Graph#withHead})
 * @param clipNorm the norm to which the gradient of all parameters together is shortened where it
 *     is longer; 0 for none
 * @param emaDecay of the moving average of weights and running statistics; 0 for none
 * @see <a href="https://arxiv.org/abs/1904.00962">You et al., LAMB, 2020, algorithm 2</a>
 * @see <a href="https://arxiv.org/abs/1708.03888">You et al., LARS, 2017, algorithm 1</a>
 */
public record OptimizerConfig(
    Name name,
    double momentum,
    boolean nesterov,
    double beta1,
    double beta2,
    double epsilon,
    double trustCoefficient,
    double weightDecay,
    boolean decayNormAndBias,
    List<String> noDecay,
    double headRate,
    double clipNorm,
    double emaDecay)
    implements Serializable {

  /** The optimizers there are. */
  public enum Name {
    SGD,
    ADAM,
    ADAMW,
    LAMB,
    LARS
  }

  public OptimizerConfig {
    require(momentum >= 0 && momentum < 1, "momentum", momentum, "at least 0, below 1");
    require(
        !nesterov || momentum > 0 || (name != Name.SGD && name != Name.LARS),
        "nesterov",
        true,
        "false where optimizer.momentum is 0");
    require(beta1 >= 0 && beta1 < 1, "beta1", beta1, "at least 0, below 1");
    require(beta2 >= 0 && beta2 < 1, "beta2", beta2, "at least 0, below 1");
    require(epsilon >= 0, "epsilon", epsilon, "at least 0");
    require(trustCoefficient > 0, "trust-coefficient", trustCoefficient, "above 0");
    require(weightDecay >= 0, "weight-decay", weightDecay, "at least 0");
    noDecay = List.copyOf(noDecay);
    require(
        headRate >= 0 && headRate < Double.POSITIVE_INFINITY, "head-rate", headRate, "at least 0");
    require(clipNorm >= 0, "clip-norm", clipNorm, "at least 0");
    require(emaDecay >= 0 && emaDecay < 1, "ema-decay", emaDecay, "at least 0, below 1");
  }

  /**
   * {@code name} with PyTorch's betas and epsilon, and otherwise nothing: no momentum, no weight
   * decay, no clipping, no moving average.
   */
  public static OptimizerConfig of(Name name) {
    return new OptimizerConfig(name, 0, false, 0.9, 0.999, 1e-8, 1e-3, 0, true, List.of(), 1, 0, 0);
  }

  /** Gradient descent and nothing else. */
  public static OptimizerConfig plainSgd() {
    return of(Name.SGD);
  }

  public OptimizerConfig withMomentum(double decay) {
    return new OptimizerConfig(
        name,
        decay,
        false,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  /** Momentum that looks ahead. */
  public OptimizerConfig withNesterov(double decay) {
    return new OptimizerConfig(
        name,
        decay,
        true,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  public OptimizerConfig withBetas(double mean, double square) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        mean,
        square,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  public OptimizerConfig withEpsilon(double value) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        value,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  public OptimizerConfig withTrustCoefficient(double value) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        value,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  public OptimizerConfig withWeightDecay(double value) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        value,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  /** Without weight decay on norms and biases. */
  public OptimizerConfig sparingNormAndBias() {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        false,
        noDecay,
        headRate,
        clipNorm,
        emaDecay);
  }

  /** Without weight decay on parameters whose name contains one of {@code parts}. */
  public OptimizerConfig sparing(String... parts) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        List.of(parts),
        headRate,
        clipNorm,
        emaDecay);
  }

  public OptimizerConfig withHeadRate(double factor) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        factor,
        clipNorm,
        emaDecay);
  }

  public OptimizerConfig withClipNorm(double norm) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        norm,
        emaDecay);
  }

  public OptimizerConfig withEmaDecay(double decay) {
    return new OptimizerConfig(
        name,
        momentum,
        nesterov,
        beta1,
        beta2,
        epsilon,
        trustCoefficient,
        weightDecay,
        decayNormAndBias,
        noDecay,
        headRate,
        clipNorm,
        decay);
  }

  private static void require(boolean holds, String key, Object value, String allowed) {
    if (!holds) {
      throw new IllegalArgumentException(
          String.format("Invalid optimizer.%s: %s (must be %s)", key, value, allowed));
    }
  }
}
