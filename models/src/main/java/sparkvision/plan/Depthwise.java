package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Arithmetic;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.PixelLoops;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Convolutions, plain and transposed, of every channel by itself. Layout: channels last.
 *
 * <p>oneDNN has kernels for most of them in two dimensions, so one dimension is treated as two.
 * Where it would multiply matrices full of zeros instead (gradients that are dilated,
 * three-dimensional or of unusual kernels; 5 to 100 times slower), the loops here take over.
 */
final class Depthwise {

  private Depthwise() {}

  /** Whether a convolution has a group per channel, before and after it. */
  static boolean fits(Node node) {
    long groups = node.integer("groups");
    return groups > 1 && node.input(0).size(1) == groups && node.output().size(1) == groups;
  }

  static void conv(Node node, Lowering l) {
    Value input = l.cast(l.channelsLast(l.in(node, 0)), l.compute);
    Value x = flat(input);
    Value weight = l.rowMajor(l.in(node, 1));
    Value bias = node.inputs().size() > 2 ? l.in(node, 2) : null;
    Value grouped = grouped(weight);
    Epilogue epilogue = Epilogue.of(node, l);
    Geometry geometry = Geometry.of(node, node.input(0), node.output());
    Value result = l.fresh(epilogue.result(), l.compute, Value.channelsLast(node.output().shape()));
    Value y = flat(result);
    Primitive forward =
        l.dnnl.convolution(
            l.training,
            x.desc(l.dnnl),
            l.dnnl.any(l.compute, grouped.dims()),
            bias == null ? null : bias.desc(l.dnnl),
            y.desc(l.dnnl),
            geometry.window(),
            epilogue.post(l, y.rank()));
    double flop = 2.0 * y.elements() * geometry.taps();
    Program.Call call =
        l.program
            .call("convolution", forward)
            .in(DNNL_ARG_SRC, x)
            .in(
                DNNL_ARG_WEIGHTS,
                l.weight(grouped, l.compute, forward.query(dnnl_query_weights_md)))
            .in(DNNL_ARG_BIAS, bias)
            .out(DNNL_ARG_DST, y)
            .flop(flop);
    epilogue.arguments(call);
    call.add();
    l.bind(epilogue.result(), result);
    if (!l.wantsAny(node)) {
      return;
    }
    l.tape(
        () -> {
          Value given = l.gradient(epilogue.result());
          if (given == null) {
            return;
          }
          Value dy = flat(epilogue.backward(l, l.cast(l.channelsLast(given), l.compute), result));
          Value seen = flat(l.recall(node.input(0), input));
          Windows.biasGradient(node, l, dy);
          if (l.wants(node, 1)) {
            Value dWeight = l.fresh(node.input(1), Type.FLOAT32);
            convWeightGradient(l, seen, dy, geometry, forward, dWeight);
            l.contribute(node, 1, dWeight);
          }
          if (l.wants(node, 0)) {
            Value dx = l.fresh(node.input(0), l.compute, Value.channelsLast(node.input(0).shape()));
            convDataGradient(l, flat(dx), dy, geometry, forward, weight);
            l.contribute(node, 0, dx);
          }
        });
  }

  private static void convWeightGradient(
      Lowering l, Value x, Value dy, Geometry geometry, Primitive forward, Value dWeight) {
    Value grouped = grouped(dWeight);
    Primitive backward =
        l.dnnl.convolutionBackwardWeights(
            x.desc(l.dnnl),
            l.dnnl.any(Type.FLOAT32, grouped.dims()),
            null,
            dy.desc(l.dnnl),
            geometry.window(),
            forward);
    if (!isDepthwise(backward)) {
      weightGradient("convolution: weight gradient", l, x, dy, geometry, dWeight);
      return;
    }
    Value result = l.opaque("weight gradient", grouped, backward.query(dnnl_query_diff_weights_md));
    l.program
        .call("convolution: weight gradient", backward)
        .in(DNNL_ARG_SRC, x)
        .in(DNNL_ARG_DIFF_DST, dy)
        .out(DNNL_ARG_DIFF_WEIGHTS, result)
        .flop(2.0 * dy.elements() * geometry.taps())
        .add();
    l.copy(result, grouped);
  }

  private static void convDataGradient(
      Lowering l, Value dx, Value dy, Geometry geometry, Primitive forward, Value weight) {
    Value grouped = grouped(weight);
    Primitive backward =
        l.dnnl.convolutionBackwardData(
            dx.desc(l.dnnl),
            l.dnnl.any(l.compute, grouped.dims()),
            dy.desc(l.dnnl),
            geometry.window(),
            forward);
    if (!isDepthwise(backward)) {
      mix("convolution: data gradient", l, dy, weight, dx, geometry, false);
      return;
    }
    l.program
        .call("convolution: data gradient", backward)
        .in(DNNL_ARG_WEIGHTS, l.weight(grouped, l.compute, backward.query(dnnl_query_weights_md)))
        .in(DNNL_ARG_DIFF_DST, dy)
        .out(DNNL_ARG_DIFF_SRC, dx)
        .flop(2.0 * dy.elements() * geometry.taps())
        .add();
  }

  /** Whether oneDNN has a kernel for it that knows of channels by themselves. */
  private static boolean isDepthwise(Primitive primitive) {
    return primitive.implementation().contains("dw:");
  }

  static void convTranspose(Node node, Lowering l) {
    Value x = l.channelsLast(l.in(node, 0));
    Value weight = l.rowMajor(l.in(node, 1));
    Geometry geometry = Geometry.of(node, node.output(), node.input(0));
    Value y = l.fresh(node.output(), l.compute, Value.channelsLast(node.output().shape()));
    mix("convolution", l, flat(x), weight, flat(y), geometry, false);
    if (node.inputs().size() > 2) {
      long[] shape = new long[y.rank()];
      Arrays.fill(shape, 1);
      shape[1] = y.size(1);
      Pairs.emit(l, Arithmetic.ADD, y, l.in(node, 2).reshaped(shape), y);
    }
    l.bind(node.output(), y);
    if (!l.wantsAny(node)) {
      return;
    }
    l.tape(
        () -> {
          Value given = l.gradient(node.output());
          if (given == null) {
            return;
          }
          Value dy = flat(l.channelsLast(given));
          Windows.biasGradient(node, l, dy);
          if (l.wants(node, 1)) {
            Value dWeight = l.fresh(node.input(1), Type.FLOAT32);
            weightGradient("convolution: weight gradient", l, dy, flat(x), geometry, dWeight);
            l.contribute(node, 1, dWeight);
          }
          if (l.wants(node, 0)) {
            Value dx = l.fresh(node.input(0), x.type, Value.channelsLast(x.dims()));
            mix("convolution: data gradient", l, dy, weight, flat(dx), geometry, true);
            l.contribute(node, 0, dx);
          }
        });
  }

  /** (B, C, W) as (B, C, 1, W). */
  private static Value flat(Value x) {
    return x.rank() == 3 ? x.reshaped(x.size(0), x.size(1), 1, x.size(2)) : x;
  }

  /** A weight (C, 1, k...) as (C, 1, 1, k...), which is oneDNN's way; (k) as (1, k). */
  private static Value grouped(Value weight) {
    long[] dims = weight.dims();
    long[] shape = new long[Math.max(5, dims.length + 1)];
    Arrays.fill(shape, 1);
    shape[0] = dims[0];
    System.arraycopy(dims, 2, shape, shape.length - dims.length + 2, dims.length - 2);
    return weight.reshaped(shape);
  }

  /**
   * How the pixels of a picture and of the sums over its windows belong together: along every axis,
   * tap t of sum s is pixel s·stride + t·dilation − before. A transposed convolution's picture is
   * its output.
   */
  private record Geometry(
      int[] pixels,
      int[] sums,
      int[] kernel,
      int[] stride,
      int[] dilation,
      int[] before,
      int channels,
      int images) {

    static Geometry of(Node node, Tensor picture, Tensor sums) {
      int axes = picture.rank() - 2;
      long[] pixels = Arrays.copyOfRange(picture.shape(), 2, axes + 2);
      long[] windows = Arrays.copyOfRange(sums.shape(), 2, axes + 2);
      return new Geometry(
          padded(pixels, 1),
          padded(windows, 1),
          padded(node.sizes("kernel"), 1),
          padded(node.sizes("stride"), 1),
          padded(node.sizes("dilation"), 1),
          padded(node.sizes("padding"), 0),
          (int) picture.size(1),
          (int) picture.size(0));
    }

    /** Three entries, the last ones those given. */
    private static int[] padded(long[] sizes, int filler) {
      return IntStream.range(0, 3)
          .map(i -> i + sizes.length < 3 ? filler : (int) sizes[i + sizes.length - 3])
          .toArray();
    }

    int taps() {
      return kernel[0] * kernel[1] * kernel[2];
    }

    /** For oneDNN: two axes, or three if there is depth. */
    Dnnl.Window window() {
      int first = pixels[0] == 1 && kernel[0] == 1 && before[0] == 0 && sums[0] == 1 ? 1 : 0;
      long[][] entries = new long[4][3 - first];
      for (int i = first; i < 3; i++) {
        entries[0][i - first] = stride[i];
        entries[1][i - first] = dilation[i] - 1L;
        entries[2][i - first] = before[i];
        long reach = (long) dilation[i] * (kernel[i] - 1) + 1;
        entries[3][i - first] = (sums[i] - 1L) * stride[i] + reach - pixels[i] - before[i];
      }
      return new Dnnl.Window(entries[0], entries[1], entries[2], entries[3]);
    }

    /** Where sum s of an axis finds tap t: a pixel, or something outside of the picture. */
    int pixel(int axis, int sum, int tap) {
      return sum * stride[axis] + tap * dilation[axis] - before[axis];
    }
  }

  /** Along one axis, for every place of the result: places of the source and the taps between. */
  private record Links(int[] starts, int[] from, int[] taps) {

    static Links of(Geometry geometry, int axis, boolean toSums) {
      int pixels = geometry.pixels[axis];
      int sums = geometry.sums[axis];
      int[] starts = new int[(toSums ? sums : pixels) + 1];
      int[] from = new int[sums * geometry.kernel[axis]];
      int[] taps = new int[from.length];
      int links = 0;
      for (int to = 0; to < starts.length - 1; to++) {
        for (int tap = 0; tap < geometry.kernel[axis]; tap++) {
          int source = toSums ? geometry.pixel(axis, to, tap) : sum(geometry, axis, to, tap);
          if (source >= 0 && source < (toSums ? pixels : sums)) {
            from[links] = source;
            taps[links++] = tap;
          }
        }
        starts[to + 1] = links;
      }
      return new Links(starts, from, taps);
    }

    /** The sum whose tap a pixel is, or -1. */
    private static int sum(Geometry geometry, int axis, int pixel, int tap) {
      int distance = pixel + geometry.before[axis] - tap * geometry.dilation[axis];
      return distance % geometry.stride[axis] == 0 ? distance / geometry.stride[axis] : -1;
    }

    int out() {
      return starts.length - 1;
    }
  }

  /** y = Σ weights · x over the links of each pixel: from pixels to sums, or back. */
  private static void mix(
      String kind, Lowering l, Value x, Value weight, Value y, Geometry geometry, boolean toSums) {
    Links[] links = new Links[3];
    Arrays.setAll(links, axis -> Links.of(geometry, axis, toSums));
    int[] sources = toSums ? geometry.pixels : geometry.sums;
    int channels = geometry.channels;
    int rows = geometry.images * links[0].out() * links[1].out();
    int wide = links[2].out() * channels;
    Value numbers = l.cast(weight, Type.FLOAT32);
    l.program.loop(
        kind,
        2.0 * geometry.images * channels * geometry.taps() * product(geometry.sums),
        List.of(x, numbers),
        List.of(y),
        () -> {
          PixelLoops loops = PixelLoops.best();
          Rows from = new Rows(x.buffer(), x.type, 0);
          Rows to = new Rows(y.buffer(), y.type, 0);
          float[] given = new float[channels * geometry.taps()];
          float[] factors = new float[given.length];
          Members<int[][]> members = new Members<>(() -> new int[4][geometry.taps()]);
          return team -> {
            numbers.read(given);
            transpose(given, factors, channels, geometry.taps());
            List<int[][]> scratches = members.of(team);
            team.run(
                (m, n) -> {
                  int[][] scratch = scratches.get(m);
                  int end = Team.share(rows, m + 1, n);
                  for (int row = Team.share(rows, m, n); row < end; row++) {
                    int count = rows(row, links, sources, geometry, scratch);
                    for (int pixel = 0; pixel < links[2].out(); pixel++) {
                      int terms = terms(pixel, count, links[2], channels, scratch);
                      int at = row * wide + pixel * channels;
                      loops.mixChannels(
                          from, scratch[2], factors, scratch[3], terms, channels, to, at);
                    }
                  }
                });
          };
        });
  }

  private static int product(int... sizes) {
    return IntStream.of(sizes).reduce(1, (a, b) -> a * b);
  }

  /** From (channels, taps) to (taps, channels). */
  private static void transpose(float[] from, float[] to, int channels, int taps) {
    for (int tap = 0; tap < taps; tap++) {
      for (int c = 0; c < channels; c++) {
        to[tap * channels + c] = from[c * taps + tap];
      }
    }
  }

  /** Lists where the rows start that a row is linked with, and their taps; returns how many. */
  private static int rows(
      int row, Links[] links, int[] sources, Geometry geometry, int[][] scratch) {
    int h = row % links[1].out();
    int d = row / links[1].out() % links[0].out();
    int image = row / links[1].out() / links[0].out();
    int count = 0;
    for (int i = links[0].starts[d]; i < links[0].starts[d + 1]; i++) {
      int plane = (image * sources[0] + links[0].from[i]) * sources[1];
      for (int j = links[1].starts[h]; j < links[1].starts[h + 1]; j++) {
        scratch[0][count] = (plane + links[1].from[j]) * sources[2] * geometry.channels;
        scratch[1][count++] =
            (links[0].taps[i] * geometry.kernel[1] + links[1].taps[j]) * geometry.kernel[2];
      }
    }
    return count;
  }

  /** Lists the pixels that a pixel is linked with, and their factors; returns how many. */
  private static int terms(int pixel, int rows, Links width, int channels, int[][] scratch) {
    int terms = 0;
    for (int row = 0; row < rows; row++) {
      for (int i = width.starts[pixel]; i < width.starts[pixel + 1]; i++) {
        scratch[2][terms] = scratch[0][row] + width.from[i] * channels;
        scratch[3][terms++] = (scratch[1][row] + width.taps[i]) * channels;
      }
    }
    return terms;
  }

  /** dWeight (C, 1, k...) = Σ picture · sums over all places where a tap links them. */
  private static void weightGradient(
      String kind, Lowering l, Value picture, Value sums, Geometry geometry, Value dWeight) {
    int taps = geometry.taps();
    int size = taps * geometry.channels;
    l.program.loop(
        kind,
        2.0 * taps * sums.elements(),
        List.of(picture, sums),
        List.of(dWeight),
        () -> {
          Rows x = new Rows(picture.buffer(), picture.type, 0);
          Rows y = new Rows(sums.buffer(), sums.type, 0);
          Members<Sums> members = new Members<>(() -> new Sums(size));
          float[] total = new float[size];
          return team -> {
            List<Sums> own = members.of(team);
            team.run((m, n) -> own.get(m).compute(x, y, geometry, m, n));
            for (int c = 0; c < geometry.channels; c++) {
              for (int tap = 0; tap < taps; tap++) {
                total[c * taps + tap] = total(own, tap * geometry.channels + c, team);
              }
            }
            dWeight.write(total);
          };
        });
  }

  private static float total(List<Sums> members, int place, Team team) {
    double sum = 0;
    for (int member = 0; member < team.threads(); member++) {
      sum += members.get(member).all[place];
    }
    return (float) sum;
  }

  /** One member's part of a weight gradient, (taps, channels). */
  private static final class Sums {
    private final float[] image; // of the present image: short sums
    private final double[] all;

    Sums(int size) {
      image = new float[size];
      all = new double[size];
    }

    void compute(Rows x, Rows y, Geometry g, int member, int members) {
      Arrays.fill(all, 0);
      int rows = g.images * g.sums[0] * g.sums[1];
      int end = Team.share(rows, member + 1, members);
      PixelLoops loops = PixelLoops.best();
      for (int row = Team.share(rows, member, members); row < end; row++) {
        addRow(loops, x, y, g, row);
        if (row + 1 == end || (row + 1) % (g.sums[0] * g.sums[1]) == 0) {
          for (int i = 0; i < all.length; i++) {
            all[i] += image[i];
          }
          Arrays.fill(image, 0);
        }
      }
    }

    private void addRow(PixelLoops loops, Rows x, Rows y, Geometry g, int row) {
      int h = row % g.sums[1];
      int d = row / g.sums[1] % g.sums[0];
      int image = row / g.sums[1] / g.sums[0];
      for (int i = 0; i < g.kernel[0]; i++) {
        int plane = g.pixel(0, d, i);
        for (int j = 0; j < g.kernel[1]; j++) {
          int line = g.pixel(1, h, j);
          if (plane < 0 || plane >= g.pixels[0] || line < 0 || line >= g.pixels[1]) {
            continue;
          }
          int from = ((image * g.pixels[0] + plane) * g.pixels[1] + line) * g.pixels[2];
          int tap = (i * g.kernel[1] + j) * g.kernel[2];
          addLine(loops, x, from, y, row * g.sums[2], g, tap);
        }
      }
    }

    private void addLine(PixelLoops loops, Rows x, int from, Rows y, int to, Geometry g, int tap) {
      for (int k = 0; k < g.kernel[2]; k++) {
        int first = 0;
        while (first < g.sums[2] && g.pixel(2, first, k) < 0) {
          first++;
        }
        int end = g.sums[2];
        while (end > first && g.pixel(2, end - 1, k) >= g.pixels[2]) {
          end--;
        }
        if (end > first) {
          loops.products(
              x,
              (from + g.pixel(2, first, k)) * g.channels,
              g.stride[2] * g.channels,
              y,
              (to + first) * g.channels,
              g.channels,
              end - first,
              g.channels,
              image,
              (tap + k) * g.channels);
        }
      }
    }
  }
}
