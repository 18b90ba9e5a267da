package sparkvision.data;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkException;
import org.apache.spark.api.java.JavaFutureAction;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.LongAccumulator;
import org.apache.spark.util.SerializableConfiguration;

/** Runs one pass over the samples on the executors, a task for each part of them. */
final class SparkPass implements AutoCloseable {

  private static final long POLL_MILLIS = 200;

  private final JavaSparkContext context;
  private final Broadcast<SerializableConfiguration> hadoop;
  private final Sharding.Listener listener;

  SparkPass(JavaSparkContext context, Sharding.Listener listener) {
    this.context = context;
    this.listener = listener;
    this.hadoop = context.broadcast(new SerializableConfiguration(context.hadoopConfiguration()));
  }

  /** What a task does with its part; adds the samples that are through with to {@code done}. */
  @FunctionalInterface
  interface Work<P, R extends Serializable> extends Serializable {
    R run(Configuration hadoop, P part, LongAccumulator done) throws IOException;
  }

  /** Tasks that run at a time: the cores of the executors, or {@code spark.default.parallelism}. */
  int slots() {
    return context.defaultParallelism();
  }

  /**
   * Runs a task for each part and returns the results in the parts' order.
   *
   * @param phase named in progress and errors
   * @param total samples
   * @throws DataException if a task says that the data are to blame
   * @throws UncheckedIOException if a task says that storage is to blame
   * @throws IllegalStateException for everything else, see {@link Sharding#run}
   */
  <P extends Serializable, R extends Serializable> List<R> run(
      String phase, long total, List<P> parts, Class<P> type, Class<R> result, Work<P, R> work) {
    LongAccumulator done = context.sc().longAccumulator("samples: " + phase);
    Broadcast<SerializableConfiguration> conf = hadoop;
    JavaRDD<byte[]> results =
        context
            .parallelize(parts.stream().map(TaskBytes::pack).toList(), parts.size())
            .map(
                part ->
                    TaskBytes.pack(
                        work.run(conf.value().value(), TaskBytes.unpack(part, type), done)));
    context.setJobDescription("shard: " + phase + " " + total + " samples");
    JavaFutureAction<List<byte[]>> job = results.collectAsync();
    context.setJobDescription(null);
    try {
      while (true) {
        listener.progress(phase, Math.min(done.value(), total), total);
        try {
          List<R> unpacked = new ArrayList<>(parts.size());
          for (byte[] bytes : job.get(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
            unpacked.add(TaskBytes.unpack(bytes, result));
          }
          listener.progress(phase, total, total);
          return unpacked;
        } catch (TimeoutException e) {
          // still running
        }
      }
    } catch (InterruptedException e) {
      job.cancel(true);
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Cannot finish " + phase + ": interrupted", e);
    } catch (ExecutionException e) {
      throw failure(phase, e.getCause());
    }
  }

  @Override
  public void close() {
    hadoop.destroy();
  }

  /**
   * What broke a job: our own sentence if a task left one, else its exception, else the cluster.
   */
  private static RuntimeException failure(String phase, Throwable failed) {
    Throwable last = failed;
    Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    for (Throwable cause = failed; cause != null && seen.add(cause); cause = cause.getCause()) {
      if (cause instanceof DataException data) {
        return new DataException(data.getMessage(), failed);
      }
      if (cause instanceof IOException io) {
        return new UncheckedIOException(io.getMessage(), io);
      }
      last = cause;
    }
    if (last instanceof SparkException) {
      return new IllegalStateException(
          "Cannot finish " + phase + ": the cluster failed: " + firstLine(last), failed);
    }
    return new IllegalStateException("Cannot finish " + phase + ": a task failed: " + last, last);
  }

  /** Spark puts the reason of the last attempt behind the stage's, and traces on further lines. */
  private static String firstLine(Throwable exception) {
    String line = String.valueOf(exception.getMessage()).lines().findFirst().orElse("");
    return line.substring(Math.max(0, line.indexOf("Lost task")));
  }
}
