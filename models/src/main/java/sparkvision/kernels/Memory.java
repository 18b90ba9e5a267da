package sparkvision.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** A piece of memory outside the Java heap; it lives until closed, whatever the collector does. */
public final class Memory implements AutoCloseable {

  /** Memory starts at a multiple of this: a cache line, and the widest vector. */
  public static final int ALIGNMENT = 64;

  private static final int WINDOW = 1 << 28; // floats

  private final BytePointer pointer;
  private final long address;
  private final long bytes;
  private final FloatBuffer[] windows; // a buffer cannot hold more than 2 GiB

  /** Uninitialised memory. */
  public Memory(long bytes) {
    this.bytes = bytes;
    long alignment = bytes < HugePages.BYTES ? ALIGNMENT : HugePages.BYTES;
    this.pointer = new BytePointer(bytes + alignment);
    this.address = (pointer.address() + alignment - 1) / alignment * alignment;
    if (bytes >= HugePages.BYTES) {
      HugePages.advise(address, bytes / HugePages.BYTES * HugePages.BYTES);
    }
    long floats = bytes / Float.BYTES;
    this.windows = new FloatBuffer[(int) ((floats + WINDOW - 1) / WINDOW)];
    for (int i = 0; i < windows.length; i++) {
      long first = (long) i * WINDOW;
      long count = Math.min(WINDOW, floats - first);
      windows[i] = buffer(first * Float.BYTES, count * Float.BYTES).asFloatBuffer();
    }
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

  /** Copies {@code count} floats to the heap; {@code offset} counts bytes, in whole floats. */
  public void read(long offset, float[] target, int first, int count) {
    for (int done = 0; done < count; ) {
      long at = offset / Float.BYTES + done;
      int room = (int) Math.min(count - done, WINDOW - at % WINDOW);
      window(at).get((int) (at % WINDOW), target, first + done, room);
      done += room;
    }
  }

  /** Copies {@code count} floats from the heap; {@code offset} counts bytes, in whole floats. */
  public void write(long offset, float[] source, int first, int count) {
    for (int done = 0; done < count; ) {
      long at = offset / Float.BYTES + done;
      int room = (int) Math.min(count - done, WINDOW - at % WINDOW);
      window(at).put((int) (at % WINDOW), source, first + done, room);
      done += room;
    }
  }

  private FloatBuffer window(long index) {
    return windows[(int) (index / WINDOW)];
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
