package sparkvision.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import sparkvision.engine.Plan.Value;
import sparkvision.graph.Dropout;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;

/**
 * Every word of the vocabulary, forward and backward: as native ND4J operations where these are
 * right, else as {@link Loops}.
 *
 * <p>Why not ND4J's own gradients: those of broadcasts and of ReLU are 15 to 150 times slower than
 * what stands here, those of batch norm 10 times. Sums over (B, spatial) are matrix-vector products
 * with ones, which run at memory speed where the reductions do not; broadcasts see their operands
 * as (B, C, S) because four axes and more take a slow path.
 *
 * <p>B batch, C channels, S spatial elements, O outputs, K classes.
 */
final class Kernels {

  private final Graph graph;
  private final Plan plan;
  private final Map<Tensor, Value> values = new HashMap<>();
  private final Map<Tensor, Value> gradients = new HashMap<>();
  private final Set<Tensor> wanted = new HashSet<>();
  private final Map<Node, List<Value>> saved = new HashMap<>(); // from forward for backward
  private final Map<Node, Loop> loops = new HashMap<>();
  private final List<LongConsumer> preparations = new ArrayList<>();
  private final Map<Tensor, long[]> integers = new HashMap<>(); // of the present run

  Kernels(Graph graph, Plan plan) {
    this.graph = graph;
    this.plan = plan;
  }

  /** Says where an input or a variable is. */
  void bind(Tensor tensor, Value value) {
    values.put(tensor, value);
  }

  /** Asks for the gradient of an input or a variable, before any node is added. */
  void want(Tensor tensor) {
    wanted.add(tensor);
  }

  /** Says what an integer input is in the next run. */
  void bind(Tensor tensor, long[] indices) {
    integers.put(tensor, indices);
  }

  Value value(Tensor tensor) {
    return values.get(tensor);
  }

  /** Null if the loss does not depend on {@code tensor}, or nobody wants its gradient. */
  Value gradient(Tensor tensor) {
    return gradients.get(tensor);
  }

  /** What has to be computed on the Java side before a run; takes the optimizer's draw. */
  void prepare(long step) {
    preparations.forEach(preparation -> preparation.accept(step));
  }

  void forward(Node node) {
    Value result =
        switch (node.kind()) {
          case CONV -> isPlain(node) ? conv(node) : loop(node);
          case MAX_POOL, AVERAGE_POOL ->
              plan.call(poolOp(node), poolWindow(node), fresh(node), in(node, 0));
          case GLOBAL_AVERAGE_POOL -> globalAveragePool(node);
          case BATCH_NORM ->
              graph.mode() == Graph.Mode.TRAINING ? batchNorm(node) : batchNormInference(node);
          case MATMUL -> matmul(node);
          case LINEAR -> linear(node);
          case RELU -> plan.call("relu", new double[] {0}, fresh(node), in(node, 0));
          case ADD, MULTIPLY ->
              isPlain(node)
                  ? plan.call(pairOp(node), fresh(node), in(node, 0), in(node, 1))
                  : loop(node);
          case CONCAT -> concat(node);
          case RESHAPE -> view(in(node, 0), node.output().shape());
          case DROPOUT -> dropout(node);
          default -> loop(node);
        };
    values.put(node.output(), result);
    if (node.inputs().stream().anyMatch(wanted::contains)) {
      wanted.add(node.output());
    }
  }

  /** Starts the backward pass: the gradient of the loss itself is 1. */
  void seed(Tensor loss) {
    gradients.put(loss, plan.constant(1, loss.shape()));
  }

  void backward(Node node) {
    Value dy = gradients.get(node.output());
    if (dy == null) {
      return;
    }
    if (loops.containsKey(node)) {
      loopBackward(node, dy);
      return;
    }
    switch (node.kind()) {
      case CONV -> convBackward(node, dy);
      case MAX_POOL, AVERAGE_POOL -> {
        Value x = in(node, 0);
        contribute(node, 0, plan.call(poolOp(node) + "_bp", poolWindow(node), like(x), x, dy));
      }
      case GLOBAL_AVERAGE_POOL -> globalAveragePoolBackward(node, dy);
      case BATCH_NORM -> batchNormBackward(node, dy);
      case MATMUL -> matmulBackward(node, dy);
      case LINEAR -> linearBackward(node, dy);
      case RELU -> {
        Value positive = plan.call("sign", fresh(node), values.get(node.output()));
        contribute(node, 0, plan.call("multiply", fresh(node), dy, positive));
      }
      case ADD -> {
        contribute(node, 0, dy);
        contribute(node, 1, dy);
      }
      case MULTIPLY -> {
        for (int i = 0; i < 2; i++) {
          if (wants(node, i)) {
            contribute(node, i, plan.call("multiply", fresh(node), dy, in(node, 1 - i)));
          }
        }
      }
      case CONCAT -> concatBackward(node, dy);
      case RESHAPE -> contribute(node, 0, view(dy, node.input(0).shape()));
      default -> throw new IllegalStateException("There is no gradient of " + node.kind());
    }
  }

  /** Whether the native operation computes this form of the word, and rightly. */
  private static boolean isPlain(Node node) {
    return switch (node.kind()) {
      case CONV -> // oneDNN refuses some dilated convolutions of floats
          node.integer("groups") == 1
              && Arrays.stream(node.sizes("dilation")).allMatch(size -> size == 1)
              && Arrays.equals(node.sizes("padding"), node.sizes("padding-after"));
      case ADD, MULTIPLY -> // the gradients of broadcast ones are slow
          Arrays.equals(node.input(0).shape(), node.input(1).shape());
      default -> throw new IllegalStateException("Not asked of " + node.kind());
    };
  }

  private static String pairOp(Node node) {
    return node.kind() == Node.Kind.ADD ? "add" : "multiply";
  }

  // Words that run as loops.

  private Value loop(Node node) {
    int labels = node.kind() == Node.Kind.ONE_HOT ? 0 : 1;
    return loop(node, Loops.of(node, () -> integers.get(node.input(labels))));
  }

  /** {@code more} follows the float inputs of the node, and gets no gradient. */
  private Value loop(Node node, Loop loop, Value... more) {
    List<Value> in = new ArrayList<>(floats(node).stream().map(values::get).toList());
    in.addAll(List.of(more));
    Value y = fresh(node);
    plan.step(in, List.of(y), (from, to) -> loop.forward(from, to[0]));
    loops.put(node, loop);
    saved.put(node, in);
    return y;
  }

  private void loopBackward(Node node, Value dy) {
    Loop loop = loops.get(node);
    List<Value> in = saved.get(node);
    List<Tensor> floats = floats(node);
    int[] wantedOnes =
        IntStream.range(0, floats.size()).filter(i -> wanted.contains(floats.get(i))).toArray();
    List<Value> dx = Arrays.stream(wantedOnes).mapToObj(i -> like(in.get(i))).toList();

    List<Value> read = new ArrayList<>(in);
    read.add(values.get(node.output()));
    read.add(dy);
    plan.step(
        read,
        dx,
        (from, to) -> {
          double[][] x = Arrays.copyOf(from, in.size());
          double[][] gradients = new double[in.size()][];
          for (int i = 0; i < to.length; i++) {
            gradients[wantedOnes[i]] = to[i];
          }
          loop.backward(x, from[in.size()], from[in.size() + 1], gradients);
        });
    for (int i = 0; i < wantedOnes.length; i++) {
      contribute(floats.get(wantedOnes[i]), dx.get(i));
    }
  }

  private static List<Tensor> floats(Node node) {
    return node.inputs().stream().filter(x -> x.type() == Tensor.Type.FLOAT).toList();
  }

  private Value dropout(Node node) {
    long[] shape = node.sizes("mask");
    Value mask = plan.external(shape);
    float[] kept = new float[Math.toIntExact(mask.elements())];
    long index = node.integer("index");
    double rate = node.number("rate");
    preparations.add(
        step -> {
          Dropout.fill(kept, graph.noiseSeed(), step, index, rate);
          plan.write(mask, kept);
        });
    return loop(node, Loops.masked(node.output().shape(), shape), mask);
  }

  // Convolution.

  private Value conv(Node node) {
    Value y = fresh(node);
    Value[] in = node.inputs().stream().map(x -> planar(values.get(x))).toArray(Value[]::new);
    plan.call(convOp(node), window(node), planar(y), in);
    return y;
  }

  private void convBackward(Node node, Value dy) {
    List<Value> in = new ArrayList<>(node.inputs().stream().map(values::get).toList());
    // The native operation has no way to leave out dx; unwanted, it dies with this call.
    List<Value> out = in.stream().map(this::like).toList();
    in.add(dy);
    plan.call(
        convOp(node) + "_bp",
        new double[0],
        window(node),
        out.stream().map(this::planar).toList(),
        in.stream().map(this::planar).toArray(Value[]::new));
    for (int i = 0; i < out.size(); i++) {
      contribute(node, i, out.get(i));
    }
  }

  private static String convOp(Node node) {
    return node.sizes("kernel").length == 3 ? "conv3dnew" : "conv2d";
  }

  /** Kernel, stride, padding, dilation, no SAME mode, NC[D]HW, weights (O, C, k...). */
  private static long[] window(Node node) {
    int line = node.sizes("kernel").length == 1 ? 1 : 0;
    return joined(
        ones(line),
        node.sizes("kernel"),
        ones(line),
        node.sizes("stride"),
        new long[line],
        node.sizes("padding"),
        ones(line),
        node.sizes("dilation"),
        new long[] {0, 0, 1});
  }

  /** (B, C, W), which ND4J does not convolve, as (B, C, 1, W). */
  private Value planar(Value x) {
    return x.shape().length == 3 ? view(x, x.size(0), x.size(1), 1, x.size(2)) : x;
  }

  // Batch norm.

  private Value batchNorm(Node node) {
    Value x = channels(in(node, 0));
    Value gamma = in(node, 1);
    Value beta = in(node, 2);
    long c = x.size(1);
    long m = x.elements() / c;
    Value mean = channelSums(x, 1.0 / m);
    Value centred = plan.call("subtract", like(x), x, view(mean, c, 1));
    Value squared = plan.call("multiply", like(x), centred, centred);
    Value variance = channelSums(squared, 1.0 / m);
    Value inverse = inverseDeviation(node, variance);
    Value scale = plan.call("multiply", plan.value(c), gamma, inverse);
    Value scaled = plan.call("multiply", like(x), centred, view(scale, c, 1));
    Value y = plan.call("add", like(x), scaled, view(beta, c, 1));

    double momentum = node.number("momentum");
    moveTowards(in(node, 3), mean, momentum, 1);
    moveTowards(in(node, 4), variance, momentum, m / (m - 1.0));
    saved.put(node, List.of(centred, inverse, scale));
    return view(y, node.output().shape());
  }

  /** running = (1 − momentum)·running + momentum·factor·batch. */
  private void moveTowards(Value running, Value batch, double momentum, double factor) {
    long c = running.size(0);
    Value old = plan.call("multiply", plan.value(c), running, plan.constant(1 - momentum, 1));
    Value moved = plan.call("multiply", plan.value(c), batch, plan.constant(momentum * factor, 1));
    plan.call("add", running, old, moved);
  }

  private Value batchNormInference(Node node) {
    Value x = channels(in(node, 0));
    long c = x.size(1);
    Value scale =
        plan.call("multiply", plan.value(c), in(node, 1), inverseDeviation(node, in(node, 4)));
    Value scaledMean = plan.call("multiply", plan.value(c), in(node, 3), scale);
    Value shift = plan.call("subtract", plan.value(c), in(node, 2), scaledMean);
    Value scaled = plan.call("multiply", like(x), x, view(scale, c, 1));
    Value y = plan.call("add", like(x), scaled, view(shift, c, 1));
    return view(y, node.output().shape());
  }

  private Value inverseDeviation(Node node, Value variance) {
    long c = variance.size(0);
    Value epsilon = plan.constant(node.number("epsilon"), 1);
    return plan.call("rsqrt", plan.value(c), plan.call("add", plan.value(c), variance, epsilon));
  }

  /**
   * With r = 1 / deviation, a = γ·r, u = x − mean, m values per channel: dβ = Σ dy, dγ = r·Σ dy·u,
   * dx = a·dy − (a·r·dγ / m)·u − a·dβ / m.
   */
  private void batchNormBackward(Node node, Value dyOut) {
    Value centred = saved.get(node).get(0);
    Value inverse = saved.get(node).get(1);
    Value scale = saved.get(node).get(2);
    Value dy = channels(dyOut);
    long c = dy.size(1);
    long m = dy.elements() / c;
    Value dBeta = channelSums(dy, 1);
    Value product = plan.call("multiply", like(dy), dy, centred);
    Value dGamma = plan.call("multiply", plan.value(c), channelSums(product, 1), inverse);
    contribute(node, 1, dGamma);
    contribute(node, 2, dBeta);
    if (!wants(node, 0)) {
      return;
    }

    Value scaleOverM = plan.call("multiply", plan.value(c), scale, plan.constant(-1.0 / m, 1));
    Value slope = plan.call("multiply", plan.value(c), scaleOverM, inverse);
    slope = plan.call("multiply", plan.value(c), slope, dGamma);
    Value shift = plan.call("multiply", plan.value(c), scaleOverM, dBeta);
    Value dx = plan.call("multiply", like(dy), dy, view(scale, c, 1));
    Value pull = plan.call("multiply", like(dy), centred, view(slope, c, 1));
    dx = plan.call("add", like(dy), dx, pull);
    dx = plan.call("add", like(dy), dx, view(shift, c, 1));
    contribute(node, 0, view(dx, node.output().shape()));
  }

  // Pools.

  private static String poolOp(Node node) {
    String op = node.kind() == Node.Kind.MAX_POOL ? "maxpool" : "avgpool";
    return op + (node.sizes("kernel").length == 2 ? "2d" : "3dnew");
  }

  /** Kernel, stride, padding, dilation, no SAME mode, whether means count padding, NC[D]HW. */
  private static long[] poolWindow(Node node) {
    return joined(
        node.sizes("kernel"),
        node.sizes("stride"),
        node.sizes("padding"),
        ones(node.sizes("kernel").length),
        new long[] {
          0, node.kind() == Node.Kind.AVERAGE_POOL ? node.integer("count-padding") : 0, 0
        });
  }

  private Value globalAveragePool(Node node) {
    Value x = in(node, 0);
    long rows = x.size(0) * x.size(1);
    long s = x.elements() / rows;
    Value y = plan.value(rows);
    plan.call("matmul", new long[3], y, view(x, rows, s), plan.constant(1.0 / s, s));
    return view(y, node.output().shape());
  }

  private void globalAveragePoolBackward(Node node, Value dy) {
    Value x = in(node, 0);
    long rows = x.size(0) * x.size(1);
    long s = x.elements() / rows;
    Value dx = plan.value(rows, s);
    plan.call("matmul", new long[3], dx, view(dy, rows, 1), plan.constant(1.0 / s, 1, s));
    contribute(node, 0, view(dx, x.shape()));
  }

  // Products.

  private Value matmul(Node node) {
    Value y = fresh(node);
    product(
        y,
        in(node, 0),
        node.integer("transpose-a") == 1,
        in(node, 1),
        node.integer("transpose-b") == 1);
    return y;
  }

  /** With A and B as they are multiplied: dA = dY·Bᵀ, dB = Aᵀ·dY, each transposed if it was. */
  private void matmulBackward(Node node, Value dy) {
    Value a = in(node, 0);
    Value b = in(node, 1);
    boolean transposedA = node.integer("transpose-a") == 1;
    boolean transposedB = node.integer("transpose-b") == 1;
    if (wants(node, 0)) {
      Value da = like(a);
      if (transposedA) {
        product(da, b, transposedB, dy, true);
      } else {
        product(da, dy, false, b, !transposedB);
      }
      contribute(node, 0, da);
    }
    if (wants(node, 1)) {
      Value db = like(b);
      if (transposedB) {
        product(db, dy, true, a, transposedA);
      } else {
        product(db, a, !transposedA, dy, false);
      }
      contribute(node, 1, db);
    }
  }

  /** Matrices on the last two axes, the other axes as one. */
  private void product(Value y, Value a, boolean transposedA, Value b, boolean transposedB) {
    long[] transpositions = {transposedA ? 1 : 0, transposedB ? 1 : 0, 0};
    plan.call("matmul", transpositions, matrices(y), matrices(a), matrices(b));
  }

  private Value matrices(Value x) {
    int rank = x.shape().length;
    long rows = x.size(rank - 2);
    long columns = x.size(rank - 1);
    return rank == 2 ? x : view(x, x.elements() / (rows * columns), rows, columns);
  }

  private Value linear(Node node) {
    Value y = fresh(node);
    boolean biased = node.inputs().size() == 3;
    Value product = biased ? like(y) : y;
    product(rows(product), rows(in(node, 0)), false, in(node, 1), true);
    if (biased) {
      plan.call("add", rows(y), rows(product), in(node, 2));
    }
    return y;
  }

  private void linearBackward(Node node, Value dyOut) {
    Value x = in(node, 0);
    Value weight = in(node, 1);
    Value dy = rows(dyOut);
    if (wants(node, 0)) {
      Value dx = like(x);
      product(rows(dx), dy, false, weight, false);
      contribute(node, 0, dx);
    }
    if (wants(node, 1)) {
      Value dWeight = like(weight);
      product(dWeight, dy, true, rows(x), false);
      contribute(node, 1, dWeight);
    }
    if (node.inputs().size() == 3 && wants(node, 2)) {
      Value sums = plan.value(1, dy.size(1));
      plan.call("matmul", new long[3], sums, plan.constant(1, 1, dy.size(0)), dy);
      contribute(node, 2, view(sums, dy.size(1)));
    }
  }

  /** (..., I) as (rows, I). */
  private Value rows(Value x) {
    long width = x.size(x.shape().length - 1);
    return view(x, x.elements() / width, width);
  }

  // Concat.

  private Value concat(Node node) {
    Value[] in = node.inputs().stream().map(values::get).toArray(Value[]::new);
    return plan.call("concat", new long[] {node.integer("axis")}, fresh(node), in);
  }

  private void concatBackward(Node node, Value dy) {
    long outer = 1;
    for (int axis = 0; axis < node.integer("axis"); axis++) {
      outer *= dy.size(axis);
    }
    long width = dy.elements() / outer;
    long first = 0;
    for (int i = 0; i < node.inputs().size(); i++) {
      Value x = in(node, i);
      long size = x.elements() / outer;
      if (wants(node, i)) {
        Value dx = plan.value(outer, size);
        plan.call("slice", new long[] {0, first, outer, size}, dx, view(dy, outer, width));
        contribute(node, i, view(dx, x.shape()));
      }
      first += size;
    }
  }

  // Building blocks.

  private Value in(Node node, int index) {
    return values.get(node.input(index));
  }

  private Value fresh(Node node) {
    return plan.value(node.output().shape());
  }

  private Value like(Value value) {
    return plan.value(value.shape());
  }

  private Value view(Value value, long... shape) {
    return plan.view(value, shape);
  }

  /** (B, C, ...) as (B, C, S). */
  private Value channels(Value x) {
    return view(x, x.size(0), x.size(1), x.elements() / (x.size(0) * x.size(1)));
  }

  /** (B, C, S) → the sums over B and S, times {@code factor}: (C). */
  private Value channelSums(Value x, double factor) {
    long b = x.size(0);
    long c = x.size(1);
    long s = x.size(2);
    Value rows = view(x, b * c, s);
    Value sums = plan.call("matmul", new long[3], plan.value(b * c), rows, plan.constant(1, s));
    Value total = plan.value(1, c);
    plan.call("matmul", new long[3], total, plan.constant(factor, 1, b), view(sums, b, c));
    return view(total, c);
  }

  private boolean wants(Node node, int index) {
    return wanted.contains(node.input(index));
  }

  private void contribute(Node node, int index, Value gradient) {
    if (wants(node, index)) {
      contribute(node.input(index), gradient);
    }
  }

  private void contribute(Tensor tensor, Value gradient) {
    Value before = gradients.get(tensor);
    gradients.put(
        tensor, before == null ? gradient : plan.call("add", like(gradient), before, gradient));
  }

  private static long[] ones(int count) {
    long[] ones = new long[count];
    Arrays.fill(ones, 1);
    return ones;
  }

  private static long[] joined(long[]... parts) {
    return Arrays.stream(parts).flatMapToLong(Arrays::stream).toArray();
  }
}
