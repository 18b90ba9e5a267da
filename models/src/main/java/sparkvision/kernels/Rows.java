package sparkvision.kernels;

import java.nio.ByteBuffer;

/**
 * A matrix of rows whose columns lie side by side; channels-last tensors are such matrices, a pixel
 * a row.
 *
 * @param data from the first element on, in the machine's byte order
 * @param type what the elements are; loops compute in float32 in any case
 * @param stride elements from one row to the next
 */
public record Rows(ByteBuffer data, Type type, int stride) {

  boolean isBfloat16() {
    return type == Type.BFLOAT16;
  }

  /** The element so many places behind the first. */
  public float get(int index) {
    return PlainLoops.load(this, 0, index);
  }

  public void set(int index, float value) {
    PlainLoops.store(this, 0, index, value);
  }

  /** One element. */
  public float get(int row, int column) {
    return PlainLoops.load(this, row, column);
  }

  /** Sets one element. */
  public void set(int row, int column, float value) {
    PlainLoops.store(this, row, column, value);
  }
}
