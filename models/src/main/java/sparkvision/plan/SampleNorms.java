package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Grid;
import sparkvision.kernels.GridLoops;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Normalisations of each sample by itself: layer norm and root-mean-square norm over the last axis
 * by oneDNN, group norm by the loops of batch norm. Statistics are float32.
 */
final class SampleNorms {

  private static final int BLOCK = 256; // rows after which float sums go on in double precision

  private SampleNorms() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.LAYER_NORM, SampleNorms::lastAxisNorm);
    kernels.put(Node.Kind.RMS_NORM, SampleNorms::lastAxisNorm);
    kernels.put(Node.Kind.GROUP_NORM, (node, l) -> new GroupNorm(node, l).emit());
  }

  // Over the last axis.

  private static void lastAxisNorm(Node node, Lowering l) {
    Value x = tokens(l.in(node, 0), l);
    boolean centred = node.kind() == Node.Kind.LAYER_NORM;
    float epsilon = (float) node.number("epsilon");
    Value rows = rows(x);
    Value mean = centred ? l.program.rowMajor("norm mean", Type.FLOAT32, rows.size(0)) : null;
    Value variance = l.program.rowMajor("norm variance", Type.FLOAT32, rows.size(0));
    Value y = l.like(x, l.compute);
    Dnnl.Norm norm =
        new Dnnl.Norm(rows.desc(l.dnnl), rows(y).desc(l.dnnl), variance.desc(l.dnnl), epsilon);
    Primitive forward = l.dnnl.layerNorm(norm, centred);
    normalise(node, l, forward, rows, mean, variance, y);
    l.bind(node.output(), y);
    if (!l.wantsAny(node)) {
      return;
    }
    if (l.lean) {
      l.remake(
          node.output(),
          () -> {
            Value again = l.like(y);
            normalise(
                node,
                l,
                l.dnnl.layerNorm(norm, centred),
                rows(l.recall(node.input(0), x)),
                centred ? l.like(mean) : null,
                l.like(variance),
                again);
            return again;
          });
    }
    l.tape(
        () -> {
          Value given = l.gradient(node.output());
          if (given == null) {
            return;
          }
          Value seen = l.recall(node.input(0), x);
          Value dy = rows(l.laid(given, x.strides()));
          Value dx = l.like(x);
          if (!centred) {
            rootMeanSquareGradient(node, l, rows(seen), variance, epsilon, dy, dx);
            return;
          }
          Value dWeight = l.fresh(node.input(1), Type.FLOAT32);
          Value dBias = l.fresh(node.input(2), Type.FLOAT32);
          Primitive backward =
              l.dnnl.layerNormBackward(rows(dx).desc(l.dnnl), dy.desc(l.dnnl), norm, forward);
          l.program
              .call("norm", backward)
              .in(DNNL_ARG_SRC, rows(seen))
              .in(DNNL_ARG_DIFF_DST, dy)
              .in(DNNL_ARG_MEAN, mean)
              .in(DNNL_ARG_VARIANCE, variance)
              .in(DNNL_ARG_SCALE, l.in(node, 1))
              .out(DNNL_ARG_DIFF_SRC, rows(dx))
              .out(DNNL_ARG_DIFF_SCALE, dWeight)
              .out(DNNL_ARG_DIFF_SHIFT, dBias)
              .flop(11.0 * x.elements())
              .add();
          l.contribute(node, 0, dx);
          l.contribute(node, 1, dWeight);
          l.contribute(node, 2, dBias);
        });
  }

  /** Not by oneDNN 3.11, whose gradient of x is wrong here. */
  private static void rootMeanSquareGradient(
      Node node, Lowering l, Value x, Value squares, float epsilon, Value dy, Value dx) {
    Value weight = l.in(node, 1);
    Value dWeight = l.fresh(node.input(1), Type.FLOAT32);
    int rows = (int) x.size(0);
    int channels = (int) x.size(1);
    l.program.loop(
        "norm",
        8.0 * x.elements(),
        List.of(x, squares, dy, weight),
        List.of(dx, dWeight),
        () -> {
          GridLoops loops = GridLoops.best();
          Grid from = grid(x);
          Grid gradient = grid(dy);
          Grid to = grid(rows(dx));
          Rows powers = new Rows(squares.buffer(), squares.type, 1);
          float[] factors = new float[channels];
          float[] total = new float[channels];
          return team -> {
            weight.read(factors);
            double[][] sums = new double[team.threads()][channels];
            team.run(
                (m, n) -> {
                  float[] room = new float[GridLoops.PARTS];
                  float[] sum = new float[channels];
                  int end = Team.share(rows, m + 1, n);
                  for (int row = Team.share(rows, m, n); row < end; row++) {
                    loops.rootMeanSquareGradient(
                        from,
                        row * from.rows().stride(),
                        gradient,
                        row * gradient.rows().stride(),
                        factors,
                        (float) (1 / Math.sqrt(powers.get(row) + epsilon)),
                        to,
                        row * to.rows().stride(),
                        channels,
                        sum,
                        room);
                    if (row % BLOCK == 0 || row == end - 1) {
                      for (int c = 0; c < channels; c++) {
                        sums[m][c] += sum[c];
                      }
                      Arrays.fill(sum, 0);
                    }
                  }
                });
            for (int c = 0; c < channels; c++) {
              double sum = 0;
              for (double[] part : sums) {
                sum += part[c];
              }
              total[c] = (float) sum;
            }
            dWeight.write(total);
          };
        });
    l.contribute(node, 0, dx);
    l.contribute(node, 1, dWeight);
  }

  /** (R, C) for loops. */
  private static Grid grid(Value rows) {
    return new Grid(new Rows(rows.buffer(), rows.type, (int) rows.stride(0)), 1);
  }

  private static void normalise(
      Node node, Lowering l, Primitive primitive, Value rows, Value mean, Value variance, Value y) {
    l.program
        .call("norm", primitive)
        .in(DNNL_ARG_SRC, rows)
        .in(DNNL_ARG_SCALE, l.in(node, 1))
        .in(DNNL_ARG_SHIFT, mean == null ? null : l.in(node, 2))
        .out(DNNL_ARG_DST, rows(y))
        .out(DNNL_ARG_MEAN, mean)
        .out(DNNL_ARG_VARIANCE, variance)
        .flop(7.0 * y.elements())
        .add();
  }

  /** A dense value whose last axis is the densest: most are; others are copied. */
  private static Value tokens(Value x, Lowering l) {
    int last = x.rank() - 1;
    return x.isDense() && (x.size(last) == 1 || x.stride(last) == 1) ? x : l.rowMajor(x);
  }

  /** Such a value as (R, C), rows in the order in which they lie. */
  private static Value rows(Value x) {
    int last = x.rank() - 1;
    long width = x.size(last);
    // The last axis may share its stride with axes of size 1, which the order could put behind it.
    int[] order = Arrays.stream(x.order()).filter(axis -> axis != last).toArray();
    int[] axes = Arrays.copyOf(order, x.rank());
    axes[last] = last;
    return x.permuted(axes).reshaped(x.elements() / width, width);
  }

  // Groups of channels.

  /**
   * Group norm, channels last. What batch norm has per channel, this has per channel of each image:
   * mean and variance are those of the channel's group.
   *
   * <p>With r = 1 / √(variance + ε), a = γ·r and m values per group: dβ = Σ dy, dγ = Σ r·dy·(x −
   * mean), dx = a·dy − r·Σ γ·dy / m − r³·Σ γ·dy·(x − mean) / m·(x − mean), where the first two sums
   * are over images and pixels, and those in dx over the group.
   */
  private static final class GroupNorm {
    private final Node node;
    private final Lowering l;
    private final Value x;
    private final int images;
    private final int channels;
    private final int pixels; // of an image
    private final int width; // channels of a group
    private final float[][] mean; // per image and channel
    private final float[][] inverse;
    private final float[][] scale;
    private final float[][] shift;
    private final float[] weight;
    private final float[] bias;
    private final Loops loops = Loops.best();

    GroupNorm(Node node, Lowering l) {
      this.node = node;
      this.l = l;
      this.x = l.channelsLast(l.in(node, 0));
      this.images = (int) x.size(0);
      this.channels = (int) x.size(1);
      this.pixels = Concatenations.pixels(x) / images;
      this.width = channels / (int) node.integer("groups");
      this.mean = new float[images][channels];
      this.inverse = new float[images][channels];
      this.scale = new float[images][channels];
      this.shift = new float[images][channels];
      this.weight = new float[channels];
      this.bias = new float[channels];
    }

    void emit() {
      Value y = apply(x, true);
      l.bind(node.output(), y);
      if (l.wantsAny(node)) {
        if (l.lean) {
          l.remake(node.output(), () -> apply(l.recall(node.input(0), x), false));
        }
        l.tape(this::backward);
      }
    }

    /** Calls the body for the rows of each image that are a member's share. */
    private void each(int member, int members, Share share) {
      int all = images * pixels;
      int first = Team.share(all, member, members);
      int end = Team.share(all, member + 1, members);
      for (int image = first / pixels; image * pixels < end; image++) {
        share.run(image, Math.max(first, image * pixels), Math.min(end, (image + 1) * pixels));
      }
    }

    private interface Share {
      void run(int image, int first, int end);
    }

    private Value apply(Value from, boolean first) {
      Value y = l.fresh(node.output(), l.compute, Value.channelsLast(x.dims()));
      l.program.loop(
          "norm",
          (first ? 5.0 : 2.0) * y.elements(),
          List.of(from, l.in(node, 1), l.in(node, 2)),
          List.of(y),
          () -> {
            Rows source = Concatenations.rows(from);
            Rows target = Concatenations.rows(y);
            Sums sums = new Sums();
            return team -> {
              if (first) {
                statistics(team, source, sums);
              }
              team.run(
                  (m, n) ->
                      each(
                          m,
                          n,
                          (image, begin, end) ->
                              loops.scale(
                                  source,
                                  target,
                                  channels,
                                  begin,
                                  end,
                                  scale[image],
                                  shift[image],
                                  false)));
            };
          });
      return y;
    }

    private void statistics(Team team, Rows source, Sums sums) {
      l.in(node, 1).read(weight);
      l.in(node, 2).read(bias);
      float[][] origin = sums.origins();
      for (int image = 0; image < images; image++) {
        for (int c = 0; c < channels; c++) {
          // Near the mean, measured in deviations, so that squares do not cancel.
          origin[image][c] = source.get(image * pixels * source.stride() + c);
        }
      }
      sums.add(
          team,
          (image, begin, end, ones, others) ->
              loops.moments(source, channels, begin, end, origin[image], ones, others));
      double epsilon = node.number("epsilon");
      for (int image = 0; image < images; image++) {
        double[] ones = sums.first(image);
        double[] squares = sums.second(image);
        for (int group = 0; group < channels; group += width) {
          double middle = 0;
          for (int c = group; c < group + width; c++) {
            middle += origin[image][c] + ones[c] / pixels;
          }
          middle /= width;
          double variance = 0;
          for (int c = group; c < group + width; c++) {
            // Σ (x − middle)² from the sums about the origin.
            double apart = ones[c] / pixels;
            double off = origin[image][c] + apart - middle;
            variance += Math.max(0, squares[c] / pixels - apart * apart) + off * off;
          }
          float r = (float) (1 / Math.sqrt(variance / width + epsilon));
          for (int c = group; c < group + width; c++) {
            mean[image][c] = (float) middle;
            inverse[image][c] = r;
            scale[image][c] = weight[c] * r;
            shift[image][c] = (float) (bias[c] - middle * weight[c] * r);
          }
        }
      }
    }

    private void backward() {
      Value given = l.gradient(node.output());
      if (given == null) {
        return;
      }
      Value seen = l.recall(node.input(0), x);
      Value dy = l.channelsLast(given);
      Value dx = l.like(x);
      Value dWeight = l.fresh(node.input(1), Type.FLOAT32);
      Value dBias = l.fresh(node.input(2), Type.FLOAT32);
      l.program.loop(
          "norm",
          9.0 * x.elements(),
          List.of(seen, dy),
          List.of(dx, dWeight, dBias),
          () -> {
            Rows source = Concatenations.rows(seen);
            Rows gradient = Concatenations.rows(dy);
            Rows target = Concatenations.rows(dx);
            Sums sums = new Sums();
            float[][] lift = new float[images][channels];
            float[][] slope = new float[images][channels];
            return team -> {
              sums.add(
                  team,
                  (image, begin, end, ones, products) ->
                      loops.gradientSums(
                          source,
                          gradient,
                          null,
                          false,
                          channels,
                          begin,
                          end,
                          scale[image],
                          shift[image],
                          mean[image],
                          false,
                          ones,
                          products));
              parameterGradients(sums, dWeight, dBias);
              coefficients(sums, lift, slope);
              team.run(
                  (m, n) ->
                      each(
                          m,
                          n,
                          (image, begin, end) ->
                              loops.gradient(
                                  source,
                                  gradient,
                                  target,
                                  channels,
                                  begin,
                                  end,
                                  scale[image],
                                  shift[image],
                                  mean[image],
                                  lift[image],
                                  slope[image],
                                  false)));
            };
          });
      l.contribute(node, 0, dx);
      l.contribute(node, 1, dWeight);
      l.contribute(node, 2, dBias);
    }

    private void parameterGradients(Sums sums, Value dWeight, Value dBias) {
      float[] ofWeight = new float[channels];
      float[] ofBias = new float[channels];
      for (int c = 0; c < channels; c++) {
        double weightSum = 0;
        double biasSum = 0;
        for (int image = 0; image < images; image++) {
          biasSum += sums.first(image)[c];
          weightSum += inverse[image][c] * sums.second(image)[c];
        }
        ofWeight[c] = (float) weightSum;
        ofBias[c] = (float) biasSum;
      }
      dWeight.write(ofWeight);
      dBias.write(ofBias);
    }

    private void coefficients(Sums sums, float[][] lift, float[][] slope) {
      double count = (double) width * pixels;
      for (int image = 0; image < images; image++) {
        for (int group = 0; group < channels; group += width) {
          double sum = 0;
          double product = 0;
          for (int c = group; c < group + width; c++) {
            sum += weight[c] * sums.first(image)[c];
            product += weight[c] * sums.second(image)[c];
          }
          double r = inverse[image][group];
          Arrays.fill(lift[image], group, group + width, (float) (r * sum / count));
          Arrays.fill(slope[image], group, group + width, (float) (r * r * r * product / count));
        }
      }
    }

    private interface Addition {
      void run(int image, int begin, int end, double[] first, double[] second);
    }

    /** Two sums per image and channel, of which each member makes a part. */
    private final class Sums {
      private final float[][] origins = new float[images][channels];
      private double[][][] first = new double[0][][]; // per member and image
      private double[][][] second = new double[0][][];

      float[][] origins() {
        return origins;
      }

      void add(Team team, Addition addition) {
        if (first.length != team.threads()) {
          first = new double[team.threads()][images][channels];
          second = new double[team.threads()][images][channels];
        }
        for (int member = 0; member < first.length; member++) {
          for (int image = 0; image < images; image++) {
            Arrays.fill(first[member][image], 0);
            Arrays.fill(second[member][image], 0);
          }
        }
        team.run(
            (m, n) ->
                each(
                    m,
                    n,
                    (image, begin, end) ->
                        addition.run(image, begin, end, first[m][image], second[m][image])));
        for (int member = 1; member < first.length; member++) {
          for (int image = 0; image < images; image++) {
            for (int c = 0; c < channels; c++) {
              first[0][image][c] += first[member][image][c];
              second[0][image][c] += second[member][image][c];
            }
          }
        }
      }

      double[] first(int image) {
        return first[0][image];
      }

      double[] second(int image) {
        return second[0][image];
      }
    }
  }
}
