package sparkvision.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;

/** A piece of memory outside the Java heap; it lives until closed, whatever the collector does. */
public final class Memory implements AutoCloseable {

  /** Memory starts at a multiple of this: a cache line, and the widest vector. */
  public static final int ALIGNMENT = 64;

  private final BytePointer pointer;
  private final long address;
  private final long bytes;

  /** Uninitialised memory. */
  public Memory(long bytes) {
    this.bytes = bytes;
    this.pointer = new BytePointer(bytes + ALIGNMENT);
    this.address = (pointer.address() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  public long address() {
    return address;
  }

  public long bytes() {
    return bytes;
  }

  /** Sets every byte from {@code offset} on. */
  public void fill(long offset, long count, int value) {
    Pointer.memset(at(offset), value, count);
  }

  /** Copies {@code count} floats to the heap; {@code offset} counts bytes. */
  public void read(long offset, float[] target, int first, int count) {
    new FloatPointer(at(offset)).get(target, first, count);
  }

  /** Copies {@code count} floats from the heap; {@code offset} counts bytes. */
  public void write(long offset, float[] source, int first, int count) {
    new FloatPointer(at(offset)).put(source, first, count);
  }

  private Pointer at(long offset) {
    return pointer.getPointer(address - pointer.address() + offset);
  }

  /** A view for Java loops, in the machine's byte order; at most 2 GiB. */
  public ByteBuffer buffer(long offset, long count) {
    BytePointer view = pointer.getPointer(BytePointer.class, address - pointer.address() + offset);
    int size = Math.toIntExact(count);
    return view.capacity(size).asBuffer().order(ByteOrder.nativeOrder());
  }

  @Override
  public void close() {
    pointer.deallocate();
  }
}
