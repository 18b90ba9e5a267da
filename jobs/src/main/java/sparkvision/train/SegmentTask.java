package sparkvision.train;

import com.typesafe.config.Config;
import java.io.IOException;
import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.util.SerializableConfiguration;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.runtime.AbstractFunction1;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.checkpoint.Part;
import sparkvision.data.Batch;
import sparkvision.data.BatchLoader;
import sparkvision.data.Course;
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

/**
 * What one rank does in one segment: restore, train and average, write its parts of the checkpoint.
 *
 * <p>It runs as a barrier task; the partition is the rank. Nothing survives it in the executor: the
 * next segment restores from the checkpoint that this one ends with, exactly as a resumed run does.
 * Checkpoints in between are written in the background ({@link PartWriter}), where the driver wants
 * one; they stand behind an averaging and change no number. Its result is a packed {@link Report}.
 */
final class SegmentTask extends AbstractFunction1<Iterator<Integer>, Iterator<byte[]>>
    implements Serializable {

  private static final long serialVersionUID = 1;

  private static final String RESIDUAL = "residual";

  /**
   * One segment as every rank sees it. Steps are the optimizer's, each of {@code accumulateSteps}
   * batches.
   *
   * @param firstStep steps that lie behind the checkpoint it starts from
   * @param endStep steps that will lie behind the checkpoint it ends with, unless it is stopped
   * @param course where each step's samples stand
   * @param scheduleSteps of the learning rate's schedule
   * @param byEpochs whether that schedule goes by epochs, and not by steps
   * @param sharing none where ranks only average
   * @param init a safetensors file; none: random weights
   * @param restoreFrom a checkpoint directory; none: initial weights
   * @param restoreRanks how many ranks wrote it
   * @param staging what the names of temporary checkpoint directories begin with
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
      GradientSharing.Plan sharing,
      TrainConfig.Exchanges exchange,
      Sync.Rule sync,
      OptimizerConfig optimizer,
      LearningRate learningRate,
      Objective objective,
      int repeats,
      TrainConfig.Loader loader,
      Course course,
      long totalSteps,
      long scheduleSteps,
      boolean byEpochs,
      long firstStep,
      long endStep,
      String init,
      String restoreFrom,
      int restoreRanks,
      String staging,
      DriverLink.Address coordinator,
      SerializableConfiguration hadoop)
      implements Serializable {}

  /**
   * What a rank leaves behind in a checkpoint.
   *
   * @param step steps that lie behind it
   * @param parts the files it wrote
   * @param lastExchangeSeconds the averaging that no {@link RoundReport} tells of
   * @param traffic of {@link GradientSharing} in the segment; none without
   */
  record Report(
      int rank,
      String host,
      long step,
      List<Part> parts,
      double lastExchangeSeconds,
      GradientSharing.Traffic traffic)
      implements Serializable {

    Report with(List<Part> written) {
      return new Report(rank, host, step, written, lastExchangeSeconds, traffic);
    }
  }

  /**
   * A rank's word on a checkpoint that it wrote in the background.
   *
   * @param failure why there are no parts; empty if there are
   */
  record Written(Report report, String failure) implements Serializable {}

  private final Plan plan;

  SegmentTask(Plan plan) {
    this.plan = plan;
  }

  @Override
  public Iterator<byte[]> apply(Iterator<Integer> partition) {
    TerminalSignals.leaveToDriver();
    int rank = TaskContext.getPartitionId();
    Transport transport = Transport.ofThisProcess(plan.coordinator().timeoutSeconds());
    try (DriverLink driver = DriverLink.connect(transport, plan.coordinator(), rank)) {
      try {
        byte[] report = TaskBytes.pack(run(rank, transport, driver));
        return JavaConverters.asScalaIterator(List.of(report).iterator());
      } catch (Exception | OutOfMemoryError e) {
        tell(driver, rank, e);
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

  /** Tells the driver why this rank gives up. */
  private static void tell(DriverLink driver, int rank, Throwable failure) {
    Exit exit = Exit.CLUSTER;
    String sentence = Transport.reason(failure);
    if (failure instanceof Divergence) {
      exit = Exit.DIVERGED;
    } else if (failure instanceof DataException || failure instanceof IllegalArgumentException) {
      exit = Exit.DATA;
    } else {
      String memory =
          failure instanceof OutOfMemoryError ? " (" + LostExecutors.OUT_OF_MEMORY + ")" : "";
      sentence =
          sentence.startsWith("Cannot go on with rank")
              ? sentence
              : String.format("Cannot go on with rank %d: %s%s", rank, sentence, memory);
    }
    try {
      driver.fail(new RankFailure(rank, exit, sentence));
    } catch (RuntimeException e) {
      failure.addSuppressed(e);
    }
  }

  private Exchange open(Transport transport, DriverLink driver, Engine engine)
      throws InterruptedException {
    return switch (plan.exchange()) {
      case DIRECT ->
          DirectExchange.open(
              transport, driver, plan.ranks(), engine.averagedSize(), plan.sync().wire());
      case DRIVER -> DriverExchange.open(driver);
    };
  }

  private Report run(int rank, Transport transport, DriverLink driver)
      throws IOException, InterruptedException {
    Gpus.claim(TaskContext.get());
    Configuration hadoop = plan.hadoop().value();
    ShardSet shards = ShardSet.open(hadoop, plan.shards());
    driver.phase("opening its engine");
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
            plan.accumulateSteps(),
            plan.course());
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
      driver.phase("restoring step " + plan.firstStep());
      restore(engine, network, rank, hadoop);
      // All ranks have joined when the exchange has introduced them to each other.
      try (GradientSharing sharing =
              plan.sharing() == null
                  ? null
                  : GradientSharing.rank(plan.sharing(), rank, engine.parameterCount());
          Exchange exchange = open(transport, driver, engine);
          PartWriter writer = new PartWriter(hadoop, plan.coordinator().timeoutSeconds())) {
        Training training = new Training(rank, engine, network, loader, sharing, exchange, writer);
        training.restore(hadoop);
        return training.run();
      }
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
    engine.load(read(hadoop, Checkpoint.MODEL));
    engine.loadOptimizerState(read(hadoop, Checkpoint.optimizerFile(rank % plan.restoreRanks())));
  }

  private Map<String, HostTensor> read(Configuration hadoop, String file) throws IOException {
    Path directory = new Path(plan.restoreFrom());
    return Checkpoint.read(directory.getFileSystem(hadoop), new Path(directory, file));
  }

  /** The steps and rounds of one rank. */
  private final class Training {
    private final int rank;
    private final Engine engine;
    private final Network network;
    private final BatchLoader loader;
    private final GradientSharing sharing; // null where ranks only average
    private final Exchange exchange;
    private final PartWriter writer;
    private final OuterStep outer;
    private final float[] exchanged;
    private final float[] weights; // parameters before the step; empty where ranks only average
    private final float[] update;
    private final Stopwatch compute = new Stopwatch();
    private final Stopwatch wait = new Stopwatch();
    private final Stopwatch exchanging = new Stopwatch();
    private double lossSum;
    private long images;

    Training(
        int rank,
        Engine engine,
        Network network,
        BatchLoader loader,
        GradientSharing sharing,
        Exchange exchange,
        PartWriter writer) {
      this.rank = rank;
      this.engine = engine;
      this.network = network;
      this.loader = loader;
      this.sharing = sharing;
      this.exchange = exchange;
      this.writer = writer;
      this.exchanged = new float[engine.averagedSize()];
      float[] theta = new float[plan.sync().gradients() ? 0 : exchanged.length];
      if (!plan.sync().gradients()) {
        engine.readAveraged(theta);
      }
      this.outer = new OuterStep(plan.sync(), theta, engine.parameterCount());
      this.weights = sharing == null ? new float[0] : Arrays.copyOf(theta, engine.parameterCount());
      this.update = new float[weights.length];
    }

    /** What belongs to the exchange, from the checkpoint. */
    void restore(Configuration hadoop) throws IOException {
      if (plan.restoreFrom() == null) {
        return;
      }
      if (!outer.state().isEmpty()) {
        outer.load(read(hadoop, Checkpoint.OUTER));
      }
      // A rank more than there were owes nothing yet.
      float[] residual = exchange.residual();
      if (residual.length > 0 && rank < plan.restoreRanks()) {
        float[] values = read(hadoop, Checkpoint.residualFile(rank)).get(RESIDUAL).floats();
        System.arraycopy(values, 0, residual, 0, values.length);
      }
    }

    Report run() throws IOException {
      long behind = plan.firstStep();
      long roundEnd = behind;
      Exchange.Decision decision = Exchange.Decision.GO_ON;
      while (behind < plan.endStep() && decision != Exchange.Decision.STOP) {
        double learningRate = learningRate(behind);
        if (behind == roundEnd) {
          roundEnd =
              Math.min(
                  plan.endStep(), plan.sync().roundEnd(behind, learningRate, plan.totalSteps()));
        }
        exchange.driver().phase("computing step " + (behind + 1));
        requireWanted();
        gradients(behind, learningRate);
        behind++;
        if (plan.sync().gradients()) {
          decision = averageGradients(behind, learningRate);
        }
        compute.start();
        engine.update(learningRate);
        compute.stop();
        if (sharing != null) {
          share(behind == plan.endStep());
        }
        if (!plan.sync().gradients() && behind == roundEnd) {
          decision = averageParameters(behind, learningRate);
        }
        if (decision == Exchange.Decision.CHECKPOINT) {
          writeInBackground(behind);
          decision = Exchange.Decision.GO_ON;
        }
      }
      writer.finish();
      exchange.driver().phase("writing the checkpoint of step " + behind);
      return report(behind, writer.write(parts(), staged(behind)));
    }

    /** A cancelled segment is not computed to its end. */
    private void requireWanted() {
      if (TaskContext.get().isInterrupted()) {
        throw new IllegalStateException(
            String.format("Cannot go on with rank %d: its segment was cancelled", rank));
      }
    }

    private void writeInBackground(long behind) {
      compute.start();
      PartWriter.Parts parts = parts();
      compute.stop();
      Report report = report(behind, List.of());
      writer.start(
          parts,
          staged(behind),
          written -> exchange.driver().written(new Written(report.with(written), "")),
          failure -> exchange.driver().written(new Written(report, failure)));
    }

    private Report report(long behind, List<Part> written) {
      String host = SparkEnv.get().blockManager().blockManagerId().host();
      return new Report(
          rank,
          host,
          behind,
          written,
          exchanging.seconds(),
          sharing == null ? null : sharing.traffic());
    }

    private Path staged(long behind) {
      return CheckpointStore.staged(plan.staging(), behind);
    }

    private double learningRate(long step) {
      long scheduled = plan.byEpochs() ? plan.course().equivalentStep(step) : step;
      return plan.learningRate().at(scheduled, plan.scheduleSteps(), plan.course().stepsPerEpoch());
    }

    private void gradients(long step, double learningRate) {
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
    }

    private Exchange.Decision averageGradients(long behind, double learningRate) {
      RoundReport report = report(behind, learningRate, 0);
      exchanging.start();
      engine.readGradients(exchanged);
      requireFinite("gradient", exchanged, behind, rank, learningRate);
      Exchange.Decision decision = exchange.average(exchanged, report);
      requireFinite("mean gradient", exchanged, behind, rank, learningRate);
      engine.writeGradients(exchanged);
      exchanging.stop();
      return decision;
    }

    private Exchange.Decision averageParameters(long behind, double learningRate) {
      engine.readAveraged(exchanged);
      RoundReport report = report(behind, learningRate, outer.drift(exchanged));
      exchanging.start();
      requireFinite("weight", exchanged, behind, rank, learningRate);
      outer.prepare(exchanged);
      Exchange.Decision decision = exchange.average(exchanged, report);
      outer.apply(exchanged);
      requireFinite("mean weight", exchanged, behind, rank, learningRate);
      engine.writeAveraged(exchanged);
      System.arraycopy(exchanged, 0, weights, 0, weights.length);
      if (sharing != null) {
        sharing.averaged();
      }
      exchanging.stop();
      return decision;
    }

    /**
     * Sends what passes the threshold of the optimizer's step, and takes what others have sent.
     * What waits is in this rank's own weights already, and becomes the others' by averaging.
     */
    private void share(boolean last) {
      exchanging.start();
      engine.readAveraged(exchanged);
      for (int i = 0; i < weights.length; i++) {
        update[i] = exchanged[i] - weights[i];
      }
      sharing.share(update);
      System.arraycopy(exchanged, 0, weights, 0, weights.length);
      if (last) {
        sharing.settle();
      }
      sharing.receive(weights);
      System.arraycopy(weights, 0, exchanged, 0, weights.length);
      engine.writeAveraged(exchanged);
      exchanging.stop();
    }

    private RoundReport report(long behind, double learningRate, double drift) {
      RoundReport report =
          new RoundReport(
              rank,
              behind,
              images,
              lossSum,
              learningRate,
              compute.reset(),
              wait.reset(),
              exchanging.reset(),
              drift);
      lossSum = 0;
      images = 0;
      return report;
    }

    /** Every rank writes what is its own; all hold the same model, rank 0 writes it. */
    private PartWriter.Parts parts() {
      PartWriter.Parts parts = new PartWriter.Parts();
      if (rank == 0) {
        parts.add(Checkpoint.MODEL, engine.state());
        if (!outer.state().isEmpty()) {
          parts.add(Checkpoint.OUTER, outer.state());
        }
      }
      parts.add(Checkpoint.optimizerFile(rank), engine.optimizerState());
      float[] residual = exchange.residual();
      if (residual.length > 0) {
        parts.add(
            Checkpoint.residualFile(rank),
            Map.of(RESIDUAL, HostTensor.of(residual.clone(), residual.length)));
      }
      return parts;
    }
  }

  /** The last update before an averaging has no loss after it that would tell. */
  private static void requireFinite(
      String what, float[] values, long step, int rank, double learningRate) {
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new Divergence(
            String.format(
                "Training diverged: a %s is %s after step %d on rank %d with learning rate %s",
                what, value, step, rank, learningRate));
      }
    }
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

    double seconds() {
      return total / 1e9;
    }

    /** Seconds so far; starts again at zero. */
    double reset() {
      double seconds = seconds();
      total = 0;
      return seconds;
    }
  }
}
