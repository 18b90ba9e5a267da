package sparkvision.plan;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import sparkvision.graph.Graph;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Arithmetic;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * A graph on its way to becoming a program: where each tensor lies, who reads it, and its gradient.
 *
 * <p>A {@link Kernel} turns one node into steps. Forward it binds the node's output to a value; if
 * a gradient is wanted, it puts on the tape what has to be emitted backward. After the last node
 * the tape is run in reverse: each entry takes the gradient of its output and contributes to those
 * of its inputs.
 */
final class Lowering {

  final Graph graph;
  final List<Node> nodes;
  final Program program;
  final Dnnl dnnl;
  final boolean training;
  final boolean lean;
  final Type compute; // what activations are kept in

  private final Map<Tensor, Value> values = new HashMap<>();
  private final Map<Tensor, long[]> indices = new HashMap<>();
  private final Map<Tensor, List<Node>> consumers = new HashMap<>();
  private final Map<Tensor, Node> producers = new HashMap<>();
  private final Set<Tensor> variables = new HashSet<>();
  private final Set<Tensor> visible = new HashSet<>(); // outputs and the loss
  private final Set<Tensor> wanted = new HashSet<>();
  private final Set<Tensor> blamed = new HashSet<>(); // the loss depends on them
  private final Set<Node> absorbed = new HashSet<>();
  private final List<Runnable> tape = new ArrayList<>();
  private final Map<Tensor, Value> gradients = new LinkedHashMap<>();
  private final Set<Value> ownedGradients = new HashSet<>();
  private final Map<Tensor, Value> parts = new HashMap<>(); // gradients that slices fill
  private final Map<Tensor, BatchNorm> deferred = new HashMap<>();
  private final Map<Tensor, Deferred> deferredGradients = new HashMap<>();
  private final Map<Tensor, ChannelMoments> moments = new HashMap<>();
  private final Set<Tensor> contributedInParts = new HashSet<>();
  private final Map<Tensor, Value> homes = new HashMap<>();
  private final Map<Tensor, Supplier<Value>> remakes = new HashMap<>();
  private final Map<Tensor, Value> remade = new HashMap<>();
  final Concatenations concatenations;

  private long draw;
  private int reorders;
  private int casts;

  Lowering(Graph graph, List<Node> nodes, Program program, Type compute, boolean lean) {
    this.graph = graph;
    this.nodes = nodes;
    this.program = program;
    this.dnnl = program.dnnl;
    this.training = graph.mode() == Graph.Mode.TRAINING;
    this.lean = lean;
    this.compute = compute;
    for (Node node : nodes) {
      node.inputs()
          .forEach(input -> consumers.computeIfAbsent(input, key -> new ArrayList<>()).add(node));
      producers.put(node.output(), node);
    }
    graph.variables().forEach(variable -> variables.add(variable.tensor()));
    visible.addAll(graph.outputs().values());
    graph.loss().ifPresent(visible::add);
    graph.loss().ifPresent(blamed::add);
    for (int i = nodes.size() - 1; i >= 0; i--) {
      if (blamed.contains(nodes.get(i).output())) {
        blamed.addAll(nodes.get(i).inputs());
      }
    }
    this.concatenations = new Concatenations(this);
  }

  // Forward.

  /** Says where a tensor lies. */
  void bind(Tensor tensor, Value value) {
    values.put(tensor, value);
    concatenations.placed(tensor, value);
  }

  /** Where a tensor lies; a concatenation of channels is carried out if somebody asks. */
  Value value(Tensor tensor) {
    Value value = values.get(tensor);
    if (value == null && concatenations.isConcat(tensor)) {
      value = concatenations.whole(tensor);
      values.put(tensor, value);
    }
    return value;
  }

  Value in(Node node, int index) {
    return value(node.input(index));
  }

  /** Asks for the gradient of an input or a variable, before any node is lowered. */
  void want(Tensor tensor) {
    wanted.add(tensor);
  }

  /** Whether the gradient of this input has to be computed. */
  boolean wants(Node node, int index) {
    return wanted.contains(node.input(index)) && blamed.contains(node.output());
  }

  boolean wantsAny(Node node) {
    return blamed.contains(node.output()) && node.inputs().stream().anyMatch(wanted::contains);
  }

  /** Lowers every node, except those that a kernel absorbed into another. */
  void forward(Map<Node.Kind, Kernel> kernels) {
    for (Node node : nodes) {
      if (absorbed.contains(node)) {
        continue;
      }
      Kernel kernel = kernels.get(node.kind());
      if (kernel == null) {
        throw new IllegalArgumentException(
            String.format("Cannot compile graph: there is no kernel for %s", node.kind()));
      }
      if (node.inputs().stream().anyMatch(wanted::contains)) {
        wanted.add(node.output());
      }
      kernel.lower(node, this);
    }
  }

  List<Node> consumers(Tensor tensor) {
    return consumers.getOrDefault(tensor, List.of());
  }

  /** Null for inputs and variables. */
  Node producer(Tensor tensor) {
    return producers.get(tensor);
  }

  /** Whether a tensor is a parameter or a running statistic. */
  boolean isVariable(Tensor tensor) {
    return variables.contains(tensor);
  }

  /**
   * The node that alone reads this tensor, if it is of this kind and nobody else sees the tensor;
   * else null.
   */
  Node soleConsumer(Tensor tensor, Node.Kind kind) {
    List<Node> readers = consumers(tensor);
    boolean alone = readers.size() == 1 && !visible.contains(tensor);
    return alone && readers.get(0).kind() == kind ? readers.get(0) : null;
  }

  /** Says that a node's work is done by another's kernel. */
  void absorb(Node node) {
    absorbed.add(node);
    if (node.inputs().stream().anyMatch(wanted::contains)) {
      wanted.add(node.output());
    }
  }

  /** The int64 input of the present run; steps ask when they run. */
  long[] indices(Tensor tensor) {
    return indices.get(tensor);
  }

  void bind(Tensor tensor, long[] numbers) {
    indices.put(tensor, numbers);
  }

  // What is made only where it is needed.

  /** Says that a tensor is made by the convolution that alone reads it. */
  void defer(Tensor tensor, BatchNorm norm) {
    deferred.put(tensor, norm);
  }

  /** The batch norm that makes a tensor where it is needed; null if the tensor is in memory. */
  BatchNorm deferredNorm(Tensor tensor) {
    return deferred.get(tensor);
  }

  /** Says that the moments of a tensor's channels will be known when it has been computed. */
  void know(Tensor tensor, ChannelMoments known) {
    moments.put(tensor, known);
  }

  /** Null if nobody computes them. */
  ChannelMoments moments(Tensor tensor) {
    return moments.get(tensor);
  }

  /** As {@link #contribute}; kept as it is if nobody else contributes. */
  void contributeDeferred(Node node, int index, Deferred gradient) {
    if (!wants(node, index)) {
      return;
    }
    Tensor tensor = node.input(index);
    if (consumers(tensor).size() == 1
        && !concatenations.holds(tensor)
        && producer(tensor) != null) {
      deferredGradients.put(tensor, gradient);
    } else {
      contribute(tensor, gradient.whole(this, "gradient", compute, tensor.shape()));
    }
  }

  /** The gradient of a tensor if it is made only where it is needed; else null. */
  Deferred deferredGradient(Tensor tensor) {
    return concatenations.holds(tensor)
        ? concatenations.deferredGradient(tensor)
        : deferredGradients.get(tensor);
  }

  /** The number of the present run, from which dropout draws; steps ask when they run. */
  long draw() {
    return draw;
  }

  void draw(long number) {
    draw = number;
  }

  // Backward.

  /** Emits {@code step} in the backward pass, after whatever is put on the tape later. */
  void tape(Runnable step) {
    tape.add(step);
  }

  /** Emits the backward pass; the gradient of the loss itself is 1. */
  void backward(Tensor loss, Value one) {
    gradients.put(loss, one);
    for (int i = tape.size() - 1; i >= 0; i--) {
      tape.get(i).run();
    }
  }

  /** The gradient of a tensor, or null if the loss does not depend on it. */
  Value gradient(Tensor tensor) {
    if (concatenations.holds(tensor)) {
      return concatenations.gradient(tensor);
    }
    Deferred gradient = deferredGradients.remove(tensor);
    if (gradient != null) {
      gradients.put(tensor, gradient.whole(this, "gradient", compute, tensor.shape()));
    }
    return gradients.get(tensor);
  }

  /**
   * Where a kernel that alone reads a parameter writes its gradient: the place it is asked for
   * from. Else a value to {@link #contribute}.
   */
  Value gradientHome(Tensor parameter) {
    Value home = homes.get(parameter);
    return home != null && consumers(parameter).size() == 1 ? home : fresh(parameter, Type.FLOAT32);
  }

  /** Says where the gradient of a parameter belongs in the end. */
  void home(Tensor parameter, Value place) {
    homes.put(parameter, place);
  }

  /** Adds to the gradient of a node's input, unless nobody wants it. */
  void contribute(Node node, int index, Value gradient) {
    if (wants(node, index)) {
      contribute(node.input(index), gradient);
    }
  }

  private void contribute(Tensor tensor, Value gradient) {
    if (concatenations.holds(tensor)) {
      concatenations.add(tensor, gradient);
      return;
    }
    Value before = gradients.get(tensor);
    if (before == null) {
      gradients.put(tensor, gradient);
      return;
    }
    if (ownedGradients.contains(before)) {
      Pairs.emit(this, Arithmetic.ADD, before, gradient, before);
      return;
    }
    // Sums of gradients of what is float32 itself, parameters above all, are not rounded.
    Type type = value(tensor).type == Type.FLOAT32 ? Type.FLOAT32 : before.type;
    Value place = visible.contains(tensor) ? null : placeInWhole(tensor);
    Value sum = place != null && place.type == type ? place : like(before, type);
    Pairs.emit(this, Arithmetic.ADD, before, gradient, sum);
    ownedGradients.add(sum);
    gradients.put(tensor, sum);
  }

  /**
   * Where a kernel may write the gradient of a node's input so that nobody has to move it: if the
   * input is a slice, however reshaped and permuted, its place in the gradient of what it was cut
   * from. Null if there is none.
   */
  Value gradientPlace(Node node, int index) {
    return isReadOnce(node.input(index)) ? placeInWhole(node.input(index)) : null;
  }

  /** As {@link #gradientPlace}, of the whole gradient of a tensor. */
  private Value placeInWhole(Tensor tensor) {
    Value value = value(tensor);
    Node maker = producer(tensor);
    while (maker != null) {
      Tensor from = maker.input(0);
      Value whole = value(from);
      switch (maker.kind()) {
        case RESHAPE, PERMUTE -> maker = isReadOnce(from) ? producer(from) : null;
        case SLICE -> {
          boolean seen = value.storage == whole.storage && value.type == whole.type;
          return seen && whole.isDense() && filledBySlices(from)
              ? value.movedFrom(whole, gradientOfParts(from))
              : null;
        }
        default -> maker = null;
      }
    }
    return null;
  }

  private boolean isReadOnce(Tensor tensor) {
    return consumers(tensor).size() == 1 && !visible.contains(tensor);
  }

  /**
   * Where the gradient of a part of a node's input belongs: slices that share a tensor fill one
   * buffer. The part is {@code begin}, {@code step} and the sizes of {@code gradient}.
   */
  void contributePart(Node node, int index, Value gradient, long[] begin, long[] step) {
    if (!wants(node, index)) {
      return;
    }
    Tensor tensor = node.input(index);
    boolean filled = filledBySlices(tensor);
    if (!filled && concatenations.holds(tensor)) {
      parts.remove(tensor); // added at once, so every slice needs a buffer of its own
      contributedInParts.remove(tensor);
    }
    Value whole = gradientOfParts(tensor);
    Value part = whole;
    for (int axis = 0; axis < part.rank(); axis++) {
      part = part.narrowed(axis, begin[axis], gradient.size(axis), step[axis]);
    }
    boolean first = contributedInParts.add(tensor);
    if (filled) {
      if (!gradient.isSame(part)) {
        copy(gradient, part);
      }
      if (first) {
        contribute(tensor, whole);
      }
      return;
    }
    if (first) {
      // What comes later is added to this buffer in place; what came before moves there.
      Value before = gradients.remove(tensor);
      if (before == null) {
        zero(whole);
      } else {
        copy(before, whole);
      }
      ownedGradients.add(whole);
    }
    Pairs.emit(this, Arithmetic.ADD, part, gradient, part);
    if (first) {
      contribute(tensor, whole);
    }
  }

  /** The gradient that slices of a tensor fill, laid out like the tensor if that has no gaps. */
  private Value gradientOfParts(Tensor tensor) {
    return parts.computeIfAbsent(
        tensor,
        key -> {
          Value x = value(tensor);
          return fresh(tensor, x.type, x.isDense() ? x.strides() : Value.rowMajor(x.dims()));
        });
  }

  /** Whether the readers of a tensor are slices along one axis that together make it up. */
  private boolean filledBySlices(Tensor tensor) {
    long covered = 0;
    long[][] ranges = new long[consumers(tensor).size()][];
    int axis = -1;
    for (Node node : consumers(tensor)) {
      if (node.kind() != Node.Kind.SLICE || !blamed.contains(node.output())) {
        return false;
      }
      long[] begin = node.sizes("begin");
      long[] end = node.sizes("end");
      if (Arrays.stream(node.sizes("step")).anyMatch(step -> step != 1)) {
        return false;
      }
      for (int i = 0; i < begin.length; i++) {
        if (end[i] - begin[i] != tensor.size(i)) {
          if (axis >= 0 && axis != i) {
            return false;
          }
          axis = i;
        }
      }
      int at = axis < 0 ? 0 : axis;
      for (int j = 0; ranges[j] != null; j++) {
        if (begin[at] < ranges[j][1] && ranges[j][0] < end[at]) {
          return false;
        }
      }
      for (int j = 0; j < ranges.length; j++) {
        if (ranges[j] == null) {
          ranges[j] = new long[] {begin[at], end[at]};
          break;
        }
      }
      covered += end[at] - begin[at];
    }
    return covered == tensor.size(Math.max(axis, 0));
  }

  // Values.

  /** A value for a tensor: row-major. */
  Value fresh(Tensor tensor, Type type) {
    return fresh(tensor, type, Value.rowMajor(tensor.shape()));
  }

  Value fresh(Tensor tensor, Type type, long[] strides) {
    return program.value(name(tensor), type, tensor.shape(), strides);
  }

  /** A dense value of the same sizes and order of axes. */
  Value like(Value value) {
    return like(value, value.type);
  }

  Value like(Value value, Type type) {
    return program.value(
        value.storage.name, type, value.dims(), Value.inOrder(value.dims(), value.order()));
  }

  /** What a tensor is called in the plan's report: who makes it, and its sizes. */
  String name(Tensor tensor) {
    if (!tensor.name().isEmpty()) {
      return tensor.name();
    }
    Node producer = producers.get(tensor);
    return producer == null ? "value" : label(producer);
  }

  /** A node's kind and the first parameter that it reads. */
  String label(Node node) {
    String kind = node.kind().name().toLowerCase(Locale.ROOT).replace('_', ' ');
    for (Tensor input : node.inputs()) {
      if (input.name().endsWith(".weight")) {
        return kind + " " + input.name().substring(0, input.name().length() - ".weight".length());
      }
    }
    return kind;
  }

  // Weights.

  /**
   * A weight as an operation wants it; in a graph for inference it is copied there only when the
   * weights have changed.
   */
  Value weight(Value weight, Type type, Desc wanted) {
    if (weight.type == type && weight.desc(dnnl).same(wanted)) {
      return weight;
    }
    Value result = opaque("weight", weight, type, wanted);
    once(isVariable(weight), () -> copy(weight, result));
    return result;
  }

  /**
   * Emits what depends on a weight alone; if it is a variable of the graph, in a graph for
   * inference that runs only when the weights have changed.
   */
  void once(boolean variable, Runnable emission) {
    if (training || !variable) {
      emission.run();
    } else {
      program.once(emission);
    }
  }

  /** Whether a value is a variable of the graph, and not computed or given anew in every run. */
  private boolean isVariable(Value value) {
    return graph.variables().stream()
        .map(variable -> values.get(variable.tensor()))
        .anyMatch(variable -> variable != null && variable.storage == value.storage);
  }

  /** A value of these sizes in a layout of oneDNN's. */
  Value opaque(String name, Value like, Desc desc) {
    return opaque(name, like, Type.FLOAT32, desc);
  }

  private Value opaque(String name, Value like, Type type, Desc desc) {
    Storage storage = program.storage(name, desc.bytes());
    return Value.opaque(storage, type, like.dims(), desc);
  }

  /** Adds a step that in a graph for inference runs only when the weights have changed. */
  void onceLoop(String kind, List<Value> reads, List<Value> writes, Supplier<Program.Body> body) {
    program.once(() -> program.loop(kind, 0, reads, writes, body));
  }

  // Values that are cheaper to compute again than to keep.

  /** Says how to make a tensor again in the backward pass. */
  void remake(Tensor tensor, Supplier<Value> again) {
    remakes.put(tensor, again);
  }

  /** What a backward kernel reads in place of a value that it read forward. */
  Value recall(Tensor tensor, Value value) {
    if (value(tensor) != value || !remakes.containsKey(tensor)) {
      return value;
    }
    Value again = remade.get(tensor);
    if (again == null) { // making it may recall others
      again = remakes.get(tensor).get();
      remade.put(tensor, again);
    }
    return again;
  }

  // Layouts.

  /** The value, copied to row-major order if it lies otherwise. */
  Value rowMajor(Value value) {
    return laid(value, Value.rowMajor(value.dims()));
  }

  /** The value, copied to channels last if it lies otherwise. */
  Value channelsLast(Value value) {
    return laid(value, Value.channelsLast(value.dims()));
  }

  /** The value as rows of channels, copied unless it lies so. */
  Value rows(Value value) {
    return value.isRows() ? value : channelsLast(value);
  }

  /** The value, copied if it has gaps. */
  Value dense(Value value) {
    return value.isDense() ? value : like(value, value.type, value);
  }

  private Value like(Value value, Type type, Value from) {
    return moved(from, type, Value.inOrder(value.dims(), value.order()));
  }

  /** The value with other strides, copied unless it has them. */
  Value laid(Value value, long[] strides) {
    return laid(value, value.type, strides);
  }

  /** The value with other strides and in another element type, copied unless it has both. */
  Value laid(Value value, Type type, long[] strides) {
    return value.type == type && value.lies(strides)
        ? value.laid(strides)
        : moved(value, type, strides);
  }

  /** The value in another element type, copied unless it has it. */
  Value cast(Value value, Type type) {
    return value.type == type ? value : like(value, type, value);
  }

  private Value moved(Value value, Type type, long[] strides) {
    Value result = program.value(value.storage.name, type, value.dims(), strides);
    if (!value.lies(strides)) {
      reorders++;
    }
    if (type != value.type) {
      casts++;
    }
    copy(value, result);
    return result;
  }

  /** How often a tensor had to be copied because two kernels want it in different layouts. */
  int reorders() {
    return reorders;
  }

  /** How often a tensor had to be copied to another element type. */
  int casts() {
    return casts;
  }

  /** The same elements in another shape; a view if the strides allow it. */
  Value reshaped(Value value, long... shape) {
    Value view = value.reshaped(shape);
    return view != null ? view : rowMajor(value).reshaped(shape);
  }

  // Steps that many kernels need.

  /** y = x, whatever the layouts and types. */
  void copy(Value x, Value y) {
    program
        .call("copy", dnnl.reorder(x.desc(dnnl), y.desc(dnnl)))
        .in(DNNL_ARG_FROM, x)
        .out(DNNL_ARG_TO, y)
        .add();
  }

  /** Sets a dense value to zero. */
  void zero(Value value) {
    program.loop(
        "zero",
        0,
        List.of(),
        List.of(value),
        () -> {
          long bytes = value.elements() * value.type.bytes();
          return team -> value.fill(bytes);
        });
  }

  /** sum += x, of one layout, whatever it is. */
  void addFlat(Value x, Value sum) {
    program.loop(
        "copy",
        0,
        List.of(x, sum),
        List.of(sum),
        () -> {
          int columns = 64; // a multiple of any vector; layouts of oneDNN's are padded
          int floats = (int) (x.storage.bytes / Float.BYTES);
          Rows from = new Rows(x.wholeBuffer(), Type.FLOAT32, columns);
          Rows to = new Rows(sum.wholeBuffer(), Type.FLOAT32, columns);
          Rows fromRest = new Rows(from.data(), Type.FLOAT32, 1);
          Rows toRest = new Rows(to.data(), Type.FLOAT32, 1);
          int rows = floats / columns;
          Loops loops = Loops.best();
          return team -> {
            team.run(
                (m, n) ->
                    loops.copy(
                        from,
                        to,
                        true,
                        columns,
                        Team.share(rows, m, n),
                        Team.share(rows, m + 1, n)));
            loops.copy(fromRest, toRest, true, 1, rows * columns, floats);
          };
        });
  }

  /** y = f(x), one of oneDNN's activations. */
  Value eltwise(int algorithm, double alpha, double beta, Value x, Value y) {
    Desc from = x.desc(dnnl);
    program
        .call(
            "elementwise", dnnl.eltwise(algorithm, (float) alpha, (float) beta, from, y.desc(dnnl)))
        .in(DNNL_ARG_SRC, x)
        .out(DNNL_ARG_DST, y)
        .flop((double) y.elements())
        .add();
    return y;
  }

  /** dx = dy·f'(data); data is x, or y for algorithms that say so. */
  Value eltwiseBackward(
      int algorithm, double alpha, double beta, Value data, int argument, Value dy, Value dx) {
    Desc from = data.desc(dnnl);
    program
        .call(
            "elementwise",
            dnnl.eltwiseBackward(
                algorithm, (float) alpha, (float) beta, from, dy.desc(dnnl), dx.desc(dnnl)))
        .in(argument, data)
        .in(DNNL_ARG_DIFF_DST, dy)
        .out(DNNL_ARG_DIFF_SRC, dx)
        .flop((double) dx.elements())
        .add();
    return dx;
  }

  /**
   * y = a·b [+ bias], or y += a·b; batch axes first, of one size in all.
   *
   * <p>Where y's columns are dense and not its rows, yᵀ = bᵀ·aᵀ is computed: oneDNN writes such a y
   * with plain loops, hundreds of times as slow.
   *
   * @param bias (1, ..., N) or null
   */
  Value matmul(Value left, Value right, Value bias, Value result, boolean adding) {
    Value y = result.settled();
    int last = y.rank() - 1;
    if (bias == null && y.stride(last) != 1 && y.stride(last - 1) == 1) {
      matmul(right.turned(), left.turned(), null, y.turned(), adding);
      return result;
    }
    Value a = left.settled();
    Value b = right.settled();
    Dnnl.PostOps post = Dnnl.PostOps.none();
    if (adding) {
      post.accumulate();
    }
    Desc shift = bias == null ? null : bias.desc(dnnl);
    long inner = a.size(a.rank() - 1);
    Program.Call call =
        program
            .call("matmul", dnnl.matmul(a.desc(dnnl), b.desc(dnnl), shift, y.desc(dnnl), post))
            .in(DNNL_ARG_SRC, a)
            .in(DNNL_ARG_WEIGHTS, b)
            .in(DNNL_ARG_BIAS, bias)
            .out(DNNL_ARG_DST, y)
            .flop(2.0 * inner * y.elements());
    if (adding) {
      call.alsoReads(y);
    }
    call.add();
    return result;
  }
}
