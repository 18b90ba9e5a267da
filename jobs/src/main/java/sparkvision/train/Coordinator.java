package sparkvision.train;

import java.io.Closeable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.client.RpcResponseCallback;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.server.OneForOneStreamManager;
import org.apache.spark.network.server.RpcHandler;
import org.apache.spark.network.server.StreamManager;
import org.apache.spark.network.server.TransportServer;
import org.apache.spark.network.util.TransportConf;
import sparkvision.JobException.Exit;

/**
 * The driver's side of a segment: hears every rank's rounds and failures, and averages for {@link
 * DriverExchange}.
 *
 * <p>A round is complete when every rank has sent its values; the sum runs in rank order, so its
 * bits do not depend on who came first. If no rank says a word for as long as the deadline, the
 * segment fails for all, and the reason names the missing ranks.
 */
final class Coordinator implements Closeable {

  private final int ranks;
  private final int timeoutSeconds;
  private final Consumer<List<RoundReport>> rounds;
  private final Runnable cancel;
  private final TransportContext context;
  private final TransportServer server;
  private final String host;
  private final ScheduledExecutorService watch =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            Thread thread = new Thread(task, "round-deadline");
            thread.setDaemon(true);
            return thread;
          });

  // The round that is being gathered; guarded by this.
  private final Arrival[] arrived;
  private long lastWordNanos = System.nanoTime();
  private RankFailure failure;

  private record Arrival(RoundReport report, float[] values, RpcResponseCallback callback) {}

  /**
   * Listens on the driver's host.
   *
   * @param rounds is told each complete round's reports, in rank order, before the ranks go on
   * @param cancel ends the ranks' tasks when the deadline has passed
   */
  Coordinator(int ranks, int timeoutSeconds, Consumer<List<RoundReport>> rounds, Runnable cancel) {
    this.ranks = ranks;
    this.timeoutSeconds = timeoutSeconds;
    this.rounds = rounds;
    this.cancel = cancel;
    this.arrived = new Arrival[ranks];
    SparkEnv env = SparkEnv.get();
    SparkConf spark = env.conf();
    TransportConf conf = DriverExchange.Transport.conf(spark, timeoutSeconds);
    this.context = new TransportContext(conf, new Handler());
    this.host = spark.get("spark.driver.host");
    this.server =
        context.createServer(
            spark.get("spark.driver.bindAddress", host),
            spark.getInt(DriverExchange.PORT, 0),
            DriverExchange.Transport.serverBootstraps(conf, env.securityManager()));
    Future<?> unused = watch.scheduleWithFixedDelay(this::checkDeadline, 1, 1, TimeUnit.SECONDS);
  }

  DriverExchange.Address address() {
    return new DriverExchange.Address(host, server.getPort(), timeoutSeconds);
  }

  /** The first failure that a rank, or the deadline, reported. */
  synchronized Optional<RankFailure> failure() {
    return Optional.ofNullable(failure);
  }

  @Override
  public synchronized void close() {
    watch.shutdownNow();
    server.close();
    context.close();
  }

  private synchronized void arrive(Arrival arrival) {
    if (failure != null) {
      arrival.callback().onFailure(new IllegalStateException(failure.sentence()));
      return;
    }
    lastWordNanos = System.nanoTime();
    arrived[arrival.report().rank()] = arrival;
    if (!missing().isEmpty()) {
      return;
    }
    List<Arrival> round = List.of(arrived);
    Arrays.fill(arrived, null);
    ByteBuffer mean = encode(mean(round.stream().map(Arrival::values).toList()));
    rounds.accept(round.stream().map(Arrival::report).toList());
    for (Arrival each : round) {
      each.callback().onSuccess(mean.duplicate());
    }
  }

  private synchronized void fail(RankFailure reported) {
    if (failure == null) {
      failure = reported;
    }
    for (int rank = 0; rank < ranks; rank++) {
      if (arrived[rank] != null) {
        arrived[rank].callback().onFailure(new IllegalStateException(failure.sentence()));
        arrived[rank] = null;
      }
    }
  }

  private synchronized void checkDeadline() {
    if (failure == null
        && System.nanoTime() - lastWordNanos > TimeUnit.SECONDS.toNanos(timeoutSeconds)) {
      List<Integer> missing = missing();
      fail(
          new RankFailure(
              missing.get(0),
              Exit.CLUSTER,
              String.format(
                  "Cannot finish a round: no word from rank %s for %d s (its executor hangs or is too"
                      + " slow; timeout-seconds says how long to wait)",
                  missing, timeoutSeconds)));
      cancel.run();
    }
  }

  private List<Integer> missing() {
    return IntStream.range(0, ranks).filter(rank -> arrived[rank] == null).boxed().toList();
  }

  /** The float32 sum in list order, divided by the number of vectors. */
  static float[] mean(List<float[]> vectors) {
    float[] sum = vectors.get(0).clone();
    for (float[] vector : vectors.subList(1, vectors.size())) {
      for (int i = 0; i < sum.length; i++) {
        sum[i] += vector[i];
      }
    }
    for (int i = 0; i < sum.length; i++) {
      sum[i] /= vectors.size();
    }
    return sum;
  }

  private static ByteBuffer encode(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes;
  }

  private final class Handler extends RpcHandler {

    private final StreamManager streams = new OneForOneStreamManager();

    @Override
    public void receive(TransportClient client, ByteBuffer message, RpcResponseCallback callback) {
      message.order(ByteOrder.LITTLE_ENDIAN);
      if (message.get() == DriverExchange.ROUND) {
        RoundReport report = RoundReport.readFrom(message);
        float[] values = new float[message.remaining() / Float.BYTES];
        message.asFloatBuffer().get(values);
        arrive(new Arrival(report, values, callback));
        return;
      }
      int rank = message.getInt();
      Exit exit = Exit.of(message.getInt());
      String sentence = StandardCharsets.UTF_8.decode(message).toString();
      fail(new RankFailure(rank, exit, sentence));
      callback.onSuccess(ByteBuffer.allocate(0));
    }

    @Override
    public StreamManager getStreamManager() {
      return streams;
    }
  }
}
