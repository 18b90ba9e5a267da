package sparkvision.train;

import com.typesafe.config.Config;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.SerializableConfiguration;
import sparkvision.JobException;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.data.DataException;
import sparkvision.data.Sample;
import sparkvision.data.ShardSet;
import sparkvision.data.TaskBytes;
import sparkvision.weights.Safetensors;

/**
 * Runs a network over a shard set, distributed over executors: each takes a share of the blocks,
 * and the metrics of the shares are merged.
 */
public final class Evaluator {

  /**
   * What to evaluate.
   *
   * @param weights a safetensors file with exactly the network's parameters and statistics
   * @param averagedRanks 0: these weights themselves; else the moving average of the checkpoint of
   *     so many ranks that they belong to
   * @param classes of the shards; a model that does not say its number of classes has these
   * @param batchSize inputs of one forward pass, where the objective leaves it open
   * @param objective that the network was trained for
   */
  public record Task(
      String shards,
      String weights,
      int averagedRanks,
      Config model,
      int classes,
      String engine,
      int batchSize,
      Objective objective)
      implements Serializable {

    public Task {
      TrainConfig.checkEngine(engine);
      model = Network.withClasses(model, classes);
    }

    /** Trainable numbers of the network. */
    public long parameters() {
      return network().parameters();
    }

    private Network network() {
      return new Network(model, objective.evaluationBatch(batchSize), objective);
    }
  }

  private Evaluator() {}

  /**
   * The scores over all blocks, computed by at most {@code tasks} tasks.
   *
   * @throws DataException if a shard or the weights are not what they should be
   * @throws JobException if the checkpoint has no moving average
   */
  public static Scores run(JavaSparkContext spark, Task task, int tasks) throws IOException {
    SerializableConfiguration hadoop = new SerializableConfiguration(spark.hadoopConfiguration());
    int blocks = ShardSet.open(spark.hadoopConfiguration(), task.shards()).blocks();
    List<Integer> numbers = IntStream.range(0, blocks).boxed().toList();
    Broadcast<byte[]> average =
        task.averagedRanks() == 0 ? null : spark.broadcast(average(task, hadoop.value()));
    FlatMapFunction<Iterator<Integer>, byte[]> evaluate =
        share -> List.of(TaskBytes.pack(evaluate(task, share, average, hadoop.value()))).iterator();
    try {
      return spark
          .parallelize(numbers, Math.min(blocks, tasks))
          .mapPartitions(evaluate)
          .collect()
          .stream()
          .map(bytes -> TaskBytes.unpack(bytes, Scores.class))
          .reduce(Scores::merge)
          .orElseThrow();
    } catch (Exception e) {
      // An executor's complaint about the data comes wrapped in Spark's; what is Spark's own goes
      // on.
      for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
        if (cause instanceof DataException || cause instanceof IllegalArgumentException) {
          throw new DataException(cause.getMessage(), e);
        }
      }
      throw e;
    } finally {
      if (average != null) {
        average.destroy();
      }
    }
  }

  /** Made once for all tasks: every rank's optimizer state has to be read for it. */
  private static byte[] average(Task task, Configuration hadoop) throws IOException {
    Path directory = new Path(task.weights()).getParent();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    Safetensors.write(
        bytes,
        MovingAverage.read(directory.getFileSystem(hadoop), directory, task.averagedRanks()),
        Map.of());
    return bytes.toByteArray();
  }

  private static Scores evaluate(
      Task task, Iterator<Integer> blocks, Broadcast<byte[]> average, Configuration hadoop) {
    Gpus.claim(TaskContext.get());
    ShardSet shards = ShardSet.open(hadoop, task.shards());
    Network network = task.network();
    Path weights = new Path(task.weights());
    try (Inference inference =
        new Inference(
            task.engine(),
            network,
            average == null
                ? Checkpoint.read(weights.getFileSystem(hadoop), weights)
                : Safetensors.read(new ByteArrayInputStream(average.value())).tensors())) {
      Measurement measurement =
          task.objective().measure(inference, shards.manifest().classes().size());
      FaultPoint.pass("task " + TaskContext.getPartitionId() + " evaluating");
      while (blocks.hasNext()) {
        for (Sample sample : shards.read(blocks.next())) {
          measurement.add(sample);
        }
      }
      return measurement.scores();
    } catch (IOException e) {
      throw new UncheckedIOException(
          String.format("Cannot evaluate %s: %s", weights, e.getMessage()), e);
    }
  }
}
