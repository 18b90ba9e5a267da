package sparkvision.train;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.spark.ExecutorLostFailure;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorMetricsUpdate;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.scheduler.SparkListenerTaskStart;
import sparkvision.DaemonThreads;

/**
 * Sees to it that an evaluation does not wait for ever: an executor that Spark has not heard for
 * the deadline and a heartbeat is killed, and Spark runs its tasks elsewhere; if there is no
 * executor for as long, the evaluation fails. Every executor that goes is said in a sentence.
 */
final class EvaluationWatch extends SparkListener {

  private final SparkContext spark;
  private final long deadlineNanos;
  private final Consumer<String> note;
  private final ScheduledExecutorService watch =
      Executors.newSingleThreadScheduledExecutor(DaemonThreads.named("evaluation-deadline"));

  private final String group = "evaluation " + UUID.randomUUID();

  // Guarded by this.
  private final Map<String, Busy> busy = new HashMap<>(); // by executor
  private long idleNanos = System.nanoTime(); // since when none is

  /** An executor with tasks. */
  private static final class Busy {
    final String host;
    int tasks;
    long heardNanos = System.nanoTime();
    boolean killed;

    Busy(String host) {
      this.host = host;
    }

    String lastHeard() {
      long age = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - heardNanos);
      return String.format("%s was evaluating, last heartbeat %d s ago", host, age);
    }
  }

  /** Watches what this thread runs from now on, until its {@link #end}. */
  EvaluationWatch(SparkContext spark, int timeoutSeconds, Consumer<String> note) {
    this.spark = spark;
    this.deadlineNanos =
        TimeUnit.SECONDS.toNanos(timeoutSeconds)
            + TimeUnit.MILLISECONDS.toNanos(
                spark.conf().getTimeAsMs("spark.executor.heartbeatInterval", "10s"));
    this.note = note;
    spark.setJobGroup(group, "evaluate", true);
    spark.addSparkListener(this);
    Future<?> unused = watch.scheduleWithFixedDelay(this::checkDeadline, 1, 1, TimeUnit.SECONDS);
  }

  @Override
  public synchronized void onTaskStart(SparkListenerTaskStart start) {
    Busy executor =
        busy.computeIfAbsent(
            start.taskInfo().executorId(), id -> new Busy(start.taskInfo().host()));
    executor.tasks++;
    executor.heardNanos = System.nanoTime();
  }

  @Override
  public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
    if (end.reason() instanceof ExecutorLostFailure) {
      return; // its removal comes next
    }
    busy.computeIfPresent(
        end.taskInfo().executorId(), (id, executor) -> --executor.tasks > 0 ? executor : null);
    idleNanos = System.nanoTime();
  }

  @Override
  public synchronized void onExecutorMetricsUpdate(SparkListenerExecutorMetricsUpdate heartbeat) {
    Busy executor = busy.get(heartbeat.execId());
    if (executor != null) {
      executor.heardNanos = System.nanoTime();
    }
  }

  @Override
  public synchronized void onExecutorRemoved(SparkListenerExecutorRemoved removed) {
    Busy executor = busy.remove(removed.executorId());
    idleNanos = System.nanoTime();
    if (executor != null && !executor.killed) {
      note.accept(
          String.format(
              "Evaluating without executor %s (%s): %s",
              removed.executorId(),
              executor.lastHeard(),
              LostExecutors.explained(removed.reason())));
    }
  }

  private void checkDeadline() {
    overdue().forEach(spark::killAndReplaceExecutor);
    if (isForsaken()) {
      spark.cancelJobGroup(group);
    }
  }

  /** Whether there has been no executor for too long. */
  synchronized boolean isForsaken() {
    return busy.isEmpty() && System.nanoTime() - idleNanos > deadlineNanos;
  }

  private synchronized List<String> overdue() {
    List<String> overdue =
        busy.keySet().stream()
            .filter(id -> !busy.get(id).killed)
            .filter(id -> System.nanoTime() - busy.get(id).heardNanos > deadlineNanos)
            .toList();
    for (String id : overdue) {
      Busy executor = busy.get(id);
      executor.killed = true;
      note.accept(
          String.format(
              "Evaluating without executor %s (%s): it hangs (timeout-seconds says how long to"
                  + " wait)",
              id, executor.lastHeard()));
    }
    return overdue;
  }

  void end() {
    watch.shutdownNow();
    spark.removeSparkListener(this);
    spark.clearJobGroup();
  }
}
