package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/** Batch norm, with the ReLU behind it if there is one. Layout: channels last. */
final class Norms {

  private Norms() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.BATCH_NORM, Norms::batchNorm);
  }

  private static void batchNorm(Node node, Lowering l) {
    Value x = l.rows(l.in(node, 0));
    Node relu = l.soleConsumer(node.output(), Node.Kind.RELU);
    Tensor output = relu == null ? node.output() : relu.output();
    if (relu != null) {
      l.absorb(relu);
    }
    if (l.training) {
      new BatchNorm(node, l, x, output, relu != null).emit();
    } else {
      inference(node, l, x, output, relu != null);
    }
  }

  // Inference.

  private static void inference(Node node, Lowering l, Value x, Tensor output, boolean relu) {
    Value y = l.fresh(output, l.compute, Value.channelsLast(output.shape()));
    Value[] coefficients = runningCoefficients(node, l);
    int channels = (int) x.size(1);
    l.program.loop(
        "norm",
        2.0 * y.elements(),
        List.of(x, coefficients[0], coefficients[1]),
        List.of(y),
        () -> {
          Rows from = Concatenations.rows(x);
          Rows to = Concatenations.rows(y);
          int pixels = Concatenations.pixels(x);
          float[] scale = new float[channels];
          float[] shift = new float[channels];
          return team -> {
            coefficients[0].read(scale);
            coefficients[1].read(shift);
            scale(team, from, to, channels, pixels, scale, shift, relu);
          };
        });
    l.bind(output, y);
  }

  /** γ / √(running variance + ε) and β − running mean · that, made anew when weights change. */
  static Value[] runningCoefficients(Node node, Lowering l) {
    int channels = (int) node.input(1).elements();
    Value scale = l.program.owned("norm scale", channels);
    Value shift = l.program.owned("norm shift", channels);
    Value[] state = new Value[4];
    Arrays.setAll(state, i -> l.in(node, i + 1));
    double epsilon = node.number("epsilon");
    l.onceLoop(
        "norm",
        List.of(state),
        List.of(scale, shift),
        () -> {
          float[][] numbers = new float[4][channels];
          float[] factors = new float[channels];
          float[] offsets = new float[channels];
          return team -> {
            for (int i = 0; i < 4; i++) {
              state[i].read(numbers[i]);
            }
            for (int c = 0; c < channels; c++) {
              double factor = numbers[0][c] / Math.sqrt(numbers[3][c] + epsilon);
              factors[c] = (float) factor;
              offsets[c] = (float) (numbers[1][c] - numbers[2][c] * factor);
            }
            scale.write(factors);
            shift.write(offsets);
          };
        });
    return new Value[] {scale, shift};
  }

  private static void scale(
      Team team,
      Rows x,
      Rows y,
      int channels,
      int pixels,
      float[] scale,
      float[] shift,
      boolean relu) {
    Loops loops = Loops.best();
    team.run(
        (m, n) ->
            loops.scale(
                x,
                y,
                channels,
                Team.share(pixels, m, n),
                Team.share(pixels, m + 1, n),
                scale,
                shift,
                relu));
  }

  // Training.

  /**
   * One batch norm of a training graph.
   *
   * <p>With r = 1 / √(variance + ε), a = γ·r, m values per channel, g the gradient behind the norm
   * where the ReLU let the value through: dβ = Σ g, dγ = r·Σ g·(x − mean), dx = a·g − a·dβ / m −
   * (a·r·dγ / m)·(x − mean).
   */
  private static final class BatchNorm {
    private final Node node;
    private final Lowering l;
    private final Value x;
    private final Tensor output;
    private final boolean relu;
    private final boolean shared; // x is in a shared buffer, which knows its moments
    private final int channels;
    private final int pixels;
    private final float[] mean;
    private final float[] variance;
    private final float[] inverse;
    private final float[] scale;
    private final float[] shift;

    BatchNorm(Node node, Lowering l, Value x, Tensor output, boolean relu) {
      this.node = node;
      this.l = l;
      this.x = x;
      this.output = output;
      this.relu = relu;
      this.shared = l.concatenations.holds(node.input(0)) && x == l.in(node, 0);
      this.channels = (int) x.size(1);
      this.pixels = Concatenations.pixels(x);
      this.mean = new float[channels];
      this.variance = new float[channels];
      this.inverse = new float[channels];
      this.scale = new float[channels];
      this.shift = new float[channels];
    }

    void emit() {
      Value y = apply(true);
      l.bind(output, y);
      if (l.wantsAny(node)) {
        if (l.lean) {
          l.remake(output, () -> apply(false));
        }
        l.tape(this::backward);
      }
    }

    /** The normalised x; the first time computes the moments, later the same y again from them. */
    private Value apply(boolean first) {
      Value y = l.fresh(output, l.compute, Value.channelsLast(output.shape()));
      Value gamma = l.in(node, 1);
      Value beta = l.in(node, 2);
      Value runningMean = l.in(node, 3);
      Value runningVariance = l.in(node, 4);
      l.program.loop(
          "norm",
          (first ? 5.0 : 2.0) * y.elements(),
          List.of(x),
          List.of(y),
          () -> {
            Rows from = Concatenations.rows(x);
            Rows to = Concatenations.rows(y);
            Moments moments = shared ? null : new Moments(from, channels, pixels);
            float[] numbers = new float[channels];
            return team -> {
              if (first) {
                if (shared) {
                  l.concatenations.readMoments(node.input(0), mean, variance);
                } else {
                  moments.compute(team, null, mean, variance);
                }
                coefficients(gamma, beta, numbers);
                follow(runningMean, mean, 1, numbers);
                follow(runningVariance, variance, pixels / (pixels - 1.0), numbers);
              }
              scale(team, from, to, channels, pixels, scale, shift, relu);
            };
          });
      return y;
    }

    private void coefficients(Value gamma, Value beta, float[] numbers) {
      double epsilon = node.number("epsilon");
      gamma.read(numbers);
      for (int c = 0; c < channels; c++) {
        inverse[c] = (float) (1 / Math.sqrt(variance[c] + epsilon));
        scale[c] = numbers[c] * inverse[c];
      }
      beta.read(numbers);
      for (int c = 0; c < channels; c++) {
        shift[c] = numbers[c] - mean[c] * scale[c];
      }
    }

    /** running = (1 − momentum)·running + momentum·factor·batch. */
    private void follow(Value running, float[] batch, double factor, float[] numbers) {
      double momentum = node.number("momentum");
      float kept = (float) (1 - momentum);
      float taken = (float) (momentum * factor);
      running.read(numbers);
      for (int c = 0; c < channels; c++) {
        numbers[c] = kept * numbers[c] + taken * batch[c];
      }
      running.write(numbers);
    }

    private void backward() {
      Value given = l.gradient(output);
      if (given == null) {
        return;
      }
      Value dy = l.rows(given);
      Value dGamma = l.gradientHome(node.input(1));
      Value dBeta = l.gradientHome(node.input(2));
      boolean wanted = l.wants(node, 0);
      Value dx = null;
      Concatenations.Target target = null;
      if (wanted && shared) {
        target = l.concatenations.target(node.input(0));
        dx = target.value();
      } else if (wanted) {
        dx = l.fresh(node.input(0), x.type, Value.channelsLast(x.dims()));
      }
      Value to = dx;
      boolean adding = target != null && target.adding();
      List<Value> reads = adding ? List.of(x, dy, dx) : List.of(x, dy);
      List<Value> writes = wanted ? List.of(dGamma, dBeta, dx) : List.of(dGamma, dBeta);
      l.program.loop(
          "norm",
          9.0 * x.elements(),
          reads,
          writes,
          () -> {
            Rows xRows = Concatenations.rows(x);
            Rows dyRows = Concatenations.rows(dy);
            Rows dxRows = to == null ? null : Concatenations.rows(to);
            Sums sums = new Sums(channels);
            return team -> {
              Rows into = shared ? dxRows : null;
              sums.compute(team, xRows, dyRows, into, adding);
              dGamma.write(sums.dGamma);
              dBeta.write(sums.dBeta);
              if (wanted && shared) {
                l.concatenations.defer(node.input(0), sums.lift, sums.slope);
              } else if (wanted) {
                team.run(
                    (m, n) ->
                        Loops.best()
                            .gradient(
                                xRows,
                                dyRows,
                                dxRows,
                                channels,
                                Team.share(pixels, m, n),
                                Team.share(pixels, m + 1, n),
                                scale,
                                shift,
                                mean,
                                sums.lift,
                                sums.slope,
                                relu));
              }
            };
          });
      l.contribute(node, 1, dGamma);
      l.contribute(node, 2, dBeta);
      if (wanted && !shared) {
        l.contribute(node, 0, dx);
      }
    }

    /** The sums over all pixels, and what follows from them. */
    private final class Sums {
      final float[] dGamma;
      final float[] dBeta;
      final float[] lift;
      final float[] slope;
      private double[][] sums = new double[0][];
      private double[][] products = new double[0][];

      Sums(int channels) {
        this.dGamma = new float[channels];
        this.dBeta = new float[channels];
        this.lift = new float[channels];
        this.slope = new float[channels];
      }

      void compute(Team team, Rows xRows, Rows dyRows, Rows into, boolean adding) {
        if (sums.length != team.threads()) {
          sums = new double[team.threads()][channels];
          products = new double[team.threads()][channels];
        }
        for (int member = 0; member < sums.length; member++) {
          Arrays.fill(sums[member], 0);
          Arrays.fill(products[member], 0);
        }
        team.run(
            (m, n) ->
                Loops.best()
                    .gradientSums(
                        xRows,
                        dyRows,
                        into,
                        adding,
                        channels,
                        Team.share(pixels, m, n),
                        Team.share(pixels, m + 1, n),
                        scale,
                        shift,
                        mean,
                        relu,
                        sums[m],
                        products[m]));
        for (int c = 0; c < channels; c++) {
          double sum = 0;
          double product = 0;
          for (int member = 0; member < sums.length; member++) {
            sum += sums[member][c];
            product += products[member][c];
          }
          dBeta[c] = (float) sum;
          dGamma[c] = (float) (product * inverse[c]);
          lift[c] = (float) (scale[c] * sum / pixels);
          slope[c] = (float) (scale[c] * inverse[c] * inverse[c] * product / pixels);
        }
      }
    }
  }
}
