package sparkvision.plan;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.PixelLoops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/** Kernels that move elements, most of them by looking at the same memory in another way. */
final class Moves {

  private static final int COLUMNS = 16; // that one member adds to at a time: a cache line

  private Moves() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CONCAT, Moves::concat);
    kernels.put(Node.Kind.SLICE, Moves::slice);
    kernels.put(Node.Kind.PAD, Moves::pad);
    kernels.put(Node.Kind.PERMUTE, Moves::permute);
    kernels.put(Node.Kind.RESHAPE, Moves::reshape);
    kernels.put(Node.Kind.FLIP, Moves::flip);
    kernels.put(Node.Kind.GATHER, Moves::gather);
  }

  // Views.

  private static void slice(Node node, Lowering l) {
    Value x = l.in(node, 0);
    long[] begin = node.sizes("begin");
    long[] step = node.sizes("step");
    Value y = x;
    for (int axis = 0; axis < x.rank(); axis++) {
      y = y.narrowed(axis, begin[axis], node.output().size(axis), step[axis]);
    }
    if (isDescribable(y)) {
      l.bind(node.output(), y);
      backward(node, l, dy -> l.contributePart(node, 0, dy, begin, step));
      return;
    }
    Value part = y;
    Value copy = likewise(node, l, part);
    move("slice", l, part, copy);
    l.bind(node.output(), copy);
    backward(
        node,
        l,
        dy -> {
          Value dx = l.like(x, dy.type);
          l.zero(dx);
          Value target = dx;
          for (int axis = 0; axis < x.rank(); axis++) {
            target = target.narrowed(axis, begin[axis], dy.size(axis), step[axis]);
          }
          move("slice", l, dy, target);
          l.contribute(node, 0, dx);
        });
  }

  /**
   * Whether oneDNN takes it for a tensor: it wants every axis to begin where the next denser one
   * ends, gaps included, so that the first, third and fifth of five columns are none.
   */
  private static boolean isDescribable(Value x) {
    long end = 1;
    int[] order = x.order();
    for (int i = order.length - 1; i >= 0; i--) {
      if (x.size(order[i]) > 1) {
        if (x.stride(order[i]) < end) {
          return false;
        }
        end = x.stride(order[i]) * x.size(order[i]);
      }
    }
    return true;
  }

  private static void permute(Node node, Lowering l) {
    int[] axes = Arrays.stream(node.sizes("axes")).mapToInt(axis -> (int) axis).toArray();
    int[] back = new int[axes.length];
    for (int i = 0; i < axes.length; i++) {
      back[axes[i]] = i;
    }
    l.bind(node.output(), l.in(node, 0).permuted(axes));
    backward(node, l, dy -> l.contribute(node, 0, dy.permuted(back)));
  }

  private static void reshape(Node node, Lowering l) {
    l.bind(node.output(), l.reshaped(l.in(node, 0), node.output().shape()));
    backward(node, l, dy -> l.contribute(node, 0, l.reshaped(dy, node.input(0).shape())));
  }

  /** What is done with the gradient of the output. */
  private interface Backward {
    void emit(Value dy);
  }

  private static void backward(Node node, Lowering l, Backward backward) {
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              backward.emit(dy);
            }
          });
    }
  }

  // Parts of something larger: copied forward, views backward.

  private static void concat(Node node, Lowering l) {
    if (l.concatenations.isConcat(node.output())) {
      l.concatenations.concat(node);
      return;
    }
    int axis = (int) node.integer("axis");
    Value largest = l.in(node, 0);
    for (Tensor input : node.inputs()) {
      if (input.elements() > largest.elements()) {
        largest = l.value(input);
      }
    }
    Value y = likewise(node, l, largest);
    long[] begins = new long[node.inputs().size()];
    for (int i = 0; i < begins.length; i++) {
      Value x = l.in(node, i);
      l.copy(x, y.narrowed(axis, begins[i], x.size(axis), 1));
      if (i + 1 < begins.length) {
        begins[i + 1] = begins[i] + x.size(axis);
      }
    }
    l.bind(node.output(), y);
    if (!l.wantsAny(node)) {
      return;
    }
    l.tape(
        () -> {
          Value dy = l.gradient(node.output());
          for (int i = 0; i < begins.length && dy != null; i++) {
            l.contribute(node, i, dy.narrowed(axis, begins[i], node.input(i).size(axis), 1));
          }
        });
  }

  private static void pad(Node node, Lowering l) {
    Value x = l.in(node, 0);
    long[] before = node.sizes("before");
    Value y = likewise(node, l, x);
    Value inner = y;
    List<Value> border = new ArrayList<>(); // does not overlap
    for (int axis = 0; axis < y.rank(); axis++) {
      long end = before[axis] + x.size(axis);
      if (before[axis] > 0) {
        border.add(inner.narrowed(axis, 0, before[axis], 1));
      }
      if (end < y.size(axis)) {
        border.add(inner.narrowed(axis, end, y.size(axis) - end, 1));
      }
      inner = inner.narrowed(axis, before[axis], x.size(axis), 1);
    }
    if (!border.isEmpty()) {
      float value = (float) node.number("value");
      l.program.loop("pad", 0, List.of(), border, () -> filling(border, value));
    }
    l.copy(x, inner);
    l.bind(node.output(), y);
    backward(
        node,
        l,
        dy -> {
          Value part = dy;
          for (int axis = 0; axis < x.rank(); axis++) {
            part = part.narrowed(axis, before[axis], x.size(axis), 1);
          }
          l.contribute(node, 0, part);
        });
  }

  /** A dense value for a node's output, whose axes lie in the same order as those of {@code x}. */
  private static Value likewise(Node node, Lowering l, Value x) {
    long[] shape = node.output().shape();
    return l.fresh(node.output(), x.type, Value.inOrder(shape, x.order()));
  }

  private static Program.Body filling(List<Value> border, float value) {
    List<Strides> parts = border.stream().map(part -> Strides.of(part, part)).toList();
    List<Rows> rows = border.stream().map(part -> new Rows(part.buffer(), part.type, 0)).toList();
    return team ->
        team.run(
            (m, n) -> {
              for (int i = 0; i < parts.size(); i++) {
                parts.get(i).fill(rows.get(i), value, m, n);
              }
            });
  }

  // Backwards.

  private static void flip(Node node, Lowering l) {
    int[] axes = Arrays.stream(node.sizes("axes")).mapToInt(axis -> (int) axis).toArray();
    l.bind(node.output(), flipped(node, l, l.in(node, 0), axes));
    backward(node, l, dy -> l.contribute(node, 0, flipped(node, l, dy, axes)));
  }

  private static Value flipped(Node node, Lowering l, Value x, int[] axes) {
    Value y = likewise(node, l, x);
    move("flip", l, x, y, axes);
    return y;
  }

  /** Copies x to y, backwards along these axes; both may be any views. */
  private static void move(String kind, Lowering l, Value x, Value y, int... axes) {
    l.program.loop(
        kind,
        0,
        List.of(x),
        List.of(y),
        () -> {
          Strides strides = Strides.of(x, y, axes);
          ByteBuffer from = x.buffer();
          ByteBuffer to = y.buffer();
          return team -> team.run((m, n) -> strides.copy(from, to, x.type.bytes(), m, n));
        });
  }

  /**
   * The way through the elements of two values in the order of the second one's memory: axes from
   * the outermost to the innermost, those that go on where the next one ends joined with it.
   */
  private record Strides(long[] sizes, long[] from, long[] to, long first) {

    /** x runs backwards along {@code axes}. */
    static Strides of(Value x, Value y, int... axes) {
      List<long[]> joined = new ArrayList<>(); // size, from, to
      long first = 0;
      for (int axis : y.order()) {
        boolean backwards = IntStream.of(axes).anyMatch(other -> other == axis);
        long size = x.size(axis);
        long from = backwards ? -x.stride(axis) : x.stride(axis);
        first += backwards ? (size - 1) * x.stride(axis) : 0;
        if (size == 1) {
          continue;
        }
        long[] outer = joined.isEmpty() ? null : joined.get(joined.size() - 1);
        if (outer != null && outer[1] == size * from && outer[2] == size * y.stride(axis)) {
          joined.set(joined.size() - 1, new long[] {outer[0] * size, from, y.stride(axis)});
        } else {
          joined.add(new long[] {size, from, y.stride(axis)});
        }
      }
      if (joined.isEmpty()) {
        joined.add(new long[] {1, 1, 1});
      }
      long[][] columns = new long[3][joined.size()];
      for (int i = 0; i < joined.size(); i++) {
        for (int j = 0; j < 3; j++) {
          columns[j][i] = joined.get(i)[j];
        }
      }
      return new Strides(columns[0], columns[1], columns[2], first);
    }

    /** How many runs there are along the innermost axis. */
    private int runs() {
      return Math.toIntExact(Value.elements(Arrays.copyOf(sizes, sizes.length - 1)));
    }

    /** Where a run begins. */
    private int place(int run, long[] strides, long origin) {
      long place = origin;
      long rest = run;
      for (int axis = sizes.length - 2; axis >= 0; axis--) {
        place += rest % sizes[axis] * strides[axis];
        rest /= sizes[axis];
      }
      return (int) place;
    }

    /** Copies elements of 2 or 4 bytes; the share of one member. */
    void copy(ByteBuffer x, ByteBuffer y, int bytes, int member, int members) {
      int inner = sizes.length - 1;
      int count = (int) sizes[inner];
      boolean together = from[inner] == 1 && to[inner] == 1;
      int end = Team.share(runs(), member + 1, members);
      for (int run = Team.share(runs(), member, members); run < end; run++) {
        int source = place(run, from, first) * bytes;
        int target = place(run, to, 0) * bytes;
        if (together) {
          y.put(target, x, source, count * bytes);
        } else if (bytes == Float.BYTES) {
          for (int i = 0; i < count; i++) {
            y.putInt(
                target + i * (int) to[inner] * 4, x.getInt(source + i * (int) from[inner] * 4));
          }
        } else {
          for (int i = 0; i < count; i++) {
            y.putShort(
                target + i * (int) to[inner] * 2, x.getShort(source + i * (int) from[inner] * 2));
          }
        }
      }
    }

    /** Sets every element; the share of one member. */
    void fill(Rows y, float value, int member, int members) {
      int inner = sizes.length - 1;
      int end = Team.share(runs(), member + 1, members);
      for (int run = Team.share(runs(), member, members); run < end; run++) {
        int place = place(run, to, 0);
        for (int i = 0; i < sizes[inner]; i++) {
          y.set(0, place + i * (int) to[inner], value);
        }
      }
    }
  }

  // By index.

  private static void gather(Node node, Lowering l) {
    Value x = l.rowMajor(l.in(node, 0));
    Value y = l.fresh(node.output(), x.type);
    Tensor indices = node.input(1);
    Slabs slabs = Slabs.of(node);
    l.program.loop(
        "gather",
        0,
        List.of(x),
        List.of(y),
        () -> {
          ByteBuffer from = x.buffer();
          ByteBuffer to = y.buffer();
          return team -> slabs.gather(team, from, to, x.type.bytes(), l.indices(indices));
        });
    l.bind(node.output(), y);
    backward(
        node,
        l,
        given -> {
          Value dy = l.rowMajor(given);
          Value dx = l.fresh(node.input(0), Type.FLOAT32); // many may be added to one place
          l.zero(dx);
          l.program.loop(
              "gather",
              (double) dy.elements(),
              List.of(dy, dx),
              List.of(dx),
              () -> {
                Rows from = new Rows(dy.buffer(), dy.type, 0);
                Rows to = new Rows(dx.buffer(), dx.type, 0);
                return team -> slabs.scatter(team, from, to, l.indices(indices));
              });
          l.contribute(node, 0, dx);
        });
  }

  /** x as (outer, size, inner), of which every index names a slab of {@code inner} elements. */
  private record Slabs(int outer, int size, int inner) {

    static Slabs of(Node node) {
      long[] shape = node.input(0).shape();
      int axis = (int) node.integer("axis");
      return new Slabs(
          (int) Value.elements(Arrays.copyOf(shape, axis)),
          (int) shape[axis],
          (int) Value.elements(Arrays.copyOfRange(shape, axis + 1, shape.length)));
    }

    void gather(Team team, ByteBuffer x, ByteBuffer y, int bytes, long[] indices) {
      int slab = inner * bytes;
      team.run(
          (m, n) -> {
            int end = Team.share(outer * indices.length, m + 1, n);
            for (int i = Team.share(outer * indices.length, m, n); i < end; i++) {
              int from = i / indices.length * size + (int) indices[i % indices.length];
              y.put(i * slab, x, from * slab, slab);
            }
          });
    }

    /**
     * Adds every slab of dy where it was taken from. Members share out columns, not indices, so
     * that no two of them add to the same place, and the order of the sums is that of the indices.
     */
    void scatter(Team team, Rows dy, Rows dx, long[] indices) {
      PixelLoops loops = PixelLoops.best();
      int blocks = (inner + COLUMNS - 1) / COLUMNS;
      team.run(
          (m, n) -> {
            int end = Team.share(outer * blocks, m + 1, n);
            for (int unit = Team.share(outer * blocks, m, n); unit < end; ) {
              // All of a member's blocks of one outer index at once.
              int block = unit % blocks;
              int more = Math.min(end - unit, blocks - block);
              int column = block * COLUMNS;
              int count = Math.min(inner, (block + more) * COLUMNS) - column;
              int o = unit / blocks;
              for (int i = 0; i < indices.length; i++) {
                int from = (o * indices.length + i) * inner + column;
                loops.add(dy, from, dx, (o * size + (int) indices[i]) * inner + column, count);
              }
              unit += more;
            }
          });
    }
  }
}
