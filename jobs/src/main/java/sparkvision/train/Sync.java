package sparkvision.train;

import java.io.Serializable;
import java.util.Optional;

/**
 * When ranks average, what, and what is made of the mean: the {@code sync} group of {@code
 * conf/train.conf}.
 *
 * <p>Keys that are not given are the preset's. With {@code d} the mean over ranks of their weights
 * minus the weights that all began the round with, each round ends with
 *
 * <pre>
 *   m     = mu m + d
 *   theta = theta + eta m            or, with Nesterov's momentum, theta + eta (d + mu m)
 * </pre>
 *
 * <p>where eta is {@code outer-lr} and mu {@code outer-momentum}; eta = 1 and mu = 0 is the mean
 * itself. Momentum is of parameters alone: running statistics are always the mean.
 */
public record Sync(
    Preset preset,
    Optional<String> every,
    Optional<Integer> localSteps,
    double postLocalFrom,
    double qsrGrowth,
    Optional<Average> average,
    Optional<Double> outerLr,
    Optional<Double> outerMomentum,
    Optional<Boolean> nesterov,
    Wire wire) {

  /** Published algorithms. */
  public enum Preset {
    /** McDonald et al., 2010; SparkNet (Moritz et al., 2016): the mean of weights. */
    PARAMETER_AVERAGING("8", 8, Average.PARAMETERS, 1, 0, false),
    /** Goyal et al., 2017: the mean of gradients at every step, one big batch. */
    SYNCHRONOUS_SGD("1", 1, Average.GRADIENTS, 1, 0, false),
    /** Lin et al., Don't Use Large Mini-Batches, Use Local SGD, 2020: H = 1 first, then 16. */
    POST_LOCAL_SGD("post-local", 16, Average.PARAMETERS, 1, 0, false),
    /**
     * Wang et al., SlowMo, 2020, section 2: heavy-ball momentum over rounds of 12 steps. There the
     * displacement counts per learning rate; here as it is, which is the same while the rate
     * stands.
     */
    SLOWMO("12", 12, Average.PARAMETERS, 1, 0.7, false),
    /** Douillard et al., DiLoCo, 2023: inner AdamW, outer Nesterov momentum. */
    DILOCO("500", 500, Average.PARAMETERS, 0.7, 0.9, true),
    /** Gu et al., A Quadratic Synchronization Rule, 2024: H grows as the rate falls. */
    QSR("qsr", 4, Average.PARAMETERS, 1, 0, false);

    private final String every;
    private final int localSteps;
    private final Average average;
    private final double outerLr;
    private final double outerMomentum;
    private final boolean nesterov;

    Preset(
        String every,
        int localSteps,
        Average average,
        double outerLr,
        double outerMomentum,
        boolean nesterov) {
      this.every = every;
      this.localSteps = localSteps;
      this.average = average;
      this.outerLr = outerLr;
      this.outerMomentum = outerMomentum;
      this.nesterov = nesterov;
    }
  }

  /** What is averaged. */
  public enum Average {
    PARAMETERS,
    GRADIENTS
  }

  /** What a number is on the network. */
  public enum Wire {
    FLOAT32,
    BFLOAT16
  }

  public Sync {
    // Made for its checks alone.
    rule(
        preset,
        every,
        localSteps,
        postLocalFrom,
        qsrGrowth,
        average,
        outerLr,
        outerMomentum,
        nesterov,
        wire);
  }

  /** What ranks follow. */
  Rule rule() {
    return rule(
        preset,
        every,
        localSteps,
        postLocalFrom,
        qsrGrowth,
        average,
        outerLr,
        outerMomentum,
        nesterov,
        wire);
  }

  private static Rule rule(
      Preset preset,
      Optional<String> every,
      Optional<Integer> localSteps,
      double postLocalFrom,
      double qsrGrowth,
      Optional<Average> average,
      Optional<Double> outerLr,
      Optional<Double> outerMomentum,
      Optional<Boolean> nesterov,
      Wire wire) {
    return new Rule(
        every.orElse(preset.every),
        localSteps.orElse(preset.localSteps),
        postLocalFrom,
        qsrGrowth,
        average.orElse(preset.average) == Average.GRADIENTS,
        outerLr.orElse(preset.outerLr),
        outerMomentum.orElse(preset.outerMomentum),
        nesterov.orElse(preset.nesterov),
        wire);
  }

  /** The preset with what the configuration says otherwise. */
  record Rule(
      String every,
      int localSteps,
      double postLocalFrom,
      double qsrGrowth,
      boolean gradients,
      double outerLr,
      double outerMomentum,
      boolean nesterov,
      Wire wire)
      implements Serializable {

    private static final String POST_LOCAL = "post-local";
    private static final String QSR = "qsr";

    Rule {
      TrainConfig.check(
          every.equals(POST_LOCAL) || every.equals(QSR) || every.matches("[1-9][0-9]{0,8}"),
          "sync.every",
          every,
          "a number of steps, at least 1, or post-local or qsr");
      TrainConfig.check(localSteps >= 1, "sync.local-steps", localSteps, "at least 1");
      TrainConfig.check(
          postLocalFrom >= 0 && postLocalFrom <= 1,
          "sync.post-local-from",
          postLocalFrom,
          "between 0 and 1");
      TrainConfig.check(qsrGrowth > 0, "sync.qsr-growth", qsrGrowth, "above 0");
      TrainConfig.check(outerLr > 0, "sync.outer-lr", outerLr, "above 0");
      TrainConfig.check(
          outerMomentum >= 0 && outerMomentum < 1,
          "sync.outer-momentum",
          outerMomentum,
          "at least 0, below 1");
      TrainConfig.check(
          !nesterov || outerMomentum > 0,
          "sync.nesterov",
          true,
          "false where sync.outer-momentum is 0");
      if (gradients) {
        String why = "1 with sync.average=gradients";
        TrainConfig.check(every.equals("1"), "sync.every", every, why);
        TrainConfig.check(outerLr == 1, "sync.outer-lr", outerLr, why);
        TrainConfig.check(
            outerMomentum == 0, "sync.outer-momentum", outerMomentum, "0 with gradients");
      }
    }

    /** Whether a round's mean is more than the weights to go on with. */
    boolean hasOuterStep() {
      return outerLr != 1 || outerMomentum != 0;
    }

    /** H at the start of training, the least that there is. */
    long firstSteps() {
      return switch (every) {
        case QSR -> localSteps;
        case POST_LOCAL -> 1;
        default -> Long.parseLong(every);
      };
    }

    /**
     * The steps that lie behind the end of a round, if nothing else ends it before.
     *
     * @param start steps that lie behind its start
     * @param learningRate of its first step
     */
    long roundEnd(long start, double learningRate, long totalSteps) {
      if (every.equals(QSR)) {
        double grown = Math.floor(Math.pow(qsrGrowth / learningRate, 2));
        // Of a rate of 0, which is infinite, all that is left.
        return start + (long) Math.min((double) totalSteps, Math.max(localSteps, grown));
      }
      boolean local = every.equals(POST_LOCAL) && start >= postLocalFrom * totalSteps;
      long h = local ? localSteps : firstSteps();
      return (start / h + 1) * h;
    }
  }
}
