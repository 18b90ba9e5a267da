package sparkvision.train;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.hadoop.fs.Path;
import sparkvision.DaemonThreads;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.CheckpointStore;

/**
 * The checkpoints inside a segment, on the driver: says when one is due, gathers what the ranks
 * wrote and has it committed, all while training goes on. At most one is in the making.
 *
 * <p>One that fails is said and done without; so many in a row end the run.
 */
final class SegmentCheckpoints implements AutoCloseable {

  /** What makes a checkpoint of the ranks' parts. */
  interface Commit {
    void commit(Path staged, List<SegmentTask.Report> reports) throws IOException;
  }

  private final TrainConfig.Checkpoints config;
  private final String staging;
  private final CheckpointStore store;
  private final Commit commit;
  private final TrainListener listener;
  private final BooleanSupplier stopping;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(DaemonThreads.named("checkpoint-commit"));

  // Guarded by this.
  private final SegmentTask.Written[] written;
  private boolean inTheMaking;
  private long lastStep;
  private long lastNanos = System.nanoTime();
  private int failures;
  private JobException end;

  /**
   * @param first the step of the checkpoint that the segment starts from
   * @param stopping whether the run is asked to stop
   */
  SegmentCheckpoints(
      TrainConfig.Checkpoints config,
      CheckpointStore store,
      String staging,
      int ranks,
      long first,
      Commit commit,
      TrainListener listener,
      BooleanSupplier stopping) {
    this.config = config;
    this.store = store;
    this.staging = staging;
    this.commit = commit;
    this.listener = listener;
    this.stopping = stopping;
    this.written = new SegmentTask.Written[ranks];
    this.lastStep = first;
  }

  /** What the ranks do behind the averaging of {@code step}. */
  synchronized Exchange.Decision decide(long step) {
    if (stopping.getAsBoolean() || end != null) {
      return Exchange.Decision.STOP;
    }
    if (inTheMaking || !due(step)) {
      return Exchange.Decision.GO_ON;
    }
    inTheMaking = true;
    lastStep = step;
    lastNanos = System.nanoTime();
    return Exchange.Decision.CHECKPOINT;
  }

  private boolean due(long step) {
    long every = config.everySteps();
    boolean bySteps = every > 0 && step / every > lastStep / every;
    boolean byTime =
        config.everySeconds() > 0
            && System.nanoTime() - lastNanos >= TimeUnit.SECONDS.toNanos(config.everySeconds());
    return bySteps || byTime;
  }

  /** A rank's word on the checkpoint in the making; the last one's has it committed. */
  synchronized void written(SegmentTask.Written part) {
    written[part.report().rank()] = part;
    if (Arrays.asList(written).contains(null)) {
      return;
    }
    List<SegmentTask.Written> all = List.of(written);
    Arrays.fill(written, null);
    Future<?> unused = thread.submit(() -> commit(all));
  }

  private void commit(List<SegmentTask.Written> all) {
    long step = all.get(0).report().step();
    Path staged = CheckpointStore.staged(staging, step);
    String failure =
        all.stream()
            .filter(part -> !part.failure().isEmpty())
            .map(part -> String.format("rank %d: %s", part.report().rank(), part.failure()))
            .findFirst()
            .orElse("");
    try {
      if (failure.isEmpty()) {
        commit.commit(staged, all.stream().map(SegmentTask.Written::report).toList());
      }
    } catch (JobException e) {
      synchronized (this) {
        end = e;
      }
      return;
    } catch (IOException | RuntimeException e) {
      failure = Transport.reason(e);
    }
    if (!failure.isEmpty()) {
      discard(staged);
    }
    ended(step, failure);
  }

  private void discard(Path staged) {
    try {
      store.discard(staged);
    } catch (IOException e) {
      // The next start sweeps it away.
    }
  }

  private synchronized void ended(long step, String failure) {
    inTheMaking = false;
    failures = failure.isEmpty() ? 0 : failures + 1;
    if (failures > config.toleratedFailures()) {
      end =
          new JobException(
              Exit.PREFLIGHT,
              String.format(
                  "Cannot save checkpoints: %d in a row failed, the one of step %d because %s"
                      + " (checkpoint.tolerated-failures says how many may)",
                  failures, step, failure));
    } else if (!failure.isEmpty()) {
      listener.note(
          String.format(
              "Checkpoint of step %d was not saved, training goes on without it (%d of at most %d in"
                  + " a row): %s",
              step, failures, config.toleratedFailures(), failure));
    }
  }

  /**
   * Waits for the commit in the making, if all of its parts are there.
   *
   * @throws JobException if the run has to end
   */
  void finish(int timeoutSeconds) throws InterruptedException {
    thread.shutdown();
    if (!thread.awaitTermination(timeoutSeconds, TimeUnit.SECONDS)) {
      throw new JobException(
          Exit.PREFLIGHT,
          String.format(
              "Cannot commit a checkpoint: its storage has not answered for %d s", timeoutSeconds));
    }
    synchronized (this) {
      if (end != null) {
        throw end;
      }
    }
  }

  @Override
  public void close() {
    thread.shutdownNow();
  }
}
