package sparkvision.train;

import com.typesafe.config.Config;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.util.SerializableConfiguration;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.runtime.AbstractFunction1;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.Part;
import sparkvision.data.Batch;
import sparkvision.data.BatchLoader;
import sparkvision.data.DataException;
import sparkvision.data.SampleOrder;
import sparkvision.data.ShardSet;
import sparkvision.data.TaskBytes;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/**
 * What one rank does in one segment: restore, train and average, write its parts of the checkpoint.
 *
 * <p>It runs as a barrier task; the partition is the rank. Nothing survives it in the executor: the
 * next segment restores from the checkpoint that this one ends with, exactly as a resumed run does.
 * Its result is a packed {@link Report}.
 */
final class SegmentTask extends AbstractFunction1<Iterator<Integer>, Iterator<byte[]>>
    implements Serializable {

  private static final long serialVersionUID = 1;

  /**
   * One segment as every rank sees it. Steps are the optimizer's, each of {@code accumulateSteps}
   * batches.
   *
   * @param firstStep steps that lie behind the checkpoint it starts from
   * @param endStep steps that will lie behind the checkpoint it ends with
   * @param init a safetensors file; none: random weights
   * @param restoreFrom a checkpoint directory; none: initial weights
   * @param staged the temporary directory that becomes the next checkpoint
   */
  record Plan(
      String shards,
      Config model,
      String engine,
      EngineOptions.Precision precision,
      EngineOptions.Memory memory,
      int ranks,
      int batchSize,
      int accumulateSteps,
      long seed,
      TrainConfig.Exchanges exchange,
      int averageEvery,
      OptimizerConfig optimizer,
      LearningRate learningRate,
      Objective objective,
      int repeats,
      TrainConfig.Loader loader,
      int stepsPerEpoch,
      long totalSteps,
      long firstStep,
      long endStep,
      String init,
      String restoreFrom,
      String staged,
      DriverExchange.Address coordinator,
      SerializableConfiguration hadoop)
      implements Serializable {}

  /**
   * What a rank leaves behind.
   *
   * @param parts the files it wrote
   * @param lastExchangeSeconds the averaging that no {@link RoundReport} tells of
   */
  record Report(int rank, String host, List<Part> parts, double lastExchangeSeconds)
      implements Serializable {}

  private final Plan plan;

  SegmentTask(Plan plan) {
    this.plan = plan;
  }

  @Override
  public Iterator<byte[]> apply(Iterator<Integer> partition) {
    int rank = TaskContext.getPartitionId();
    try (Exchange exchange = connect(rank)) {
      try {
        byte[] report = TaskBytes.pack(run(rank, exchange));
        return JavaConverters.asScalaIterator(List.of(report).iterator());
      } catch (Divergence e) {
        exchange.fail(new RankFailure(rank, Exit.DIVERGED, e.getMessage()));
        throw e;
      } catch (DataException | IllegalArgumentException e) {
        exchange.fail(new RankFailure(rank, Exit.DATA, e.getMessage()));
        throw e;
      }
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(
          String.format("Cannot go on with rank %d: %s", rank, e.getMessage()), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(String.format("Rank %d was interrupted", rank), e);
    }
  }

  private Exchange connect(int rank) throws InterruptedException {
    return switch (plan.exchange()) {
      case DRIVER -> DriverExchange.connect(plan.coordinator(), rank);
    };
  }

  private Report run(int rank, Exchange exchange) throws IOException {
    Gpus.claim(TaskContext.get());
    Configuration hadoop = plan.hadoop().value();
    ShardSet shards = ShardSet.open(hadoop, plan.shards());
    Network network = new Network(plan.model(), plan.batchSize(), plan.objective());
    Graph graph = network.training(plan.seed(), rank);
    SampleOrder order =
        new SampleOrder(
            shards.manifest(), plan.seed(), plan.loader().windowBlocks(), plan.repeats());
    BatchLoader.Slice slice =
        new BatchLoader.Slice(
            plan.batchSize(),
            rank,
            plan.ranks(),
            plan.firstStep() * plan.accumulateSteps(),
            plan.endStep() * plan.accumulateSteps(),
            Math.multiplyExact(plan.stepsPerEpoch(), plan.accumulateSteps()));
    EngineOptions options =
        EngineOptions.defaults().withPrecision(plan.precision()).withMemory(plan.memory());
    try (Engine engine = Engines.open(plan.engine(), graph, plan.optimizer(), options);
        BatchLoader loader =
            new BatchLoader(
                shards,
                order,
                plan.objective().transform(network.channels()),
                plan.objective().mixing(),
                plan.seed(),
                slice,
                plan.loader().threads(),
                plan.loader().prefetchBytes())) {
      restore(engine, network, rank, hadoop);
      double lastExchange = train(engine, network, loader, exchange, rank);
      String host = SparkEnv.get().blockManager().blockManagerId().host();
      return new Report(rank, host, write(engine, rank, hadoop), lastExchange);
    }
  }

  private void restore(Engine engine, Network network, int rank, Configuration hadoop)
      throws IOException {
    if (plan.restoreFrom() == null) {
      if (plan.init() != null) {
        new StartingWeights(plan.init(), network, hadoop).load(engine);
      }
      return;
    }
    Path directory = new Path(plan.restoreFrom());
    FileSystem files = directory.getFileSystem(hadoop);
    engine.load(Checkpoint.read(files, new Path(directory, Checkpoint.MODEL)));
    engine.loadOptimizerState(
        Checkpoint.read(files, new Path(directory, Checkpoint.optimizerFile(rank))));
  }

  /** Returns the seconds of the last averaging. */
  private double train(
      Engine engine, Network network, BatchLoader loader, Exchange exchange, int rank) {
    float[] averaged = new float[engine.averagedSize()];
    Stopwatch compute = new Stopwatch();
    Stopwatch wait = new Stopwatch();
    Stopwatch exchanging = new Stopwatch();
    double lossSum = 0;
    long images = 0;
    for (long step = plan.firstStep(); step < plan.endStep(); step++) {
      double learningRate = plan.learningRate().at(step, plan.totalSteps(), plan.stepsPerEpoch());
      for (int micro = 0; micro < plan.accumulateSteps(); micro++) {
        wait.start();
        Batch batch = loader.next();
        wait.stop();

        compute.start();
        double loss = engine.forwardBackward(network.inputs(batch)).get("loss").floats()[0];
        if (!Double.isFinite(loss)) {
          throw new Divergence(
              String.format(
                  "Training diverged: the loss is %s at step %d on rank %d with learning rate %s,"
                      + " samples %s",
                  loss, step, rank, learningRate, batch.ids()));
        }
        if (plan.accumulateSteps() > 1) {
          engine.accumulate();
        }
        compute.stop();
        lossSum += loss * batch.ids().size();
        images += batch.ids().size();
      }
      compute.start();
      engine.update(learningRate);
      compute.stop();

      long behind = step + 1;
      if (behind % plan.averageEvery() == 0 || behind == plan.endStep()) {
        RoundReport report =
            new RoundReport(
                rank,
                behind,
                images,
                lossSum,
                learningRate,
                compute.reset(),
                wait.reset(),
                exchanging.reset());
        exchanging.start();
        engine.readAveraged(averaged);
        requireFinite(averaged, behind, rank, learningRate);
        exchange.average(averaged, report);
        engine.writeAveraged(averaged);
        exchanging.stop();
        lossSum = 0;
        images = 0;
      }
    }
    return exchanging.reset();
  }

  /** The last update before an averaging has no loss after it that would tell. */
  private static void requireFinite(float[] weights, long step, int rank, double learningRate) {
    for (float weight : weights) {
      if (!Float.isFinite(weight)) {
        throw new Divergence(
            String.format(
                "Training diverged: a weight is %s after step %d on rank %d with learning rate %s",
                weight, step, rank, learningRate));
      }
    }
  }

  /** Every rank writes its optimizer state; all hold the same model, rank 0 writes it. */
  private List<Part> write(Engine engine, int rank, Configuration hadoop) throws IOException {
    Path staged = new Path(plan.staged());
    FileSystem files = staged.getFileSystem(hadoop);
    List<Part> parts = new ArrayList<>();
    if (rank == 0) {
      parts.add(part(files, staged, Checkpoint.MODEL, engine.state()));
    }
    parts.add(part(files, staged, Checkpoint.optimizerFile(rank), engine.optimizerState()));
    return parts;
  }

  private static Part part(
      FileSystem files, Path staged, String name, Map<String, HostTensor> tensors)
      throws IOException {
    return Part.write(files, staged, name, out -> Safetensors.write(out, tensors, Map.of()));
  }

  /** A loss that is not finite. */
  private static final class Divergence extends RuntimeException {
    private static final long serialVersionUID = 1;

    Divergence(String message) {
      super(message);
    }
  }

  private static final class Stopwatch {
    private long started;
    private long total;

    void start() {
      started = System.nanoTime();
    }

    void stop() {
      total += System.nanoTime() - started;
    }

    /** Seconds so far; starts again at zero. */
    double reset() {
      double seconds = total / 1e9;
      total = 0;
      return seconds;
    }
  }
}
