package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.Map;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Type;

/**
 * Kernels that slide a window over (B, C, ...): pools, and {@link Convolution}. All work channels
 * last.
 */
final class Windows {

  private Windows() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CONV, Windows::conv);
    kernels.put(Node.Kind.CONV_TRANSPOSE, Windows::convTranspose);
    kernels.put(Node.Kind.MAX_POOL, Windows::pool);
    kernels.put(Node.Kind.AVERAGE_POOL, Windows::pool);
  }

  private static void conv(Node node, Lowering l) {
    if (Depthwise.fits(node)) {
      Depthwise.conv(node, l);
    } else {
      new Convolution(node, l).emit();
    }
  }

  /** The sums of dy (B, O, ...), channels last, if there is a bias (O) that wants them. */
  static void biasGradient(Node node, Lowering l, Value dy) {
    if (node.inputs().size() > 2 && l.wants(node, 2)) {
      Value dBias = l.gradientHome(node.input(2));
      int[] order = Value.channelsLastOrder(dy.rank());
      Value rows = dy.permuted(order).reshaped(dy.elements() / dy.size(1), dy.size(1));
      Products.columnSums(l, rows, dBias);
      l.contribute(node, 2, dBias);
    }
  }

  // Transposed convolution.

  private static void convTranspose(Node node, Lowering l) {
    if (Depthwise.fits(node)) {
      Depthwise.convTranspose(node, l);
      return;
    }
    Value x = l.cast(l.channelsLast(l.in(node, 0)), l.compute);
    Value bias = node.inputs().size() > 2 ? l.in(node, 2) : null;
    Value weight = transposed(l.rowMajor(l.in(node, 1)), node.integer("groups"));
    long[] shape = node.output().shape();
    Value y = l.fresh(node.output(), l.compute, Value.channelsLast(shape));
    long[] before = node.sizes("padding");
    long[] after = node.sizes("output-padding");
    Arrays.setAll(after, i -> before[i] - after[i]);
    long[] dilation = Arrays.stream(node.sizes("dilation")).map(size -> size - 1).toArray();
    Dnnl.Window window = new Dnnl.Window(node.sizes("stride"), dilation, before, after);
    Primitive forward =
        l.dnnl.deconvolution(
            l.training,
            x.desc(l.dnnl),
            l.dnnl.any(l.compute, weight.dims()),
            bias == null ? null : bias.desc(l.dnnl),
            y.desc(l.dnnl),
            window);
    double flop = 2.0 * x.elements() * weight.elements() / x.size(1);
    l.program
        .call("convolution", forward)
        .in(DNNL_ARG_SRC, x)
        .in(DNNL_ARG_WEIGHTS, l.weight(weight, l.compute, forward.query(dnnl_query_weights_md)))
        .in(DNNL_ARG_BIAS, bias)
        .out(DNNL_ARG_DST, y)
        .flop(flop)
        .add();
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
          Value dy = l.cast(l.channelsLast(given), l.compute);
          biasGradient(node, l, dy);
          if (l.wants(node, 1)) {
            Value seen = l.recall(node.input(0), x);
            Value dWeight = l.gradientHome(node.input(1));
            if (Patches.fits(node, node.output())) {
              Patches.weightGradient(l, seen, dy, dWeight);
            } else {
              Value to = transposed(dWeight, node.integer("groups"));
              Primitive backward =
                  l.dnnl.deconvolutionBackwardWeights(
                      seen.desc(l.dnnl),
                      l.dnnl.any(Type.FLOAT32, weight.dims()),
                      null,
                      dy.desc(l.dnnl),
                      window,
                      forward);
              Value result =
                  l.opaque("weight gradient", weight, backward.query(dnnl_query_diff_weights_md));
              l.program
                  .call("convolution: weight gradient", backward)
                  .in(DNNL_ARG_SRC, seen)
                  .in(DNNL_ARG_DIFF_DST, dy)
                  .out(DNNL_ARG_DIFF_WEIGHTS, result)
                  .flop(flop)
                  .add();
              l.copy(result, to);
            }
            l.contribute(node, 1, dWeight);
          }
          if (l.wants(node, 0)) {
            Value dx = l.fresh(node.input(0), l.compute, Value.channelsLast(x.dims()));
            Primitive backward =
                l.dnnl.deconvolutionBackwardData(
                    dx.desc(l.dnnl),
                    l.dnnl.any(l.compute, weight.dims()),
                    dy.desc(l.dnnl),
                    window,
                    forward);
            l.program
                .call("convolution: data gradient", backward)
                .in(
                    DNNL_ARG_WEIGHTS,
                    l.weight(weight, l.compute, backward.query(dnnl_query_weights_md)))
                .in(DNNL_ARG_DIFF_DST, dy)
                .out(DNNL_ARG_DIFF_SRC, dx)
                .flop(flop)
                .add();
            l.contribute(node, 0, dx);
          }
        });
  }

  /** A weight (C, O/g, k...) as oneDNN wants it: (O, C, k...), or (g, O/g, C/g, k...). */
  private static Value transposed(Value weight, long groups) {
    Value grouped = Convolution.grouped(weight, groups);
    int[] order = IntStream.range(0, grouped.rank()).toArray();
    int first = groups == 1 ? 0 : 1;
    order[first] = first + 1;
    order[first + 1] = first;
    return grouped.permuted(order);
  }

  // Pools.

  private static void pool(Node node, Lowering l) {
    Value x = l.channelsLast(l.in(node, 0));
    boolean max = node.kind() == Node.Kind.MAX_POOL;
    int algorithm =
        max
            ? dnnl_pooling_max
            : node.integer("count-padding") == 1
                ? dnnl_pooling_avg_include_padding
                : dnnl_pooling_avg_exclude_padding;
    long[] kernel = node.sizes("kernel");
    long[] stride = node.sizes("stride");
    long[] before = node.sizes("padding");
    // oneDNN wants sizes that come out even; a last partial window is dropped by padding that is
    // negative.
    long[] after = new long[kernel.length];
    for (int i = 0; i < kernel.length; i++) {
      after[i] =
          (node.output().size(i + 2) - 1) * stride[i] + kernel[i] - x.size(i + 2) - before[i];
    }
    Dnnl.Window window = new Dnnl.Window(stride, new long[kernel.length], before, after);
    Value y = l.fresh(node.output(), x.type, Value.channelsLast(node.output().shape()));
    Primitive forward =
        l.dnnl.pool(l.training, algorithm, x.desc(l.dnnl), y.desc(l.dnnl), kernel, window);
    Value workspace =
        max && l.training
            ? l.opaque("pool workspace", y, forward.query(dnnl_query_workspace_md))
            : null;
    l.program
        .call("pool", forward)
        .in(DNNL_ARG_SRC, x)
        .out(DNNL_ARG_DST, y)
        .out(DNNL_ARG_WORKSPACE, workspace)
        .flop((double) y.elements() * Value.elements(kernel))
        .add();
    l.bind(node.output(), y);
    if (!l.wants(node, 0)) {
      return;
    }
    l.tape(
        () -> {
          Value given = l.gradient(node.output());
          if (given == null) {
            return;
          }
          Value dy = l.cast(l.channelsLast(given), x.type);
          Value dx = l.like(x);
          l.program
              .call(
                  "pool",
                  l.dnnl.poolBackward(
                      algorithm, dx.desc(l.dnnl), dy.desc(l.dnnl), kernel, window, forward))
              .in(DNNL_ARG_DIFF_DST, dy)
              .in(DNNL_ARG_WORKSPACE, workspace)
              .out(DNNL_ARG_DIFF_SRC, dx)
              .flop((double) y.elements() * Value.elements(kernel))
              .add();
          l.contribute(node, 0, dx);
        });
  }
}
