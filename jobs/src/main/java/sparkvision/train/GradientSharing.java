package sparkvision.train;

import java.io.Serializable;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.SparkEnv;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.parameterserver.distributed.conf.VoidConfiguration;
import org.nd4j.parameterserver.distributed.v2.ModelParameterServer;
import org.nd4j.parameterserver.distributed.v2.enums.MeshBuildMode;
import org.nd4j.parameterserver.distributed.v2.transport.impl.StaticPortSupplier;
import org.nd4j.parameterserver.distributed.v2.util.AbstractUpdatesHandler;
import sparkvision.JobException;
import sparkvision.JobException.Exit;

/**
 * Asynchronous gradient sharing over DL4J's parameter server: a tree of Aeron's UDP connections
 * with the driver as its root, which passes every rank's encoded updates on to all others.
 */
final class GradientSharing implements AutoCloseable {

  /** Spark setting: the driver's UDP port; rank r takes the port r + 1 above. */
  static final String PORT = "spark.sparkvision.parameter-server.port";

  private static final Logger LOG = LogManager.getLogger(GradientSharing.class);

  private static final int CLOSE_SECONDS = 20;
  private static final int SETTLE_MILLIS = 100;
  private static final int MOST_SETTLE_MILLIS = 3000;

  /** Where the root listens, and how updates are encoded. */
  record Plan(String host, int port, int timeoutSeconds, TrainConfig.Sharing encoding)
      implements Serializable {}

  /**
   * What a rank has sent and received.
   *
   * @param steps updates that were to be sent
   * @param messages those that had something to say
   * @param bytes of their encoding
   * @param received messages of other ranks
   */
  record Traffic(long steps, long messages, long bytes, long received) implements Serializable {

    /** What all ranks together sent from one step to another. */
    String sentence(long from, long to, long parameters) {
      return String.format(
          Locale.ROOT,
          "Steps %d to %d: %d of %d updates had something to send, %.2f MB, %.0f times smaller than"
              + " float32; %d were received",
          from + 1,
          to,
          messages,
          steps,
          bytes / 1e6,
          Float.BYTES * (double) parameters * steps / Math.max(1, bytes),
          received);
    }

    Traffic plus(Traffic other) {
      return new Traffic(
          steps + other.steps,
          messages + other.messages,
          bytes + other.bytes,
          received + other.received);
    }
  }

  private final Plan plan;
  private final ModelParameterServer server;
  private final UpdateEncoder encoder; // none at the root
  private final Received received;
  private long steps;
  private long messages;
  private long bytes;

  private GradientSharing(
      Plan plan, ModelParameterServer server, UpdateEncoder encoder, Received received) {
    this.plan = plan;
    this.server = server;
    this.encoder = encoder;
    this.received = received;
  }

  /**
   * Checks that Aeron may be used here.
   *
   * @throws JobException (exit code 3) if the port is not set, Spark's traffic is to be secret, or
   *     an executor could run two ranks
   */
  static void require(SparkContext context) {
    requireOpen(context.getConf());
    int executors = context.getExecutorMemoryStatus().size() - 1;
    int slots = Slots.now(context);
    if (slots > executors) {
      throw refusal(
          String.format(
              "%d executors have %d slots, and the server is one for each process (set"
                  + " spark.task.cpus to spark.executor.cores)",
              executors, slots));
    }
  }

  static void requireOpen(SparkConf spark) {
    for (String key :
        List.of("spark.authenticate", "spark.network.crypto.enabled", "spark.ssl.enabled")) {
      if (spark.getBoolean(key, false)) {
        throw refusal(
            key
                + "=true, and its updates go over plain UDP, which nothing protects (use"
                + " mode=averaging)");
      }
    }
    int port = spark.getInt(PORT, 0);
    if (port < 1 || port > 65_000) {
      throw refusal(
          PORT
              + " is not set to a port (the driver's, UDP; rank r takes the port r + 1 above, and all"
              + " must be open between all hosts)");
    }
  }

  private static JobException refusal(String why) {
    return new JobException(Exit.PREFLIGHT, "Cannot train with mode=parameter-server: " + why);
  }

  /** The root of the tree, in the driver. */
  static GradientSharing root(Plan plan) {
    Received received = new Received(0);
    VoidConfiguration configuration = configuration(plan, plan.port());
    return launch(
        plan,
        plan.port(),
        new ModelParameterServer(
            configuration, new UpdatesTransport(plan.host(), plan.port(), configuration), true),
        null,
        received);
  }

  /**
   * A rank's place in the tree.
   *
   * @param size numbers in an update
   */
  static GradientSharing rank(Plan plan, int rank, int size) {
    String host = SparkEnv.get().blockManager().blockManagerId().host();
    int port = plan.port() + 1 + rank;
    Received received = new Received(size);
    VoidConfiguration configuration = configuration(plan, port);
    return launch(
        plan,
        port,
        new ModelParameterServer(
            configuration,
            new UpdatesTransport(host, port, plan.host(), plan.port(), configuration),
            false),
        new UpdateEncoder(plan.encoding(), size),
        received);
  }

  private static VoidConfiguration configuration(Plan plan, int port) {
    // Aeron 1.32 refuses the transport's longer client timeout with its own default here.
    System.setProperty("aeron.publication.unblock.timeout", "60s");
    System.setProperty("aeron.dir.delete.on.shutdown", "true");
    return VoidConfiguration.builder()
        .meshBuildMode(MeshBuildMode.MESH)
        .controllerAddress(plan.host())
        .unicastPort(plan.port())
        .portSupplier(new StaticPortSupplier(port))
        .build();
  }

  private static GradientSharing launch(
      Plan plan, int port, ModelParameterServer server, UpdateEncoder encoder, Received received) {
    server.addUpdatesSubscriber(received);
    GradientSharing sharing = new GradientSharing(plan, server, encoder, received);
    try {
      within(plan.timeoutSeconds(), server::launch);
    } catch (IllegalStateException e) {
      sharing.close();
      throw new IllegalStateException(
          String.format(
              "Cannot join the parameter server on UDP port %d: no way to the driver at %s:%d (%s; %s"
                  + " sets the ports)",
              port, plan.host(), plan.port(), e.getMessage(), PORT),
          e);
    }
    return sharing;
  }

  /** Waits for what has no deadline of its own. */
  private static void within(int seconds, Runnable work) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                work.run();
                done.complete(null);
              } catch (RuntimeException e) {
                done.completeExceptionally(e);
              }
            },
            "parameter-server");
    thread.setDaemon(true);
    thread.start();
    try {
      done.get(seconds, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      thread.interrupt();
      throw new IllegalStateException(String.format("no answer for %d s", seconds), e);
    } catch (InterruptedException e) {
      thread.interrupt();
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    } catch (ExecutionException e) {
      throw new IllegalStateException(Transport.reason(e), e);
    }
  }

  /** Sends what of an update, and of those before, passes the threshold to all other ranks. */
  void share(float[] update) {
    INDArray message = encoder.encode(update);
    steps++;
    if (message != null) {
      messages++;
      bytes += message.length() * Integer.BYTES;
      server.sendUpdate(message, Math.toIntExact(steps), 0);
    }
  }

  /** Adds what other ranks have sent since the last time. */
  void receive(float[] weights) {
    received.addTo(weights);
  }

  /** How ranks reach this root. */
  Plan plan() {
    return plan;
  }

  /**
   * Waits until nothing has come for a moment, so that little is on its way when a segment ends.
   */
  void settle() {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(MOST_SETTLE_MILLIS);
    long before = -1;
    try {
      while (before != received.count() && System.nanoTime() < deadline) {
        before = received.count();
        TimeUnit.MILLISECONDS.sleep(SETTLE_MILLIS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** All weights have been averaged, and with them what the threshold had kept back so far. */
  void averaged() {
    encoder.clear();
  }

  Traffic traffic() {
    return new Traffic(steps, messages, bytes, received.count());
  }

  @Override
  public void close() {
    try {
      within(CLOSE_SECONDS, server::shutdown);
    } catch (IllegalStateException e) {
      LOG.warn("Cannot close the parameter server: {}", e.getMessage());
    }
  }

  /** Updates of other ranks, summed up until they are asked for. */
  private static final class Received extends AbstractUpdatesHandler {

    private final INDArray sum;
    private final float[] taken;
    private long count;

    Received(int size) {
      this.sum = Nd4j.create(DataType.FLOAT, Math.max(1, size));
      this.taken = new float[size];
    }

    @Override
    public synchronized void onNext(INDArray message) {
      count++;
      if (taken.length > 0) {
        UpdateEncoder.decode(message, sum);
      }
    }

    synchronized void addTo(float[] weights) {
      UpdateEncoder.read(sum, taken);
      sum.assign(0);
      for (int i = 0; i < taken.length; i++) {
        weights[i] += taken[i];
      }
    }

    synchronized long count() {
      return count;
    }

    @Override
    public INDArray getParametersArray() {
      return sum;
    }
  }
}
