package sparkvision.graph;

import java.util.Arrays;

/** A value in a {@link Graph}, known by its static shape; it holds no numbers. */
public final class Tensor {

  /** What a tensor's elements are: of the graph's floating type, or int64. */
  public enum Type {
    FLOAT,
    INT64
  }

  private final String name;
  private final Type type;
  private final long[] shape;

  Tensor(String name, Type type, long... shape) {
    this.name = name;
    this.type = type;
    this.shape = shape.clone();
  }

  /** The name of an input, parameter or buffer; the empty string for an intermediate result. */
  public String name() {
    return name;
  }

  public Type type() {
    return type;
  }

  public long[] shape() {
    return shape.clone();
  }

  public int rank() {
    return shape.length;
  }

  public long size(int axis) {
    return shape[axis];
  }

  /** How many elements there are; 1 for a scalar. */
  public long elements() {
    long elements = 1;
    for (long size : shape) {
      elements = Math.multiplyExact(elements, size);
    }
    return elements;
  }

  @Override
  public String toString() {
    return name + Arrays.toString(shape);
  }
}
