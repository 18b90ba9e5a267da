package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.kernels.Grid;
import sparkvision.kernels.GridLoops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Sums, means and maxima over axes. Sums are float32 whatever was summed up.
 *
 * <p>oneDNN has generated code only for the last axes; means over pixels and gradients of biases
 * are over others.
 */
final class Reductions {

  private static final int FEW = 4096; // results that one thread hands over soon enough

  private Reductions() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.SUM, (node, l) -> sum(node, l, 1));
    kernels.put(
        Node.Kind.MEAN,
        (node, l) -> sum(node, l, (double) node.output().elements() / node.input(0).elements()));
    kernels.put(Node.Kind.GLOBAL_AVERAGE_POOL, Reductions::globalAveragePool);
    kernels.put(Node.Kind.MAX, Reductions::max);
  }

  // Words.

  private static void sum(Node node, Lowering l, double factor) {
    sum(node, l, over(node), factor);
  }

  private static void globalAveragePool(Node node, Lowering l) {
    boolean[] summed = new boolean[node.input(0).rank()];
    Arrays.fill(summed, 2, summed.length, true);
    sum(node, l, summed, (double) node.output().elements() / node.input(0).elements());
  }

  private static boolean[] over(Node node) {
    boolean[] over = new boolean[node.input(0).rank()];
    for (long axis : node.sizes("axes")) {
      over[(int) axis] = true;
    }
    return over;
  }

  private static void sum(Node node, Lowering l, boolean[] summed, double factor) {
    Value x = l.in(node, 0);
    Value y = sum(l, x, null, summed, factor);
    l.bind(node.output(), l.reshaped(y, node.output().shape()));
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value given = l.gradient(node.output());
            if (given != null) {
              Value dx = l.like(x);
              repeat(l, l.reshaped(given, y.dims()), factor, dx);
              l.contribute(node, 0, dx);
            }
          });
    }
  }

  /** The gradient goes to the first maximum in row-major order. */
  private static void max(Node node, Lowering l) {
    boolean[] over = over(node);
    Value given = l.in(node, 0);
    Value x = runsInOrder(given, over) ? given : l.rowMajor(given);
    Value y = maximum(l, x, over);
    l.bind(node.output(), l.reshaped(y, node.output().shape()));
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              Value seen = l.recall(node.input(0), x);
              l.contribute(node, 0, maximumGradient(l, seen, y, l.reshaped(dy, y.dims())));
            }
          });
    }
  }

  /** Whether in memory the reduced axes come in the order of the shape. */
  private static boolean runsInOrder(Value x, boolean[] over) {
    int[] axes = Arrays.stream(x.order()).filter(axis -> over[axis] && x.size(axis) > 1).toArray();
    return x.isDense() && IntStream.range(1, axes.length).allMatch(i -> axes[i - 1] < axes[i]);
  }

  // Steps.

  /**
   * factor·Σ x·other, or factor·Σ x if other is null, over some of the axes of x.
   *
   * @param other broadcast to x's shape
   * @return float32, with size 1 where it was summed up; axes are ordered as in x
   */
  static Value sum(Lowering l, Value x, Value other, boolean[] summed, double factor) {
    return reduce(
        l,
        x,
        other,
        summed,
        Type.FLOAT32,
        (nest, from, with, y) -> new Sums(nest, from, with, y, factor));
  }

  /** y = factor·x, broadcast to the shape of y. */
  static void repeat(Lowering l, Value x, double factor, Value y) {
    Value from = Pairs.alongside(l, x, y);
    Nest nest = Nest.of(y.order(), y.dims(), Nest.broadcast(from, y.dims()), y.strides());
    l.program.loop(
        "reduction",
        (double) y.elements(),
        List.of(from),
        List.of(y),
        () -> {
          GridLoops loops = GridLoops.best();
          Grid source = nest.grid(from, 0);
          Grid target = nest.grid(y, 1);
          return team ->
              nest.run(
                  team,
                  (at, rows, columns) ->
                      loops.scale(source, at[0], (float) factor, target, at[1], rows, columns));
        });
  }

  private static Value maximum(Lowering l, Value x, boolean[] over) {
    return reduce(l, x, null, over, x.type, Maxima::new);
  }

  /** What makes the loop of a reduction when all values have their places. */
  private interface Maker {
    Reduction make(Nest nest, Value x, Value other, Value y);
  }

  private static Value reduce(
      Lowering l, Value x, Value other, boolean[] reduced, Type type, Maker maker) {
    Value from = isDensest(x) ? x : l.dense(x);
    long[] shape = from.dims();
    Value with = other == null ? null : Pairs.alongside(l, other.padded(shape.length), from);
    int[] order = from.order();
    long[] kept = shape.clone();
    for (int axis = 0; axis < kept.length; axis++) {
      kept[axis] = reduced[axis] ? 1 : kept[axis];
    }
    Value y = l.program.value(x.storage.name, type, kept, Value.inOrder(kept, order));
    Nest nest =
        Nest.of(
            order,
            shape,
            from.strides(),
            with == null ? from.strides() : Nest.broadcast(with, shape),
            Nest.broadcast(y, shape));
    l.program.loop(
        "reduction",
        (double) x.elements(),
        with == null ? List.of(from) : List.of(from, with),
        List.of(y),
        () -> maker.make(nest, from, with, y)::run);
    return y;
  }

  /** Whether there are elements side by side, along some axis. */
  private static boolean isDensest(Value x) {
    return x.elements() == 1
        || IntStream.range(0, x.rank()).anyMatch(axis -> x.size(axis) > 1 && x.stride(axis) == 1);
  }

  /** The gradient of x, from maxima y over some axes and their gradient dy, of the same shape. */
  private static Value maximumGradient(Lowering l, Value x, Value y, Value dy) {
    Value given = l.laid(dy, y.strides());
    Value dx = l.like(x);
    Nest nest =
        Nest.of(x.order(), x.dims(), x.strides(), dx.strides(), Nest.broadcast(y, x.dims()));
    l.program.loop(
        "reduction",
        (double) x.elements(),
        List.of(x, y, given),
        List.of(dx),
        () -> {
          GridLoops loops = GridLoops.best();
          Grid from = nest.grid(x, 0);
          Grid to = nest.grid(dx, 1);
          Rows maxima = new Rows(y.buffer(), y.type, 0);
          Rows gradients = new Rows(given.buffer(), given.type, 0);
          int results = (int) y.elements();
          float[] most = new float[results];
          float[] slopes = new float[results];
          boolean ofColumns = nest.columnStep(2) != 0;
          Nest.Body body =
              (at, rows, columns) -> {
                for (int row = 0; row < rows; row++) {
                  int source = at[0] + row * from.rows().stride();
                  int target = at[1] + row * to.rows().stride();
                  int result = at[2] + row * nest.rowStep(2);
                  if (ofColumns) {
                    loops.passToColumns(from, source, most, slopes, result, to, target, columns);
                  } else {
                    loops.passToRow(from, source, most, slopes, result, to, target, columns);
                  }
                }
              };
          return team -> {
            for (int i = 0; i < results; i++) {
              most[i] = maxima.get(i);
              slopes[i] = gradients.get(i);
            }
            nest.runKept(team, 2, body);
          };
        });
    return dx;
  }

  /**
   * A reduction when every value has its place. The nest has x, the other factor and y, in which
   * reduced loops have step 0.
   *
   * <p>The members of a team share a loop. If that is not reduced, each has results of its own; if
   * it is, each has a part of every result, and the parts are put together afterwards.
   */
  private abstract static class Reduction {
    final GridLoops loops = GridLoops.best();
    final Grid x;
    final Grid other; // null for plain sums and maxima
    final int results;
    private final Nest nest;
    private final Rows y;
    private final boolean ofColumns;
    private final int rowStep;
    private float[][] rooms = new float[0][];

    Reduction(Nest nest, Value x, Value other, Value y) {
      this.nest = nest;
      this.x = nest.grid(x, 0);
      this.other = other == null ? null : nest.grid(other, 1);
      this.y = new Rows(y.buffer(), y.type, 0);
      this.results = Math.toIntExact(y.elements());
      this.ofColumns = nest.columnStep(2) != 0;
      this.rowStep = nest.rowStep(2);
    }

    /** Makes so many parts of each result, empty. */
    abstract void clear(int parts);

    abstract void columns(int part, int[] at, int rows, int columns, float[] room);

    abstract void row(int part, int xAt, int otherAt, int yAt, int columns, float[] room);

    /** A result, from its parts. */
    abstract float result(int index);

    void run(Team team) {
      int members = nest.isSmall() ? 1 : team.threads();
      if (rooms.length != members) {
        rooms = new float[members][GridLoops.TILE];
      }
      int loop = members == 1 ? -1 : nest.sharedLoop(2, members);
      boolean inParts = loop >= 0 && nest.step(2, loop) == 0;
      clear(inParts ? members : 1);
      if (loop < 0) {
        nest.each((at, rows, columns) -> grid(0, rooms[0], at, rows, columns));
      } else {
        team.run(
            (m, n) ->
                nest.part(loop, m, n)
                    .each(
                        (at, rows, columns) -> grid(inParts ? m : 0, rooms[m], at, rows, columns)));
      }
      if (results <= FEW) {
        store(0, results);
      } else {
        team.run((m, n) -> store(Team.share(results, m, n), Team.share(results, m + 1, n)));
      }
    }

    private void grid(int part, float[] room, int[] at, int rows, int columns) {
      if (ofColumns && (rowStep == 0 || rows == 1)) {
        columns(part, at, rows, columns, room);
        return;
      }
      for (int row = 0; row < rows; row++) {
        int xAt = at[0] + row * x.rows().stride();
        int otherAt = other == null ? 0 : at[1] + row * other.rows().stride();
        int yAt = at[2] + row * rowStep;
        if (ofColumns) {
          columns(part, new int[] {xAt, otherAt, yAt}, 1, columns, room);
        } else {
          row(part, xAt, otherAt, yAt, columns, room);
        }
      }
    }

    private void store(int first, int end) {
      for (int i = first; i < end; i++) {
        y.set(i, result(i));
      }
    }
  }

  private static final class Sums extends Reduction {
    private final double factor;
    private double[][] sums = new double[0][];

    Sums(Nest nest, Value x, Value other, Value y, double factor) {
      super(nest, x, other, y);
      this.factor = factor;
    }

    @Override
    void clear(int parts) {
      if (sums.length != parts) {
        sums = new double[parts][results];
      }
      for (double[] part : sums) {
        Arrays.fill(part, 0);
      }
    }

    @Override
    void columns(int part, int[] at, int rows, int columns, float[] room) {
      loops.addColumns(x, at[0], other, at[1], rows, columns, sums[part], at[2], room);
    }

    @Override
    void row(int part, int xAt, int otherAt, int yAt, int columns, float[] room) {
      sums[part][yAt] += loops.sum(x, xAt, other, otherAt, columns, room);
    }

    @Override
    float result(int index) {
      double sum = 0;
      for (double[] part : sums) {
        sum += part[index];
      }
      return (float) (factor * sum);
    }
  }

  private static final class Maxima extends Reduction {
    private float[][] most = new float[0][];

    Maxima(Nest nest, Value x, Value other, Value y) {
      super(nest, x, other, y);
    }

    @Override
    void clear(int parts) {
      if (most.length != parts) {
        most = new float[parts][results];
      }
      for (float[] part : most) {
        Arrays.fill(part, Float.NEGATIVE_INFINITY);
      }
    }

    @Override
    void columns(int part, int[] at, int rows, int columns, float[] room) {
      loops.raiseColumns(x, at[0], rows, columns, most[part], at[2]);
    }

    @Override
    void row(int part, int xAt, int otherAt, int yAt, int columns, float[] room) {
      most[part][yAt] = Math.max(most[part][yAt], loops.max(x, xAt, columns));
    }

    @Override
    float result(int index) {
      float largest = Float.NEGATIVE_INFINITY;
      for (float[] part : most) {
        largest = Math.max(largest, part[index]);
      }
      return largest;
    }
  }
}
