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
 * One batch norm, with the ReLU behind it if there is one; channels last.
 *
 * <p>With r = 1 / √(variance + ε), a = γ·r, m values per channel, g the gradient behind the norm
 * where the ReLU let the value through: dβ = Σ g, dγ = r·Σ g·(x − mean), dx = a·g − a·dβ / m −
 * (a·r·dγ / m)·(x − mean).
 *
 * <p>If a convolution alone reads the result, the result is {@link Deferred}: the convolution makes
 * it some images at a time, forward and again backward, and hands the gradient back likewise. What
 * would be the largest tensors of the network then never leave the cache.
 */
final class BatchNorm implements Deferred {

  /** Channels of x that lie together: all of them, or a part of a concatenation. */
  private static final class Section {
    final Value x; // rows
    final Concatenations.Part part; // null if x is no concatenation and no part of one
    final int offset;
    final int channels;
    final float[] mean;
    final float[] variance;
    final float[] inverse;
    final float[] scale;
    final float[] shift;
    final float[] lift; // of the gradient, with slope: see Concatenations
    final float[] slope;
    double[][] sums = new double[0][]; // Σ g, a row per thread
    double[][] products; // Σ g·(x − mean)

    Section(Value x, Concatenations.Part part, int offset) {
      this.x = x;
      this.part = part;
      this.offset = offset;
      this.channels = (int) x.size(1);
      this.mean = new float[channels];
      this.variance = new float[channels];
      this.inverse = new float[channels];
      this.scale = new float[channels];
      this.shift = new float[channels];
      this.lift = new float[channels];
      this.slope = new float[channels];
    }
  }

  private final Node node;
  private final Lowering l;
  private final Tensor output;
  private final boolean relu;
  private final List<Section> sections = new ArrayList<>();
  private final boolean gathered; // the gradient of x is gathered by Concatenations
  private final int channels;
  private final int pixels;

  BatchNorm(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    Node activation = l.soleConsumer(node.output(), Node.Kind.RELU);
    this.relu = activation != null;
    this.output = relu ? activation.output() : node.output();
    if (relu) {
      l.absorb(activation);
    }
    Tensor input = node.input(0);
    this.gathered = l.concatenations.holds(input);
    if (gathered) {
      int offset = 0;
      for (Concatenations.Part part : l.concatenations.parts(input)) {
        sections.add(new Section(part.data, part, offset));
        offset += part.channels;
      }
    } else {
      sections.add(new Section(l.rows(l.value(input)), null, 0));
    }
    this.channels = (int) input.size(1);
    this.pixels = Math.toIntExact(input.elements() / channels);
  }

  // Forward.

  void emit() {
    if (l.training) {
      sections.forEach(this::emitMoments);
    }
    emitCoefficients();
    Node convolution = l.soleConsumer(output, Node.Kind.CONV);
    if (convolution != null && !Depthwise.fits(convolution)) {
      l.defer(output, this);
      return;
    }
    l.bind(output, whole(l, l.name(output), l.compute, output.shape()));
    if (l.wantsAny(node)) {
      if (l.lean) {
        l.remake(output, () -> whole(l, l.name(output), l.compute, output.shape()));
      }
      l.tape(this::backward);
    }
  }

  /** The moments of a section, if they are not computed where its values are made. */
  private void emitMoments(Section s) {
    ChannelMoments known = s.part != null ? s.part.moments : l.moments(node.input(0));
    l.program.loop(
        "norm: moments",
        known != null ? 0 : 3.0 * s.x.elements(),
        known != null ? List.of() : List.of(s.x),
        List.of(),
        () -> {
          if (known != null) {
            return team -> known.read(s.mean, s.variance);
          }
          Moments moments = new Moments(s.channels);
          Rows rows = Concatenations.rows(s.x);
          return team -> {
            moments.begin(rows);
            moments.add(team, rows, pixels);
            moments.end(s.mean, s.variance);
          };
        });
  }

  /** What follows from the moments: coefficients, and in training the running statistics. */
  private void emitCoefficients() {
    Value gamma = l.in(node, 1);
    Value beta = l.in(node, 2);
    Value runningMean = l.in(node, 3);
    Value runningVariance = l.in(node, 4);
    List<Value> reads = List.of(gamma, beta, runningMean, runningVariance);
    Supplier<Program.Body> body =
        () -> {
          float[] numbers = new float[channels];
          return team -> {
            if (l.training) {
              follow(runningMean, numbers, 1, s -> s.mean);
              follow(runningVariance, numbers, pixels / (pixels - 1.0), s -> s.variance);
            } else {
              split(runningMean, numbers, s -> s.mean);
              split(runningVariance, numbers, s -> s.variance);
            }
            split(gamma, numbers, s -> s.scale);
            split(beta, numbers, s -> s.shift);
            sections.forEach(this::coefficients);
          };
        };
    if (l.training) {
      l.program.loop("norm: moments", 0, reads, List.of(), body);
    } else {
      l.onceLoop("norm", reads, List.of(), body);
    }
  }

  private interface Numbers {
    float[] of(Section section);
  }

  private void split(Value value, float[] numbers, Numbers target) {
    value.read(numbers);
    for (Section s : sections) {
      System.arraycopy(numbers, s.offset, target.of(s), 0, s.channels);
    }
  }

  /** scale and shift hold γ and β, and then a and β − mean·a. */
  private void coefficients(Section s) {
    double epsilon = node.number("epsilon");
    for (int c = 0; c < s.channels; c++) {
      s.inverse[c] = (float) (1 / Math.sqrt(s.variance[c] + epsilon));
      s.scale[c] *= s.inverse[c];
      s.shift[c] -= s.mean[c] * s.scale[c];
    }
  }

  /** running = (1 − momentum)·running + momentum·factor·batch. */
  private void follow(Value running, float[] numbers, double factor, Numbers batch) {
    double momentum = node.number("momentum");
    float kept = (float) (1 - momentum);
    float taken = (float) (momentum * factor);
    running.read(numbers);
    for (Section s : sections) {
      for (int c = 0; c < s.channels; c++) {
        numbers[s.offset + c] = kept * numbers[s.offset + c] + taken * batch.of(s)[c];
      }
    }
    running.write(numbers);
  }

  @Override
  public String kind() {
    return "norm";
  }

  @Override
  public List<Value> reads() {
    return sections.stream().map(s -> s.x).toList();
  }

  /** y = a·x + (β − mean·a), and the ReLU. */
  @Override
  public Supplier<Program.Body> fill(Value to, long first) {
    long images = to.size(0);
    return () -> {
      List<Rows> from = new ArrayList<>();
      List<Rows> into = new ArrayList<>();
      for (Section s : sections) {
        from.add(Concatenations.rows(s.x.narrowed(0, first, images, 1)));
        into.add(Concatenations.rows(to.narrowed(1, s.offset, s.channels, 1)));
      }
      int count = Concatenations.pixels(to);
      Loops loops = Loops.best();
      return team ->
          team.run(
              (m, n) -> {
                for (int i = 0; i < from.size(); i++) {
                  Section s = sections.get(i);
                  loops.scale(
                      from.get(i),
                      into.get(i),
                      s.channels,
                      Team.share(count, m, n),
                      Team.share(count, m + 1, n),
                      s.scale,
                      s.shift,
                      relu);
                }
              });
    };
  }

  // Backward.

  boolean wantsAny() {
    return l.wantsAny(node);
  }

  /** Whether the gradient of the result is read twice, so that all of it has to be kept. */
  boolean keepsGradient() {
    return l.wants(node, 0) && !gathered;
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
    private final Value kept; // all of it, if keepsGradient()
    private final List<Concatenations.Target> targets = new ArrayList<>(); // one per section

    GradientPass(Value kept) {
      this.kept = kept;
      if (gathered && l.wants(node, 0)) {
        sections.forEach(s -> targets.add(l.concatenations.target(s.part)));
      }
      l.program.loop(
          "norm: sums",
          0,
          List.of(),
          List.of(),
          () -> team -> sections.forEach(s -> clear(team, s)));
    }

    private void clear(Team team, Section s) {
      if (s.sums.length != team.threads()) {
        s.sums = new double[team.threads()][s.channels];
        s.products = new double[team.threads()][s.channels];
      }
      for (int member = 0; member < s.sums.length; member++) {
        Arrays.fill(s.sums[member], 0);
        Arrays.fill(s.products[member], 0);
      }
    }

    /** The gradient of the images from {@code first} on. */
    void add(Value dy, long first) {
      long images = dy.size(0);
      List<Value> reads = new ArrayList<>(reads());
      reads.add(dy);
      List<Value> writes = new ArrayList<>();
      for (Concatenations.Target target : targets) {
        writes.add(target.value());
        if (target.adding()) {
          reads.add(target.value());
        }
      }
      l.program.loop(
          "norm: gradient",
          6.0 * dy.elements(),
          reads,
          writes,
          () -> {
            List<Rows> xs = new ArrayList<>();
            List<Rows> dys = new ArrayList<>();
            List<Rows> into = new ArrayList<>();
            for (int i = 0; i < sections.size(); i++) {
              Section s = sections.get(i);
              xs.add(Concatenations.rows(s.x.narrowed(0, first, images, 1)));
              dys.add(Concatenations.rows(dy.narrowed(1, s.offset, s.channels, 1)));
              into.add(
                  targets.isEmpty()
                      ? null
                      : Concatenations.rows(targets.get(i).value().narrowed(0, first, images, 1)));
            }
            int count = Concatenations.pixels(dy);
            Loops loops = Loops.best();
            return team ->
                team.run(
                    (m, n) -> {
                      for (int i = 0; i < xs.size(); i++) {
                        Section s = sections.get(i);
                        loops.gradientSums(
                            xs.get(i),
                            dys.get(i),
                            into.get(i),
                            !targets.isEmpty() && targets.get(i).adding(),
                            s.channels,
                            Team.share(count, m, n),
                            Team.share(count, m + 1, n),
                            s.scale,
                            s.shift,
                            s.mean,
                            relu,
                            s.sums[m],
                            s.products[m]);
                      }
                    });
          });
    }

    /** After the last image: the gradients of γ, β and x. */
    void end() {
      Value dGamma = l.gradientHome(node.input(1));
      Value dBeta = l.gradientHome(node.input(2));
      l.program.loop(
          "norm: sums",
          0,
          List.of(),
          List.of(dGamma, dBeta),
          () -> {
            float[] gamma = new float[channels];
            float[] beta = new float[channels];
            return team -> {
              sections.forEach(s -> total(s, gamma, beta));
              dGamma.write(gamma);
              dBeta.write(beta);
              if (!targets.isEmpty()) {
                sections.forEach(BatchNorm::postpone);
              }
            };
          });
      l.contribute(node, 1, dGamma);
      l.contribute(node, 2, dBeta);
      if (keepsGradient()) {
        l.contributeDeferred(node, 0, new InputGradient(sections.get(0), kept));
      }
    }
  }

  private void total(Section s, float[] gamma, float[] beta) {
    for (int c = 0; c < s.channels; c++) {
      double sum = 0;
      double product = 0;
      for (int member = 0; member < s.sums.length; member++) {
        sum += s.sums[member][c];
        product += s.products[member][c];
      }
      beta[s.offset + c] = (float) sum;
      gamma[s.offset + c] = (float) (product * s.inverse[c]);
      s.lift[c] = (float) (s.scale[c] * sum / pixels);
      s.slope[c] = (float) (s.scale[c] * s.inverse[c] * s.inverse[c] * product / pixels);
    }
  }

  private static void postpone(Section s) {
    for (int c = 0; c < s.channels; c++) {
      s.part.lift[c] += s.lift[c];
      s.part.slope[c] += s.slope[c];
    }
  }

  /** dx, from x and dy. */
  private final class InputGradient implements Deferred {
    private final Section s;
    private final Value dy;

    InputGradient(Section s, Value dy) {
      this.s = s;
      this.dy = dy;
    }

    @Override
    public String kind() {
      return "norm: data gradient";
    }

    @Override
    public List<Value> reads() {
      return List.of(s.x, dy);
    }

    @Override
    public Supplier<Program.Body> fill(Value to, long first) {
      Value xs = s.x.narrowed(0, first, to.size(0), 1);
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
                        s.channels,
                        Team.share(rows, m, n),
                        Team.share(rows, m + 1, n),
                        s.scale,
                        s.shift,
                        s.mean,
                        s.lift,
                        s.slope,
                        relu));
      };
    }
  }
}
