package sparkvision.train;

import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.spark.SparkContext;
import sparkvision.JobException;
import sparkvision.JobException.Exit;

/** The executor slots of a Spark application: how many barrier tasks can run at once. */
public final class Slots {

  private Slots() {}

  /** Those of the executors that Spark believes to live. */
  static int now(SparkContext spark) {
    return spark.maxNumConcurrentTasks(spark.resourceProfileManager().defaultResourceProfile());
  }

  /**
   * Waits for executors to register.
   *
   * @param wanted the number of ranks; 0: as many as there are once their number stands still
   * @return the number of ranks
   * @throws JobException (exit code 3) if there are too few at the deadline
   */
  public static int await(SparkContext spark, int wanted, Duration timeout)
      throws InterruptedException {
    Instant deadline = Instant.now().plus(timeout);
    int seen = 0;
    int steady = 0;
    while (true) {
      int now = now(spark);
      if (wanted > 0 && now >= wanted) {
        return wanted;
      }
      steady = now == seen ? steady + 1 : 0;
      seen = now;
      if (wanted == 0 && seen > 0 && steady >= 10) {
        return seen;
      }
      if (Instant.now().isAfter(deadline)) {
        throw new JobException(
            Exit.PREFLIGHT,
            String.format(
                "Cannot run on %d executors' slots: there are %d after %d s (a slot is"
                    + " spark.task.cpus cores of an executor; start more executors, or lower ranks)",
                Math.max(1, wanted), seen, timeout.toSeconds()));
      }
      TimeUnit.MILLISECONDS.sleep(300);
    }
  }

  /**
   * Waits until there are {@code wanted}, or until the time is up or it is asked to stop; returns
   * how many there are.
   */
  static int upTo(SparkContext spark, int wanted, Duration patience, BooleanSupplier stop)
      throws InterruptedException {
    Instant deadline = Instant.now().plus(patience);
    int now = now(spark);
    while (now < wanted && !stop.getAsBoolean() && Instant.now().isBefore(deadline)) {
      TimeUnit.MILLISECONDS.sleep(100);
      now = now(spark);
    }
    return now;
  }
}
