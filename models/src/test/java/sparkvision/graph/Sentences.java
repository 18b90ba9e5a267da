package sparkvision.graph;

import static sparkvision.Networks.x;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.Function;
import sparkvision.Draw;
import sparkvision.weights.HostTensor;

/**
 * Small inference graphs by name, which together use every word in every form: what {@link Naive}
 * is compared with. Parameters are random; int64 inputs are named {@code indices} and below 4.
 */
final class Sentences {

  static final Map<String, Function<Graph, Tensor>> ALL = new LinkedHashMap<>();

  private Sentences() {}

  static {
    ALL.put(
        "conv 1d", g -> g.conv("c", 3, 4, 3).stride(2).padding(1).withBias().apply(x(g, 2, 3, 8)));
    ALL.put("conv 1d causal", g -> g.conv("c", 3, 4, 4).causal().apply(x(g, 2, 3, 7)));
    ALL.put(
        "conv 1d causal, depthwise, dilated",
        g -> g.conv("c", 3, 3, 4).groups(3).dilation(2).causal().withBias().apply(x(g, 2, 3, 7)));
    ALL.put(
        "conv 1d in groups",
        g -> g.conv("c", 4, 6, 3).groups(2).padding(1).withBias().apply(x(g, 2, 4, 7)));
    ALL.put(
        "conv 2d, each axis by itself",
        g ->
            g.conv("c", 3, 4, 3, 2)
                .stride(2, 1)
                .padding(1, 2)
                .dilation(1, 3)
                .withBias()
                .apply(x(g, 2, 3, 7, 6)));
    ALL.put(
        "conv 2d dilated",
        g -> g.conv("c", 3, 4, 3, 3).dilation(2).padding(2).apply(x(g, 2, 3, 7, 5)));
    ALL.put(
        "conv 2d in groups",
        g -> g.conv("c", 6, 4, 3, 3).groups(2).padding(1).apply(x(g, 2, 6, 5, 4)));
    ALL.put(
        "conv 2d depthwise",
        g -> g.conv("c", 4, 4, 3, 3).groups(4).padding(1).withBias().apply(x(g, 2, 4, 5, 6)));
    ALL.put(
        "conv 2d depthwise, two of each, strided, dilated",
        g ->
            g.conv("c", 3, 6, 3, 2)
                .groups(3)
                .stride(2)
                .dilation(2)
                .padding(2, 1)
                .apply(x(g, 2, 3, 8, 7)));
    ALL.put(
        "conv 3d, each axis by itself",
        g ->
            g.conv("c", 2, 3, 2, 3, 2)
                .stride(1, 2, 1)
                .padding(1, 0, 2)
                .dilation(2, 1, 3)
                .withBias()
                .apply(x(g, 2, 2, 4, 5, 5)));
    ALL.put(
        "conv 3d depthwise",
        g -> g.conv("c", 3, 3, 3, 3, 3).groups(3).padding(1).apply(x(g, 2, 3, 3, 4, 5)));
    ALL.put("conv transpose 1d", g -> g.convTranspose("c", 3, 2, 4).stride(3).apply(x(g, 2, 3, 5)));
    ALL.put(
        "conv transpose 2d",
        g -> g.convTranspose("c", 3, 4, 2, 2).stride(2).withBias().apply(x(g, 2, 3, 4, 3)));
    ALL.put(
        "conv transpose 2d, each axis by itself",
        g ->
            g.convTranspose("c", 3, 4, 3, 4)
                .stride(2, 3)
                .padding(1, 2)
                .outputPadding(1, 0)
                .dilation(1, 2)
                .apply(x(g, 2, 3, 4, 3)));
    ALL.put(
        "conv transpose 2d cut by its padding",
        g -> g.convTranspose("c", 2, 2, 2, 2).padding(2).apply(x(g, 1, 2, 5, 6)));
    ALL.put(
        "conv transpose 2d in groups",
        g ->
            g.convTranspose("c", 4, 6, 3, 3)
                .groups(2)
                .stride(2)
                .withBias()
                .apply(x(g, 2, 4, 3, 2)));
    ALL.put(
        "conv transpose 2d depthwise",
        g ->
            g.convTranspose("c", 3, 3, 4, 4)
                .groups(3)
                .stride(2)
                .padding(1)
                .apply(x(g, 2, 3, 3, 2)));
    ALL.put(
        "conv transpose 3d",
        g ->
            g.convTranspose("c", 2, 3, 2, 3, 2)
                .stride(2)
                .padding(0, 1, 0)
                .outputPadding(1)
                .withBias()
                .apply(x(g, 2, 2, 2, 3, 2)));

    ALL.put("max pool 2d", g -> g.maxPool(x(g, 2, 3, 7, 6), 3, 2, 1));
    ALL.put(
        "max pool 2d, each axis by itself",
        g -> g.maxPool(x(g, 2, 3, 7, 6), sizes(3, 2), sizes(2, 1), sizes(1, 0)));
    ALL.put(
        "max pool 3d, each axis by itself",
        g -> g.maxPool(x(g, 2, 2, 5, 6, 4), sizes(1, 2, 3), sizes(1, 2, 1), sizes(0, 1, 1)));
    ALL.put("average pool 2d", g -> g.averagePool(x(g, 2, 3, 7, 6), 2, 2));
    ALL.put(
        "average pool 2d with padding",
        g -> g.averagePool(x(g, 2, 3, 7, 6), sizes(3, 2), sizes(2, 1), sizes(1, 1)));
    ALL.put(
        "average pool 2d inside",
        g -> g.averagePoolInside(x(g, 2, 3, 7, 6), sizes(3, 2), sizes(2, 1), sizes(1, 1)));
    ALL.put(
        "average pool 3d with padding",
        g -> g.averagePool(x(g, 2, 2, 5, 6, 4), sizes(3), sizes(2), sizes(1)));
    ALL.put(
        "average pool 3d inside",
        g -> g.averagePoolInside(x(g, 2, 2, 5, 6, 4), sizes(3), sizes(2), sizes(1)));
    ALL.put("adaptive average pool 2d", g -> g.adaptiveAveragePool(x(g, 2, 3, 7, 5), 3, 4));
    ALL.put("adaptive average pool 3d", g -> g.adaptiveAveragePool(x(g, 1, 2, 5, 4, 3), 2));
    ALL.put("adaptive average pool to more", g -> g.adaptiveAveragePool(x(g, 2, 3, 2, 3), 5));
    ALL.put("adaptive max pool 2d", g -> g.adaptiveMaxPool(x(g, 2, 3, 7, 5), 3, 4));
    ALL.put("adaptive max pool 3d", g -> g.adaptiveMaxPool(x(g, 1, 2, 5, 4, 3), 2, 1, 3));
    ALL.put("global average pool", g -> g.globalAveragePool(x(g, 2, 3, 4, 2, 3)));
    ALL.put("global max pool", g -> g.globalMaxPool(x(g, 2, 3, 4, 5)));
    ALL.put("resize nearest 1d", g -> g.resize(x(g, 2, 3, 5), Resize.NEAREST, 7));
    ALL.put("resize nearest 2d", g -> g.resize(x(g, 2, 3, 5, 4), Resize.NEAREST, 3, 9));
    ALL.put("resize linear 1d", g -> g.resize(x(g, 2, 3, 5), Resize.LINEAR, 8));
    ALL.put("resize linear 2d", g -> g.resize(x(g, 2, 3, 5, 4), Resize.LINEAR, 10, 3));
    ALL.put("resize linear 3d", g -> g.resize(x(g, 1, 2, 3, 4, 5), Resize.LINEAR, 5, 4, 3));
    ALL.put(
        "resize linear 2d, aligned", g -> g.resize(x(g, 2, 3, 5, 4), Resize.LINEAR_ALIGNED, 9, 3));
    ALL.put(
        "resize linear 3d, aligned",
        g -> g.resize(x(g, 1, 2, 3, 4, 5), Resize.LINEAR_ALIGNED, 1, 6, 3));
    ALL.put("resize cubic", g -> g.resize(x(g, 2, 3, 5, 4), Resize.CUBIC, 9, 3));
    ALL.put("resize cubic, aligned", g -> g.resize(x(g, 2, 3, 5, 4), Resize.CUBIC_ALIGNED, 3, 9));

    ALL.put("batch norm", g -> g.batchNorm("n", 3).withEpsilon(0.1).apply(x(g, 2, 3, 4, 5)));
    ALL.put("batch norm of features", g -> g.batchNorm("n", 3).apply(x(g, 5, 3)));
    ALL.put("layer norm", g -> g.layerNorm("n", 5, 1e-6).apply(x(g, 2, 3, 5)));
    ALL.put("group norm", g -> g.groupNorm("n", 2, 6, 1e-5).apply(x(g, 2, 6, 3, 2)));
    ALL.put("group norm of features", g -> g.groupNorm("n", 2, 6, 1e-5).apply(x(g, 2, 6)));
    ALL.put("rms norm", g -> g.rmsNorm("n", 5, 1e-3).apply(x(g, 2, 3, 5)));

    ALL.put("matmul", g -> g.matmul(x(g, 4, 5), y(g, 5, 3)));
    ALL.put("matmul of batches", g -> g.matmul(x(g, 2, 3, 4, 5), y(g, 2, 3, 5, 2)));
    ALL.put("matmul transpose a", g -> g.matmulTransposeA(x(g, 3, 5, 4), y(g, 3, 5, 2)));
    ALL.put("matmul transpose b", g -> g.matmulTransposeB(x(g, 2, 3, 4, 5), y(g, 2, 3, 2, 5)));
    ALL.put("matmul transpose b, rank 2", g -> g.matmulTransposeB(x(g, 4, 5), y(g, 2, 5)));
    ALL.put("linear", g -> g.linear("l", 5, 3).apply(x(g, 4, 5)));
    ALL.put("linear on tokens", g -> g.linear("l", 5, 3).apply(x(g, 2, 4, 5)));
    ALL.put("linear without bias", g -> g.linear("l", 5, 3).withoutBias().apply(x(g, 2, 2, 4, 5)));
    ALL.put(
        "attention",
        g -> g.attention(x(g, 2, 3, 4, 5), y(g, 2, 3, 6, 5), z(g, 2, 3, 6, 2), 1 / Math.sqrt(5)));
    ALL.put("attention as it is", g -> g.attention(x(g, 4, 5), y(g, 6, 5), z(g, 6, 2), 1));

    ALL.put("attention to what differs", g -> g.attention(x(g, 4, 5), y(g, 6, 5), z(g, 6, 2), -1));
    ALL.put("criss-cross", g -> g.crissCross(x(g, 2, 3, 4, 5), y(g, 2, 3, 4, 5), z(g, 2, 2, 4, 5)));
    ALL.put("causal conv with its activation", g -> causalConv(g, false));
    ALL.put("causal conv with its activation, from the end", g -> causalConv(g, true));
    ALL.put("selective scan", g -> scan(g, 11, false));
    ALL.put("selective scan backward", g -> scan(g, 8, true));
    ALL.put("selective scan of one", g -> scan(g, 1, false));
    ALL.put("selective scan both ways", g -> scanBothWays(g, 9, false));
    ALL.put("selective scan both ways, the first backward", g -> scanBothWays(g, 5, true));

    ALL.put("softmax", g -> g.softmax(x(g, 2, 3, 4), -1));
    ALL.put("softmax of channels", g -> g.softmax(g.scale(x(g, 2, 3, 4, 2), 50), 1));
    ALL.put("log softmax", g -> g.logSoftmax(x(g, 2, 3), 1));
    ALL.put("log softmax of channels", g -> g.logSoftmax(g.scale(x(g, 2, 3, 4, 2), 50), 1));
    ALL.put("log softmax of the first axis", g -> g.logSoftmax(x(g, 5, 3, 2), 0));
    ALL.put("relu", g -> g.relu(x(g, 2, 3, 4)));
    ALL.put("leaky relu", g -> g.leakyRelu(x(g, 2, 3, 4), 0.2));
    ALL.put("gelu", g -> g.gelu(g.scale(x(g, 2, 3, 4), 2)));
    ALL.put("silu", g -> g.silu(x(g, 2, 3, 4)));
    ALL.put("sigmoid", g -> g.sigmoid(x(g, 2, 3, 4)));
    ALL.put("tanh", g -> g.tanh(x(g, 2, 3, 4)));
    ALL.put("softplus", g -> g.softplus(g.scale(x(g, 2, 3, 4), 100)));
    ALL.put("exp", g -> g.exp(x(g, 2, 3, 4)));
    ALL.put("log", g -> g.log(positive(g)));
    ALL.put("sqrt", g -> g.sqrt(positive(g)));
    ALL.put("rsqrt", g -> g.rsqrt(positive(g)));
    ALL.put("abs", g -> g.abs(x(g, 2, 3, 4)));
    ALL.put("power", g -> g.power(positive(g), -1.5));
    ALL.put("power of negative numbers", g -> g.power(x(g, 2, 3, 4), 3));
    ALL.put("affine", g -> g.affine(x(g, 2, 3, 4), -2.5, 0.75));
    ALL.put("negate", g -> g.negate(g.addConstant(x(g, 2, 3, 4), 1)));

    ALL.put("add", g -> g.add(x(g, 2, 3, 4), y(g, 2, 3, 4)));
    ALL.put("add to each channel", g -> g.add(x(g, 2, 3, 4, 5), y(g, 3, 1, 1)));
    ALL.put("add of a row and a column", g -> g.add(x(g, 1, 4), y(g, 3, 1)));
    ALL.put("add of a scalar", g -> g.add(x(g, 2, 3), y(g)));
    ALL.put("add of one number", g -> g.add(x(g, 1), y(g, 2, 3)));
    ALL.put("subtract", g -> g.subtract(x(g, 3, 1), y(g, 2, 1, 4)));
    ALL.put("multiply", g -> g.multiply(x(g, 2, 3, 1), y(g, 2, 3, 4)));
    ALL.put("square", g -> g.square(x(g, 2, 3, 1)));
    ALL.put("divide", g -> g.divide(y(g, 4), positive(g)));
    ALL.put("divide a scalar", g -> g.divide(y(g), positive(g)));

    ALL.put("sum", g -> g.sum(x(g, 2, 3, 4)));
    ALL.put("sum over axes", g -> g.sum(x(g, 2, 3, 4, 5), -1, 1));
    ALL.put("sum that keeps axes", g -> g.sumKeep(x(g, 2, 3, 4), 0, 2));
    ALL.put("mean", g -> g.mean(x(g, 2, 3, 4)));
    ALL.put("mean over axes", g -> g.mean(x(g, 2, 3, 4), 1));
    ALL.put("mean that keeps axes", g -> g.meanKeep(x(g, 2, 3, 4), -1));
    ALL.put("max", g -> g.max(x(g, 2, 3, 4)));
    ALL.put("max over axes", g -> g.max(x(g, 2, 3, 4), 0, 1));
    ALL.put("max that keeps all axes", g -> g.maxKeep(x(g, 2, 3, 4)));

    ALL.put("concat", g -> g.concat(x(g, 2, 3, 4), y(g, 2, 1, 4), z(g, 2, 2, 4)));
    ALL.put("concat of tokens", g -> g.concat(-2, x(g, 2, 3, 4), y(g, 2, 1, 4)));
    ALL.put("concat of vectors", g -> g.concat(0, x(g, 3), y(g, 2)));
    ALL.put("slice", g -> g.slice(x(g, 2, 9, 4), 1, 2, 8, 3));
    ALL.put(
        "slice of every axis",
        g -> g.slice(x(g, 5, 9, 4), sizes(1, 0, 2), sizes(4, 9, 3), sizes(2, 4, 1)));
    ALL.put("narrow", g -> g.narrow(x(g, 2, 9, 4), -2, 3, 2));
    ALL.put("select", g -> g.select(x(g, 2, 9, 4), 1, 8));
    ALL.put(
        "split",
        g -> {
          var parts = g.split(x(g, 2, 7, 3), 1, 2, 1, 4);
          return g.concat(1, parts.get(2), parts.get(0), parts.get(1));
        });
    ALL.put("pad", g -> g.pad(x(g, 2, 3, 4), 1, 2, 1));
    ALL.put(
        "pad with a value",
        g -> g.pad(x(g, 2, 3, 4, 1, 2), sizes(0, 1, 0, 2, 1), sizes(1, 0, 2, 0, 1), -3.5));
    ALL.put("permute", g -> g.permute(x(g, 2, 3, 4, 5), 0, -1, 1, 2));
    ALL.put("transpose", g -> g.transpose(x(g, 2, 3, 4), 0, -1));
    ALL.put("reshape", g -> g.reshape(x(g, 2, 3, 4), 4, -1));
    ALL.put("reshape of what was moved", g -> g.reshape(g.permute(x(g, 2, 3, 4), 2, 0, 1), 8, 3));
    ALL.put("reshape to a scalar", g -> g.reshape(x(g, 1, 1)));
    ALL.put("reshape of a scalar", g -> g.reshape(x(g), 1, 1));
    ALL.put(
        "rearrange", g -> g.rearrange(x(g, 2, 6, 4), "b (h w) c -> (b w) 1 c h", Map.of("h", 2L)));
    ALL.put("flip", g -> g.flip(x(g, 2, 3, 4), 1));
    ALL.put("flip of two axes", g -> g.flip(x(g, 2, 3, 4), -1, 0));
    ALL.put("gather", g -> g.gather(x(g, 2, 4, 3), g.indices("indices", 5), 1));
    ALL.put("gather by a table", g -> g.gather(x(g, 2, 4, 3), g.indices("indices", 5, 2), -2));
    ALL.put("gather by one index", g -> g.gather(x(g, 2, 4, 3), g.indices("indices"), 1));
    ALL.put("embedding", g -> g.embedding(x(g, 4, 3), g.indices("indices", 2, 5)));
    ALL.put(
        "no dropout in inference",
        g -> g.dropPath(g.dropoutChannels(g.dropout(g.relu(x(g, 2, 3, 4)), 0.5), 0.5), 0.5));

    ALL.put(
        "soft cross-entropy",
        g -> Losses.softCrossEntropy(g, x(g, 2, 3, 4, 2), g.softmax(y(g, 2, 3, 4, 2), 1)));
    // What was moved is a view with other strides to SameDiff, which its operations must respect.
    ALL.put("softmax of what was moved", g -> g.softmax(moved(g), -1));
    ALL.put("log softmax of what was moved", g -> g.logSoftmax(moved(g), 1));
    ALL.put("gelu of what was moved", g -> g.gelu(moved(g)));
    ALL.put("softplus of what was moved", g -> g.softplus(moved(g)));
    ALL.put("power of what was moved", g -> g.power(moved(g), 2));
    ALL.put("leaky relu of what was moved", g -> g.leakyRelu(moved(g), 0.1));
    ALL.put("mean of what was moved", g -> g.mean(moved(g), 1, 3));
    ALL.put("max of what was moved", g -> g.max(moved(g), 2));
    ALL.put("sums of what was moved", g -> g.add(moved(g), g.sumKeep(moved(g), 1)));
    ALL.put("layer norm of what was moved", g -> g.layerNorm("n", 5, 1e-5).apply(moved(g)));
    ALL.put("batch norm of what was moved", g -> g.batchNorm("n", 4).apply(moved(g)));
    ALL.put("linear on what was moved", g -> g.linear("l", 5, 3).apply(moved(g)));
    ALL.put("matmul of what was moved", g -> g.matmul(moved(g), y(g, 3, 4, 5, 2)));
    ALL.put("matmul with what was moved", g -> g.matmulTransposeB(y(g, 3, 4, 6, 5), moved(g)));
    ALL.put("attention to what was moved", g -> g.attention(moved(g), moved(g), moved(g), 0.3));
    ALL.put("criss-cross of what was moved", g -> g.crissCross(moved(g), moved(g), moved(g)));
    ALL.put("conv of what was moved", g -> g.conv("c", 4, 2, 2, 3).padding(1).apply(moved(g)));
    ALL.put(
        "depthwise conv of what was moved",
        g -> g.conv("c", 4, 4, 2, 3).groups(4).padding(1).apply(moved(g)));
    ALL.put("max pool of what was moved", g -> g.maxPool(moved(g), 2, 1, 1));
    ALL.put("average pool of what was moved", g -> g.averagePool(moved(g), 2, 1));
    ALL.put("resize of what was moved", g -> g.resize(moved(g), Resize.LINEAR, 3, 7));
    ALL.put("concat of what was moved", g -> g.concat(moved(g), moved(g)));
    ALL.put("pad of what was moved", g -> g.pad(moved(g), 2, 1, 0));
    ALL.put("slice of what was moved", g -> g.slice(moved(g), 1, 0, 4, 2));
    ALL.put("flip of what was moved", g -> g.flip(moved(g), 2));
    ALL.put("gather of what was moved", g -> g.gather(moved(g), g.indices("indices", 3), 1));
    ALL.put(
        "nested words",
        g -> {
          Tensor x = g.rearrange(x(g, 2, 6, 2, 3), "b c h w -> b (h w) c");
          Tensor y = g.layerNorm("n", 6, 1e-6).apply(x);
          y = g.add(x, g.attention(g.linear("q", 6, 6).apply(y), y, y, 0.4));
          return g.mean(g.gelu(g.linear("l", 6, 4).apply(y)), 1);
        });
  }

  /** An inference graph of one sentence, whose output is {@code result}. */
  static Graph graph(String sentence, Graph.Precision precision) {
    Graph g = new Graph(Graph.Mode.INFERENCE, 7, precision);
    g.output("result", ALL.get(sentence).apply(g));
    return g;
  }

  /** What {@link Naive} needs to run a sentence: the state, and indices below 4. */
  static Map<String, HostTensor> given(Graph g) {
    Map<String, HostTensor> given = new LinkedHashMap<>(state(g, 3));
    g.inputs()
        .forEach(
            (name, tensor) -> {
              long[] indices = Draw.labels(4, 4, Math.toIntExact(tensor.elements())).longs();
              given.put(name, HostTensor.ofLongs(indices, tensor.shape()));
            });
    return given;
  }

  /** A state in which biases, scales and running statistics do something. */
  static Map<String, HostTensor> state(Graph g, long seed) {
    Map<String, HostTensor> state = new LinkedHashMap<>();
    Random random = new Random(seed);
    for (Variable variable : g.variables()) {
      Tensor tensor = variable.tensor();
      if (tensor.type() == Tensor.Type.INT64) {
        state.put(variable.name(), HostTensor.ofLongs(new long[1]));
        continue;
      }
      float[] values = variable.initializer().values(g.seed(), variable.name(), tensor.shape());
      if (variable.name().contains(".") && tensor.rank() == 1) {
        for (int i = 0; i < values.length; i++) {
          values[i] = 0.5f + random.nextFloat();
        }
      }
      state.put(variable.name(), HostTensor.of(values, tensor.shape()));
    }
    return state;
  }

  private static Tensor y(Graph g, long... shape) {
    return g.parameter("y", Draw.normal(), shape);
  }

  private static Tensor z(Graph g, long... shape) {
    return g.parameter("z", Draw.normal(), shape);
  }

  private static Tensor causalConv(Graph g, boolean backward) {
    return g.causalConv(x(g, 2, 3, 7), y(g, 3, 1, 4), g.parameter("b", Draw.normal(), 3), backward);
  }

  private static Tensor scan(Graph g, long length, boolean backward) {
    return g.selectiveScan(oneWay(g, "", x(g, 2, 3, length), length), z(g, 2, 3, length), backward);
  }

  private static Tensor scanBothWays(Graph g, long length, boolean backward) {
    Tensor x = x(g, 2, 3, length);
    return g.selectiveScan(
        oneWay(g, "", x, length), oneWay(g, " back", x, length), z(g, 2, 3, length), backward);
  }

  private static ScanInputs oneWay(Graph g, String name, Tensor x, long length) {
    return new ScanInputs(
        x,
        g.parameter("y" + name, Draw.normal(), 2, 3, length),
        g.scale(g.exp(g.parameter("a" + name, Draw.normal(), 3, 4)), -1),
        g.parameter("b" + name, Draw.normal(), 2, 4, length),
        g.parameter("c" + name, Draw.normal(), 2, 4, length),
        g.parameter("d" + name, Draw.normal(), 3),
        g.parameter("bias" + name, Draw.normal(), 3));
  }

  private static Tensor positive(Graph g) {
    return g.addConstant(g.abs(x(g, 2, 3, 4)), 0.1);
  }

  private static Tensor moved(Graph g) {
    Tensor x =
        g.variables().stream()
            .filter(variable -> variable.name().equals("x"))
            .map(Variable::tensor)
            .findFirst()
            .orElseGet(() -> x(g, 3, 5, 4, 2));
    return g.permute(x, 0, 2, 3, 1); // (3, 4, 2, 5)
  }

  private static long[] sizes(long... sizes) {
    return sizes;
  }
}
