package sparkvision.kernels;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;

/**
 * Lays numbers out one after the other in an array: all that a loop works on, so that a place is an
 * index.
 *
 * <p>Every place is the beginning of a cache line, if the array is one of {@link #allocate}: a
 * vector that crosses the border of two lines is read and written as two, which made the backward
 * loops of the selective scan take half as long again. And no two places lie a multiple of 4,096
 * bytes apart, where a processor takes a read for one of what was just written elsewhere.
 */
public final class Room {

  private static final int LINE = 64 / Float.BYTES;

  /** Behind an array's header, which has 16 bytes. */
  private static final int FIRST = LINE - 16 / Float.BYTES;

  private static final int PAGE = 4096 / Float.BYTES;
  private static final int GAP = 5 * LINE;

  private int size = FIRST;

  /** Room for {@code count} numbers more; returns where they begin. */
  public int add(int count) {
    int at = size;
    int lines = (count + LINE - 1) / LINE * LINE;
    size += lines + (lines % PAGE == 0 ? GAP : 0);
    return at;
  }

  /** How long an array has to be. */
  public int size() {
    return size;
  }

  /**
   * An array of at least {@code size} zeros. The collector G1 moves no object of more than half of
   * a region, and begins a region with it.
   */
  static float[] allocate(int size) {
    return new float[Math.max(size, Regions.LEAST)];
  }

  private static final class Regions {
    static final int LEAST = regionBytes() / 2 / Float.BYTES + 1;

    /** 0 with other collectors. */
    private static int regionBytes() {
      HotSpotDiagnosticMXBean machine =
          ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
      return machine == null
          ? 0
          : Integer.parseInt(machine.getVMOption("G1HeapRegionSize").getValue());
    }
  }
}
