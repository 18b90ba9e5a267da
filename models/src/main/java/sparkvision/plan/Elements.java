package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import sparkvision.graph.Dropout;
import sparkvision.graph.Node;
import sparkvision.kernels.Arithmetic;
import sparkvision.kernels.Grid;
import sparkvision.kernels.GridLoops;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Type;

/**
 * Kernels that work on each element by itself, and softmax. They keep the layout of their input.
 *
 * <p>Functions that magnify errors, such as exp, and those that losses are made of are computed in
 * float32, whatever the activations are kept in; their results stay float32.
 */
final class Elements {

  /**
   * A function as oneDNN has it.
   *
   * @param backward the algorithm of its gradient
   * @param fromResult whether that looks at y; else at x
   * @param exact whether x has to be float32
   */
  private record Function(
      int forward, int backward, double alpha, double beta, boolean fromResult, boolean exact) {}

  private Elements() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    ofResult(kernels, Node.Kind.RELU, dnnl_eltwise_relu, dnnl_eltwise_relu_use_dst_for_bwd);
    ofResult(
        kernels, Node.Kind.SIGMOID, dnnl_eltwise_logistic, dnnl_eltwise_logistic_use_dst_for_bwd);
    ofResult(kernels, Node.Kind.TANH, dnnl_eltwise_tanh, dnnl_eltwise_tanh_use_dst_for_bwd);
    ofInput(kernels, Node.Kind.GELU, dnnl_eltwise_gelu_erf, false);
    ofInput(kernels, Node.Kind.SILU, dnnl_eltwise_swish, false);
    ofInput(kernels, Node.Kind.ABS, dnnl_eltwise_abs, false);
    ofInput(kernels, Node.Kind.LOG, dnnl_eltwise_log, true);
    Function exp =
        new Function(dnnl_eltwise_exp, dnnl_eltwise_exp_use_dst_for_bwd, 0, 0, true, true);
    kernels.put(Node.Kind.EXP, (node, l) -> apply(node, l, exp));
    Function sqrt =
        new Function(dnnl_eltwise_sqrt, dnnl_eltwise_sqrt_use_dst_for_bwd, 0, 0, true, true);
    kernels.put(Node.Kind.SQRT, (node, l) -> apply(node, l, sqrt));
    kernels.put(
        Node.Kind.LEAKY_RELU,
        (node, l) -> {
          double slope = node.number("slope");
          apply(
              node, l, new Function(dnnl_eltwise_relu, dnnl_eltwise_relu, slope, 0, false, false));
        });
    kernels.put(Node.Kind.POWER, Elements::power);
    kernels.put(Node.Kind.RSQRT, Elements::rsqrt);
    kernels.put(Node.Kind.AFFINE, Elements::affine);
    kernels.put(Node.Kind.SOFTPLUS, Elements::softplus);
    kernels.put(Node.Kind.SOFTMAX, (node, l) -> softmax(node, l, dnnl_softmax_accurate));
    kernels.put(Node.Kind.LOG_SOFTMAX, (node, l) -> softmax(node, l, dnnl_softmax_log));
    kernels.put(Node.Kind.DROPOUT, Elements::dropout);
  }

  private static void ofResult(
      Map<Node.Kind, Kernel> kernels, Node.Kind kind, int forward, int backward) {
    Function function = new Function(forward, backward, 0, 0, true, false);
    kernels.put(kind, (node, l) -> apply(node, l, function));
  }

  private static void ofInput(
      Map<Node.Kind, Kernel> kernels, Node.Kind kind, int algorithm, boolean exact) {
    Function function = new Function(algorithm, algorithm, 1, 0, false, exact);
    kernels.put(kind, (node, l) -> apply(node, l, function));
  }

  // Functions.

  private static void apply(Node node, Lowering l, Function f) {
    Value x = dense(l.in(node, 0), f.exact, l);
    Value y = l.eltwise(f.forward, f.alpha, f.beta, x, l.like(x));
    l.bind(node.output(), y);
    if (!l.wants(node, 0)) {
      return;
    }
    if (l.lean && !f.fromResult) {
      l.remake(
          node.output(),
          () -> l.eltwise(f.forward, f.alpha, f.beta, l.recall(node.input(0), x), l.like(x)));
    }
    l.tape(
        () -> {
          Value given = l.gradient(node.output());
          if (given == null) {
            return;
          }
          Value data = f.fromResult ? y : l.recall(node.input(0), x);
          Value dy = l.laid(given, data.type, data.strides());
          int argument = f.fromResult ? DNNL_ARG_DST : DNNL_ARG_SRC;
          Value dx =
              l.eltwiseBackward(f.backward, f.alpha, f.beta, data, argument, dy, l.like(data));
          l.contribute(node, 0, dx);
        });
  }

  /** A value without gaps, and in float32 if that is asked for. */
  private static Value dense(Value x, boolean exact, Lowering l) {
    return exact ? l.cast(l.dense(x), Type.FLOAT32) : l.dense(x);
  }

  /** dx = dy·exponent·x^(exponent − 1), not by way of y / x, which is undefined at 0. */
  private static void power(Node node, Lowering l) {
    double exponent = node.number("exponent");
    Value x = dense(l.in(node, 0), true, l);
    l.bind(node.output(), l.eltwise(dnnl_eltwise_pow, 1, exponent, x, l.like(x)));
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              Value slope = l.like(x);
              if (exponent == 0) {
                l.zero(slope);
              } else {
                l.eltwise(dnnl_eltwise_pow, exponent, exponent - 1, x, slope);
              }
              l.contribute(node, 0, Pairs.emit(l, Arithmetic.MULTIPLY, slope, dy, slope));
            }
          });
    }
  }

  /** dx = −dy·y³ / 2. */
  private static void rsqrt(Node node, Lowering l) {
    Value x = dense(l.in(node, 0), true, l);
    Value y = l.eltwise(dnnl_eltwise_pow, 1, -0.5, x, l.like(x));
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              Value slope = l.eltwise(dnnl_eltwise_pow, -0.5, 3, y, l.like(y));
              l.contribute(node, 0, Pairs.emit(l, Arithmetic.MULTIPLY, slope, dy, slope));
            }
          });
    }
  }

  /**
   * log(1 + exp(x)); above 20 that is x in float32. oneDNN rounds 1 + exp(x) first, which leaves
   * little of small results.
   */
  private static void softplus(Node node, Lowering l) {
    Value x = dense(l.in(node, 0), true, l);
    Value y = l.like(x);
    Nest nest = Nest.of(x.order(), x.dims(), x.strides(), y.strides());
    l.program.loop(
        "elementwise",
        20.0 * x.elements(),
        List.of(x),
        List.of(y),
        () -> {
          GridLoops loops = GridLoops.best();
          Grid from = nest.grid(x, 0);
          Grid to = nest.grid(y, 1);
          return team ->
              nest.run(
                  team,
                  (at, rows, columns) -> loops.softplus(from, at[0], to, at[1], rows, columns));
        });
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value given = l.gradient(node.output());
            if (given != null) {
              Value dy = l.laid(given, x.type, x.strides());
              l.contribute(
                  node,
                  0,
                  l.eltwiseBackward(dnnl_eltwise_soft_relu, 1, 0, x, DNNL_ARG_SRC, dy, l.like(x)));
            }
          });
    }
  }

  private static void affine(Node node, Lowering l) {
    double scale = node.number("scale");
    Value x = l.dense(l.in(node, 0));
    double shift = node.number("shift");
    l.bind(node.output(), l.eltwise(dnnl_eltwise_linear, scale, shift, x, l.like(x)));
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              l.contribute(node, 0, scale == 1 ? dy : scaled(l, dy, scale));
            }
          });
    }
  }

  /** factor·x. */
  static Value scaled(Lowering l, Value x, double factor) {
    Value from = l.dense(x);
    return l.eltwise(dnnl_eltwise_linear, factor, 0, from, l.like(from));
  }

  // Softmax.

  /** Along the densest axis: oneDNN's code for gradients along others is slow. */
  private static void softmax(Node node, Lowering l, int algorithm) {
    int axis = (int) node.integer("axis");
    Value given = l.in(node, 0);
    Value x = l.laid(given, withDensest(axis, given));
    boolean log = algorithm == dnnl_softmax_log;
    Value y = l.like(x, log ? Type.FLOAT32 : x.type);
    l.program
        .call("softmax", l.dnnl.softmax(algorithm, x.desc(l.dnnl), y.desc(l.dnnl), axis))
        .in(DNNL_ARG_SRC, x)
        .out(DNNL_ARG_DST, y)
        .flop(5.0 * y.elements())
        .add();
    l.bind(node.output(), y);
    if (!l.wants(node, 0)) {
      return;
    }
    l.tape(
        () -> {
          Value gradient = l.gradient(node.output());
          if (gradient == null) {
            return;
          }
          Value dy = l.laid(gradient, y.type, y.strides());
          Value dx = l.like(x);
          Primitive backward =
              l.dnnl.softmaxBackward(
                  algorithm, dx.desc(l.dnnl), dy.desc(l.dnnl), y.desc(l.dnnl), axis);
          l.program
              .call("softmax", backward)
              .in(DNNL_ARG_DST, y)
              .in(DNNL_ARG_DIFF_DST, dy)
              .out(DNNL_ARG_DIFF_SRC, dx)
              .flop(4.0 * y.elements())
              .add();
          l.contribute(node, 0, dx);
        });
  }

  /** The strides of a value whose axes keep their order but for one, which becomes the densest. */
  private static long[] withDensest(int axis, Value x) {
    int[] order =
        IntStream.concat(
                Arrays.stream(x.order()).filter(other -> other != axis), IntStream.of(axis))
            .toArray();
    return Value.inOrder(x.dims(), order);
  }

  // Noise.

  private static void dropout(Node node, Lowering l) {
    Value x = l.in(node, 0);
    long[] shape = node.sizes("mask");
    Value mask = l.program.value("mask", Type.FLOAT32, shape, Value.inOrder(shape, x.order()));
    fill(mask, node, l);
    Value y = Pairs.emit(l, Arithmetic.MULTIPLY, x, mask, l.like(x));
    l.bind(node.output(), y);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              l.contribute(node, 0, Pairs.emit(l, Arithmetic.MULTIPLY, dy, mask, l.like(x)));
            }
          });
    }
  }

  /** Elements are drawn by their place in row-major order, wherever they lie. */
  private static void fill(Value mask, Node node, Lowering l) {
    long[] shape = mask.dims();
    Nest nest = Nest.of(mask.order(), shape, mask.strides(), Value.rowMajor(shape));
    long index = node.integer("index");
    double rate = node.number("rate");
    l.program.loop(
        "dropout",
        0,
        List.of(),
        List.of(mask),
        () -> {
          Rows to = new Rows(mask.buffer(), mask.type, 0);
          return team -> {
            long stream = Dropout.stream(l.graph.noiseSeed(), l.draw(), index);
            nest.run(
                team,
                (at, rows, columns) -> {
                  for (int row = 0; row < rows; row++) {
                    int place = at[0] + row * nest.rowStep(0);
                    int number = at[1] + row * nest.rowStep(1);
                    for (int c = 0; c < columns; c++) {
                      to.set(
                          place + c * nest.columnStep(0),
                          Dropout.factor(stream, number + c * nest.columnStep(1), rate));
                    }
                  }
                });
          };
        });
  }
}
