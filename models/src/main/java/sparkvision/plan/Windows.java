package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Primitive;

/**
 * Kernels that slide a window over (B, C, ...): pools, and {@link Convolution}. All work channels
 * last.
 */
final class Windows {

  private Windows() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CONV, (node, l) -> new Convolution(node, l).emit());
    kernels.put(Node.Kind.MAX_POOL, Windows::pool);
    kernels.put(Node.Kind.AVERAGE_POOL, Windows::pool);
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
