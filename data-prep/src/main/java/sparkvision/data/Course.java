package sparkvision.data;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.io.Serializable;

/**
 * How steps go through epochs: each takes the next {@code samplesPerStep} samples of its epoch's
 * {@link SampleOrder}. Of an epoch's end, what is less than a step is left out.
 *
 * <p>A training begins at sample 0 of epoch 0. Where the number of ranks changes, what is left of
 * the epoch is cut anew ({@link #recut}): no sample is skipped or taken twice. Steps are counted
 * on.
 *
 * @param step the first step of this course
 * @param epoch that it is in
 * @param sample position in that epoch's order where it begins
 * @param samples in the set
 * @param samplesPerStep of all ranks together
 */
public record Course(
    @JsonProperty("step") long step,
    @JsonProperty("epoch") int epoch,
    @JsonProperty("sample") int sample,
    @JsonProperty("samples") int samples,
    @JsonProperty("samples-per-step") int samplesPerStep)
    implements Serializable {

  public Course {
    if (step < 0 || epoch < 0 || sample < 0 || samplesPerStep < 1 || samples < samplesPerStep) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid course: step %d at sample %d of epoch %d, %d of %d samples a step",
              step, sample, epoch, samplesPerStep, samples));
    }
  }

  /** From the beginning. */
  public static Course of(int samples, int samplesPerStep) {
    return new Course(0, 0, 0, samples, samplesPerStep);
  }

  /** Steps of a whole epoch. */
  public int stepsPerEpoch() {
    return samples / samplesPerStep;
  }

  /** Steps that are left of the first epoch. */
  private int stepsLeft() {
    return (samples - sample) / samplesPerStep;
  }

  /** The epoch of a step, from 0. */
  public int epoch(long of) {
    long later = of - step - stepsLeft();
    return later < 0 ? epoch : Math.toIntExact(epoch + 1 + later / stepsPerEpoch());
  }

  /** Position in its epoch's order of a step's first sample. */
  public int sample(long of) {
    long later = of - step - stepsLeft();
    return later < 0
        ? Math.toIntExact(sample + (of - step) * samplesPerStep)
        : Math.toIntExact(later % stepsPerEpoch() * samplesPerStep);
  }

  /** Steps that lie behind the end of epoch {@code of}, which is not before the first. */
  public long endOf(int of) {
    return step + stepsLeft() + (long) (of - epoch) * stepsPerEpoch();
  }

  /** Epochs that lie behind where a step begins, whole at an epoch's end. */
  public double epochs(long of) {
    return epoch(of) + (double) sample(of) / (stepsPerEpoch() * samplesPerStep);
  }

  /**
   * Steps that would lie behind it if every step had been as large as those of this course: what
   * schedules by epochs go by.
   */
  public long equivalentStep(long of) {
    return (long) epoch(of) * stepsPerEpoch() + sample(of) / samplesPerStep;
  }

  /** From step {@code at} on with other steps. */
  public Course recut(long at, int perStep) {
    return perStep == samplesPerStep
        ? this
        : new Course(at, epoch(at), sample(at), samples, perStep);
  }
}
