package sparkvision.train;

import java.io.Closeable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Collectors;
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
import sparkvision.JobException.Exit;
import sparkvision.data.TaskBytes;

/**
 * The driver's side of a segment: introduces the ranks to each other, hears every rank's rounds,
 * heartbeats and failures, and averages for {@link DriverExchange}.
 *
 * <p>A round is complete when every rank has told it; a sum runs in rank order, so its bits do not
 * depend on who came first. If no rank completes anything for as long as the deadline, the segment
 * fails for all, and the reason names the ranks that are missing, where they run, what they did and
 * when they were last heard.
 */
final class Coordinator implements Closeable {

  /** Spark setting: the driver's port for the ranks; 0 or none: any free one. */
  static final String PORT = "spark.sparkvision.exchange.port";

  /**
   * A rank that beats every two seconds and was not heard for so long has died, or stands still.
   */
  private static final long SILENT_SECONDS = 6;

  private final int ranks;
  private final int timeoutSeconds;
  private final Consumer<List<RoundReport>> rounds;
  private final Runnable cancel;
  private final TransportContext context;
  private final TransportServer server;
  private final String host;
  private final long token = UUID.randomUUID().getMostSignificantBits();
  private final ScheduledExecutorService watch =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            Thread thread = new Thread(task, "round-deadline");
            thread.setDaemon(true);
            return thread;
          });

  // What is being gathered; guarded by this.
  private final DriverLink.Peer[] peers;
  private final RpcResponseCallback[] greeting;
  private final Arrival[] arrived;
  private final Beat[] beats;
  private long lastWordNanos = System.nanoTime();
  private RankFailure failure;
  private boolean stopping;

  private record Arrival(RoundReport report, float[] values, RpcResponseCallback callback) {}

  /** A rank's last heartbeat. */
  private record Beat(String phase, long nanos) {
    long age() {
      return TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - nanos);
    }
  }

  /**
   * Listens on the driver's host.
   *
   * @param rounds is told each complete round's reports, in rank order, before the ranks go on
   * @param cancel ends the ranks' tasks when the deadline has passed
   */
  Coordinator(
      Transport transport,
      int ranks,
      int timeoutSeconds,
      Consumer<List<RoundReport>> rounds,
      Runnable cancel) {
    this.ranks = ranks;
    this.timeoutSeconds = timeoutSeconds;
    this.rounds = rounds;
    this.cancel = cancel;
    this.peers = new DriverLink.Peer[ranks];
    this.greeting = new RpcResponseCallback[ranks];
    this.arrived = new Arrival[ranks];
    this.beats = new Beat[ranks];
    this.context = transport.context(new Handler());
    SparkConf spark = SparkEnv.get().conf();
    this.host = spark.get("spark.driver.host");
    this.server = transport.serve(context, spark.get("spark.driver.bindAddress", host), PORT);
    Future<?> unused = watch.scheduleWithFixedDelay(this::checkDeadline, 1, 1, TimeUnit.SECONDS);
  }

  DriverLink.Address address() {
    return new DriverLink.Address(host, server.getPort(), timeoutSeconds);
  }

  /** The first failure that a rank, or the deadline, reported. */
  synchronized Optional<RankFailure> failure() {
    return Optional.ofNullable(failure);
  }

  /** Ends the segment, with a checkpoint, at the next round. */
  synchronized void stop() {
    stopping = true;
  }

  /** Spark's names of the executors whose ranks have fallen silent. */
  synchronized List<String> silentExecutors() {
    return IntStream.range(0, ranks)
        .filter(rank -> peers[rank] != null && silent(rank))
        .mapToObj(rank -> peers[rank].executor())
        .distinct()
        .toList();
  }

  @Override
  public synchronized void close() {
    watch.shutdownNow();
    server.close();
    context.close();
  }

  private synchronized void greet(int rank, DriverLink.Peer peer, RpcResponseCallback callback) {
    if (refused(callback)) {
      return;
    }
    lastWordNanos = System.nanoTime();
    peers[rank] = peer;
    greeting[rank] = callback;
    if (Arrays.asList(greeting).contains(null)) {
      return;
    }
    byte[] all = TaskBytes.pack(new DriverLink.Peers(Arrays.asList(peers), token));
    for (RpcResponseCallback each : greeting) {
      each.onSuccess(ByteBuffer.wrap(all));
    }
    Arrays.fill(greeting, null);
  }

  private synchronized void arrive(Arrival arrival) {
    if (refused(arrival.callback())) {
      return;
    }
    lastWordNanos = System.nanoTime();
    arrived[arrival.report().rank()] = arrival;
    if (!missing().isEmpty()) {
      return;
    }
    List<Arrival> round = List.of(arrived);
    Arrays.fill(arrived, null);
    float[] mean = mean(round.stream().map(Arrival::values).toList());
    ByteBuffer answer =
        ByteBuffer.allocate(1 + 4 * mean.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put((stopping ? Exchange.Decision.STOP : Exchange.Decision.GO_ON).code());
    answer.asFloatBuffer().put(mean);
    answer.rewind();
    rounds.accept(round.stream().map(Arrival::report).toList());
    for (Arrival each : round) {
      each.callback().onSuccess(answer.duplicate());
    }
  }

  private boolean refused(RpcResponseCallback callback) {
    if (failure != null) {
      callback.onFailure(new IllegalStateException(failure.sentence()));
    }
    return failure != null;
  }

  private synchronized void fail(RankFailure reported) {
    if (failure == null) {
      failure = reported;
    }
    for (int rank = 0; rank < ranks; rank++) {
      if (arrived[rank] != null) {
        refused(arrived[rank].callback());
        arrived[rank] = null;
      }
      if (greeting[rank] != null) {
        refused(greeting[rank]);
        greeting[rank] = null;
      }
    }
  }

  private synchronized void beat(int rank, String phase) {
    beats[rank] = new Beat(phase, System.nanoTime());
  }

  private synchronized void checkDeadline() {
    if (failure == null
        && System.nanoTime() - lastWordNanos > TimeUnit.SECONDS.toNanos(timeoutSeconds)) {
      List<Integer> missing = missing();
      List<Integer> silent = missing.stream().filter(this::silent).toList();
      List<Integer> named = silent.isEmpty() ? missing : silent;
      fail(
          new RankFailure(
              named.get(0),
              Exit.CLUSTER,
              String.format(
                  "Cannot finish a round: no word from rank %s for %d s: %s (its executor hangs or is"
                      + " too slow; timeout-seconds says how long to wait)",
                  named,
                  timeoutSeconds,
                  named.stream().map(this::lastHeard).collect(Collectors.joining("; ")))));
      cancel.run();
    }
  }

  private boolean silent(int rank) {
    return beats[rank] == null || beats[rank].age() >= SILENT_SECONDS;
  }

  private String lastHeard(int rank) {
    String where = peers[rank] == null ? "no host yet" : peers[rank].host();
    return beats[rank] == null
        ? String.format("rank %d (%s) never connected", rank, where)
        : String.format(
            "rank %d (%s) was %s, last heartbeat %d s ago",
            rank, where, beats[rank].phase(), beats[rank].age());
  }

  private List<Integer> missing() {
    boolean introduced = !Arrays.asList(peers).contains(null);
    Object[] from = introduced ? arrived : peers;
    return IntStream.range(0, ranks).filter(rank -> from[rank] == null).boxed().toList();
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

  private final class Handler extends RpcHandler {

    private final StreamManager streams = new OneForOneStreamManager();

    @Override
    public void receive(TransportClient client, ByteBuffer message, RpcResponseCallback callback) {
      message.order(ByteOrder.LITTLE_ENDIAN);
      byte kind = message.get();
      int rank = message.getInt();
      switch (kind) {
        case DriverLink.HELLO -> {
          byte[] peer = new byte[message.remaining()];
          message.get(peer);
          greet(rank, TaskBytes.unpack(peer, DriverLink.Peer.class), callback);
        }
        case DriverLink.ROUND -> {
          RoundReport report = RoundReport.readFrom(message);
          float[] values = new float[message.remaining() / Float.BYTES];
          message.asFloatBuffer().get(values);
          arrive(new Arrival(report, values, callback));
        }
        case DriverLink.FAILURE -> {
          Exit exit = Exit.of(message.getInt());
          fail(new RankFailure(rank, exit, text(message)));
          callback.onSuccess(ByteBuffer.allocate(0));
        }
        default -> {
          beat(rank, text(message));
          callback.onSuccess(ByteBuffer.allocate(0));
        }
      }
    }

    private String text(ByteBuffer message) {
      return StandardCharsets.UTF_8.decode(message).toString();
    }

    @Override
    public StreamManager getStreamManager() {
      return streams;
    }
  }
}
