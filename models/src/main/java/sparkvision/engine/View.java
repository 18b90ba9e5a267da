package sparkvision.engine;

import java.util.Arrays;

/**
 * A row-major array seen with other axes: parts of it, backwards, in another order, or repeated.
 *
 * <p>A step along axis i of the view is {@code strides[i]} elements of the array.
 */
final class View {

  private final long[] shape;
  private final long[] strides;
  private final long first;

  private View(long[] shape, long[] strides, long first) {
    this.shape = shape;
    this.strides = strides;
    this.first = first;
  }

  /** The whole array, as it is. */
  static View of(long... shape) {
    long[] strides = new long[shape.length];
    long stride = 1;
    for (int axis = shape.length - 1; axis >= 0; axis--) {
      strides[axis] = stride;
      stride *= shape[axis];
    }
    return new View(shape.clone(), strides, 0);
  }

  /** Every {@code step}-th element from {@code begin} (inclusive) to {@code end} (exclusive). */
  View slice(long[] begin, long[] end, long[] step) {
    long[] sizes = new long[shape.length];
    long[] steps = new long[shape.length];
    long start = first;
    for (int axis = 0; axis < shape.length; axis++) {
      sizes[axis] = (end[axis] - begin[axis] + step[axis] - 1) / step[axis];
      steps[axis] = strides[axis] * step[axis];
      start += strides[axis] * begin[axis];
    }
    return new View(sizes, steps, start);
  }

  /** Backwards along {@code axes}. */
  View flip(long... axes) {
    long[] steps = strides.clone();
    long start = first;
    for (long axis : axes) {
      int i = (int) axis;
      start += (shape[i] - 1) * strides[i];
      steps[i] = -strides[i];
    }
    return new View(shape, steps, start);
  }

  /** Axis i is what was axis {@code axes[i]}. */
  View permute(long... axes) {
    return new View(
        Arrays.stream(axes).map(axis -> shape[(int) axis]).toArray(),
        Arrays.stream(axes).map(axis -> strides[(int) axis]).toArray(),
        first);
  }

  /** Repeated to {@code target} by NumPy's rule: axes are aligned at the last one. */
  View broadcast(long... target) {
    long[] steps = new long[target.length];
    int missing = target.length - shape.length;
    for (int axis = 0; axis < shape.length; axis++) {
      steps[missing + axis] = shape[axis] == 1 ? 0 : strides[axis];
    }
    return new View(target.clone(), steps, first);
  }

  /** Where in the array the elements of the view lie, in the view's row-major order. */
  int[] places() {
    int count = 1;
    for (long size : shape) {
      count = Math.toIntExact(count * size);
    }
    int[] places = new int[count];
    long[] index = new long[shape.length];
    long place = first;
    for (int i = 0; i < count; i++) {
      places[i] = (int) place;
      for (int axis = shape.length - 1; axis >= 0; axis--) {
        place += strides[axis];
        if (++index[axis] < shape[axis]) {
          break;
        }
        place -= strides[axis] * shape[axis];
        index[axis] = 0;
      }
    }
    return places;
  }
}
