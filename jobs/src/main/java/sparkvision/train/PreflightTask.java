package sparkvision.train;

import com.typesafe.config.Config;
import java.io.IOException;
import java.io.Serializable;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.util.SerializableConfiguration;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.runtime.AbstractFunction1;
import sparkvision.data.Batch;
import sparkvision.data.BatchLoader;
import sparkvision.data.SampleOrder;
import sparkvision.data.ShardSet;
import sparkvision.data.TaskBytes;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;

/**
 * What one executor slot tries before training, as a barrier task: all slots at once, as ranks will
 * run. It reports failures and never throws, so that one bad executor hides no other. Its result is
 * a packed {@link ExecutorProbe}.
 */
final class PreflightTask extends AbstractFunction1<Iterator<Integer>, Iterator<byte[]>>
    implements Serializable {

  private static final long serialVersionUID = 1;

  private static final List<String> FEATURES =
      List.of("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16");

  /**
   * What to try.
   *
   * @param staged a directory below the output, to write into
   * @param trial whether to make a step and to measure the network
   */
  record Plan(
      List<String> shards,
      String staged,
      boolean trial,
      Config model,
      String engine,
      EngineOptions.Precision precision,
      EngineOptions.Memory memory,
      int slots,
      int batchSize,
      long seed,
      OptimizerConfig optimizer,
      Objective objective,
      int repeats,
      TrainConfig.Loader loader,
      SerializableConfiguration hadoop)
      implements Serializable {}

  private final Plan plan;

  PreflightTask(Plan plan) {
    this.plan = plan;
  }

  @Override
  public Iterator<byte[]> apply(Iterator<Integer> partition) {
    ExecutorProbe probe = probe(BarrierTaskContext.get());
    return JavaConverters.asScalaIterator(List.of(TaskBytes.pack(probe)).iterator());
  }

  private ExecutorProbe probe(BarrierTaskContext task) {
    int slot = task.partitionId();
    String host = SparkEnv.get().blockManager().blockManagerId().host();
    Map<Integer, String> unreachable = Map.of();
    double bytesPerSecond = 0;
    double roundTrip = 0;
    try (Peers peers = new Peers(host)) {
      String[] addresses = task.allGather(host + ":" + peers.port());
      unreachable = Peers.unreachable(addresses);
      task.barrier();
      String next = addresses[(slot + 1) % addresses.length];
      if (plan.trial() && unreachable.isEmpty()) {
        roundTrip = Peers.roundTripSeconds(next);
        bytesPerSecond = Peers.bytesPerSecond(next);
      }
      task.barrier();
    } catch (IOException e) {
      unreachable = Map.of(slot, String.format("no sockets on %s (%s)", host, e.getMessage()));
    }
    Optional<String> gpus = failure(() -> Gpus.claim(task));
    Optional<String> natives = failure(this::loadNatives);
    return new ExecutorProbe(
        slot,
        SparkEnv.get().executorId(),
        host,
        System.getProperty("java.version"),
        ManagementFactory.getRuntimeMXBean().getInputArguments(),
        ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent(),
        processorFeatures(),
        Runtime.getRuntime().maxMemory(),
        natives.isEmpty() ? Pointer.maxBytes() : 0,
        natives.isEmpty() ? Pointer.maxPhysicalBytes() : 0,
        machineMemory(),
        EngineOptions.defaults().threads(),
        Gpus.addresses(task),
        gpus.orElse(""),
        Gpus.cudaVisibleDevices(),
        Gpus.visible(),
        natives.orElse(""),
        unreachable,
        bytesPerSecond,
        roundTrip,
        failure(() -> write(slot)).orElse(""),
        failure(() -> read(slot)).orElse(""),
        plan.trial() && natives.isEmpty() ? step(slot) : null);
  }

  private interface Trial {
    void run() throws Exception;
  }

  /** Why it failed; native libraries fail with errors rather than exceptions. */
  private static Optional<String> failure(Trial trial) {
    try {
      trial.run();
      return Optional.empty();
    } catch (Exception | LinkageError | OutOfMemoryError e) {
      return Optional.of(sentence(e));
    }
  }

  private static String sentence(Throwable failure) {
    Throwable cause = failure;
    while (cause.getMessage() == null && cause.getCause() != null) {
      cause = cause.getCause();
    }
    String message = String.valueOf(cause.getMessage()).lines().findFirst().orElse("");
    return message.startsWith("Cannot ") || message.startsWith("Invalid ")
        ? message
        : cause.getClass().getSimpleName() + ": " + message;
  }

  private void loadNatives() {
    Loader.load(org.bytedeco.dnnl.global.dnnl.class);
    Loader.load(org.bytedeco.opencv.global.opencv_imgcodecs.class);
    if (plan.engine().equals("nd4j")) {
      org.nd4j.linalg.factory.Nd4j.scalar(0f).close();
    }
  }

  private void write(int slot) throws IOException {
    Path file = new Path(plan.staged(), "slot-" + slot);
    try (FSDataOutputStream out = file.getFileSystem(plan.hadoop().value()).create(file, false)) {
      out.writeInt(slot);
    }
  }

  private void read(int slot) {
    for (String place : plan.shards()) {
      ShardSet shards = ShardSet.open(plan.hadoop().value(), place);
      if (plan.trial()) {
        shards.read(slot % shards.blocks());
      }
    }
  }

  private ExecutorProbe.Step step(int slot) {
    ExecutorProbe.Step[] made = new ExecutorProbe.Step[1];
    String failure = failure(() -> made[0] = train(slot)).orElse("");
    return made[0] == null ? new ExecutorProbe.Step(failure, 0, 0, 0, 0) : made[0];
  }

  private ExecutorProbe.Step train(int slot) {
    Configuration hadoop = plan.hadoop().value();
    ShardSet shards = ShardSet.open(hadoop, plan.shards().get(0));
    Network network = new Network(plan.model(), plan.batchSize(), plan.objective());
    long steps = shards.manifest().samples() / plan.slots() / plan.batchSize();
    if (steps == 0) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid batch-size: %d (must be at most %d for %d samples on %d ranks)",
              plan.batchSize(),
              shards.manifest().samples() / plan.slots(),
              shards.manifest().samples(),
              plan.slots()));
    }
    BatchLoader.Slice slice =
        new BatchLoader.Slice(
            plan.batchSize(), slot, plan.slots(), 0, 1, Math.toIntExact(Math.min(steps, 1 << 30)));
    EngineOptions options =
        EngineOptions.defaults().withPrecision(plan.precision()).withMemory(plan.memory());
    SampleOrder order =
        new SampleOrder(
            shards.manifest(), plan.seed(), plan.loader().windowBlocks(), plan.repeats());
    try (Engine engine =
            Engines.open(
                plan.engine(), network.training(plan.seed(), slot), plan.optimizer(), options);
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
      Batch batch = loader.next();
      long started = 0;
      double loss = 0;
      for (int i = 0; i < 2; i++) {
        started = System.nanoTime();
        loss = engine.forwardBackward(network.inputs(batch)).get("loss").floats()[0];
        engine.update(0);
      }
      double seconds = (System.nanoTime() - started) / 1e9;
      return new ExecutorProbe.Step(
          "", seconds, loss, engine.plannedBytes(), engine.averagedSize());
    }
  }

  private static List<String> processorFeatures() {
    try (Stream<String> lines = Files.lines(java.nio.file.Path.of("/proc/cpuinfo"))) {
      List<String> flags =
          lines
              .filter(line -> line.startsWith("flags") || line.startsWith("Features"))
              .findFirst()
              .map(line -> List.of(line.split("\\s+")))
              .orElse(List.of());
      return FEATURES.stream().filter(flags::contains).toList();
    } catch (IOException e) {
      return List.of(); // no Linux
    }
  }

  /** Physical memory as the JVM sees it, which heeds the container's control group. */
  private static long machineMemory() {
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getTotalMemorySize()
        : 0;
  }
}
