package sparkvision.train;

import java.io.Serializable;

/**
 * The learning rate as a pure function of the step.
 *
 * <p>For the first {@code warmupEpochs} it rises linearly from {@code warmupFrom} to {@code base};
 * then it is constant, or multiplied by {@code stepFactor} every {@code stepEpochs} (counted from
 * the start of training), or follows half a cosine from {@code base} to {@code last} at the end of
 * training (Loshchilov and Hutter, SGDR, 2017, section 3, without restarts).
 *
 * @param base the learning rate after warm-up, for one rank's batch: parameter averaging does not
 *     call for scaling it with the number of ranks
 */
public record LearningRate(
    double base,
    Schedule schedule,
    double warmupEpochs,
    double warmupFrom,
    double last,
    double stepEpochs,
    double stepFactor)
    implements Serializable {

  /** The shape after warm-up. */
  public enum Schedule {
    CONSTANT,
    STEP,
    COSINE
  }

  public LearningRate {
    TrainConfig.check(base > 0, "learning-rate.base", base, "above 0");
    TrainConfig.check(warmupEpochs >= 0, "learning-rate.warmup-epochs", warmupEpochs, "at least 0");
    TrainConfig.check(
        warmupFrom >= 0 && warmupFrom <= base,
        "learning-rate.warmup-from",
        warmupFrom,
        "at least 0, at most learning-rate.base");
    TrainConfig.check(
        last >= 0 && last <= base,
        "learning-rate.last",
        last,
        "at least 0, at most learning-rate.base");
    TrainConfig.check(stepEpochs > 0, "learning-rate.step-epochs", stepEpochs, "above 0");
    TrainConfig.check(
        stepFactor > 0 && stepFactor <= 1,
        "learning-rate.step-factor",
        stepFactor,
        "above 0, at most 1");
  }

  /** The learning rate of step {@code step}, counted from 0, of {@code steps} in all. */
  public double at(long step, long steps, int stepsPerEpoch) {
    double warmup = warmupEpochs * stepsPerEpoch;
    if (step < warmup) {
      return warmupFrom + (base - warmupFrom) * (step + 1) / (warmup + 1);
    }
    return switch (schedule) {
      case CONSTANT -> base;
      case STEP -> base * Math.pow(stepFactor, Math.floor(step / (stepEpochs * stepsPerEpoch)));
      case COSINE -> {
        double progress = (step - warmup) / Math.max(1, steps - warmup);
        yield last + (base - last) * 0.5 * (1 + Math.cos(Math.PI * progress));
      }
    };
  }
}
