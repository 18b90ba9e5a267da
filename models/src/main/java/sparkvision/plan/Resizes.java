package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.graph.Resize;
import sparkvision.kernels.PixelLoops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Kernels that change the size of maps (B, C, ...) axis by axis: resizing and adaptive pools. All
 * work channels last.
 *
 * <p>Every pixel of the result is a weighted sum of pixels, and the weights are products of one per
 * axis. So a row of the result is made in two steps: the pixels of the rows that it comes from are
 * mixed, each row by itself, then those rows into one. Mixed rows are kept for the next rows of the
 * result, which mostly come from the same ones. A gradient is the same with the transposed weights.
 */
final class Resizes {

  private static final int TOGETHER = 4; // rows made at once: so many streams the CPU can follow
  private static final int CHANNELS = 16; // that one member does at a time: a cache line

  private Resizes() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.RESIZE, Resizes::resize);
    kernels.put(Node.Kind.ADAPTIVE_AVERAGE_POOL, Resizes::adaptiveAveragePool);
    kernels.put(Node.Kind.ADAPTIVE_MAX_POOL, Resizes::adaptiveMaxPool);
  }

  private static void resize(Node node, Lowering l) {
    Resize way = Resize.of(node);
    double[][][] weights = new double[node.output().rank() - 2][][];
    Arrays.setAll(weights, i -> way.weights(node.input(0).size(i + 2), node.output().size(i + 2)));
    mix("resize", node, l, weights);
  }

  private static void adaptiveAveragePool(Node node, Lowering l) {
    double[][][] weights = new double[node.output().rank() - 2][][];
    for (int i = 0; i < weights.length; i++) {
      int in = (int) node.input(0).size(i + 2);
      int out = (int) node.output().size(i + 2);
      weights[i] = new double[out][in];
      for (int bin = 0; bin < out; bin++) {
        int begin = begin(bin, in, out);
        int end = end(bin, in, out);
        Arrays.fill(weights[i][bin], begin, end, 1.0 / (end - begin));
      }
    }
    mix("pool", node, l, weights);
  }

  /** The first pixel of a bin: ⌊bin·in / out⌋. */
  private static int begin(int bin, int in, int out) {
    return (int) ((long) bin * in / out);
  }

  /** The pixel behind a bin: ⌈(bin + 1)·in / out⌉. */
  private static int end(int bin, int in, int out) {
    return (int) (((bin + 1L) * in + out - 1) / out);
  }

  // Weighted sums.

  /**
   * Sums along one axis: number i is Σ weights[t]·x[from[t]] over starts[i] ≤ t < starts[i + 1].
   */
  private record Mix(int in, int[] starts, int[] from, float[] weights) {

    /** Without the terms of weight 0; {@code transposed}: the sums of the gradient. */
    static Mix of(double[][] matrix, boolean transposed) {
      int out = transposed ? matrix[0].length : matrix.length;
      int in = transposed ? matrix.length : matrix[0].length;
      int[] starts = new int[out + 1];
      int[] from = new int[in * 4];
      float[] weights = new float[in * 4];
      int terms = 0;
      for (int i = 0; i < out; i++) {
        for (int j = 0; j < in; j++) {
          double weight = transposed ? matrix[j][i] : matrix[i][j];
          if (weight != 0) {
            if (terms == from.length) {
              from = Arrays.copyOf(from, 2 * terms);
              weights = Arrays.copyOf(weights, 2 * terms);
            }
            from[terms] = j;
            weights[terms++] = (float) weight;
          }
        }
        starts[i + 1] = terms;
      }
      return new Mix(in, starts, Arrays.copyOf(from, terms), Arrays.copyOf(weights, terms));
    }

    int out() {
      return starts.length - 1;
    }

    int most() {
      int most = 0;
      for (int i = 0; i < out(); i++) {
        most = Math.max(most, starts[i + 1] - starts[i]);
      }
      return most;
    }
  }

  private static void mix(String kind, Node node, Lowering l, double[][]... weights) {
    Mix[] axes = Arrays.stream(weights).map(matrix -> Mix.of(matrix, false)).toArray(Mix[]::new);
    Mix[] transposed =
        Arrays.stream(weights).map(matrix -> Mix.of(matrix, true)).toArray(Mix[]::new);
    Value x = l.channelsLast(l.in(node, 0));
    Value y = l.fresh(node.output(), x.type, Value.channelsLast(node.output().shape()));
    mix(kind, l, x, y, axes);
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              Value dx = l.fresh(node.input(0), x.type, Value.channelsLast(x.dims()));
              mix(kind, l, l.channelsLast(dy), dx, transposed);
              l.contribute(node, 0, dx);
            }
          });
    }
  }

  /** Every pixel of y (B, C, ...) becomes a weighted sum of pixels of x (B, C, ...). */
  private static void mix(String kind, Lowering l, Value x, Value y, Mix[] axes) {
    Mix width = axes[axes.length - 1];
    Mix height = axes.length > 1 ? axes[axes.length - 2] : ALONE;
    Mix depth = axes.length > 2 ? axes[0] : ALONE;
    int channels = (int) x.size(1);
    int rows = Math.toIntExact(y.size(0)) * depth.out() * height.out();
    int terms = depth.most() * height.most();
    int wide = width.out() * channels;
    double flop = 2.0 * x.elements() / width.in * width.from.length + 2.0 * y.elements() * terms;
    l.program.loop(
        kind,
        flop,
        List.of(x),
        List.of(y),
        () -> {
          PixelLoops loops = PixelLoops.best();
          Rows from = new Rows(x.buffer(), x.type, width.in * channels);
          Rows to = new Rows(y.buffer(), y.type, wide);
          Members<Mixed> members =
              new Members<>(() -> new Mixed(from, channels, width, depth, height));
          return team -> {
            List<Mixed> own = members.of(team);
            team.run(
                (m, n) -> {
                  Mixed mixed = own.get(m);
                  mixed.forget();
                  int end = Team.share(rows, m + 1, n);
                  for (int row = Team.share(rows, m, n); row < end; ) {
                    row += mixed.make(loops, row, end, to);
                  }
                });
          };
        });
  }

  /** For an axis that is not there. */
  private static final Mix ALONE = Mix.of(new double[][] {{1}}, false);

  /** One member's work: rows of x whose pixels are mixed already, and how to mix these. */
  private static final class Mixed {
    private final Rows x;
    private final int channels;
    private final Mix width;
    private final Mix depth;
    private final Mix height;
    private final float[][] rows; // as many as a row of the result can need
    private final int[] numbers; // which row of x each one is, -1 for none
    private final boolean[] needed;
    private final int[] wanted; // what the rows of the result in work consist of
    private final float[][] chosen;
    private final int[] next;
    private final float[] weights;

    Mixed(Rows x, int channels, Mix width, Mix depth, Mix height) {
      this.x = x;
      this.channels = channels;
      this.width = width;
      this.depth = depth;
      this.height = height;
      int terms = depth.most() * height.most();
      rows = new float[terms][width.out() * channels];
      numbers = new int[terms];
      needed = new boolean[terms];
      wanted = new int[terms];
      chosen = new float[terms][];
      next = new int[terms];
      weights = new float[terms * TOGETHER];
    }

    void forget() {
      Arrays.fill(numbers, -1);
    }

    /** Makes a row of the result, and those behind it that consist of the same rows. */
    int make(PixelLoops loops, int row, int end, Rows y) {
      int terms = list(row, wanted, 0);
      int results = 1;
      while (results < TOGETHER
          && row + results < end
          && list(row + results, next, results * terms) == terms
          && Arrays.equals(wanted, 0, terms, next, 0, terms)) {
        results++;
      }
      choose(loops, terms);
      int wide = y.stride();
      loops.mixRows(chosen, weights, terms, wide, y, row * wide, wide, results);
      return results;
    }

    /** Lists the rows of x that a row of the result consists of, and returns how many. */
    private int list(int row, int[] list, int at) {
      int h = row % height.out();
      int d = row / height.out() % depth.out();
      int image = row / height.out() / depth.out();
      int terms = 0;
      for (int i = depth.starts[d]; i < depth.starts[d + 1]; i++) {
        int plane = (image * depth.in + depth.from[i]) * height.in;
        for (int j = height.starts[h]; j < height.starts[h + 1]; j++) {
          if (at + terms < weights.length) {
            weights[at + terms] = depth.weights[i] * height.weights[j];
          }
          list[terms++] = plane + height.from[j];
        }
      }
      return terms;
    }

    /** Sees to it that the wanted rows are there. */
    private void choose(PixelLoops loops, int terms) {
      Arrays.fill(needed, false);
      for (int t = 0; t < terms; t++) {
        int place = place(wanted[t]);
        chosen[t] = place < 0 ? null : rows[place];
        if (place >= 0) {
          needed[place] = true;
        }
      }
      for (int t = 0; t < terms; t++) {
        if (chosen[t] == null) {
          chosen[t] = mixed(loops, wanted[t]);
        }
      }
    }

    private int place(int number) {
      for (int i = 0; i < numbers.length; i++) {
        if (numbers[i] == number) {
          return i;
        }
      }
      return -1;
    }

    private float[] mixed(PixelLoops loops, int number) {
      int place = 0;
      while (needed[place]) {
        place++;
      }
      needed[place] = true;
      numbers[place] = number;
      float[] row = rows[place];
      int at = number * x.stride();
      loops.mixPixels(x, at, channels, width.starts, width.from, width.weights, row);
      return row;
    }
  }

  // Maxima.

  private static void adaptiveMaxPool(Node node, Lowering l) {
    Value x = l.channelsLast(l.in(node, 0));
    long[] shape = node.output().shape();
    Value y = l.fresh(node.output(), x.type, Value.channelsLast(shape));
    // Which pixel of its image every maximum is, as bits of an int.
    Value first = l.program.value("pool workspace", Type.FLOAT32, shape, Value.channelsLast(shape));
    Bins bins = new Bins(x.dims(), shape);
    l.program.loop(
        "pool",
        (double) x.elements(),
        List.of(x),
        List.of(y, first),
        () -> {
          Rows from = Concatenations.rows(x);
          Rows to = Concatenations.rows(y);
          Rows pixels = Concatenations.rows(first);
          return team ->
              team.run(
                  (m, n) -> {
                    int end = Team.share(bins.units(), m + 1, n);
                    for (int u = Team.share(bins.units(), m, n); u < end; u++) {
                      bins.maxima(u, from, to, pixels);
                    }
                  });
        });
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value given = l.gradient(node.output());
            if (given != null) {
              l.contribute(node, 0, spread(node, l, l.channelsLast(given), first, bins));
            }
          });
    }
  }

  /** Adds every element of dy where its maximum came from; in float32, since bins may overlap. */
  private static Value spread(Node node, Lowering l, Value dy, Value first, Bins bins) {
    long[] shape = node.input(0).shape();
    Value dx = l.fresh(node.input(0), Type.FLOAT32, Value.channelsLast(shape));
    l.zero(dx);
    l.program.loop(
        "pool",
        (double) dy.elements(),
        List.of(dy, first, dx),
        List.of(dx),
        () -> {
          Rows from = Concatenations.rows(dy);
          Rows pixels = Concatenations.rows(first);
          Rows to = Concatenations.rows(dx);
          return team ->
              team.run(
                  (m, n) -> {
                    int end = Team.share(bins.units(), m + 1, n);
                    for (int u = Team.share(bins.units(), m, n); u < end; u++) {
                      bins.spread(u, from, pixels, to);
                    }
                  });
        });
    return dx;
  }

  /** The bins of maps; the members of a team share out units, some channels of an image each. */
  private static final class Bins {
    private final int images;
    private final int channels;
    private final int[] in = {1, 1, 1};
    private final int[] out = {1, 1, 1};

    Bins(long[] x, long[] y) {
      images = (int) x[0];
      channels = (int) x[1];
      for (int axis = 2; axis < x.length; axis++) {
        in[axis + 3 - x.length] = (int) x[axis];
        out[axis + 3 - x.length] = (int) y[axis];
      }
    }

    private int blocks() {
      return (channels + CHANNELS - 1) / CHANNELS;
    }

    int units() {
      return images * blocks();
    }

    void maxima(int unit, Rows x, Rows y, Rows first) {
      int image = unit / blocks();
      int bins = out[0] * out[1] * out[2];
      int from = unit % blocks() * CHANNELS;
      for (int bin = 0; bin < bins; bin++) {
        for (int c = from; c < Math.min(from + CHANNELS, channels); c++) {
          int pixel = firstMaximum(x, image * in[0] * in[1] * in[2], bin, c);
          int to = image * bins + bin;
          y.set(to, c, x.get(image * in[0] * in[1] * in[2] + pixel, c));
          first.data().putInt((to * first.stride() + c) * Integer.BYTES, pixel);
        }
      }
    }

    private int firstMaximum(Rows x, int image, int bin, int c) {
      int w = bin % out[2];
      int h = bin / out[2] % out[1];
      int d = bin / out[2] / out[1];
      int best = -1;
      float most = 0;
      for (int i = begin(d, in[0], out[0]); i < end(d, in[0], out[0]); i++) {
        for (int j = begin(h, in[1], out[1]); j < end(h, in[1], out[1]); j++) {
          for (int k = begin(w, in[2], out[2]); k < end(w, in[2], out[2]); k++) {
            int pixel = (i * in[1] + j) * in[2] + k;
            float value = x.get(image + pixel, c);
            if (best < 0 || value > most) {
              best = pixel;
              most = value;
            }
          }
        }
      }
      return best;
    }

    void spread(int unit, Rows dy, Rows first, Rows dx) {
      int image = unit / blocks() * in[0] * in[1] * in[2];
      int bins = out[0] * out[1] * out[2];
      int from = unit % blocks() * CHANNELS;
      int end = Math.min(from + CHANNELS, channels);
      for (int bin = unit / blocks() * bins; bin < (unit / blocks() + 1) * bins; bin++) {
        for (int c = from; c < end; c++) {
          int pixel = image + first.data().getInt((bin * first.stride() + c) * Integer.BYTES);
          dx.set(pixel, c, dx.get(pixel, c) + dy.get(bin, c));
        }
      }
    }
  }
}
