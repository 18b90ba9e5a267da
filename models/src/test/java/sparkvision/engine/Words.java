package sparkvision.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import sparkvision.Draw;
import sparkvision.graph.Conv;
import sparkvision.graph.ConvTranspose;
import sparkvision.graph.Graph;
import sparkvision.graph.Linear;
import sparkvision.graph.Losses;
import sparkvision.graph.Resize;
import sparkvision.graph.ScanInputs;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/**
 * Every word of the vocabulary in small graphs of random shapes and attributes, for whatever ought
 * to hold of all of them: that gradients are right, that engines agree.
 *
 * <p>Sizes are odd and small, values keep away from kinks and ties, and the loss is a random
 * weighting of all outputs, so that a wrong gradient shows.
 */
final class Words {

  /** Where the float tensors of a graph come from. */
  enum Source {
    /** Parameters: their values can be changed in double precision. */
    PARAMETERS,
    /** Inputs whose gradients are requested. */
    INPUTS,
    /** The one or the other, at random. */
    BOTH
  }

  /** A word, or some of them, with everything about it still to be drawn. */
  record Case(String name, Function<Words, Tensor> word) {

    /** A training graph of floats; the same for the same seed. */
    Sample draw(long seed) {
      return draw(seed, Graph.Mode.TRAINING, Graph.Precision.FLOAT, Source.BOTH);
    }

    /** A graph of these; the same for the same seed, and of the same shapes and values for all. */
    Sample draw(long seed, Graph.Mode mode, Graph.Precision precision, Source source) {
      Graph g = new Graph(mode, seed, precision);
      Words words = new Words(g, new Draw(seed), source);
      Tensor y = word.apply(words);
      words.result(y);
      return new Sample(name + " of seed " + seed, g, words.inputs, words.state(seed));
    }

    @Override
    public String toString() {
      return name;
    }
  }

  /**
   * A graph and what it is to be run with.
   *
   * @param state a value for every variable, to be loaded before the first run
   */
  record Sample(
      String name, Graph graph, Map<String, HostTensor> inputs, Map<String, HostTensor> state) {

    @Override
    public String toString() {
      return name + ": " + graph.nodes();
    }
  }

  private final Graph g;
  private final Draw draw;
  private final Source source;
  private final Map<String, HostTensor> inputs = new LinkedHashMap<>();
  private final Map<String, HostTensor> parameters = new LinkedHashMap<>();

  private Words(Graph g, Draw draw, Source source) {
    this.g = g;
    this.draw = draw;
    this.source = source;
  }

  // Ends of a graph.

  /** Something to learn, or an input whose gradient is requested. */
  private Tensor float32(HostTensor values) {
    boolean learned = draw.coin();
    if (source == Source.PARAMETERS || (source == Source.BOTH && learned)) {
      String name = "p" + parameters.size();
      parameters.put(name, values);
      return g.parameter(name, (seed, anyName, shape) -> values.floats().clone(), values.shape());
    }
    Tensor x = constant(values);
    g.requestGradient(x);
    return x;
  }

  /** An input that gets no gradient. */
  private Tensor constant(HostTensor values) {
    String name = "x" + inputs.size();
    inputs.put(name, values);
    return values.isFloat() ? g.input(name, values.shape()) : g.indices(name, values.shape());
  }

  private Tensor normal(long... shape) {
    return float32(draw.values(shape));
  }

  private Tensor positive(long... shape) {
    return float32(draw.positive(shape));
  }

  private Tensor apart(long... shape) {
    return float32(draw.apart(shape));
  }

  private Tensor indices(int end, long... shape) {
    return constant(draw.indices(end, shape));
  }

  /** Declares an output that the loss depends on. */
  private void result(Tensor y) {
    g.output("y" + g.outputs().size(), y);
    HostTensor weighting = draw.values(y.shape());
    if (g.mode() == Graph.Mode.TRAINING) {
      g.loss(Losses.weightedSum(g, y, constant(weighting)));
    }
  }

  /** Random values for all variables, so that no scale is 1 and no shift is 0. */
  private Map<String, HostTensor> state(long seed) {
    Map<String, HostTensor> state = new LinkedHashMap<>();
    Draw values = new Draw(-1 - seed);
    for (Variable variable : g.variables()) {
      long[] shape = variable.tensor().shape();
      HostTensor value =
          switch (variable.role()) {
            case PARAMETER -> parameters.getOrDefault(variable.name(), values.values(shape));
            case STATISTIC -> values.positive(shape);
            case COUNTER -> HostTensor.ofLongs(new long[1]);
          };
      state.put(variable.name(), value);
    }
    return state;
  }

  // Shapes.

  /** Any shape of these ranks. */
  private long[] shape(int leastRank, int mostRank) {
    return draw.numbers(draw.number(leastRank, mostRank), 1, 5);
  }

  /** (B, C, ...) with so many spatial axes. */
  private long[] picture(int axes) {
    return joined(draw.numbers(2, 1, 4), draw.numbers(axes, 1, axes == 3 ? 6 : 9));
  }

  private int axis(int rank) {
    return draw.number(0, rank - 1);
  }

  /** Some of the axes, at least one. */
  private int[] axes(int rank) {
    return Arrays.copyOf(draw.order(rank), draw.number(1, rank));
  }

  /** What broadcasts with {@code shape}: some sizes are 1, and some axes missing. */
  private long[] narrowed(long... shape) {
    int missing = draw.coin() ? draw.number(0, shape.length) : 0;
    return Arrays.stream(shape).skip(missing).map(size -> draw.coin() ? 1 : size).toArray();
  }

  private static long[] joined(long[]... parts) {
    return Arrays.stream(parts).flatMapToLong(Arrays::stream).toArray();
  }

  // The list.

  /** What only kernels for large maps see; too large for naive loops. */
  static List<Case> large() {
    return List.of(
        new Case("wide conv 2d", Words::wideConv),
        new Case("long causal conv with its activation", w -> w.causalConvSilu(70, 75)),
        new Case("long selective scan", w -> w.selectiveScan(2, 70, 18, 75)));
  }

  /** All words, and a few networks of many words. */
  static List<Case> all() {
    List<Case> all = new ArrayList<>();
    for (int axes = 1; axes <= 3; axes++) {
      int n = axes;
      String dims = " " + n + "d";
      all.add(new Case("conv" + dims, w -> w.conv(n, w.draw.number(1, 2))));
      all.add(new Case("depthwise conv" + dims, w -> w.conv(n, 4)));
      all.add(new Case("transposed conv" + dims, w -> w.convTranspose(n)));
      all.add(new Case("resize" + dims, w -> w.resize(n)));
      if (n > 1) {
        all.add(new Case("max pool" + dims, w -> w.maxPool(n)));
        all.add(new Case("average pool" + dims, w -> w.averagePool(n)));
        all.add(new Case("adaptive average pool" + dims, w -> w.adaptivePool(n)));
        all.add(new Case("adaptive max pool" + dims, w -> w.adaptiveMaxPool(n)));
        all.add(
            new Case(
                "global average pool" + dims, w -> w.g.globalAveragePool(w.normal(w.picture(n)))));
        all.add(new Case("global max pool" + dims, w -> w.g.globalMaxPool(w.apart(w.picture(n)))));
      }
    }
    all.add(new Case("plain conv 2d", Words::plainConv));
    all.add(new Case("causal conv", Words::causalConv));
    all.add(new Case("cubic resize", Words::cubicResize));

    all.add(new Case("batch norm", Words::batchNorm));
    all.add(new Case("layer norm", Words::layerNorm));
    all.add(new Case("group norm", Words::groupNorm));
    all.add(new Case("rms norm", Words::rmsNorm));

    all.add(new Case("matmul", Words::matmul));
    all.add(new Case("linear", Words::linear));
    all.add(new Case("attention", Words::attention));
    all.add(new Case("criss-cross", Words::crissCross));
    all.add(new Case("causal conv with its activation", w -> w.causalConvSilu(5, 7)));
    all.add(new Case("selective scan", w -> w.selectiveScan(3, 5, 4, 7)));

    all.add(new Case("softmax", w -> w.along(w.shape(1, 5), w.g::softmax)));
    all.add(new Case("log softmax", w -> w.along(w.shape(1, 5), w.g::logSoftmax)));
    all.add(new Case("relu", w -> w.g.relu(w.apart(w.shape(0, 5)))));
    all.add(
        new Case(
            "leaky relu", w -> w.g.leakyRelu(w.apart(w.shape(0, 5)), w.draw.number(-1, 3) / 10.0)));
    all.add(new Case("gelu", w -> w.g.gelu(w.normal(w.shape(0, 5)))));
    all.add(new Case("silu", w -> w.g.silu(w.normal(w.shape(0, 5)))));
    all.add(new Case("sigmoid", w -> w.g.sigmoid(w.normal(w.shape(0, 5)))));
    all.add(new Case("tanh", w -> w.g.tanh(w.normal(w.shape(0, 5)))));
    all.add(new Case("softplus", w -> w.g.softplus(w.g.scale(w.normal(w.shape(0, 5)), 15))));
    all.add(new Case("exp", w -> w.g.exp(w.normal(w.shape(0, 5)))));
    all.add(new Case("log", w -> w.g.log(w.positive(w.shape(0, 5)))));
    all.add(new Case("sqrt", w -> w.g.sqrt(w.positive(w.shape(0, 5)))));
    all.add(new Case("rsqrt", w -> w.g.rsqrt(w.positive(w.shape(0, 5)))));
    all.add(new Case("abs", w -> w.g.abs(w.apart(w.shape(0, 5)))));
    all.add(
        new Case("power", w -> w.g.power(w.positive(w.shape(0, 5)), w.draw.number(-4, 6) / 2.0)));
    all.add(new Case("whole power", w -> w.g.power(w.apart(w.shape(0, 5)), w.draw.number(0, 4))));
    all.add(
        new Case(
            "affine",
            w ->
                w.g.affine(
                    w.normal(w.shape(0, 5)), w.draw.number(-3, 3), w.draw.number(-3, 3) / 2.0)));

    all.add(new Case("add", w -> w.pair((g, x) -> g.add(x.get(0), x.get(1)))));
    all.add(new Case("subtract", w -> w.pair((g, x) -> g.subtract(x.get(0), x.get(1)))));
    all.add(new Case("multiply", w -> w.pair((g, x) -> g.multiply(x.get(0), x.get(1)))));
    all.add(new Case("divide", w -> w.pair((g, x) -> g.divide(x.get(0), x.get(1)))));
    all.add(new Case("square", w -> w.g.square(w.normal(w.shape(0, 4)))));

    all.add(new Case("sum", w -> w.over(w.normal(w.shape(1, 5)), w.g::sum, w.g::sumKeep)));
    all.add(new Case("mean", w -> w.over(w.normal(w.shape(1, 5)), w.g::mean, w.g::meanKeep)));
    all.add(new Case("max", w -> w.over(w.apart(w.shape(1, 5)), w.g::max, w.g::maxKeep)));
    all.add(new Case("sum of all", w -> w.g.sum(w.normal(w.shape(0, 5)))));

    all.add(new Case("concat", Words::concat));
    all.add(new Case("slice", Words::slice));
    all.add(new Case("pad", Words::pad));
    all.add(new Case("permute", Words::permute));
    all.add(new Case("reshape", Words::reshape));
    all.add(
        new Case(
            "flip",
            w -> {
              Tensor x = w.normal(w.shape(1, 5));
              return w.g.flip(x, w.axes(x.rank()));
            }));
    all.add(new Case("gather", Words::gather));
    all.add(new Case("dropout", Words::dropout));

    all.add(new Case("soft dice of labels", Words::softDice));
    all.add(new Case("cross-entropy", Words::crossEntropy));
    all.add(new Case("hard cross-entropy", Words::hardCrossEntropy));
    all.add(new Case("soft cross-entropy", Words::softCrossEntropy));
    all.add(new Case("other losses", Words::otherLosses));

    all.add(new Case("residual network", Words::residualNetwork));
    all.add(new Case("dense network", Words::denseNetwork));
    all.add(new Case("transformer", Words::transformer));
    all.add(new Case("pyramid", Words::pyramid));
    all.add(new Case("chain", Words::chain));
    return all;
  }

  // Windows.

  private Tensor conv(int axes, int mostGroups) {
    int groups = draw.number(1, mostGroups);
    boolean depthwise = mostGroups > 2;
    long in = (long) groups * (depthwise ? 1 : draw.number(1, 3));
    long out = (long) groups * draw.number(1, 3);
    long[] kernel = draw.numbers(axes, 1, 3);
    long[] dilation = draw.numbers(axes, 1, draw.coin() ? 1 : 2);
    long[] size = draw.numbers(axes, 5, axes == 3 ? 6 : 9); // no less than a dilated kernel
    Tensor x = normal(joined(new long[] {draw.number(1, 3), in}, size));
    Conv conv = g.conv("conv", in, out, kernel);
    conv = groups > 1 ? conv.groups(groups) : conv;
    conv = draw.coin() ? conv.withBias() : conv;
    return conv.stride(draw.numbers(axes, 1, 3))
        .padding(draw.numbers(axes, 0, 2))
        .dilation(dilation)
        .apply(x);
  }

  /** As most convolutions are: 1 or 3 pixels wide, padded to keep the size or halve it. */
  private Tensor plainConv() {
    int in = draw.number(1, 5);
    int wide = draw.number(0, 1);
    Tensor x = normal(draw.number(1, 3), in, draw.number(1, 9), draw.number(1, 9));
    return g.conv("conv", in, draw.number(1, 5), 1 + 2L * wide, 1 + 2L * wide)
        .stride(draw.number(1, 2))
        .padding(wide)
        .apply(x);
  }

  /** Windows of 3 x 3 over many channels and pixels, between norms or by themselves. */
  private Tensor wideConv() {
    long in = 16L * draw.number(1, 2);
    long out = 16L * draw.number(1, 2);
    int batch = draw.number(2, 4);
    long height = draw.number(15, 20);
    // 1,024 pixels of the result at least, or an image that is narrower than the windows ask for.
    long width = draw.number(0, 3) == 0 ? draw.number(1, 4) : 1100 / (batch * (height - 2)) + 5;
    long[] padding = width < 3 ? new long[] {1, 1} : draw.numbers(2, 0, 3);
    Tensor x = normal(batch, in, height, width);
    if (draw.coin()) {
      x = g.relu(g.batchNorm("norm", in).apply(x));
    }
    Conv conv = g.conv("conv", in, out, 3, 3).padding(padding);
    Tensor y = (draw.coin() ? conv.withBias() : conv).apply(x);
    return switch (draw.number(0, 2)) {
      case 0 -> y;
      case 1 -> g.relu(y);
      default -> g.relu(g.batchNorm("after", out).apply(y));
    };
  }

  private Tensor causalConv() {
    int channels = draw.number(1, 3);
    Tensor x = normal(draw.number(1, 3), channels, draw.number(1, 9));
    Conv conv = g.conv("conv", channels, channels, draw.number(1, 4)).groups(channels);
    return conv.withBias().dilation(draw.number(1, 2)).causal().apply(x);
  }

  private Tensor convTranspose(int axes) {
    int groups = draw.number(1, 2);
    long in = (long) groups * draw.number(1, 2);
    long out = (long) groups * draw.number(1, 2);
    long[] kernel = draw.numbers(axes, 2, 3);
    long[] stride = draw.numbers(axes, 1, 3);
    long[] more = Arrays.stream(stride).map(most -> draw.number(0, (int) most - 1)).toArray();
    long[] size = draw.numbers(axes, 2, axes == 3 ? 3 : 5);
    Tensor x = normal(joined(new long[] {draw.number(1, 3), in}, size));
    ConvTranspose conv = g.convTranspose("conv", in, out, kernel);
    conv = groups > 1 ? conv.groups(groups) : conv;
    conv = draw.coin() ? conv.withBias() : conv;
    return conv.stride(stride)
        .padding(draw.numbers(axes, 0, 1))
        .outputPadding(more)
        .dilation(draw.numbers(axes, 1, 2))
        .apply(x);
  }

  private Tensor maxPool(int axes) {
    long[] kernel = draw.numbers(axes, 1, 3);
    long[] padding = Arrays.stream(kernel).map(size -> draw.number(0, (int) size / 2)).toArray();
    long[] size = draw.numbers(axes, 3, axes == 3 ? 6 : 9);
    Tensor x = apart(joined(draw.numbers(2, 1, 3), size));
    return g.maxPool(x, kernel, draw.numbers(axes, 1, 3), padding);
  }

  private Tensor averagePool(int axes) {
    long[] kernel = draw.numbers(axes, 1, 3);
    long[] padding = Arrays.stream(kernel).map(size -> draw.number(0, (int) size / 2)).toArray();
    long[] stride = draw.numbers(axes, 1, 3);
    long[] size = draw.numbers(axes, 3, axes == 3 ? 6 : 9);
    Tensor x = normal(joined(draw.numbers(2, 1, 3), size));
    return draw.coin()
        ? g.averagePool(x, kernel, stride, padding)
        : g.averagePoolInside(x, kernel, stride, padding);
  }

  private Tensor adaptivePool(int axes) {
    return g.adaptiveAveragePool(normal(picture(axes)), draw.numbers(axes, 1, 7));
  }

  private Tensor adaptiveMaxPool(int axes) {
    return g.adaptiveMaxPool(apart(picture(axes)), draw.numbers(axes, 1, 7));
  }

  private Tensor resize(int axes) {
    Resize[] ways = {Resize.NEAREST, Resize.LINEAR, Resize.LINEAR_ALIGNED};
    return resize(ways[draw.number(0, 2)], axes);
  }

  private Tensor cubicResize() {
    return resize(draw.coin() ? Resize.CUBIC : Resize.CUBIC_ALIGNED, 2);
  }

  private Tensor resize(Resize way, int axes) {
    long[] shape = picture(axes);
    long[] size = draw.numbers(axes, 1, 9);
    size[0] += size[0] == shape[2] ? 1 : 0; // the same size would be no word at all
    return g.resize(normal(shape), way, size);
  }

  // Normalisations.

  private Tensor batchNorm() {
    long[] shape = shape(2, 5);
    shape[0]++; // one value per channel has no variance
    return g.batchNorm("norm", shape[1])
        .withEpsilon(0.1 / draw.number(1, 1000))
        .withMomentum(draw.number(0, 10) / 10.0)
        .apply(normal(shape));
  }

  private Tensor layerNorm() {
    long[] shape = shape(2, 4);
    long channels = ++shape[shape.length - 1];
    return g.layerNorm("norm", channels, 0.1 / draw.number(1, 1000)).apply(normal(shape));
  }

  private Tensor groupNorm() {
    long[] shape = shape(2, 5);
    int groups = draw.number(1, 3);
    shape[1] = (long) groups * draw.number(2, 3);
    return g.groupNorm("norm", groups, shape[1], 0.1 / draw.number(1, 1000)).apply(normal(shape));
  }

  private Tensor rmsNorm() {
    long[] shape = shape(2, 4);
    long channels = shape[shape.length - 1];
    return g.rmsNorm("norm", channels, 0.1 / draw.number(1, 1000)).apply(normal(shape));
  }

  // Products.

  private Tensor matmul() {
    long[] batch = draw.numbers(draw.number(0, 3), 1, 3);
    long m = draw.number(1, 6);
    long k = draw.number(1, 6);
    long n = draw.number(1, 6);
    return switch (draw.number(0, 2)) {
      case 0 -> g.matmul(moved(joined(batch, of(m, k))), moved(joined(batch, of(k, n))));
      case 1 -> g.matmulTransposeA(moved(joined(batch, of(k, m))), moved(joined(batch, of(k, n))));
      default -> g.matmulTransposeB(moved(joined(batch, of(m, k))), moved(joined(batch, of(n, k))));
    };
  }

  /** Half of the time a view whose axes lie in memory in another order. */
  private Tensor moved(long... shape) {
    if (draw.coin()) {
      return normal(shape);
    }
    int[] axes = draw.order(shape.length);
    long[] before = new long[shape.length];
    for (int i = 0; i < shape.length; i++) {
      before[axes[i]] = shape[i];
    }
    return g.permute(normal(before), axes);
  }

  private static long[] of(long... sizes) {
    return sizes;
  }

  private Tensor linear() {
    long[] shape = shape(2, 4);
    Linear linear = g.linear("linear", shape[shape.length - 1], draw.number(1, 6));
    return (draw.coin() ? linear : linear.withoutBias()).apply(normal(shape));
  }

  private Tensor attention() {
    long[] batch = draw.numbers(draw.number(0, 2), 1, 3);
    long n = draw.number(1, 6);
    long m = draw.number(1, 6);
    long d = draw.number(1, 4);
    Tensor q = normal(joined(batch, of(n, d)));
    Tensor k = normal(joined(batch, of(m, d)));
    Tensor v = normal(joined(batch, of(m, draw.number(1, 4))));
    double scale = (draw.coin() ? 1 : -1) / Math.sqrt((double) d);
    return g.attention(q, k, v, draw.coin() ? 1 : scale);
  }

  private Tensor crissCross() {
    long[] batch = draw.numbers(1, 1, 3);
    long[] map = draw.numbers(2, 1, 5);
    long[] narrow = joined(joined(batch, of(draw.number(1, 3))), map);
    Tensor v = normal(joined(joined(batch, of(draw.number(1, 4))), map));
    return g.crissCross(normal(narrow), normal(narrow), v);
  }

  /** With at most so many of each size. */
  private Tensor causalConvSilu(int channels, int length) {
    long wide = draw.number(1, channels);
    long[] sequence = {draw.number(1, 3), wide, draw.number(1, length)};
    return g.causalConv(
        normal(sequence), normal(wide, 1, draw.number(1, 5)), normal(wide), draw.coin());
  }

  /** With at most so many of each size. */
  private Tensor selectiveScan(int batches, int channels, int states, int length) {
    long batch = draw.number(1, batches);
    long wide = draw.number(1, channels);
    long deep = draw.number(1, states);
    long tokens = draw.number(1, length);
    long[] sequence = {batch, wide, tokens};
    long[] perState = {batch, deep, tokens};
    Supplier<ScanInputs> scan =
        () ->
            new ScanInputs(
                normal(sequence),
                normal(sequence),
                g.scale(positive(wide, deep), -1),
                normal(perState),
                normal(perState),
                normal(wide),
                normal(wide));
    return draw.coin()
        ? g.selectiveScan(scan.get(), normal(sequence), draw.coin())
        : g.selectiveScan(scan.get(), scan.get(), normal(sequence), draw.coin());
  }

  // Element by element, along an axis, over axes.

  private Tensor along(long[] shape, BiFunction<Tensor, Integer, Tensor> word) {
    int axis = axis(shape.length);
    return word.apply(normal(shape), draw.coin() ? axis : axis - shape.length);
  }

  private Tensor pair(BiFunction<Graph, List<Tensor>, Tensor> word) {
    long[] shape = shape(0, 5);
    long[] other = draw.number(0, 3) == 0 ? shape : narrowed(shape);
    // Both may be narrower than their result.
    long[] own = draw.coin() ? shape : narrowed(shape);
    Tensor x = moved(draw.coin() ? own : shape);
    Tensor y = apart(other);
    return word.apply(g, List.of(x, y));
  }

  private Tensor over(
      Tensor x,
      BiFunction<Tensor, int[], Tensor> vanishing,
      BiFunction<Tensor, int[], Tensor> staying) {
    return (draw.coin() ? vanishing : staying).apply(x, axes(x.rank()));
  }

  // Moving elements.

  private Tensor concat() {
    long[] shape = shape(1, 5);
    int axis = axis(shape.length);
    List<Tensor> parts = new ArrayList<>();
    for (int i = draw.number(1, 4); i > 0; i--) {
      shape[axis] = draw.number(1, 4);
      parts.add(normal(shape));
    }
    if (draw.coin()) {
      parts.add(parts.get(0));
    }
    return g.concat(axis, parts.toArray(Tensor[]::new));
  }

  private Tensor slice() {
    long[] shape = shape(1, 5);
    long[] begin = Arrays.stream(shape).map(size -> draw.number(0, (int) size - 1)).toArray();
    long[] end =
        IntStream.range(0, shape.length)
            .mapToLong(i -> draw.number((int) begin[i] + 1, (int) shape[i]))
            .toArray();
    return g.slice(normal(shape), begin, end, draw.numbers(shape.length, 1, 3));
  }

  private Tensor pad() {
    long[] shape = shape(1, 5);
    long[] before = draw.numbers(shape.length, 0, 2);
    long[] after = draw.numbers(shape.length, 0, 2);
    return g.pad(normal(shape), before, after, draw.number(-1, 1));
  }

  private Tensor permute() {
    long[] shape = shape(2, 5);
    int[] order = draw.order(shape.length);
    if (order[0] < order[order.length - 1]) { // so that it is not the order that they have
      int first = order[0];
      order[0] = order[order.length - 1];
      order[order.length - 1] = first;
    }
    return g.permute(normal(shape), order);
  }

  private Tensor reshape() {
    long[] shape = shape(1, 4);
    Tensor x = normal(shape);
    return switch (draw.number(0, 2)) {
      case 0 -> g.reshape(x, joined(new long[] {1}, shape));
      case 1 -> g.reshape(g.silu(x), -1, 1);
      default -> g.add(g.reshape(x, x.elements(), 1), g.reshape(x, 1, x.elements()));
    };
  }

  private Tensor gather() {
    long[] shape = shape(1, 4);
    int axis = axis(shape.length);
    Tensor indices = indices((int) shape[axis], draw.numbers(draw.number(0, 3), 1, 4));
    return g.gather(normal(shape), indices, axis);
  }

  private Tensor dropout() {
    Tensor x = normal(shape(2, 5));
    double rate = draw.number(1, 9) / 10.0;
    return switch (draw.number(0, 2)) {
      case 0 -> g.dropout(x, rate);
      case 1 -> g.dropoutChannels(x, rate);
      default -> g.dropPath(x, rate);
    };
  }

  // Losses.

  private Tensor softDice() {
    long[] shape = shape(3, 5);
    long ignored = ignored();
    HostTensor labels = labels(shape, ignored);
    return Losses.softDice(g, normal(shape), constant(labels), 0.5, ignored);
  }

  private long ignored() {
    return draw.coin() ? 255 : draw.coin() ? 0 : Losses.IGNORE_NOTHING;
  }

  /** Labels for logits (B, K, ...), some of them to ignore. */
  private HostTensor labels(long[] shape, long ignored) {
    long[] places = joined(of(shape[0]), Arrays.copyOfRange(shape, 2, shape.length));
    HostTensor labels = draw.indices((int) shape[1], places);
    for (int i = 0; i < labels.longs().length && ignored == 255; i++) {
      labels.longs()[i] = draw.number(0, 3) == 0 ? 255 : labels.longs()[i];
    }
    return labels;
  }

  private Tensor crossEntropy() {
    int classes = draw.number(2, 5);
    long[] shape = shape(2, 4);
    shape[1] = classes;
    long ignored = ignored();
    HostTensor labels = labels(shape, ignored);
    double smoothing = draw.number(0, 3) / 10.0;
    Tensor logits = normal(shape);
    return draw.coin()
        ? Losses.crossEntropy(g, logits, constant(labels), smoothing, ignored)
        : Losses.crossEntropy(
            g, logits, constant(labels), smoothing, ignored, constant(draw.positive(classes)));
  }

  private Tensor hardCrossEntropy() {
    long[] shape = shape(3, 4);
    shape[1] = draw.number(2, 5);
    long ignored = ignored();
    HostTensor labels = labels(shape, ignored);
    double smoothing = draw.number(0, 3) / 10.0;
    double threshold = draw.number(0, 10) / 10.0;
    long leastKept = draw.number(0, labels.longs().length + 2);
    return Losses.hardCrossEntropy(
        g, normal(shape), constant(labels), smoothing, ignored, threshold, leastKept);
  }

  private Tensor softCrossEntropy() {
    long[] shape = shape(2, 4);
    return Losses.softCrossEntropy(g, normal(shape), positive(shape));
  }

  /** Those that are no words of their own, as several losses with weights. */
  private Tensor otherLosses() {
    long[] shape = shape(3, 4);
    Tensor x = normal(shape);
    Tensor target = positive(shape);
    double beta = draw.number(0, 3) / 2.0;
    long[] weights = draw.numbers(5, -2, 3);
    List<Tensor> parts =
        List.of(
            Losses.dice(g, g.sigmoid(x), target, 0.5),
            Losses.bceWithLogits(g, x, target),
            Losses.smoothL1(g, x, target, beta),
            Losses.hingeDiscriminator(g, x, target),
            Losses.hingeGenerator(g, x));
    for (int i = 0; i < weights.length; i++) {
      g.loss(parts.get(i), (double) weights[i]);
    }
    return g.add(parts.get(0), parts.get(1));
  }

  // Networks.

  private Tensor residualNetwork() {
    int channels = draw.number(1, 4);
    Tensor x = normal(draw.number(2, 3), channels, draw.number(3, 7), draw.number(3, 7));
    Conv shared = g.conv("shared", channels, channels, 3, 3).padding(1);
    for (int i = 0; i < 2; i++) {
      Tensor branch = g.relu(g.batchNorm("norm" + i, channels).apply(shared.apply(x)));
      branch = g.dropPath(branch, 0.3);
      x = g.add(x, branch);
    }
    result(g.linear("head", channels, 3).apply(g.globalAveragePool(x)));
    return g.maxPool(x, 3, 2, 1);
  }

  private Tensor denseNetwork() {
    int channels = draw.number(1, 3);
    Tensor x = normal(draw.number(2, 3), channels, draw.number(3, 7), draw.number(3, 7));
    for (int i = 0; i < 3; i++) {
      Tensor y = g.relu(g.batchNorm("norm" + i, channels).apply(x));
      y = g.conv("conv" + i, channels, 2, 3, 3).padding(1).apply(y);
      x = g.concat(x, y);
      channels += 2;
    }
    Tensor logits = g.linear("head", channels, 4).apply(g.globalAveragePool(g.relu(x)));
    return Losses.crossEntropy(g, logits, indices(4, x.size(0)), 0.1);
  }

  private Tensor transformer() {
    int heads = draw.number(1, 2);
    int width = heads * draw.number(2, 3);
    int patch = draw.number(1, 2);
    Tensor picture = normal(draw.number(1, 3), 2, patch * 3L, patch * 2L);
    Tensor x = g.conv("embed", 2, width, patch, patch).withBias().stride(patch).apply(picture);
    x = g.rearrange(x, "b c h w -> b (h w) c");
    Tensor token = g.add(normal(1, 1, width), g.scale(g.slice(x, 1, 0, 1), 0));
    x = g.concat(1, token, x);
    x = g.add(x, normal(1, x.size(1), width));
    Tensor y = g.layerNorm("norm1", width, 1e-3).apply(x);
    Tensor qkv = g.linear("qkv", width, 3L * width).apply(y);
    qkv = g.rearrange(qkv, "b n (s h d) -> s b h n d", Map.of("s", 3L, "h", (long) heads));
    Tensor attended =
        g.attention(
            g.select(qkv, 0, 0), g.select(qkv, 0, 1), g.select(qkv, 0, 2), 1 / Math.sqrt(width));
    attended = g.rearrange(attended, "b h n d -> b n (h d)");
    x = g.add(x, g.linear("project", width, width).apply(attended));
    y = g.layerNorm("norm2", width, 1e-3).apply(x);
    y =
        g.linear("down", 2L * width, width)
            .apply(g.gelu(g.linear("up", width, 2L * width).apply(y)));
    return g.select(g.add(x, y), 1, 0);
  }

  private Tensor pyramid() {
    Tensor x = normal(draw.number(1, 2), 2, draw.number(4, 9), draw.number(4, 9));
    Tensor fine = g.silu(g.conv("fine", 2, 3, 3, 3).padding(1).apply(x));
    Tensor coarse = g.conv("coarse", 3, 3, 2, 2).stride(2).apply(fine);
    Tensor pooled = g.adaptiveAveragePool(coarse, 1 + draw.number(0, 1));
    Tensor back = g.resize(g.tanh(coarse), Resize.LINEAR, fine.size(2), fine.size(3));
    Tensor gate = g.sigmoid(g.resize(pooled, Resize.LINEAR, fine.size(2), fine.size(3)));
    result(coarse);
    return g.concat(g.multiply(fine, gate), back);
  }

  /** A word after the other, each on some earlier result of the same or a broadcasting shape. */
  private Tensor chain() {
    long[] shape = {draw.number(1, 3), draw.number(1, 4), draw.number(2, 5), draw.number(2, 5)};
    List<Tensor> results = new ArrayList<>(List.of(normal(shape), normal(shape)));
    for (int i = 0; i < 8; i++) {
      Tensor x = results.get(draw.number(0, results.size() - 1));
      Tensor y = results.get(draw.number(0, results.size() - 1));
      long c = shape[1];
      results.add(
          switch (draw.number(0, 13)) {
            case 0 -> g.add(x, y);
            case 1 -> g.multiply(g.tanh(x), y);
            case 2 -> g.multiply(x, g.sigmoid(g.meanKeep(y, 2, 3)));
            case 3 -> g.conv("conv" + i, c, c, 3, 3).padding(1).apply(x);
            case 4 -> g.conv("conv" + i, c, c, 1, 1).withBias().apply(x);
            case 5 -> g.conv("conv" + i, c, c, 3, 3).groups(c).padding(1).apply(x);
            case 6 -> g.flip(g.gelu(x), draw.number(1, 3));
            case 7 -> g.subtract(x, g.sumKeep(g.softmax(y, 1), 3));
            case 8 -> g.slice(g.concat(x, y), 1, c / 2, c / 2 + c);
            case 9 -> g.averagePool(x, of(3), of(1), of(1));
            case 10 -> g.resize(g.adaptiveAveragePool(x, 1, 2), Resize.LINEAR, shape[2], shape[3]);
            case 11 -> g.rearrange(tokens(i, x), "b (h w) c -> b c h w", Map.of("h", shape[2]));
            case 12 -> g.groupNorm("norm" + i, 1, c, 0.1).apply(x);
            default -> g.leakyRelu(x, 0.1);
          });
    }
    result(results.get(results.size() - 2));
    return results.get(results.size() - 1);
  }

  private Tensor tokens(int i, Tensor x) {
    Tensor tokens = g.rearrange(x, "b c h w -> b (h w) c");
    return g.linear("linear" + i, x.size(1), x.size(1)).apply(tokens);
  }
}
