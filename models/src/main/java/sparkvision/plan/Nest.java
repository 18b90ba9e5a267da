package sparkvision.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import sparkvision.kernels.Grid;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/**
 * Loops over all elements of one shape, for several values at once: as few loops as their layouts
 * allow. Axes that lie without a gap in every value are walked through as one.
 *
 * <p>The two innermost loops are left to {@link sparkvision.kernels.GridLoops}, as rows and
 * columns.
 */
final class Nest {

  /** What is done with one grid. */
  interface Body {
    /** {@code at} is where the grid begins in each value, in elements. */
    void run(int[] at, int rows, int columns);
  }

  private static final int WIDE = 64; // columns that are worth a member's while
  private static final int SMALL = 2048; // elements that one member is done with sooner

  private final int[] begin; // in each value
  private final int[] sizes; // from the outermost loop; at least two
  private final int[][] steps; // per value and loop, 0 where its elements are repeated

  private Nest(int[] begin, int[] sizes, int[][] steps) {
    this.begin = begin;
    this.sizes = sizes;
    this.steps = steps;
  }

  /**
   * Loops over a shape.
   *
   * @param order the axes from the outermost loop to the innermost
   * @param strides of each value, 0 along axes where its elements are repeated
   */
  static Nest of(int[] order, long[] shape, long[]... strides) {
    List<Integer> ends = new ArrayList<>(); // the innermost axis of each loop
    List<Long> counts = new ArrayList<>();
    for (int axis : order) {
      int last = ends.size() - 1;
      if (shape[axis] == 1) {
        continue;
      }
      if (last >= 0 && joins(ends.get(last), axis, shape[axis], strides)) {
        counts.set(last, counts.get(last) * shape[axis]);
        ends.set(last, axis);
      } else {
        counts.add(shape[axis]);
        ends.add(axis);
      }
    }
    int missing = Math.max(0, 2 - ends.size());
    int[] sizes = new int[ends.size() + missing];
    int[][] steps = new int[strides.length][sizes.length];
    Arrays.fill(sizes, 1);
    for (int i = 0; i < ends.size(); i++) {
      sizes[i + missing] = Math.toIntExact(counts.get(i));
      for (int v = 0; v < strides.length; v++) {
        steps[v][i + missing] = Math.toIntExact(strides[v][ends.get(i)]);
      }
    }
    if (ends.isEmpty()) { // a single element lies anywhere
      for (int[] step : steps) {
        step[1] = 1;
      }
    }
    return new Nest(new int[strides.length], sizes, steps);
  }

  private static boolean joins(int outer, int inner, long size, long[]... strides) {
    return Arrays.stream(strides).allMatch(stride -> stride[outer] == stride[inner] * size);
  }

  /** The strides of a value as one of another shape, into which it is broadcast. */
  static long[] broadcast(Value value, long[] shape) {
    Value padded = value.padded(shape.length);
    long[] strides = new long[shape.length];
    for (int axis = 0; axis < shape.length; axis++) {
      strides[axis] = padded.size(axis) == 1 ? 0 : padded.stride(axis);
    }
    return strides;
  }

  /** How far apart the elements of a value are in a loop. */
  int step(int value, int loop) {
    return steps[value][loop];
  }

  /** How far apart the rows of a value are. */
  int rowStep(int value) {
    return step(value, sizes.length - 2);
  }

  /** How far apart the columns of a value are. */
  int columnStep(int value) {
    return step(value, sizes.length - 1);
  }

  private int rows() {
    return sizes[sizes.length - 2];
  }

  private int columns() {
    return sizes[sizes.length - 1];
  }

  private long lines() {
    long lines = 1;
    for (int i = 0; i < sizes.length - 1; i++) {
      lines *= sizes[i];
    }
    return lines;
  }

  private long elements() {
    return lines() * columns();
  }

  /** A value as the grids of this nest; the value that has this number here. */
  Grid grid(Value value, int number) {
    return new Grid(new Rows(value.buffer(), value.type, rowStep(number)), columnStep(number));
  }

  /** The part of the nest that a team's member has if the team shares a loop. */
  Nest part(int loop, int member, int members) {
    int first = Team.share(sizes[loop], member, members);
    return range(loop, first, Team.share(sizes[loop], member + 1, members));
  }

  private Nest range(int loop, int first, int end) {
    int[] offsets = begin.clone();
    for (int v = 0; v < offsets.length; v++) {
      offsets[v] += first * steps[v][loop];
    }
    int[] fewer = sizes.clone();
    fewer[loop] = end - first;
    return new Nest(offsets, fewer, steps);
  }

  /**
   * The loop that a team best shares in a reduction: one that is not reduced if there is one long
   * enough, else a reduced one; -1 for none.
   *
   * @param result the value whose steps are 0 in reduced loops
   */
  int sharedLoop(int result, int members) {
    int last = sizes.length - 1;
    int longest = 0;
    for (int loop = 0; loop <= last; loop++) {
      int enough = loop == last ? 4 * WIDE * members : 4 * members;
      if (steps[result][loop] != 0 && sizes[loop] >= enough) {
        return loop;
      }
      longest = sizes[loop] > sizes[longest] ? loop : longest;
    }
    return sizes[longest] >= members ? longest : -1;
  }

  /** Whether it is so small that a team is no use. */
  boolean isSmall() {
    return elements() <= SMALL;
  }

  /** Runs the whole nest, shared by a team. */
  void run(Team team, Body body) {
    if (isSmall()) {
      each(body);
    } else {
      team.run((m, n) -> share(m, n, body));
    }
  }

  /** Runs the whole nest on the calling thread. */
  void each(Body body) {
    each(0, lines(), body);
  }

  /** Runs the whole nest; each result is the work of one member. */
  void runKept(Team team, int result, Body body) {
    int loop = isSmall() ? -1 : sharedLoop(result, team.threads());
    if (loop < 0 || steps[result][loop] == 0) {
      each(body);
    } else {
      team.run((m, n) -> part(loop, m, n).each(body));
    }
  }

  private void share(int member, int members, Body body) {
    long lines = lines();
    if (lines >= 4L * members || columns() < WIDE * members) {
      each(lines * member / members, lines * (member + 1) / members, body);
      return;
    }
    // Long rows, and few: cut at whole cache lines.
    int columns = columns();
    int first = (int) ((long) columns * member / members) / WIDE * WIDE;
    int end = (int) ((long) columns * (member + 1) / members) / WIDE * WIDE;
    range(sizes.length - 1, first, member == members - 1 ? columns : end).each(body);
  }

  /** Runs the rows from {@code first} to {@code end}, counted through all outer loops. */
  private void each(long first, long end, Body body) {
    int rowLoop = sizes.length - 2;
    int[] at = new int[begin.length];
    for (long line = first; line < end; ) {
      int row = (int) (line % rows());
      int count = (int) Math.min(rows() - row, end - line);
      for (int v = 0; v < at.length; v++) {
        long outer = line / rows();
        int offset = begin[v] + row * steps[v][rowLoop];
        for (int loop = rowLoop - 1; loop >= 0; loop--) {
          offset += (int) (outer % sizes[loop]) * steps[v][loop];
          outer /= sizes[loop];
        }
        at[v] = offset;
      }
      body.run(at, count, columns());
      line += count;
    }
  }
}
