package sparkvision.train;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;

/** Which executors went, and why, in words that say what to change. */
final class LostExecutors extends SparkListener {

  private final Map<String, String> reasons = new LinkedHashMap<>(); // guarded by this

  @Override
  public synchronized void onExecutorRemoved(SparkListenerExecutorRemoved removed) {
    reasons.put(removed.executorId(), removed.reason());
  }

  /**
   * A clause for each executor with a rank that went since the last call; empty if none did.
   *
   * @param coordinator knows which rank ran where
   */
  synchronized String since(Coordinator coordinator) {
    String clauses =
        reasons.entrySet().stream()
            .flatMap(
                lost ->
                    coordinator
                        .lastHeard(lost.getKey())
                        .map(
                            heard ->
                                String.format(
                                    "lost executor %s (%s): %s",
                                    lost.getKey(), heard, explained(lost.getValue())))
                        .stream())
            .collect(Collectors.joining("; "));
    reasons.clear();
    return clauses;
  }

  /** Spark's reason, with what to change where memory is or may be the cause. */
  static String explained(String reason) {
    String first = reason.lines().findFirst().orElse("").strip();
    if (reason.contains("memory limits") || reason.contains("OOMKilled")) {
      return first
          + " (its process outgrew its container: raise spark.executor.memoryOverhead, or lower"
          + " batch-size, or set memory=lean)";
    }
    if (reason.matches("(?s).*\\bcode:? ?137\\b.*")) {
      return first
          + " (SIGKILL: what a system does when memory runs out; if so raise"
          + " spark.executor.memoryOverhead, or lower batch-size, or set memory=lean)";
    }
    if (reason.matches("(?s).*\\bcode:? ?143\\b.*")) {
      return first
          + " (SIGTERM: preempted, decommissioned, or over its container's memory; if that, raise"
          + " spark.executor.memoryOverhead, or lower batch-size, or set memory=lean)";
    }
    if (reason.matches("(?s).*\\bcode:? ?52\\b.*") || reason.contains("OutOfMemoryError")) {
      return first + " (" + OUT_OF_MEMORY + ")";
    }
    return first;
  }

  /** What to do about a full Java heap or JavaCPP's limit. */
  static final String OUT_OF_MEMORY =
      "out of memory: raise spark.executor.memory where the Java heap is full, spark.executor."
          + "memoryOverhead with JavaCPP's maxphysicalbytes where native memory is, or lower"
          + " batch-size; preflight does the arithmetic";
}
