package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Arithmetic;
import sparkvision.kernels.Grid;
import sparkvision.kernels.GridLoops;
import sparkvision.kernels.Primitive;
import sparkvision.kernels.Type;

/**
 * Arithmetic of two tensors with broadcasting on either side.
 *
 * <p>oneDNN does what it has generated code for; it has none for much of the broadcasting and for
 * operands in different layouts, and would then be ten times slower than our loops.
 */
final class Pairs {

  private Pairs() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.ADD, (node, l) -> sum(node, l, Arithmetic.ADD));
    kernels.put(Node.Kind.SUBTRACT, (node, l) -> sum(node, l, Arithmetic.SUBTRACT));
    kernels.put(Node.Kind.MULTIPLY, Pairs::multiply);
    kernels.put(Node.Kind.DIVIDE, Pairs::divide);
  }

  // Words.

  private static void sum(Node node, Lowering l, Arithmetic operation) {
    apply(node, l, operation);
    if (!l.wantsAny(node)) {
      return;
    }
    l.tape(
        () -> {
          Value dy = l.gradient(node.output());
          if (dy == null) {
            return;
          }
          contribute(node, 0, l, dy, null, 1);
          contribute(node, 1, l, dy, null, operation == Arithmetic.ADD ? 1 : -1);
        });
  }

  private static void multiply(Node node, Lowering l) {
    apply(node, l, Arithmetic.MULTIPLY);
    if (!l.wantsAny(node)) {
      return;
    }
    l.tape(
        () -> {
          Value dy = l.gradient(node.output());
          if (dy == null) {
            return;
          }
          if (node.input(0) == node.input(1)) { // a square
            Value part = product(l, dy, recalled(node, 0, l), node.output(), type(l, node, 0));
            l.contribute(node, 0, part);
            l.contribute(node, 0, part);
            return;
          }
          contribute(node, 0, l, dy, recalled(node, 1, l), 1);
          contribute(node, 1, l, dy, recalled(node, 0, l), 1);
        });
  }

  /** y = a / b: da = dy / b, db = −dy·y / b. */
  private static void divide(Node node, Lowering l) {
    Value y = apply(node, l, Arithmetic.DIVIDE);
    if (!l.wantsAny(node)) {
      return;
    }
    l.tape(
        () -> {
          Value dy = l.gradient(node.output());
          if (dy == null) {
            return;
          }
          Value b = recalled(node, 1, l);
          Value quotient = l.like(y, Type.FLOAT32);
          emit(l, Arithmetic.DIVIDE, dy, b, quotient);
          contribute(node, 0, l, quotient, null, 1);
          contribute(node, 1, l, quotient, y, -1);
        });
  }

  private static Value recalled(Node node, int index, Lowering l) {
    return l.recall(node.input(index), l.in(node, index));
  }

  /** What the gradient of an input is kept in. */
  private static Type type(Lowering l, Node node, int index) {
    return l.in(node, index).type;
  }

  // Forward.

  private static Value apply(Node node, Lowering l, Arithmetic operation) {
    Value a = l.in(node, 0);
    Value b = l.in(node, 1);
    Value y = l.fresh(node.output(), resultType(node, l), resultStrides(node.output(), a, b));
    emit(l, operation, a, b, y);
    l.bind(node.output(), y);
    return y;
  }

  /** Laid like the operand that has the result's shape; if both have, channels last wins. */
  private static long[] resultStrides(Tensor output, Value... operands) {
    Value model = null;
    for (Value operand : operands) {
      boolean whole = Arrays.equals(operand.dims(), output.shape());
      if (whole && (model == null || (isPicture(operand) && !isPicture(model)))) {
        model = operand;
      }
    }
    return model == null
        ? Value.rowMajor(output.shape())
        : Value.inOrder(output.shape(), model.order());
  }

  private static boolean isPicture(Value value) {
    return value.rank() >= 4 && value.isChannelsLast();
  }

  /**
   * bfloat16 only if no activation of the result's shape is float32: what was computed more exactly
   * stays so, but a parameter alone, such as a position embedding, does not make it so.
   */
  private static Type resultType(Node node, Lowering l) {
    Type type = node.attributes().containsKey("float32") ? Type.FLOAT32 : null;
    for (int i = 0; i < 2; i++) {
      boolean whole = node.input(i).elements() == node.output().elements();
      if (whole && !l.isVariable(node.input(i))) {
        type = type == Type.FLOAT32 ? type : type(l, node, i);
      }
    }
    if (type != null) {
      return type;
    }
    boolean halves = type(l, node, 0) == Type.BFLOAT16 && type(l, node, 1) == Type.BFLOAT16;
    return halves ? Type.BFLOAT16 : Type.FLOAT32;
  }

  // Backward.

  /**
   * Contributes factor·dy·other, or factor·dy if other is null, to an input's gradient, summed over
   * the axes along which the input was broadcast.
   */
  private static void contribute(
      Node node, int index, Lowering l, Value dy, Value other, double factor) {
    if (!l.wants(node, index)) {
      return;
    }
    Tensor input = node.input(index);
    Tensor output = node.output();
    if (input.elements() < output.elements()) {
      boolean[] summed = new boolean[output.rank()];
      int missing = output.rank() - input.rank();
      for (int axis = 0; axis < summed.length; axis++) {
        summed[axis] = axis < missing || input.size(axis - missing) != output.size(axis);
      }
      Value sums = Reductions.sum(l, dy, other, summed, factor);
      l.contribute(node, index, l.reshaped(sums, input.shape()));
      return;
    }
    Value gradient = other == null ? dy : product(l, dy, other, output, type(l, node, index));
    if (factor != 1) {
      gradient = Elements.scaled(l, gradient, factor);
    }
    l.contribute(node, index, l.reshaped(gradient, input.shape()));
  }

  private static Value product(Lowering l, Value dy, Value other, Tensor output, Type type) {
    Value y = l.value(output);
    Value product = l.like(y, type);
    return emit(l, Arithmetic.MULTIPLY, dy, other, product);
  }

  // Steps.

  /** y = a ∘ b, whatever the layouts and types; y may be a or b, if that has its shape. */
  static Value emit(Lowering l, Arithmetic operation, Value a, Value b, Value y) {
    int rank = Math.max(1, y.rank());
    Value left = a.padded(rank);
    Value right = b.padded(rank);
    Value result = y.padded(rank);
    boolean commutes = operation == Arithmetic.ADD || operation == Arithmetic.MULTIPLY;
    if (!generated(l, operation, left, right, result)
        && !(commutes && generated(l, operation, right, left, result))) {
      loop(l, operation, alongside(l, left, result), alongside(l, right, result), result);
    }
    return y;
  }

  /** Leaves it to oneDNN if that has generated code for it; false if not. */
  private static boolean generated(Lowering l, Arithmetic operation, Value a, Value b, Value y) {
    boolean rounds = a.type == Type.FLOAT32 && y.type == Type.BFLOAT16; // not a strength of oneDNN
    if (rounds || !y.isDense() || !Arrays.equals(a.dims(), y.dims()) || !a.lies(y.strides())) {
      return false;
    }
    int algorithm =
        switch (operation) {
          case ADD -> dnnl_binary_add;
          case SUBTRACT -> dnnl_binary_sub;
          case MULTIPLY -> dnnl_binary_mul;
          case DIVIDE -> dnnl_binary_div;
        };
    // oneDNN looks at strides on axes of size 1 too, and is wrong with some that say nothing
    // (3.11).
    boolean picture = Arrays.equals(y.strides(), Value.channelsLast(y.dims()));
    Value result = picture ? y : y.settled();
    Value left = a.laid(result.strides());
    boolean alike = Arrays.equals(b.dims(), y.dims()) && b.lies(y.strides());
    Value right = alike ? b.laid(result.strides()) : b;
    Primitive primitive =
        l.dnnl.binary(algorithm, left.desc(l.dnnl), right.desc(l.dnnl), result.desc(l.dnnl));
    if (!primitive.implementation().startsWith("jit")) {
      return false;
    }
    l.program
        .call("elementwise", primitive)
        .in(DNNL_ARG_SRC_0, left)
        .in(DNNL_ARG_SRC_1, right)
        .out(DNNL_ARG_DST, result)
        .flop((double) y.elements())
        .add();
    return true;
  }

  /**
   * A value whose elements are neighbours, or one and the same, where those of {@code model} are
   * neighbours: what runs across them is copied into the model's order first.
   */
  static Value alongside(Lowering l, Value value, Value model) {
    int[] order = model.order();
    int innermost =
        IntStream.range(0, order.length)
            .map(i -> order[order.length - 1 - i])
            .filter(axis -> model.size(axis) > 1)
            .findFirst()
            .orElse(-1);
    boolean runsAlong = innermost < 0 || value.size(innermost) == 1 || value.stride(innermost) == 1;
    return runsAlong || model.stride(innermost) != 1
        ? value
        : l.laid(value, Value.inOrder(value.dims(), order));
  }

  private static void loop(Lowering l, Arithmetic operation, Value a, Value b, Value y) {
    long[] shape = y.dims();
    Nest nest =
        Nest.of(y.order(), shape, Nest.broadcast(a, shape), Nest.broadcast(b, shape), y.strides());
    l.program.loop(
        "elementwise",
        (double) y.elements(),
        List.of(a, b),
        List.of(y),
        () -> {
          GridLoops loops = GridLoops.best();
          Grid left = nest.grid(a, 0);
          Grid right = nest.grid(b, 1);
          Grid result = nest.grid(y, 2);
          Nest.Body body =
              (at, rows, columns) ->
                  loops.combine(operation, left, at[0], right, at[1], result, at[2], rows, columns);
          return team -> nest.run(team, body);
        });
  }
}
