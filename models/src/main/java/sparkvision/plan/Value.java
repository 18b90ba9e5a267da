package sparkvision.plan;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.stream.IntStream;
import sparkvision.kernels.Desc;
import sparkvision.kernels.Dnnl;
import sparkvision.kernels.Type;

/**
 * A tensor in a plan: sizes, and how far apart neighbours lie along each axis; several values may
 * view one storage. Axes are in the graph's order, whatever their order in memory.
 *
 * <p>Two layouts are common: {@link #rowMajor}, and channels last, where (B, C, H, W) lies in
 * memory as (B, H, W, C). A weight may lie in a layout that only oneDNN knows; it then has no
 * strides.
 */
final class Value {

  final Storage storage;
  final Type type;
  private final long[] dims;
  private final long[] strides; // null if opaque
  private final long offset; // in elements
  private final Desc opaque; // null if strided

  Value(Storage storage, Type type, long[] dims, long[] strides, long offset) {
    this(storage, type, dims, strides, offset, null);
  }

  private Value(Storage storage, Type type, long[] dims, long[] strides, long offset, Desc opaque) {
    this.storage = storage;
    this.type = type;
    this.dims = dims;
    this.strides = strides;
    this.offset = offset;
    this.opaque = opaque;
  }

  static Value opaque(Storage storage, Type type, long[] dims, Desc desc) {
    return new Value(storage, type, dims, null, 0, desc);
  }

  int rank() {
    return dims.length;
  }

  long size(int axis) {
    return dims[axis];
  }

  long[] dims() {
    return dims.clone();
  }

  long stride(int axis) {
    return strides[axis];
  }

  long[] strides() {
    return strides.clone();
  }

  long elements() {
    return elements(dims);
  }

  static long elements(long... dims) {
    long elements = 1;
    for (long size : dims) {
      elements = Math.multiplyExact(elements, size);
    }
    return elements;
  }

  // Layouts.

  /** The strides of (d0, d1, ...) with the last axis densest. */
  static long[] rowMajor(long... dims) {
    return inOrder(dims, IntStream.range(0, dims.length).toArray());
  }

  /** The strides of (B, C, spatial...) with C densest. */
  static long[] channelsLast(long... dims) {
    return inOrder(dims, channelsLastOrder(dims.length));
  }

  /** 0, 2, 3, ..., 1. */
  static int[] channelsLastOrder(int rank) {
    int[] order = new int[rank];
    for (int i = 1; i < rank - 1; i++) {
      order[i] = i + 1;
    }
    if (rank > 1) {
      order[rank - 1] = 1;
    }
    return order;
  }

  /** Dense strides when memory runs through the axes in this order, the last one fastest. */
  static long[] inOrder(long[] dims, int[] order) {
    long[] strides = new long[dims.length];
    long stride = 1;
    for (int i = order.length - 1; i >= 0; i--) {
      strides[order[i]] = stride;
      stride *= dims[order[i]];
    }
    return strides;
  }

  /** Whether the elements lie as these strides say; axes of size 1 do not matter. */
  boolean lies(long[] wanted) {
    if (strides == null) {
      return false;
    }
    for (int i = 0; i < dims.length; i++) {
      if (dims[i] != 1 && strides[i] != wanted[i]) {
        return false;
      }
    }
    return true;
  }

  /**
   * The same with strides on axes of size 1 that reach beyond all later axes, as in row-major
   * order: oneDNN checks those too, and gets products wrong where a batch of one seems to lie
   * inside.
   */
  Value settled() {
    long[] result = strides.clone();
    long beyond = 1;
    for (int axis = dims.length - 1; axis >= 0; axis--) {
      if (dims[axis] == 1) {
        result[axis] = beyond;
      }
      beyond = Math.max(beyond, dims[axis] * result[axis]);
    }
    return laid(result);
  }

  /** Every matrix transposed: the last two axes the other way round. */
  Value turned() {
    int[] axes = IntStream.range(0, rank()).toArray();
    axes[rank() - 1] = rank() - 2;
    axes[rank() - 2] = rank() - 1;
    return permuted(axes);
  }

  boolean isRowMajor() {
    return lies(rowMajor(dims));
  }

  boolean isChannelsLast() {
    return rank() >= 2 && lies(channelsLast(dims));
  }

  /**
   * Whether (B, C, ...) lies as rows of channels, one per pixel and equally far apart: channels
   * last, or some of the channels of a wider value.
   */
  boolean isRows() {
    if (strides == null || rank() < 2 || (dims[1] != 1 && strides[1] != 1)) {
      return false;
    }
    long expected = -1;
    int[] order = channelsLastOrder(rank());
    for (int i = order.length - 2; i >= 0; i--) {
      int axis = order[i];
      if (dims[axis] != 1) {
        if (expected >= 0 && strides[axis] != expected) {
          return false;
        }
        expected = strides[axis] * dims[axis];
      }
    }
    return true;
  }

  /** Whether it fills a stretch of memory without gaps, in whatever order of axes. */
  boolean isDense() {
    return lies(inOrder(dims, order()));
  }

  /** The axes from the farthest apart to the densest. */
  int[] order() {
    return IntStream.range(0, dims.length)
        .boxed()
        .sorted((a, b) -> Long.compare(strides[b], strides[a]))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  // Views.

  /** The same elements, row-major, under other sizes, if strides can express it; else null. */
  Value reshaped(long... shape) {
    long[] steps = new long[shape.length];
    Arrays.fill(steps, 1);
    int to = shape.length - 1;
    // Runs of axes without a gap between them, from the last one on, are cut anew.
    long stride = dims.length == 0 ? 1 : strides[dims.length - 1];
    long run = 1;
    for (int axis = dims.length - 1; axis >= 0; axis--) {
      run *= dims[axis];
      if (axis > 0 && (dims[axis - 1] == 1 || strides[axis - 1] == run * stride)) {
        continue;
      }
      long cut = 1;
      while (to >= 0 && (cut < run || shape[to] == 1)) {
        steps[to] = cut * stride;
        cut *= shape[to--];
      }
      if (cut != run) {
        return null;
      }
      if (axis > 0) {
        stride = strides[axis - 1];
        run = 1;
      }
    }
    return new Value(storage, type, shape.clone(), steps, offset);
  }

  /**
   * The same elements, which {@link #lies} says lie so: axes of size 1 get these strides too. They
   * do not move anything, but oneDNN takes a picture of one channel for row-major or for channels
   * last by the stride of that channel, and is much slower, even wrong, with the former.
   */
  Value laid(long[] wanted) {
    return Arrays.equals(strides, wanted) ? this : new Value(storage, type, dims, wanted, offset);
  }

  /** Output axis i is input axis axes[i]. */
  Value permuted(int... axes) {
    long[] shape = new long[axes.length];
    long[] steps = new long[axes.length];
    for (int i = 0; i < axes.length; i++) {
      shape[i] = dims[axes[i]];
      steps[i] = strides[axes[i]];
    }
    return new Value(storage, type, shape, steps, offset);
  }

  /** {@code count} elements along an axis from {@code first} on, {@code step} apart. */
  Value narrowed(int axis, long first, long count, long step) {
    long[] shape = dims.clone();
    long[] steps = strides.clone();
    shape[axis] = count;
    steps[axis] *= step;
    return new Value(storage, type, shape, steps, offset + first * strides[axis]);
  }

  /** The last two axes, where the others have size 1. */
  Value matrix() {
    int rank = rank();
    long columns = dims[rank - 1];
    long[] steps = {
      dims[rank - 2] == 1 ? columns : strides[rank - 2], columns == 1 ? 1 : strides[rank - 1]
    };
    return new Value(storage, type, new long[] {dims[rank - 2], columns}, steps, offset);
  }

  /** With axes of size 1 in front until there are {@code rank}. */
  Value padded(int rank) {
    int more = rank - rank();
    long[] shape = new long[rank];
    long[] steps = new long[rank];
    Arrays.fill(shape, 0, more, 1);
    Arrays.fill(steps, 0, more, elements());
    System.arraycopy(dims, 0, shape, more, dims.length);
    System.arraycopy(strides, 0, steps, more, strides.length);
    return new Value(storage, type, shape, steps, offset);
  }

  /** This view of {@code whole}, as the same view of {@code other}, which has whole's strides. */
  Value movedFrom(Value whole, Value other) {
    return new Value(other.storage, type, dims, strides, offset - whole.offset + other.offset);
  }

  /** Whether this is another name for the same elements. */
  boolean isSame(Value other) {
    return storage == other.storage
        && type == other.type
        && offset == other.offset
        && Arrays.equals(dims, other.dims)
        && lies(other.strides);
  }

  // What kernels see; addresses only after the plan has been placed.

  Desc desc(Dnnl dnnl) {
    if (opaque != null) {
      return opaque;
    }
    if (dims.length == 0) {
      return dnnl.strided(type, new long[] {1}, new long[] {1});
    }
    return dnnl.strided(type, dims, strides);
  }

  long address() {
    return storage.memory.address() + storage.offset + offset * type.bytes();
  }

  /** Elements from the first to the last one in memory, gaps included. */
  long extent() {
    long last = 0;
    for (int i = 0; i < dims.length; i++) {
      last += (dims[i] - 1) * strides[i];
    }
    return last + 1;
  }

  /** For Java loops: the memory from the first element to the last. */
  ByteBuffer buffer() {
    return storage.memory.buffer(storage.offset + offset * type.bytes(), extent() * type.bytes());
  }

  /** For Java loops: all memory of the storage. */
  ByteBuffer wholeBuffer() {
    return storage.memory.buffer(storage.offset, storage.bytes);
  }

  /** Sets the first {@code bytes} of a dense value to zero. */
  void fill(long bytes) {
    storage.memory.fill(storage.offset + offset * type.bytes(), bytes, 0);
  }

  /** Copies a dense float32 value to the heap. */
  void read(float[] target) {
    storage.memory.read(storage.offset + offset * 4, target, 0, target.length);
  }

  /** Copies a dense float32 value from the heap. */
  void write(float[] source) {
    storage.memory.write(storage.offset + offset * 4, source, 0, source.length);
  }

  @Override
  public String toString() {
    return storage.name + Arrays.toString(dims) + (strides == null ? "" : Arrays.toString(strides));
  }
}
