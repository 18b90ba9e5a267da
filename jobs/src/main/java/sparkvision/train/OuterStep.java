package sparkvision.train;

import java.util.Map;
import sparkvision.weights.HostTensor;

/**
 * What a rank makes of a round's mean, as {@link Sync} has it. All ranks compute the same bits from
 * the same mean, so nothing of it goes over the network; its momentum is part of the checkpoint.
 */
final class OuterStep {

  private static final String MOMENTUM = "momentum";

  private final Sync.Rule sync;
  private final boolean displacements;
  private final float[] theta;
  private final int parameters;
  private final float[] momentum; // of parameters; empty without

  /**
   * @param theta the weights that all ranks begin with: parameters, then statistics; kept
   * @param parameters how many of them, the first ones, are parameters
   */
  OuterStep(Sync.Rule sync, float[] theta, int parameters) {
    this.sync = sync;
    // Rounding costs a displacement far less than a weight.
    this.displacements = sync.wire() == Sync.Wire.BFLOAT16;
    this.theta = theta;
    this.momentum = new float[sync.outerMomentum() > 0 ? parameters : 0];
    this.parameters = parameters;
  }

  /** The norm of what this rank's weights moved in the round, statistics left out. */
  double drift(float[] weights) {
    double squares = 0;
    for (int i = 0; i < parameters; i++) {
      double moved = (double) weights[i] - theta[i];
      squares += moved * moved;
    }
    return Math.sqrt(squares);
  }

  /** Turns a rank's weights into what is averaged. */
  void prepare(float[] weights) {
    if (displacements) {
      for (int i = 0; i < weights.length; i++) {
        weights[i] -= theta[i];
      }
    }
  }

  /**
   * Turns the mean of what {@link #prepare} gave into the weights that the next round begins with.
   */
  void apply(float[] mean) {
    if (displacements) {
      for (int i = 0; i < mean.length; i++) {
        mean[i] += theta[i];
      }
    }
    if (sync.hasOuterStep()) {
      float eta = (float) sync.outerLr();
      float mu = (float) sync.outerMomentum();
      for (int i = 0; i < parameters; i++) {
        float d = mean[i] - theta[i];
        float step = d;
        if (mu > 0) {
          momentum[i] = mu * momentum[i] + d;
          step = sync.nesterov() ? d + mu * momentum[i] : momentum[i];
        }
        mean[i] = theta[i] + eta * step;
      }
    }
    System.arraycopy(mean, 0, theta, 0, mean.length);
  }

  /** The momentum; empty without. */
  Map<String, HostTensor> state() {
    return momentum.length == 0
        ? Map.of()
        : Map.of(MOMENTUM, HostTensor.of(momentum.clone(), momentum.length));
  }

  void load(Map<String, HostTensor> state) {
    float[] values = state.get(MOMENTUM).floats();
    System.arraycopy(values, 0, momentum, 0, momentum.length);
  }
}
