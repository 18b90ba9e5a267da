package sparkvision.train;

import com.typesafe.config.Config;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.SerializableConfiguration;
import sparkvision.JobException;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.data.DataException;
import sparkvision.data.ImageTransform;
import sparkvision.data.Sample;
import sparkvision.data.ShardSet;
import sparkvision.data.TaskBytes;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.Resize;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.metrics.ClassificationMetrics;
import sparkvision.weights.Safetensors;

/**
 * Runs a network over a shard set, distributed over executors: each takes a share of the blocks,
 * and the metrics of the shares are merged.
 */
public final class Evaluator {

  /** Mistakes that are kept, pictures included. */
  private static final int WORST = 24;

  /**
   * What to evaluate.
   *
   * @param weights a safetensors file with exactly the network's parameters and statistics
   * @param averagedRanks 0: these weights themselves; else the moving average of the checkpoint of
   *     so many ranks that they belong to
   * @param classes of the shards; a model that does not say its number of classes has these
   * @param imageSize height and width of the network's input
   * @param resize shorter side before the centre crop; 0 leaves images as they are
   * @param interpolation of resizing
   * @param mean per channel, of the training set, in units of 0..1
   * @param std per channel, likewise
   */
  public record Task(
      String shards,
      String weights,
      int averagedRanks,
      Config model,
      int classes,
      String engine,
      int batchSize,
      int imageSize,
      int resize,
      Resize.Filter interpolation,
      List<Double> mean,
      List<Double> std)
      implements Serializable {

    public Task {
      TrainConfig.checkEngine(engine);
      model = Network.withClasses(model, classes);
    }

    /** Trainable numbers of the network. */
    public long parameters() {
      return new Network(model, batchSize, imageSize).parameters();
    }
  }

  private Evaluator() {}

  /**
   * The metrics over all blocks, computed by at most {@code tasks} tasks.
   *
   * @throws DataException if a shard or the weights are not what they should be
   * @throws JobException if the checkpoint has no moving average
   */
  public static ClassificationMetrics run(JavaSparkContext spark, Task task, int tasks)
      throws IOException {
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
          .map(bytes -> TaskBytes.unpack(bytes, ClassificationMetrics.class))
          .reduce(ClassificationMetrics::merge)
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

  private static ClassificationMetrics evaluate(
      Task task, Iterator<Integer> blocks, Broadcast<byte[]> average, Configuration hadoop) {
    ShardSet shards = ShardSet.open(hadoop, task.shards());
    Network network = new Network(task.model(), task.batchSize(), task.imageSize());
    ImageTransform transform =
        new TrainConfig.Images(task.imageSize(), task.resize(), task.interpolation(), 0, 0)
            .transform(network.channels(), task.mean(), task.std(), Augment.NONE);
    ClassificationMetrics metrics =
        new ClassificationMetrics(shards.manifest().classes().size(), WORST);
    Path weights = new Path(task.weights());
    try (Engine engine = Engines.open(task.engine(), network.inference(), null)) {
      engine.load(
          average == null
              ? Checkpoint.read(weights.getFileSystem(hadoop), weights)
              : Safetensors.read(new ByteArrayInputStream(average.value())).tensors());
      List<Sample> batch = new ArrayList<>();
      while (blocks.hasNext()) {
        for (Sample sample : shards.read(blocks.next())) {
          batch.add(sample);
          if (batch.size() == task.batchSize()) {
            add(metrics, engine, network, transform, batch);
            batch.clear();
          }
        }
      }
      if (!batch.isEmpty()) {
        add(metrics, engine, network, transform, batch);
      }
      return metrics;
    } catch (IOException e) {
      throw new UncheckedIOException(
          String.format("Cannot evaluate %s: %s", weights, e.getMessage()), e);
    }
  }

  /** A last, smaller batch is filled up with zeros whose logits nobody reads. */
  private static void add(
      ClassificationMetrics metrics,
      Engine engine,
      Network network,
      ImageTransform transform,
      List<Sample> samples) {
    int length = network.imageLength();
    float[] images = new float[network.batchSize() * length];
    for (int i = 0; i < samples.size(); i++) {
      transform.evaluate(samples.get(i), images, i * length);
    }
    float[] logits = engine.forward(network.inputs(images)).get(Network.LOGITS).floats();
    int classes = logits.length / network.batchSize();
    for (int i = 0; i < samples.size(); i++) {
      Sample sample = samples.get(i);
      metrics.add(sample.id(), logits, i * classes, sample.label(), sample.image());
    }
  }
}
