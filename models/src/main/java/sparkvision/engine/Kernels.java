package sparkvision.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.LongConsumer;
import sparkvision.engine.Plan.Value;
import sparkvision.graph.Dropout;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;

/**
 * Every word of the vocabulary as native ND4J operations, forward and backward.
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
  private final List<LongConsumer> preparations = new ArrayList<>();
  private final Map<Tensor, long[]> labels = new HashMap<>();

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

  /** Says where the labels of the next run are. */
  void bind(Tensor tensor, long[] indices) {
    labels.put(tensor, indices);
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
    requireKernel(node);
    Value result =
        switch (node.kind()) {
          case CONV -> conv(node);
          case BATCH_NORM ->
              graph.mode() == Graph.Mode.TRAINING ? batchNorm(node) : batchNormInference(node);
          case RELU -> plan.call("relu", new double[] {0}, fresh(node), in(node, 0));
          case MAX_POOL, AVERAGE_POOL ->
              plan.call(poolOp(node), poolWindow(node), fresh(node), in(node, 0));
          case GLOBAL_AVERAGE_POOL -> globalAveragePool(node);
          case LINEAR -> linear(node);
          case CONCAT ->
              plan.call(
                  "concat",
                  new long[] {1},
                  fresh(node),
                  node.inputs().stream().map(values::get).toArray(Value[]::new));
          case ADD -> plan.call("add", fresh(node), in(node, 0), in(node, 1));
          case MULTIPLY -> plan.call("multiply", fresh(node), in(node, 0), in(node, 1));
          case SUM -> dot(fresh(node), in(node, 0), 1);
          case DROPOUT -> dropout(node);
          case CROSS_ENTROPY -> crossEntropy(node);
          default -> throw noKernel(node);
        };
    values.put(node.output(), result);
    if (node.inputs().stream().anyMatch(wanted::contains)) {
      wanted.add(node.output());
    }
  }

  /** Refuses forms of words that the kernels below would compute wrongly. */
  private static void requireKernel(Node node) {
    Tensor x = node.input(0);
    boolean known =
        switch (node.kind()) {
          case CONV ->
              x.rank() > 3
                  && node.integer("groups") == 1
                  && Arrays.stream(node.sizes("dilation")).allMatch(size -> size == 1)
                  && Arrays.equals(node.sizes("padding"), node.sizes("padding-after"));
          case AVERAGE_POOL -> Arrays.stream(node.sizes("padding")).allMatch(size -> size == 0);
          case LINEAR -> x.rank() == 2 && node.inputs().size() == 3;
          case CONCAT -> node.integer("axis") == 1;
          case ADD, MULTIPLY -> Arrays.equals(x.shape(), node.input(1).shape());
          case SUM -> node.output().rank() == 0;
          case DROPOUT -> x.rank() < 2 || node.sizes("mask")[1] == x.size(1);
          case CROSS_ENTROPY ->
              x.rank() == 2
                  && node.inputs().size() == 2
                  && node.integer("ignore-index") == Losses.IGNORE_NOTHING;
          default -> true;
        };
    if (!known) {
      throw noKernel(node);
    }
  }

  private static IllegalArgumentException noKernel(Node node) {
    return new IllegalArgumentException(
        String.format("Cannot run graph: engine nd4j has no kernel for %s", node.kind()));
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
    switch (node.kind()) {
      case CONV -> convBackward(node, dy);
      case BATCH_NORM -> batchNormBackward(node, dy);
      case RELU -> {
        Value positive = plan.call("sign", fresh(node), values.get(node.output()));
        contribute(node, 0, plan.call("multiply", fresh(node), dy, positive));
      }
      case MAX_POOL, AVERAGE_POOL -> {
        Value x = in(node, 0);
        contribute(node, 0, plan.call(poolOp(node) + "_bp", poolWindow(node), like(x), x, dy));
      }
      case GLOBAL_AVERAGE_POOL -> {
        Value x = in(node, 0);
        long rows = x.size(0) * x.size(1);
        long s = x.elements() / rows;
        Value dx = plan.value(rows, s);
        plan.call("matmul", new long[3], dx, view(dy, rows, 1), plan.constant(1.0 / s, 1, s));
        contribute(node, 0, view(dx, x.shape()));
      }
      case LINEAR -> linearBackward(node, dy);
      case CONCAT -> concatBackward(node, dy);
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
      case SUM -> contribute(node, 0, spread(dy, in(node, 0)));
      case DROPOUT -> contribute(node, 0, masked(dy, saved.get(node).get(0)));
      case CROSS_ENTROPY -> crossEntropyBackward(node, dy);
      default -> throw noKernel(node);
    }
  }

  // Convolution.

  private Value conv(Node node) {
    Value y = fresh(node);
    Value[] in = node.inputs().stream().map(values::get).toArray(Value[]::new);
    return plan.call(
        node.sizes("kernel").length == 2 ? "conv2d" : "conv3dnew", window(node), y, in);
  }

  private void convBackward(Node node, Value dy) {
    List<Value> in = new ArrayList<>(node.inputs().stream().map(values::get).toList());
    // The native operation has no way to leave out dx; unwanted, it dies with this call.
    List<Value> out = in.stream().map(this::like).toList();
    in.add(dy);
    String op = node.sizes("kernel").length == 2 ? "conv2d_bp" : "conv3dnew_bp";
    plan.call(op, new double[0], window(node), out, in.toArray(Value[]::new));
    for (int i = 0; i < out.size(); i++) {
      contribute(node, i, out.get(i));
    }
  }

  /** Kernel, stride, padding, dilation, no SAME mode, NC[D]HW, weights (O, C, k...). */
  private static long[] window(Node node) {
    long[] kernel = node.sizes("kernel");
    long[] dilation = new long[kernel.length];
    Arrays.fill(dilation, 1);
    return joined(
        kernel, node.sizes("stride"), node.sizes("padding"), dilation, new long[] {0, 0, 1});
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

  /** Kernel, stride, padding, dilation, no SAME mode, average without padding, NC[D]HW. */
  private static long[] poolWindow(Node node) {
    long[] kernel = node.sizes("kernel");
    long[] none = new long[kernel.length];
    long[] dilation = new long[kernel.length];
    Arrays.fill(dilation, 1);
    return joined(
        kernel,
        node.sizes("stride"),
        node.kind() == Node.Kind.MAX_POOL ? node.sizes("padding") : none,
        dilation,
        new long[3]);
  }

  private Value globalAveragePool(Node node) {
    Value x = in(node, 0);
    long rows = x.size(0) * x.size(1);
    long s = x.elements() / rows;
    Value y = plan.value(rows);
    plan.call("matmul", new long[3], y, view(x, rows, s), plan.constant(1.0 / s, s));
    return view(y, node.output().shape());
  }

  // Linear.

  private Value linear(Node node) {
    Value product =
        plan.call("matmul", new long[] {0, 1, 0}, fresh(node), in(node, 0), in(node, 1));
    return plan.call("add", fresh(node), product, in(node, 2));
  }

  private void linearBackward(Node node, Value dy) {
    Value x = in(node, 0);
    Value weight = in(node, 1);
    if (wants(node, 0)) {
      contribute(node, 0, plan.call("matmul", new long[3], like(x), dy, weight));
    }
    contribute(node, 1, plan.call("matmul", new long[] {1, 0, 0}, like(weight), dy, x));
    Value sums = plan.value(1, dy.size(1));
    plan.call("matmul", new long[3], sums, plan.constant(1, 1, dy.size(0)), dy);
    contribute(node, 2, view(sums, dy.size(1)));
  }

  // Concat.

  private void concatBackward(Node node, Value dy) {
    long b = dy.size(0);
    long width = dy.elements() / b;
    long first = 0;
    for (int i = 0; i < node.inputs().size(); i++) {
      Value x = in(node, i);
      long size = x.elements() / b;
      if (wants(node, i)) {
        Value dx = plan.value(b, size);
        plan.call("slice", new long[] {0, first, b, size}, dx, view(dy, b, width));
        contribute(node, i, view(dx, x.shape()));
      }
      first += size;
    }
  }

  // Dropout.

  private Value dropout(Node node) {
    long[] shape = node.sizes("mask");
    Value mask = plan.external(shape);
    float[] kept = new float[Math.toIntExact(mask.elements())];
    long index = (long) node.number("index");
    double rate = node.number("rate");
    preparations.add(
        step -> {
          Dropout.fill(kept, graph.noiseSeed(), step, index, rate);
          plan.write(mask, kept);
        });
    saved.put(node, List.of(mask));
    return masked(in(node, 0), mask);
  }

  private Value masked(Value x, Value mask) {
    if (mask.elements() == x.elements()) {
      return plan.call("multiply", like(x), x, view(mask, x.shape()));
    }
    Value x3 = channels(x);
    Value y = plan.call("multiply", like(x3), x3, view(mask, x3.size(0), x3.size(1), 1));
    return view(y, x.shape());
  }

  // Cross-entropy.

  private Value crossEntropy(Node node) {
    Value logits = in(node, 0);
    Value target = plan.external(logits.shape());
    double smoothing = node.number("smoothing");
    int k = (int) logits.size(1);
    float[] distribution = new float[Math.toIntExact(logits.elements())];
    preparations.add(
        step -> {
          long[] indices = labels.get(node.input(1));
          Arrays.fill(distribution, (float) (smoothing / k));
          for (int i = 0; i < indices.length; i++) {
            if (indices[i] < 0 || indices[i] >= k) {
              throw new IllegalArgumentException(
                  String.format(
                      "Invalid label: %d (the model has %d classes, numbered from 0)",
                      indices[i], k));
            }
            distribution[i * k + (int) indices[i]] = (float) (1 - smoothing + smoothing / k);
          }
          plan.write(target, distribution);
        });
    saved.put(node, List.of(target));
    Value logarithms = plan.call("log_softmax", new long[] {1}, like(logits), logits);
    Value product = plan.call("multiply", like(logits), logarithms, target);
    return dot(fresh(node), product, -1.0 / logits.size(0));
  }

  private void crossEntropyBackward(Node node, Value dy) {
    Value logits = in(node, 0);
    Value target = saved.get(node).get(0);
    Value probabilities = plan.call("softmax", new long[] {1}, like(logits), logits);
    Value difference = plan.call("subtract", like(logits), probabilities, target);
    Value scale =
        plan.call("multiply", plan.value(1), view(dy, 1), plan.constant(1.0 / logits.size(0), 1));
    contribute(node, 0, plan.call("multiply", like(logits), difference, scale));
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

  /** {@code factor} times the sum of all elements. */
  private Value dot(Value out, Value x, double factor) {
    long n = x.elements();
    plan.call("matmul", new long[3], view(out, 1, 1), plan.constant(factor, 1, n), view(x, n, 1));
    return out;
  }

  /** A scalar repeated to the shape of {@code x}. */
  private Value spread(Value scalar, Value x) {
    Value result = like(x);
    long n = x.elements();
    plan.call("multiply", view(result, n), plan.constant(1, n), view(scalar, 1));
    return result;
  }

  private boolean wants(Node node, int index) {
    return wanted.contains(node.input(index));
  }

  private void contribute(Node node, int index, Value gradient) {
    if (!wants(node, index)) {
      return;
    }
    Tensor tensor = node.input(index);
    Value before = gradients.get(tensor);
    gradients.put(
        tensor, before == null ? gradient : plan.call("add", like(gradient), before, gradient));
  }

  private static long[] joined(long[]... parts) {
    return Arrays.stream(parts).flatMapToLong(Arrays::stream).toArray();
  }
}
