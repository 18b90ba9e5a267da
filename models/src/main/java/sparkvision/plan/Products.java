package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/** Kernels that are matrix products: linear layers and products of two tensors. */
final class Products {

  /**
   * Of 1,576 rows and 384 columns to 12, as Vim-Ti has, 0.27 in place of 0.52 ms (2 threads, Zen
   * 3); to 44, 0.6 in place of 0.8.
   */
  private static final int NARROW = 48;

  private Products() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.LINEAR, Products::linear);
    kernels.put(Node.Kind.MATMUL, Products::matmul);
  }

  /** x (..., I) as rows (R, I), weight (O, I): y = x·weightᵀ + bias. */
  private static void linear(Node node, Lowering l) {
    Value x = l.cast(rows(l, l.in(node, 0)), l.compute).settled();
    Value weight = l.in(node, 1).permuted(1, 0); // (I, O)
    Value bias = node.inputs().size() > 2 ? l.in(node, 2) : null;
    Epilogue epilogue = Epilogue.of(node, l);
    long rows = x.size(0);
    long out = weight.size(1);
    Value shift = bias == null ? null : bias.reshaped(1, out);
    Value whole = l.fresh(epilogue.result(), l.compute);
    Value y = whole.reshaped(rows, out);
    Primitive forward =
        l.dnnl.matmul(
            x.desc(l.dnnl),
            l.dnnl.any(l.compute, weight.dims()),
            shift == null ? null : shift.desc(l.dnnl),
            y.desc(l.dnnl),
            epilogue.post(l, 2));
    double flop = 2.0 * rows * weight.elements();
    Program.Call call =
        l.program
            .call("matmul", forward)
            .in(DNNL_ARG_SRC, x)
            .in(DNNL_ARG_WEIGHTS, l.weight(weight, l.compute, forward.query(dnnl_query_weights_md)))
            .in(DNNL_ARG_BIAS, shift)
            .out(DNNL_ARG_DST, y)
            .flop(flop);
    epilogue.arguments(call);
    call.add();
    l.bind(epilogue.result(), whole);
    if (!l.wantsAny(node)) {
      return;
    }

    l.tape(
        () -> {
          Value given = l.gradient(epilogue.result());
          if (given == null) {
            return;
          }
          Value dy = epilogue.backward(l, l.cast(rows(l, given), l.compute), y).settled();
          if (l.wants(node, 1)) {
            l.contribute(node, 1, gradientOfWeight(node, l, x, dy));
          }
          if (bias != null && l.wants(node, 2)) {
            Value dBias = l.fresh(node.input(2), Type.FLOAT32);
            columnSums(l, dy, dBias);
            l.contribute(node, 2, dBias);
          }
          if (l.wants(node, 0)) {
            Value dx = l.fresh(node.input(0), l.compute);
            Value to = dx.reshaped(rows, x.size(1));
            Value transposed = weight.permuted(1, 0);
            Desc any = l.dnnl.any(l.compute, transposed.dims());
            Primitive backward =
                l.dnnl.matmul(dy.desc(l.dnnl), any, null, to.desc(l.dnnl), Dnnl.PostOps.none());
            l.program
                .call("matmul", backward)
                .in(DNNL_ARG_SRC, dy)
                .in(
                    DNNL_ARG_WEIGHTS,
                    l.weight(transposed, l.compute, backward.query(dnnl_query_weights_md)))
                .out(DNNL_ARG_DST, to)
                .flop(flop)
                .add();
            l.contribute(node, 0, dx);
          }
        });
  }

  /** (O, I): dyᵀ·x, or, where a product of so few columns takes twice as long, (xᵀ·dy)ᵀ. */
  private static Value gradientOfWeight(Node node, Lowering l, Value x, Value dy) {
    long in = x.size(1);
    long out = dy.size(1);
    if (in <= NARROW && in < out) {
      Value turned = l.program.rowMajor("gradient", Type.FLOAT32, in, out);
      l.matmul(x.permuted(1, 0), dy, null, turned, false);
      return l.rowMajor(turned.permuted(1, 0));
    }
    Value whole = l.fresh(node.input(1), Type.FLOAT32);
    return l.matmul(dy.permuted(1, 0), x, null, whole, false);
  }

  /** (..., C) as (R, C). */
  static Value rows(Lowering l, Value x) {
    long width = x.size(x.rank() - 1);
    return l.reshaped(x, x.elements() / width, width);
  }

  /** The sums of each column of x (R, C): (C). */
  static void columnSums(Lowering l, Value x, Value sums) {
    l.program.loop(
        "reduction",
        (double) x.elements(),
        List.of(x),
        List.of(sums),
        () -> {
          Rows from = new Rows(x.buffer(), x.type, (int) x.stride(0));
          int rows = (int) x.size(0);
          int columns = (int) x.size(1);
          float[] total = new float[columns];
          double[] sum = new double[columns];
          return team -> {
            double[][] parts = new double[team.threads()][columns];
            team.run(
                (m, n) ->
                    Loops.best()
                        .sums(
                            from,
                            columns,
                            Team.share(rows, m, n),
                            Team.share(rows, m + 1, n),
                            parts[m]));
            Arrays.fill(sum, 0);
            for (double[] part : parts) {
              for (int c = 0; c < columns; c++) {
                sum[c] += part[c];
              }
            }
            for (int c = 0; c < columns; c++) {
              total[c] = (float) sum[c];
            }
            sums.write(total);
          };
        });
  }

  /** a (..., M, K)·b (..., K, N); either may be transposed. */
  private static void matmul(Node node, Lowering l) {
    Value a = apart(l, l.cast(turned(l.in(node, 0), node.integer("transpose-a")), l.compute));
    Value b = apart(l, l.cast(turned(l.in(node, 1), node.integer("transpose-b")), l.compute));
    Value y = l.fresh(node.output(), l.compute);
    l.matmul(a, b, null, y, false);
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
          Value dy = apart(l, l.cast(given, l.compute));
          if (l.wants(node, 0)) {
            Value da = l.fresh(node.input(0), type(l, node, 0));
            l.matmul(dy, b.turned(), null, turned(da, node.integer("transpose-a")), false);
            l.contribute(node, 0, da);
          }
          if (l.wants(node, 1)) {
            Value db = l.fresh(node.input(1), type(l, node, 1));
            l.matmul(a.turned(), dy, null, turned(db, node.integer("transpose-b")), false);
            l.contribute(node, 1, db);
          }
        });
  }

  /** What the gradient of an input is kept in: parameters' in float32. */
  private static Type type(Lowering l, Node node, int index) {
    return l.in(node, index).type;
  }

  /**
   * The matrices, copied unless they lie one behind the other in the order of their batch axes, and
   * vectors without gaps: oneDNN gets some products of others wrong.
   */
  private static Value apart(Lowering l, Value x) {
    int rank = x.rank();
    if (rank == 2) {
      return x;
    }
    if (x.size(rank - 1) == 1 || x.size(rank - 2) == 1) {
      return l.rowMajor(x);
    }
    long end = 1; // behind the last element of what is inside
    for (int axis = rank - 1; axis >= 0; axis--) {
      if (axis < rank - 2 && x.size(axis) > 1 && x.stride(axis) < end) {
        return l.rowMajor(x);
      }
      end += x.size(axis) == 1 ? 0 : (x.size(axis) - 1) * x.stride(axis);
    }
    return x;
  }

  private static Value turned(Value x, long transpose) {
    return transpose == 0 ? x : x.turned();
  }
}
