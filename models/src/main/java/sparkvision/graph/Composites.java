package sparkvision.graph;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What regions are short for: every region as words of the same vocabulary.
 *
 * <p>Centred before squared, so that no variance is a small difference of large numbers. B batch, C
 * channels, G groups, S spatial elements, K classes.
 */
final class Composites {

  private Composites() {}

  /** Adds {@code node} to {@code lowered}, or the words it is short for unless it is to be kept. */
  static void lower(Graph g, Node node, Set<Node.Kind> kept, List<Node> lowered) {
    boolean stateful = node.kind() == Node.Kind.BATCH_NORM && g.mode() == Graph.Mode.TRAINING;
    if (!node.kind().isRegion() || stateful || kept.contains(node.kind())) {
      lowered.add(node);
      return;
    }
    Graph scratch = new Graph(g.mode(), g.seed(), g.precision());
    Tensor result = composite(scratch, node);
    List<Node> words = new ArrayList<>(scratch.nodes());
    Node last = words.remove(words.size() - 1);
    if (last.output() != result || !Arrays.equals(result.shape(), node.output().shape())) {
      throw new IllegalStateException("Cannot lower " + node.kind() + ": its composite is another");
    }
    words.add(new Node(last.kind(), last.inputs(), node.outputs(), last.attributes()));
    words.forEach(word -> lower(g, word, kept, lowered));
  }

  private static Tensor composite(Graph g, Node node) {
    return switch (node.kind()) {
      case GLOBAL_AVERAGE_POOL ->
          g.mean(node.input(0), IntStream.range(2, node.input(0).rank()).toArray());
      case BATCH_NORM -> batchNorm(g, node);
      case LAYER_NORM -> layerNorm(g, node);
      case GROUP_NORM -> groupNorm(g, node);
      case RMS_NORM -> rmsNorm(g, node);
      case LINEAR -> linear(g, node);
      case ATTENTION -> attention(g, node);
      case CRISS_CROSS -> crissCross(g, node);
      case CAUSAL_CONV -> causalConv(g, node);
      case SELECTIVE_SCAN -> selectiveScan(g, node);
      case SOFT_CROSS_ENTROPY -> softCrossEntropy(g, node);
      default -> throw new IllegalStateException(node.kind() + " is no region");
    };
  }

  /** In inference: (x − running mean) / √(running variance + ε)·weight + bias. */
  private static Tensor batchNorm(Graph g, Node node) {
    Tensor x = node.input(0);
    Tensor variance = g.addConstant(node.input(4), node.number("epsilon"));
    Tensor scale = g.multiply(node.input(1), g.rsqrt(variance)); // (C)
    Tensor centred = g.subtract(x, perChannel(g, node.input(3), x));
    Tensor scaled = g.multiply(centred, perChannel(g, scale, x));
    return g.add(scaled, perChannel(g, node.input(2), x));
  }

  private static Tensor layerNorm(Graph g, Node node) {
    Tensor normalised = normalised(g, node.input(0), node.number("epsilon"));
    return g.add(g.multiply(normalised, node.input(1)), node.input(2));
  }

  private static Tensor groupNorm(Graph g, Node node) {
    Tensor x = node.input(0);
    Tensor grouped = g.reshape(x, x.size(0), node.integer("groups"), -1); // (B, G, C/G·S)
    Tensor normalised = g.reshape(normalised(g, grouped, node.number("epsilon")), x.shape());
    Tensor scaled = g.multiply(normalised, perChannel(g, node.input(1), x));
    return g.add(scaled, perChannel(g, node.input(2), x));
  }

  /** (x − mean) / √(variance + ε) over the last axis, in two passes. */
  private static Tensor normalised(Graph g, Tensor x, double epsilon) {
    Tensor centred = g.subtract(x, g.meanKeep(x, -1));
    Tensor variance = g.meanKeep(g.square(centred), -1);
    return g.multiply(centred, g.rsqrt(g.addConstant(variance, epsilon)));
  }

  private static Tensor rmsNorm(Graph g, Node node) {
    Tensor x = node.input(0);
    Tensor power = g.meanKeep(g.square(x), -1);
    Tensor normalised = g.multiply(x, g.rsqrt(g.addConstant(power, node.number("epsilon"))));
    return g.multiply(normalised, node.input(1));
  }

  private static Tensor linear(Graph g, Node node) {
    Tensor x = node.input(0);
    Tensor rows = g.reshape(x, -1, x.size(x.rank() - 1)); // (B·..., I)
    Tensor y = g.matmulTransposeB(rows, node.input(1));
    y = node.inputs().size() == 3 ? g.add(y, node.input(2)) : y;
    return g.reshape(y, node.output().shape());
  }

  private static Tensor attention(Graph g, Node node) {
    double scale = node.number("scale");
    Tensor q = scale == 1 ? node.input(0) : g.scale(node.input(0), scale);
    Tensor scores = g.matmulTransposeB(q, node.input(1)); // (..., N, M)
    return g.matmul(g.softmax(scores, -1), node.input(2));
  }

  /**
   * One softmax over the column and the row counts the pixel itself twice, with the share p ≤ ½
   * each time. Taking one of them away, and dividing by the 1 − p that are left, gives what CCNet's
   * code gets from a score of −∞, without an infinity.
   */
  private static Tensor crissCross(Graph g, Node node) {
    Tensor q = node.input(0);
    Tensor k = node.input(1);
    Tensor v = node.input(2);
    long h = q.size(2);
    long w = q.size(3);
    Tensor onColumn =
        g.matmulTransposeB(g.permute(q, 0, 3, 2, 1), g.permute(k, 0, 3, 2, 1)); // (B, W, H, H)
    Tensor onRow =
        g.matmulTransposeB(g.permute(q, 0, 2, 3, 1), g.permute(k, 0, 2, 3, 1)); // (B, H, W, W)
    Tensor scores = g.concat(3, g.permute(onColumn, 0, 2, 1, 3), onRow); // (B, H, W, H + W)
    Tensor map = g.softmax(scores, 3);

    Tensor ofColumn = g.permute(g.narrow(map, 3, 0, h), 0, 2, 1, 3); // (B, W, H, H)
    Tensor ofRow = g.narrow(map, 3, h, w); // (B, H, W, W)
    Tensor values = g.permute(v, 0, 2, 3, 1); // (B, H, W, C)
    Tensor fromColumn = g.matmul(ofColumn, g.permute(v, 0, 3, 2, 1)); // (B, W, H, C)
    Tensor both = g.add(g.permute(fromColumn, 0, 2, 1, 3), g.matmul(ofRow, values));

    // The diagonal of each row's map: every (W + 1)-th of its W·W elements.
    Tensor own = g.slice(g.reshape(ofRow, q.size(0), h, w * w), 2, 0, w * w, w + 1);
    own = g.reshape(own, q.size(0), h, w, 1); // p (B, H, W, 1)
    Tensor once = g.subtract(both, g.multiply(own, values));
    return g.permute(g.divide(once, g.affine(own, -1, 1)), 0, 3, 1, 2); // (B, C, H, W)
  }

  /** Causal from the end: the taps in reverse, with zeros behind the sequence. */
  private static Tensor causalConv(Graph g, Node node) {
    boolean backward = node.integer("backward") == 1;
    Tensor weight = node.input(1);
    long taps = weight.size(2);
    long[] none = {0};
    long[] one = {1};
    long[] zeros = {taps - 1};
    Map<String, Object> attributes =
        Map.of(
            "kernel",
            new long[] {taps},
            "stride",
            one,
            "padding",
            backward ? none : zeros,
            "padding-after",
            backward ? zeros : none,
            "dilation",
            one,
            "groups",
            weight.size(0));
    Tensor read = backward ? g.flip(weight, 2) : weight;
    List<Tensor> inputs = List.of(node.input(0), read, node.input(2));
    return g.silu(g.node(Node.Kind.CONV, inputs, attributes, node.output().shape()));
  }

  /**
   * The recurrence by doubling (Hillis and Steele, 1986): a state that knows the last {@code reach}
   * elements and the decay over them give one that knows twice as many. Decays are products of
   * numbers up to 1, so nothing overflows.
   */
  private static Tensor selectiveScan(Graph g, Node node) {
    boolean backward = node.integer("backward") == 1;
    List<Tensor> x = node.inputs();
    Tensor y = scan(g, x.subList(0, 6), x.get(7), backward);
    if (x.size() > 8) {
      y = g.add(y, scan(g, x.subList(8, 14), x.get(14), !backward));
    }
    return g.multiply(y, g.silu(x.get(6)));
  }

  private static Tensor scan(Graph g, List<Tensor> x, Tensor bias, boolean backward) {
    Tensor u = x.get(0); // (B, E, L)
    long batch = u.size(0);
    long channels = u.size(1);
    long length = u.size(2);
    long states = x.get(2).size(1);
    Tensor step = g.softplus(g.add(x.get(1), g.reshape(bias, channels, 1)));
    Tensor a = g.reshape(x.get(2), channels, 1, states);
    Tensor b = g.reshape(g.permute(x.get(3), 0, 2, 1), batch, 1, length, states);
    Tensor c = g.reshape(g.permute(x.get(4), 0, 2, 1), batch, 1, length, states);
    Tensor decay = g.exp(g.multiply(g.reshape(step, batch, channels, length, 1), a));
    Tensor drive = g.multiply(step, u);
    Tensor state = g.multiply(g.reshape(drive, batch, channels, length, 1), b); // (B, E, L, N)
    for (long reach = 1; reach < length; reach *= 2) {
      state = g.add(state, g.multiply(decay, before(g, state, reach, backward, 0)));
      if (2 * reach < length) {
        decay = g.multiply(decay, before(g, decay, reach, backward, 1));
      }
    }
    Tensor y = g.sum(g.multiply(state, c), 3); // (B, E, L)
    return g.add(y, g.multiply(u, g.reshape(x.get(5), channels, 1)));
  }

  /** At each of (B, E, L, N) what is {@code reach} elements earlier, {@code first} before all. */
  private static Tensor before(Graph g, Tensor x, long reach, boolean backward, double first) {
    long[] before = new long[4];
    long[] after = new long[4];
    (backward ? after : before)[2] = reach;
    Tensor kept = g.narrow(x, 2, backward ? reach : 0, x.size(2) - reach);
    return g.pad(kept, before, after, first);
  }

  private static Tensor softCrossEntropy(Graph g, Node node) {
    Tensor logits = node.input(0);
    Tensor products = g.multiply(node.input(1), g.logSoftmax(logits, 1));
    return g.scale(g.sum(products), -(double) logits.size(1) / logits.elements());
  }

  /** (C) as (C, 1, ...), which broadcasts over x (B, C, ...). */
  private static Tensor perChannel(Graph g, Tensor perChannel, Tensor x) {
    long[] shape = Shapes.filled(x.rank() - 1, 1);
    shape[0] = x.size(1);
    return g.reshape(perChannel, shape);
  }
}
