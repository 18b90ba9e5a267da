package sparkvision.train;

import java.io.Serializable;

/**
 * The learning rate as a pure function of the step.
 *
 * <p>For the first {@code warmupEpochs} or {@code warmupIterations} it rises linearly from {@code
 * warmupFrom} to {@code base}; then it is constant, or multiplied by {@code stepFactor} every
 * {@code stepEpochs} (counted from the start of training), or follows half a cosine from {@code
 * base} to {@code last} at the end of training (Loshchilov and Hutter, SGDR, 2017, section 3,
 * without restarts).
 *
 * <p>Two more are other programs' to the number. {@code POLY} is mmcv's: {@code last + (base −
 * last)·(1 − step / steps)^power} from the first step on, to which warm-up rises. {@code
 * COSINE_EPOCHS} is timm's as DeiT, PVT and Vim train with it: one rate for a whole epoch, a cosine
 * from the start of training under the warm-up, and every epoch after the first with the rate that
 * was meant for the one before, since those programs move the rate too late.
 *
 * @param base the learning rate after warm-up, for one rank's batch: parameter averaging does not
 *     call for scaling it with the number of ranks
 */
public record LearningRate(
    double base,
    Schedule schedule,
    double warmupEpochs,
    long warmupIterations,
    double warmupFrom,
    double last,
    double power,
    double stepEpochs,
    double stepFactor)
    implements Serializable {

  /** The shape after warm-up. */
  public enum Schedule {
    CONSTANT,
    STEP,
    COSINE,
    COSINE_EPOCHS,
    POLY
  }

  public LearningRate {
    TrainConfig.check(base > 0, "learning-rate.base", base, "above 0");
    TrainConfig.check(warmupEpochs >= 0, "learning-rate.warmup-epochs", warmupEpochs, "at least 0");
    TrainConfig.check(
        warmupIterations >= 0, "learning-rate.warmup-iterations", warmupIterations, "at least 0");
    TrainConfig.check(
        warmupIterations == 0 || warmupEpochs == 0,
        "learning-rate.warmup-iterations",
        warmupIterations,
        "0 where learning-rate.warmup-epochs is not");
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
    TrainConfig.check(power > 0, "learning-rate.power", power, "above 0");
    TrainConfig.check(stepEpochs > 0, "learning-rate.step-epochs", stepEpochs, "above 0");
    TrainConfig.check(
        stepFactor > 0 && stepFactor <= 1,
        "learning-rate.step-factor",
        stepFactor,
        "above 0, at most 1");
  }

  /** The learning rate of step {@code step}, counted from 0, of {@code steps} in all. */
  public double at(long step, long steps, int stepsPerEpoch) {
    double warmup = warmupIterations > 0 ? warmupIterations : warmupEpochs * stepsPerEpoch;
    return switch (schedule) {
      case CONSTANT -> step < warmup ? risen(step, warmup) : base;
      case STEP ->
          step < warmup
              ? risen(step, warmup)
              : base * Math.pow(stepFactor, Math.floor(step / (stepEpochs * stepsPerEpoch)));
      case COSINE ->
          step < warmup ? risen(step, warmup) : cosine(step - warmup, Math.max(1, steps - warmup));
      case COSINE_EPOCHS -> {
        double epoch = (double) Math.max(0, step / stepsPerEpoch - 1);
        double warm = warmup / stepsPerEpoch;
        double epochs = Math.ceil((double) steps / stepsPerEpoch);
        yield epoch < warm ? rising(epoch, warm, base) : cosine(epoch, epochs);
      }
      case POLY -> {
        double falling = last + (base - last) * Math.pow(1 - (double) step / steps, power);
        yield step < warmup ? rising((double) step, warmup, falling) : falling;
      }
    };
  }

  /** In a warm-up whose step 0 is above {@code warmupFrom}, and that reaches base behind it. */
  private double risen(long step, double warmup) {
    return rising((double) (step + 1), warmup + 1, base);
  }

  /** On a line from {@code warmupFrom} at 0. */
  private double rising(double x, double end, double atEnd) {
    return warmupFrom + (atEnd - warmupFrom) * x / end;
  }

  /** On half a cosine from {@code base} at 0 to {@code last}. */
  private double cosine(double x, double end) {
    return last + (base - last) * 0.5 * (1 + Math.cos(Math.PI * x / end));
  }
}
