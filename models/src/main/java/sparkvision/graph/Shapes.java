package sparkvision.graph;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Shape arithmetic of the words: the shape that comes out, or one sentence on why none can. */
final class Shapes {

  /** The most elements that an array of Java holds. */
  static final int LARGEST = Integer.MAX_VALUE - 8;

  private Shapes() {}

  @SuppressWarnings("AnnotateFormatMethod") // the annotation would be a dependency of its own
  static IllegalArgumentException error(String format, Object... values) {
    return new IllegalArgumentException(String.format(format, values));
  }

  /** The sizes, for an error message. */
  static String text(long... sizes) {
    return Arrays.toString(sizes);
  }

  static long[] filled(int length, long value) {
    long[] sizes = new long[length];
    Arrays.fill(sizes, value);
    return sizes;
  }

  /** Whether a tensor of this shape fits into an array. */
  static boolean fits(long... shape) {
    long room = LARGEST;
    for (long size : shape) {
      room /= size;
    }
    return room > 0;
  }

  // Axes.

  /** The axis counted from 0; a negative one counts from the end. */
  static int axis(String what, Tensor x, int axis) {
    if (axis < -x.rank() || axis >= x.rank()) {
      throw error("Cannot %s %s: axis %d must be in [%d, %d)", what, x, axis, -x.rank(), x.rank());
    }
    return axis < 0 ? axis + x.rank() : axis;
  }

  /** Sorted and counted from 0; all axes if none are named. */
  static long[] axes(String what, Tensor x, int... axes) {
    boolean[] named = new boolean[x.rank()];
    for (int axis : axes) {
      int counted = axis(what, x, axis);
      if (named[counted]) {
        throw error("Cannot %s %s: axis %d is named twice", what, x, counted);
      }
      named[counted] = true;
    }
    long[] sorted = new long[axes.length == 0 ? x.rank() : axes.length];
    int next = 0;
    for (int axis = 0; axis < named.length; axis++) {
      if (named[axis] || axes.length == 0) {
        sorted[next++] = axis;
      }
    }
    return sorted;
  }

  /** The shape of {@code x} after a reduction over {@code axes}, which stay as 1 or vanish. */
  static long[] reduced(Tensor x, long[] axes, boolean keep) {
    long[] shape = x.shape();
    for (long axis : axes) {
      shape[(int) axis] = keep ? 1 : 0;
    }
    return Arrays.stream(shape).filter(size -> size > 0).toArray();
  }

  /** NumPy's rule: aligned at the last axis, sizes are equal or one of them is 1 or missing. */
  static long[] broadcast(String what, Tensor x, Tensor y) {
    long[] shape = new long[Math.max(x.rank(), y.rank())];
    for (int fromEnd = 1; fromEnd <= shape.length; fromEnd++) {
      long a = fromEnd <= x.rank() ? x.size(x.rank() - fromEnd) : 1;
      long b = fromEnd <= y.rank() ? y.size(y.rank() - fromEnd) : 1;
      if (a != b && a != 1 && b != 1) {
        throw error("Cannot %s %s and %s: shapes do not broadcast", what, x, y);
      }
      shape[shape.length - fromEnd] = Math.max(a, b);
    }
    return shape;
  }

  /** What {@code x} becomes: one size of -1 follows from the others. */
  static long[] reshaped(Tensor x, long... shape) {
    long[] result = shape.clone();
    int open = -1;
    long elements = 1;
    for (int axis = 0; axis < shape.length; axis++) {
      boolean first = shape[axis] == -1 && open < 0;
      if (shape[axis] < 1 && !first) {
        throw error("Cannot reshape %s to %s: sizes must be >= 1, one may be -1", x, text(shape));
      }
      if (first) {
        open = axis;
      } else {
        elements = Math.min(elements, LARGEST + 1L) * Math.min(shape[axis], LARGEST + 1L);
      }
    }
    if (open >= 0) {
      result[open] = x.elements() / elements;
    }
    if (elements * (open < 0 ? 1 : result[open]) != x.elements()) {
      throw error(
          "Cannot reshape %s to %s: its %d elements do not fill it", x, text(shape), x.elements());
    }
    return result;
  }

  // Windows.

  /** How many axes follow batch and channels. */
  static int spatialAxes(String what, Tensor x) {
    if (x.rank() != 4 && x.rank() != 5) {
      throw error("Cannot apply %s: the input must have 2 or 3 spatial axes, is %s", what, x);
    }
    return x.rank() - 2;
  }

  /** One entry per axis, from as many or from one for all. */
  static long[] perAxis(String what, String key, int axes, long... given) {
    if (given.length != 1 && given.length != axes) {
      throw error(
          "Cannot build %s: %s %s must be one number, or %d for its axes",
          what, key, text(given), axes);
    }
    return given.length == axes ? given.clone() : filled(axes, given[0]);
  }

  /** The shape after a window has slid over the spatial axes of {@code x}. */
  static long[] slidden(
      String what, Tensor x, long channels, long[] kernel, long[] stride, long[] padding) {
    return slidden(what, x, channels, kernel, stride, padding, padding, filled(kernel.length, 1));
  }

  /** The shape after a window has slid over the spatial axes of {@code x}. */
  static long[] slidden(
      String what,
      Tensor x,
      long channels,
      long[] kernel,
      long[] stride,
      long[] padding,
      long[] paddingAfter,
      long[] dilation) {
    requireWindow(what, kernel, stride, padding, dilation);
    long[] shape = x.shape();
    shape[1] = channels;
    for (int i = 0; i < kernel.length; i++) {
      long room = x.size(i + 2) + padding[i] + paddingAfter[i] - dilation[i] * (kernel[i] - 1) - 1;
      if (room < 0) {
        throw error(
            "Cannot apply %s: a window of %s with padding %s does not fit into %s",
            what, window(kernel, dilation), text(padding), x);
      }
      shape[i + 2] = room / stride[i] + 1;
    }
    return shape;
  }

  /** The shape that a convolution of these sizes would make {@code x} from. */
  static long[] spread(
      String what,
      Tensor x,
      long channels,
      long[] kernel,
      long[] stride,
      long[] padding,
      long[] outputPadding,
      long[] dilation) {
    requireWindow(what, kernel, stride, padding, dilation);
    long[] shape = x.shape();
    shape[1] = channels;
    for (int i = 0; i < kernel.length; i++) {
      if (outputPadding[i] < 0 || outputPadding[i] >= Math.max(stride[i], dilation[i])) {
        throw error(
            "Cannot apply %s: output padding %s must be >= 0 and less than stride %s or dilation"
                + " %s",
            what, text(outputPadding), text(stride), text(dilation));
      }
      shape[i + 2] =
          (x.size(i + 2) - 1) * stride[i]
              - 2 * padding[i]
              + dilation[i] * (kernel[i] - 1)
              + outputPadding[i]
              + 1;
      if (shape[i + 2] < 1) {
        throw error("Cannot apply %s: padding %s leaves nothing of %s", what, text(padding), x);
      }
    }
    return shape;
  }

  /** Refuses pool windows that could lie outside of {@code x} altogether. */
  static void requireHalfPadding(String what, long[] kernel, long[] padding) {
    for (int i = 0; i < kernel.length; i++) {
      if (2 * padding[i] > kernel[i]) {
        throw error(
            "Cannot apply %s: padding %s must be at most half the kernel %s",
            what, text(padding), text(kernel));
      }
    }
  }

  private static void requireWindow(
      String what, long[] kernel, long[] stride, long[] padding, long[] dilation) {
    if (Arrays.stream(kernel).anyMatch(size -> size < 1)
        || Arrays.stream(stride).anyMatch(size -> size < 1)
        || Arrays.stream(padding).anyMatch(size -> size < 0)) {
      throw error(
          "Cannot apply %s: kernel %s and stride %s must be >= 1, padding %s >= 0",
          what, text(kernel), text(stride), text(padding));
    }
    if (Arrays.stream(dilation).anyMatch(size -> size < 1)) {
      throw error("Cannot apply %s: dilation %s must be >= 1", what, text(dilation));
    }
  }

  private static String window(long[] kernel, long[] dilation) {
    return Arrays.stream(dilation).allMatch(size -> size == 1)
        ? text(kernel)
        : text(kernel) + " dilated by " + text(dilation);
  }

  // Products.

  /** (..., M, K)·(..., K, N) → (..., M, N), with the last two axes of either perhaps swapped. */
  static long[] product(Tensor a, Tensor b, boolean transposeA, boolean transposeB) {
    int rank = a.rank();
    boolean fit = rank >= 2 && b.rank() == rank;
    for (int axis = 0; fit && axis < rank - 2; axis++) {
      fit = a.size(axis) == b.size(axis);
    }
    if (!fit) {
      throw error(
          "Cannot matmul %s and %s: ranks must be >= 2 and equal, and so must batch axes", a, b);
    }
    long inner = a.size(transposeA ? rank - 2 : rank - 1);
    if (inner != b.size(transposeB ? rank - 1 : rank - 2)) {
      throw error(
          "Cannot matmul %s%s and %s%s: inner sizes differ",
          a, transposeA ? " transposed" : "", b, transposeB ? " transposed" : "");
    }
    long[] shape = a.shape();
    shape[rank - 2] = a.size(transposeA ? rank - 1 : rank - 2);
    shape[rank - 1] = b.size(transposeB ? rank - 2 : rank - 1);
    return shape;
  }

  /** Whether q (..., N, d), k (..., M, d), v (..., M, e) go together. */
  static boolean attend(Tensor q, Tensor k, Tensor v) {
    int rank = q.rank();
    if (rank < 2 || k.rank() != rank || v.rank() != rank) {
      return false;
    }
    for (int axis = 0; axis < rank - 2; axis++) {
      if (k.size(axis) != q.size(axis) || v.size(axis) != q.size(axis)) {
        return false;
      }
    }
    return q.size(rank - 1) == k.size(rank - 1) && k.size(rank - 2) == v.size(rank - 2);
  }

  static boolean cross(Tensor q, Tensor k, Tensor v) {
    return q.rank() == 4
        && v.rank() == 4
        && Arrays.equals(q.shape(), k.shape())
        && v.size(0) == q.size(0)
        && v.size(2) == q.size(2)
        && v.size(3) == q.size(3);
  }

  /** What a causal convolution with its activation may have, elements. */
  static final int MOST_TAPS = 16;

  /** Whether these are the input, the weight and the bias of a causal convolution. */
  static boolean causal(Tensor x, Tensor weight, Tensor bias) {
    return x.rank() == 3
        && weight.rank() == 3
        && weight.size(0) == x.size(1)
        && weight.size(1) == 1
        && weight.size(2) <= MOST_TAPS
        && Arrays.equals(bias.shape(), new long[] {x.size(1)});
  }

  /**
   * Whether these are u, delta, a, b, c, d, z and delta-bias of a selective scan, and perhaps u,
   * delta, a, b, c, d and delta-bias of another of the same sizes.
   */
  static boolean scan(List<Tensor> inputs) {
    Tensor u = inputs.get(0);
    Tensor a = inputs.get(2);
    if (u.rank() != 3 || a.rank() != 2) {
      return false;
    }
    long[] sequence = u.shape();
    long[] states = {u.size(0), a.size(1), u.size(2)};
    long[] channels = {u.size(1)};
    long[][] one = {
      sequence, sequence, {u.size(1), a.size(1)}, states, states, channels, sequence, channels
    };
    long[][] other = {sequence, sequence, one[2], states, states, channels, channels};
    return IntStream.range(0, inputs.size())
        .allMatch(i -> Arrays.equals(inputs.get(i).shape(), i < 8 ? one[i] : other[i - 8]));
  }

  // Moving elements.

  /** (B, C, ...) with other spatial sizes. */
  static long[] resized(String what, Tensor x, long... sizes) {
    long[] shape = x.shape();
    for (int i = 0; i < sizes.length; i++) {
      if (sizes[i] < 1) {
        throw error("Cannot apply %s to %s: size %s must be >= 1", what, x, text(sizes));
      }
      shape[i + 2] = sizes[i];
    }
    return shape;
  }

  static long[] sliced(Tensor x, long[] begin, long[] end, long[] step) {
    long[] shape = x.shape();
    boolean fit = begin.length == x.rank() && end.length == x.rank() && step.length == x.rank();
    for (int axis = 0; fit && axis < shape.length; axis++) {
      fit =
          0 <= begin[axis]
              && begin[axis] < end[axis]
              && end[axis] <= shape[axis]
              && step[axis] >= 1;
      shape[axis] = fit ? (end[axis] - begin[axis] - 1) / step[axis] + 1 : 0;
    }
    if (!fit) {
      throw error(
          "Cannot slice %s from %s to %s by %s: 0 <= begin < end <= size and step >= 1 must hold on"
              + " every axis",
          x, text(begin), text(end), text(step));
    }
    return shape;
  }

  static long[] padded(Tensor x, long[] before, long[] after) {
    long[] shape = x.shape();
    boolean fit = before.length == x.rank() && after.length == x.rank();
    for (int axis = 0; fit && axis < shape.length; axis++) {
      fit = before[axis] >= 0 && after[axis] >= 0;
      shape[axis] += before[axis] + after[axis];
    }
    if (!fit) {
      throw error(
          "Cannot pad %s with %s before and %s after: one number >= 0 per axis is needed",
          x, text(before), text(after));
    }
    return shape;
  }

  /** A permutation of all axes, counted from 0. */
  static long[] order(Tensor x, int... axes) {
    long[] order = Arrays.stream(axes).mapToLong(axis -> axis("permute", x, axis)).toArray();
    if (order.length != x.rank() || Arrays.stream(order).distinct().count() != x.rank()) {
      throw error("Cannot permute %s by %s: every axis must be named once", x, text(order));
    }
    return order;
  }
}
