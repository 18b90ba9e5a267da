package sparkvision.jobs;

import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.spark.util.SignalUtils;
import scala.runtime.AbstractFunction0;

/**
 * SIGTERM and SIGINT (Ctrl-C) while something runs that can stop by itself: the first one asks it
 * to, a second one ends the process as usual.
 */
final class Signals {

  private static final AtomicReference<Runnable> STOP = new AtomicReference<>();
  private static boolean registered; // guarded by the class

  private Signals() {}

  /** Does {@code work}; meanwhile the first signal runs {@code stop}. */
  static <R> R during(Runnable stop, Callable<R> work) throws Exception {
    register();
    STOP.set(stop);
    try {
      return work.call();
    } finally {
      STOP.set(null);
    }
  }

  private static synchronized void register() {
    if (!registered) {
      registered = true;
      for (String signal : new String[] {"TERM", "INT"}) {
        SignalUtils.register(
            signal,
            new AbstractFunction0<Object>() {
              @Override
              public Object apply() {
                return taken();
              }
            });
      }
    }
  }

  /** Whether the signal was taken care of. */
  private static boolean taken() {
    Runnable stop = STOP.getAndSet(null);
    if (stop != null) {
      stop.run();
    }
    return stop != null;
  }
}
