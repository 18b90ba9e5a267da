package sparkvision.weights;

import java.util.Arrays;

/**
 * The values of one tensor on the Java heap, row-major: float32, or int64 for counters and class
 * indices.
 *
 * <p>The arrays are not copied: whoever makes a {@code HostTensor} hands them over.
 */
public final class HostTensor {

  private final long[] shape;
  private final float[] floats;
  private final long[] longs;

  private HostTensor(long[] shape, float[] floats, long[] longs) {
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    int length = floats != null ? floats.length : longs.length;
    if (elements != length) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid tensor: shape %s holds %d values, found %d",
              Arrays.toString(shape), elements, length));
    }
    this.shape = shape.clone();
    this.floats = floats;
    this.longs = longs;
  }

  /** A float32 tensor; no sizes at all make a scalar. */
  public static HostTensor of(float[] values, long... shape) {
    return new HostTensor(shape, values, null);
  }

  /** An int64 tensor; no sizes at all make a scalar. */
  public static HostTensor ofLongs(long[] values, long... shape) {
    return new HostTensor(shape, null, values);
  }

  public long[] shape() {
    return shape.clone();
  }

  public boolean isFloat() {
    return floats != null;
  }

  /**
   * The float32 values themselves, not a copy.
   *
   * @throws IllegalStateException if this is an int64 tensor
   */
  public float[] floats() {
    if (floats == null) {
      throw new IllegalStateException("Cannot read int64 tensor as float32");
    }
    return floats;
  }

  /**
   * The int64 values themselves, not a copy.
   *
   * @throws IllegalStateException if this is a float32 tensor
   */
  public long[] longs() {
    if (longs == null) {
      throw new IllegalStateException("Cannot read float32 tensor as int64");
    }
    return longs;
  }

  @Override
  public String toString() {
    return (isFloat() ? "float32" : "int64") + Arrays.toString(shape);
  }
}
