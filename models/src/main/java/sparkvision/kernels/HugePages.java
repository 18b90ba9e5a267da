package sparkvision.kernels;

import com.sun.jna.Native;
import com.sun.jna.NativeLong;
import com.sun.jna.Platform;
import com.sun.jna.Pointer;

/**
 * Asks Linux for pages of 2 MiB: tensors of many megabytes then fit into the translation buffers.
 *
 * @see <a href="https://docs.kernel.org/admin-guide/mm/transhuge.html">Transparent Hugepage
 *     Support, "madvise"</a>
 */
final class HugePages {

  static final long BYTES = 2 << 20;

  private static final int MADV_HUGEPAGE = 14;

  private HugePages() {}

  /** The C library. */
  private static final class C {
    static {
      Native.register(C.class, Platform.C_LIBRARY_NAME);
    }

    static native int madvise(Pointer start, NativeLong length, int advice);
  }

  /** A hint: whether the kernel follows it changes nothing but speed. */
  static void advise(long address, long bytes) {
    if (Platform.isLinux()) {
      C.madvise(new Pointer(address), new NativeLong(bytes), MADV_HUGEPAGE);
    }
  }
}
