package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Type;

/** Kernels that work element by element, with broadcasting, and reductions. */
final class Elements {

  private Elements() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.RELU, Elements::relu);
    kernels.put(Node.Kind.ADD, Elements::add);
    kernels.put(Node.Kind.MULTIPLY, Elements::multiply);
    kernels.put(Node.Kind.SUM, Elements::sum);
    kernels.put(Node.Kind.GLOBAL_AVERAGE_POOL, Elements::globalAveragePool);
  }

  private static void relu(Node node, Lowering l) {
    Value x = l.dense(l.in(node, 0));
    Value y = l.eltwise(dnnl_eltwise_relu, 0, 0, x, l.like(x));
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value given = l.gradient(node.output());
            if (given != null) {
              Value dy = l.cast(l.laid(given, y.strides()), y.type);
              l.contribute(
                  node,
                  0,
                  l.eltwiseBackward(
                      dnnl_eltwise_relu_use_dst_for_bwd, 0, 0, y, DNNL_ARG_DST, dy, l.like(y)));
            }
          });
    }
  }

  private static void add(Node node, Lowering l) {
    Value a = l.in(node, 0);
    Value b = l.in(node, 1);
    Value y = l.binary(dnnl_binary_add, a, b, l.like(a));
    l.bind(node.output(), y);
    if (l.wantsAny(node)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              l.contribute(node, 0, dy);
              l.contribute(node, 1, dy);
            }
          });
    }
  }

  private static void multiply(Node node, Lowering l) {
    Value a = l.in(node, 0);
    Value b = l.in(node, 1);
    Value y = l.binary(dnnl_binary_mul, a, b, l.like(a));
    l.bind(node.output(), y);
    if (l.wantsAny(node)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null && l.wants(node, 0)) {
              l.contribute(node, 0, l.binary(dnnl_binary_mul, dy, b, l.like(a)));
            }
            if (dy != null && l.wants(node, 1)) {
              l.contribute(node, 1, l.binary(dnnl_binary_mul, dy, a, l.like(b)));
            }
          });
    }
  }

  private static void sum(Node node, Lowering l) {
    Value x = l.in(node, 0);
    long[] ones = new long[x.rank()];
    Arrays.fill(ones, 1);
    Value y = l.fresh(node.output(), Type.FLOAT32);
    l.reduce(dnnl_reduction_sum, x, y.reshaped(ones));
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              Value dx = l.like(x);
              l.zero(dx);
              l.contribute(node, 0, l.binary(dnnl_binary_add, dx, dy.reshaped(ones), dx));
            }
          });
    }
  }

  private static void globalAveragePool(Node node, Lowering l) {
    Value x = l.channelsLast(l.in(node, 0));
    long[] kernel = Concatenations.spatial(x);
    long[] shape = x.dims();
    Arrays.fill(shape, 2, shape.length, 1);
    Value y = l.fresh(node.output(), x.type);
    Value pooled = y.reshaped(shape);
    Dnnl.Window window =
        new Dnnl.Window(
            kernel, new long[kernel.length], new long[kernel.length], new long[kernel.length]);
    Primitive forward =
        l.dnnl.pool(
            l.training,
            dnnl_pooling_avg_exclude_padding,
            x.desc(l.dnnl),
            pooled.desc(l.dnnl),
            kernel,
            window);
    l.program
        .call("pool", forward)
        .in(DNNL_ARG_SRC, x)
        .out(DNNL_ARG_DST, pooled)
        .flop((double) x.elements())
        .add();
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value given = l.gradient(node.output());
            if (given == null) {
              return;
            }
            Value dy = l.cast(l.rowMajor(given), x.type).reshaped(shape);
            Value dx = l.like(x);
            l.program
                .call(
                    "pool",
                    l.dnnl.poolBackward(
                        dnnl_pooling_avg_exclude_padding,
                        dx.desc(l.dnnl),
                        dy.desc(l.dnnl),
                        kernel,
                        window,
                        forward))
                .in(DNNL_ARG_DIFF_DST, dy)
                .out(DNNL_ARG_DIFF_SRC, dx)
                .flop((double) x.elements())
                .add();
            l.contribute(node, 0, dx);
          });
    }
  }
}
