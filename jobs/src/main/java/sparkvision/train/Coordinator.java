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
import java.util.function.Function;
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
import sparkvision.DaemonThreads;
import sparkvision.JobException.Exit;
import sparkvision.data.TaskBytes;

/**
 * The driver's side of a segment: introduces the ranks to each other, hears every rank's rounds,
 * heartbeats and failures, and averages for {@link DriverExchange}.
 *
 * <p>A round is complete when every rank has told it; a sum runs in rank order, so its bits do not
 * depend on who came first. If a rank that others wait for neither arrives nor gets from one thing
 * to the next for as long as the deadline, the segment fails for all, and the reason names such
 * ranks, where they run, what they did and when they were last heard.
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
  private final Function<List<RoundReport>, Exchange.Decision> rounds;
  private final Consumer<SegmentTask.Written> written;
  private final Runnable cancel;
  private final TransportContext context;
  private final TransportServer server;
  private final String host;
  private final long token = UUID.randomUUID().getMostSignificantBits();
  private final ScheduledExecutorService watch =
      Executors.newSingleThreadScheduledExecutor(DaemonThreads.named("round-deadline"));

  // What is being gathered; guarded by this.
  private final DriverLink.Peer[] peers;
  private final RpcResponseCallback[] greeting;
  private final Arrival[] arrived;
  private final Beat[] beats;
  private final long[] progressNanos;
  private RankFailure failure;
  private List<Integer> overdue = List.of();

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
   * @param rounds is told each complete round's reports, in rank order, and says what the ranks do
   *     then
   * @param written is told of every rank's part of a checkpoint
   * @param cancel ends the ranks' tasks when the deadline has passed
   */
  Coordinator(
      Transport transport,
      int ranks,
      int timeoutSeconds,
      Function<List<RoundReport>, Exchange.Decision> rounds,
      Consumer<SegmentTask.Written> written,
      Runnable cancel) {
    this.ranks = ranks;
    this.timeoutSeconds = timeoutSeconds;
    this.rounds = rounds;
    this.written = written;
    this.cancel = cancel;
    this.peers = new DriverLink.Peer[ranks];
    this.greeting = new RpcResponseCallback[ranks];
    this.arrived = new Arrival[ranks];
    this.beats = new Beat[ranks];
    this.progressNanos = new long[ranks];
    Arrays.fill(progressNanos, System.nanoTime());
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

  /** Spark's names of the executors whose ranks have missed the deadline. */
  synchronized List<String> overdueExecutors() {
    return overdue.stream()
        .filter(rank -> peers[rank] != null)
        .map(rank -> peers[rank].executor())
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
    peers[rank] = peer;
    greeting[rank] = callback;
    if (Arrays.asList(greeting).contains(null)) {
      return;
    }
    Arrays.fill(progressNanos, System.nanoTime());
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
    arrived[arrival.report().rank()] = arrival;
    if (!missing().isEmpty()) {
      return;
    }
    List<Arrival> round = List.of(arrived);
    Arrays.fill(arrived, null);
    Arrays.fill(progressNanos, System.nanoTime());
    Exchange.Decision decision = rounds.apply(round.stream().map(Arrival::report).toList());
    float[] mean = mean(round.stream().map(Arrival::values).toList());
    ByteBuffer answer =
        ByteBuffer.allocate(1 + 4 * mean.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put(decision.code());
    answer.asFloatBuffer().put(mean);
    answer.rewind();
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
    if (beats[rank] == null || !beats[rank].phase().equals(phase)) {
      progressNanos[rank] = System.nanoTime();
    }
    beats[rank] = new Beat(phase, System.nanoTime());
  }

  private synchronized void checkDeadline() {
    List<Integer> late = missing().stream().filter(this::late).toList();
    if (failure == null && !late.isEmpty()) {
      List<Integer> silent = late.stream().filter(this::silent).toList();
      List<Integer> named = silent.isEmpty() ? late : silent;
      overdue = named;
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

  /** Whether a rank has stood in one place for as long as the deadline. */
  private boolean late(int rank) {
    return System.nanoTime() - progressNanos[rank] > TimeUnit.SECONDS.toNanos(timeoutSeconds);
  }

  private boolean silent(int rank) {
    return beats[rank] == null || beats[rank].age() >= SILENT_SECONDS;
  }

  /** The rank that ran in an executor, and what it did. */
  synchronized Optional<String> lastHeard(String executor) {
    return IntStream.range(0, ranks)
        .filter(rank -> peers[rank] != null && peers[rank].executor().equals(executor))
        .mapToObj(this::lastHeard)
        .findFirst();
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
        case DriverLink.WRITTEN -> {
          byte[] body = new byte[message.remaining()];
          message.get(body);
          written.accept(TaskBytes.unpack(body, SegmentTask.Written.class));
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
