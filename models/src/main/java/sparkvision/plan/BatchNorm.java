package sparkvision.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/**
 * One batch norm of a training graph, with the ReLU behind it if there is one.
 *
 * <p>With r = 1 / √(variance + ε), a = γ·r, m values per channel, g the gradient behind the norm
 * where the ReLU let the value through: dβ = Σ g, dγ = r·Σ g·(x − mean), dx = a·g − a·dβ / m −
 * (a·r·dγ / m)·(x − mean).
 *
 * <p>If a convolution alone reads the result, the result is {@link Deferred}: the convolution makes
 * it image by image, forward and again backward, and hands the gradient back image by image. What
 * would be the largest tensors of the network then never leave the cache.
 */
final class BatchNorm implements Deferred {

  private final Node node;
  private final Lowering l;
  private final Value x; // rows
  private final Tensor output;
  private final boolean relu;
  private final boolean shared; // x is in a shared buffer of concatenations
  private final int channels;
  private final int pixels;
  private final float[] mean;
  private final float[] variance;
  private final float[] inverse;
  private final float[] scale;
  private final float[] shift;
  private final float[] lift; // of the gradient, with slope: see Concatenations
  private final float[] slope;
  private double[][] sums = new double[0][]; // Σ g, a row per thread
  private double[][] products; // Σ g·(x − mean)

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
    this.lift = new float[channels];
    this.slope = new float[channels];
  }

  // Forward.

  void emit() {
    emitMoments();
    if (l.soleConsumer(output, Node.Kind.CONV) != null) {
      l.defer(output, this);
      return;
    }
    l.bind(output, whole(l, l.name(output), l.compute, x.dims()));
    if (l.wantsAny(node)) {
      if (l.lean) {
        l.remake(output, () -> whole(l, l.name(output), l.compute, x.dims()));
      }
      l.tape(this::backward);
    }
  }

  /** The moments and what follows from them: coefficients, and the running statistics. */
  private void emitMoments() {
    Value gamma = l.in(node, 1);
    Value beta = l.in(node, 2);
    Value runningMean = l.in(node, 3);
    Value runningVariance = l.in(node, 4);
    ChannelMoments known = l.moments(node.input(0));
    boolean ready = shared || known != null;
    l.program.loop(
        "norm",
        ready ? 0 : 3.0 * x.elements(),
        ready ? List.of() : List.of(x),
        List.of(),
        () -> {
          Moments moments = ready ? null : new Moments(channels);
          Rows rows = Concatenations.rows(x);
          float[] numbers = new float[channels];
          return team -> {
            if (shared) {
              l.concatenations.readMoments(node.input(0), mean, variance);
            } else if (known != null) {
              known.read(mean, variance);
            } else {
              moments.begin(rows);
              moments.add(team, rows, null, pixels);
              moments.end(mean, variance);
            }
            coefficients(gamma, beta, numbers);
            follow(runningMean, mean, 1, numbers);
            follow(runningVariance, variance, pixels / (pixels - 1.0), numbers);
          };
        });
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

  @Override
  public List<Value> reads() {
    return List.of(x);
  }

  /** y = a·x + (β − mean·a), and the ReLU. */
  @Override
  public Supplier<Program.Body> fill(Value to, long first) {
    Value images = x.narrowed(0, first, to.size(0), 1);
    return () -> {
      Rows from = Concatenations.rows(images);
      Rows into = Concatenations.rows(to);
      int count = Concatenations.pixels(images);
      Loops loops = Loops.best();
      return team ->
          team.run(
              (m, n) ->
                  loops.scale(
                      from,
                      into,
                      channels,
                      Team.share(count, m, n),
                      Team.share(count, m + 1, n),
                      scale,
                      shift,
                      relu));
    };
  }

  // Backward.

  /** Whether the gradient of x has to be computed. */
  boolean wantsInput() {
    return l.wants(node, 0);
  }

  boolean wantsAny() {
    return l.wantsAny(node);
  }

  private void backward() {
    Value given = l.gradient(output);
    if (given == null) {
      return;
    }
    Value dy = l.rows(given);
    GradientPass pass = new GradientPass(dy);
    pass.add(dy, 0);
    pass.end();
  }

  /** Takes the gradient of the result, some images at a time, and contributes that of x. */
  final class GradientPass {
    private final Value kept; // all of dy, if x's gradient is computed from it in the end
    private final Value into; // where a·g is added, if x is in a shared buffer
    private final boolean adding;

    /** With {@code kept}, the whole of dy, where {@link #keeps} says so; else it may be null. */
    GradientPass(Value kept) {
      this.kept = kept;
      if (shared && wantsInput()) {
        Concatenations.Target target = l.concatenations.target(node.input(0));
        this.into = target.value();
        this.adding = target.adding();
      } else {
        this.into = null;
        this.adding = false;
      }
      l.program.loop(
          "norm",
          0,
          List.of(),
          List.of(),
          () ->
              team -> {
                if (sums.length != team.threads()) {
                  sums = new double[team.threads()][channels];
                  products = new double[team.threads()][channels];
                }
                for (int member = 0; member < sums.length; member++) {
                  Arrays.fill(sums[member], 0);
                  Arrays.fill(products[member], 0);
                }
              });
    }

    /** The gradient of the images from {@code first} on. */
    void add(Value dy, long first) {
      long count = dy.size(0);
      Value xs = x.narrowed(0, first, count, 1);
      Value to = into == null ? null : into.narrowed(0, first, count, 1);
      List<Value> reads = new ArrayList<>(List.of(xs, dy));
      if (adding) {
        reads.add(to);
      }
      l.program.loop(
          "norm",
          6.0 * xs.elements(),
          reads,
          to == null ? List.of() : List.of(to),
          () -> {
            Rows xRows = Concatenations.rows(xs);
            Rows dyRows = Concatenations.rows(dy);
            Rows toRows = to == null ? null : Concatenations.rows(to);
            int rows = Concatenations.pixels(xs);
            Loops loops = Loops.best();
            return team ->
                team.run(
                    (m, n) ->
                        loops.gradientSums(
                            xRows,
                            dyRows,
                            toRows,
                            adding,
                            channels,
                            Team.share(rows, m, n),
                            Team.share(rows, m + 1, n),
                            scale,
                            shift,
                            mean,
                            relu,
                            sums[m],
                            products[m]));
          });
    }

    /** After the last image: the gradients of γ, β and x. */
    void end() {
      Value dGamma = l.gradientHome(node.input(1));
      Value dBeta = l.gradientHome(node.input(2));
      l.program.loop(
          "norm",
          0,
          List.of(),
          List.of(dGamma, dBeta),
          () -> {
            float[] gamma = new float[channels];
            float[] beta = new float[channels];
            return team -> {
              total(gamma, beta);
              dGamma.write(gamma);
              dBeta.write(beta);
              if (into != null) {
                l.concatenations.defer(node.input(0), lift, slope);
              }
            };
          });
      l.contribute(node, 1, dGamma);
      l.contribute(node, 2, dBeta);
      if (wantsInput() && into == null) {
        l.contributeDeferred(node, 0, new InputGradient(kept));
      }
    }
  }

  private void total(float[] gamma, float[] beta) {
    for (int c = 0; c < channels; c++) {
      double sum = 0;
      double product = 0;
      for (int member = 0; member < sums.length; member++) {
        sum += sums[member][c];
        product += products[member][c];
      }
      beta[c] = (float) sum;
      gamma[c] = (float) (product * inverse[c]);
      lift[c] = (float) (scale[c] * sum / pixels);
      slope[c] = (float) (scale[c] * inverse[c] * inverse[c] * product / pixels);
    }
  }

  /** Whether dy is read twice and so has to be kept as a whole until all of it is known. */
  boolean keepsGradient() {
    return wantsInput() && !shared;
  }

  /** dx, from x and dy. */
  private final class InputGradient implements Deferred {
    private final Value dy;

    InputGradient(Value dy) {
      this.dy = dy;
    }

    @Override
    public List<Value> reads() {
      return List.of(x, dy);
    }

    @Override
    public Supplier<Program.Body> fill(Value to, long first) {
      Value xs = x.narrowed(0, first, to.size(0), 1);
      Value dys = dy.narrowed(0, first, to.size(0), 1);
      return () -> {
        Rows xRows = Concatenations.rows(xs);
        Rows dyRows = Concatenations.rows(dys);
        Rows dxRows = Concatenations.rows(to);
        int rows = Concatenations.pixels(xs);
        Loops loops = Loops.best();
        return team ->
            team.run(
                (m, n) ->
                    loops.gradient(
                        xRows,
                        dyRows,
                        dxRows,
                        channels,
                        Team.share(rows, m, n),
                        Team.share(rows, m + 1, n),
                        scale,
                        shift,
                        mean,
                        lift,
                        slope,
                        relu));
      };
    }
  }
}
