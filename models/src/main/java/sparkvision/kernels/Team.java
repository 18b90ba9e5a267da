package sparkvision.kernels;

import com.sun.jna.Callback;
import com.sun.jna.CallbackThreadInitializer;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import org.bytedeco.javacpp.Loader;

/**
 * A fixed number of threads: oneDNN's own OpenMP threads, on which Java loops run too.
 *
 * <p>A second pool would fight with the first for the cores, since OpenMP's threads spin for a
 * while after each parallel region. So a loop of ours is a parallel region as well, started through
 * {@code GOMP_parallel}: about 1.5 µs.
 *
 * @see <a href="https://gcc.gnu.org/onlinedocs/libgomp/">libgomp, section "Implementing PARALLEL
 *     construct"</a>
 */
public final class Team {

  /** What every member does. */
  public interface Work {
    /** Does the share of {@code member}, from 0 to {@code members} − 1. */
    void run(int member, int members);
  }

  /** The region's entry; OpenMP calls it on each of its threads. */
  private interface Entry extends Callback {
    void invoke(Pointer data);
  }

  /** The OpenMP runtime that oneDNN is linked with. */
  private static final class OpenMp {
    static {
      Loader.load(org.bytedeco.dnnl.global.dnnl.class);
      Native.register(OpenMp.class, NativeLibrary.getInstance("libgomp.so.1"));
    }

    static native void GOMP_parallel(Entry entry, Pointer data, int threads, int flags);

    static native int omp_get_thread_num();

    static native int omp_get_num_threads();

    static native void omp_set_num_threads(int threads);
  }

  private final int threads;
  private final float[][] numbers; // by member
  private final Entry entry = this::work; // JNA keeps no reference
  private volatile Work work;
  private volatile Throwable failure;

  /** A team of {@code threads}, the calling thread among them. */
  public Team(int threads) {
    this.threads = threads;
    this.numbers = new float[threads][0];
    // Attached to the JVM at the first region and never detached: that would cost more than the
    // work.
    Native.setCallbackThreadInitializer(
        entry, new CallbackThreadInitializer(true, false, "sparkvision-omp"));
  }

  /** Where the share of a member begins when {@code count} things are dealt out in runs. */
  public static int share(int count, int member, int members) {
    return (int) ((long) count * member / members);
  }

  public int threads() {
    return threads;
  }

  /**
   * At least {@code size} numbers for a member to work on, laid out by a {@link Room}; they are
   * what its last work has left.
   */
  public float[] numbers(int member, int size) {
    if (numbers[member].length < size) {
      numbers[member] = Room.allocate(size);
    }
    return numbers[member];
  }

  /** Makes oneDNN use this team when called from the calling thread. */
  public void enter() {
    OpenMp.omp_set_num_threads(threads);
  }

  /**
   * Describes or prepares operations of oneDNN that a single member will run inside of {@link
   * #run}: they must not count on the others.
   */
  public void alone(Runnable preparation) {
    OpenMp.omp_set_num_threads(1);
    try {
      preparation.run();
    } finally {
      enter();
    }
  }

  /** Runs {@code work} on every member and returns when all are done. */
  public void run(Work work) {
    if (threads == 1) {
      work.run(0, 1);
      return;
    }
    this.work = work;
    OpenMp.GOMP_parallel(entry, null, threads, 0);
    this.work = null;
    if (failure != null) {
      Throwable cause = failure;
      failure = null;
      throw new IllegalStateException("Cannot run a parallel loop: " + cause, cause);
    }
  }

  private void work(Pointer data) {
    try {
      work.run(OpenMp.omp_get_thread_num(), OpenMp.omp_get_num_threads());
    } catch (RuntimeException | Error e) {
      failure = e; // must not unwind through OpenMP
    }
  }
}
