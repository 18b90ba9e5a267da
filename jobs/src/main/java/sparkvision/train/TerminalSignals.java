package sparkvision.train;

import org.apache.spark.SparkEnv;
import org.apache.spark.util.SignalUtils;
import scala.runtime.AbstractFunction0;

/** A terminal sends Ctrl-C to the executors of a local cluster too. */
final class TerminalSignals {

  private static boolean ignored; // guarded by the class

  private TerminalSignals() {}

  /** From now on what Ctrl-C means is the driver's business; for executors. */
  static synchronized void leaveToDriver() {
    boolean executor = !SparkEnv.get().executorId().equals("driver");
    if (executor && !ignored) {
      ignored = true;
      SignalUtils.register(
          "INT",
          new AbstractFunction0<Object>() {
            @Override
            public Object apply() {
              return true;
            }
          });
    }
  }
}
