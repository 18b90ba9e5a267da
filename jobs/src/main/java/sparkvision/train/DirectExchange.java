package sparkvision.train;

import io.netty.channel.Channel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.buffer.NioManagedBuffer;
import org.apache.spark.network.client.RpcResponseCallback;
import org.apache.spark.network.client.StreamCallbackWithID;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.client.TransportClientFactory;
import org.apache.spark.network.server.OneForOneStreamManager;
import org.apache.spark.network.server.RpcHandler;
import org.apache.spark.network.server.StreamManager;
import org.apache.spark.network.server.TransportServer;
import sparkvision.kernels.Bfloat16;

/**
 * Averaging between the ranks themselves: the vector is cut into as many slices as there are ranks,
 * and each rank owns one. Every rank sends each owner its values of the slice (reduce-scatter); the
 * owner sums them in rank order and sends the mean to all (all-gather). A rank sends and receives 2
 * (N - 1) / N times the vector; the driver sees only the {@link RoundReport}s.
 *
 * <p>Slices travel in chunks: an owner sums and sends one as soon as all ranks' values of it are
 * there, while others are still on their way.
 *
 * <p>On a {@link Sync.Wire#BFLOAT16 bfloat16} wire every number that is sent is rounded, and what
 * the rounding took is added to the same number in the next round (error feedback: Seide et al.,
 * 1-bit SGD, 2014; Karimireddy et al., 2019), so that nothing is lost for good. All ranks still end
 * with the same bits, since the owner takes the rounded mean as well.
 *
 * @see <a href="https://arxiv.org/abs/1804.05839">Dai et al., BigDL, 2019, section 3.3, whose
 *     synchronisation has these slices in Spark's block manager</a>
 */
final class DirectExchange implements Exchange {

  /** Spark setting: the first port that a rank tries; 0 or none: any free one. */
  static final String PORT = "spark.sparkvision.exchange.rank-port";

  /** Numbers in a chunk: 256 KiB. */
  private static final int CHUNK = 1 << 16;

  /** Chunks on their way to one peer at a time. */
  private static final int WINDOW = 16;

  private static final long HEARSAY_NANOS = TimeUnit.SECONDS.toNanos(1);

  private static final byte VALUES = 0;
  private static final byte MEAN = 1;
  private static final byte HELLO = 2;
  private static final int HEADER = 1 + Integer.BYTES + 2 * Long.BYTES + Integer.BYTES;

  private final DriverLink link;
  private final int rank;
  private final int ranks;
  private final int size;
  private final Sync.Wire wire;
  private final float[] residual; // what rounding took; empty on a float32 wire
  private final TransportContext context;
  private final TransportServer server;
  private final TransportClientFactory factory;
  private final CompletableFuture<DriverLink.Peers> introduced = new CompletableFuture<>();
  private DriverLink.Peers peers; // none before connect
  private final Outbox[] outboxes;
  private final Queue<float[]> spare = new ConcurrentLinkedQueue<>();
  private final Queue<ByteBuffer> spareBuffers = new ConcurrentLinkedQueue<>();
  private final AtomicLong sent = new AtomicLong();

  // Guarded by this.
  private final Map<Long, Round> rounds = new HashMap<>(); // this one, and what came for the next
  private long completed;
  private long lastProgressNanos;
  private String broken;
  private long brokenNanos;
  private final boolean[] gone;

  private DirectExchange(
      Transport transport, DriverLink link, int ranks, int size, Sync.Wire wire, String bindHost) {
    this.link = link;
    this.rank = link.rank();
    this.ranks = ranks;
    this.size = size;
    this.wire = wire;
    this.residual = new float[wire == Sync.Wire.BFLOAT16 ? size : 0];
    this.outboxes = new Outbox[ranks];
    this.gone = new boolean[ranks];
    this.context = transport.context(new Handler());
    this.factory = transport.clients(context);
    this.server = transport.serve(context, bindHost, PORT);
  }

  /**
   * Listens, and connects to all other ranks.
   *
   * @param link to the driver
   * @param size numbers in each vector that will be averaged
   */
  static DirectExchange open(
      Transport transport, DriverLink link, int ranks, int size, Sync.Wire wire)
      throws InterruptedException {
    String host = SparkEnv.get().blockManager().blockManagerId().host();
    DirectExchange exchange = new DirectExchange(transport, link, ranks, size, wire, host);
    try {
      exchange.connect();
      return exchange;
    } catch (RuntimeException | InterruptedException e) {
      exchange.close();
      throw e;
    }
  }

  private void connect() throws InterruptedException {
    peers = link.hello(DriverLink.Peer.here(server.getPort()));
    introduced.complete(peers);
    for (int other = 0; other < ranks; other++) {
      if (other == rank) {
        continue;
      }
      DriverLink.Peer peer = peers.ranks().get(other);
      try {
        outboxes[other] = new Outbox(other, factory.createClient(peer.host(), peer.port()));
      } catch (IOException | RuntimeException e) {
        throw new IllegalStateException(
            String.format(
                "Cannot reach rank %d from rank %d: no connection to %s:%d (%s; %s sets the port)",
                other, rank, peer.host(), peer.port(), Transport.reason(e), PORT),
            e);
      }
    }
  }

  @Override
  public float[] residual() {
    return residual;
  }

  @Override
  public long sentToRanks() {
    return sent.get();
  }

  @Override
  public DriverLink driver() {
    return link;
  }

  @Override
  public Decision average(float[] values, RoundReport report) {
    if (values.length != size) {
      throw new IllegalArgumentException(
          String.format("Invalid array: %d numbers (must be %d)", values.length, size));
    }
    link.phase("exchanging step " + report.step());
    CompletableFuture<ByteBuffer> answer = link.round(report, new float[0]);
    CompletableFuture<ByteBuffer> told = answer.whenComplete((ok, failed) -> wakeUp());
    Round round = begin(values);
    for (int turn = 1; turn < ranks; turn++) {
      int owner = (rank + turn) % ranks;
      for (int chunk = 0; chunk < chunks(owner); chunk++) {
        outboxes[owner].add(
            new Message(
                VALUES, round.number, chunk, values, start(owner, chunk), end(owner, chunk)));
      }
    }
    for (int chunk = 0; chunk < chunks(rank); chunk++) {
      contribute(round, rank, chunk, null);
    }
    link.phase("waiting for the mean of step " + report.step());
    awaitMeans(round, told, report.step());
    return Decision.of(link.await(answer, "exchanging step " + report.step()).get());
  }

  private synchronized Round begin(float[] values) {
    Round round = round(completed);
    round.values = values;
    lastProgressNanos = System.nanoTime();
    for (int other = 0; other < ranks; other++) {
      if (gone[other]) {
        gone(other);
      }
    }
    return round;
  }

  private Round round(long number) {
    return rounds.computeIfAbsent(number, Round::new);
  }

  private synchronized void wakeUp() {
    notifyAll();
  }

  private synchronized void awaitMeans(Round round, CompletableFuture<ByteBuffer> told, long step) {
    // The coordinator gives up first: its sentence knows more.
    long patience = TimeUnit.SECONDS.toNanos(link.timeoutSeconds() + 5L);
    while (!round.complete() || unacknowledged()) {
      if (told.isCompletedExceptionally()) {
        link.await(told, "exchanging step " + step);
      }
      // A peer that failed has told the driver why, whose word is on its way.
      if (broken != null && System.nanoTime() - brokenNanos > HEARSAY_NANOS) {
        throw new IllegalStateException(
            String.format(
                "Cannot finish the exchange of step %d on rank %d: %s", step, rank, broken));
      }
      if (System.nanoTime() - lastProgressNanos > patience) {
        throw new IllegalStateException(
            String.format(
                "Cannot finish the exchange of step %d on rank %d: nothing for %d s from %s",
                step, rank, link.timeoutSeconds() + 5, round.owing()));
      }
      try {
        wait(500);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException(
            String.format("Cannot finish the exchange of step %d: interrupted", step), e);
      }
    }
    rounds.remove(round.number);
    completed++;
  }

  private boolean unacknowledged() {
    for (Outbox outbox : outboxes) {
      if (outbox != null && !outbox.isEmpty()) {
        return true;
      }
    }
    return false;
  }

  private synchronized void fail(int other, String why) {
    if (broken == null) {
      brokenNanos = System.nanoTime();
      broken = String.format("the connection to %s is lost (%s)", describe(other), why);
    }
    notifyAll();
  }

  /** A rank that has sent all may go; what it sent has been handled before this. */
  private synchronized void gone(int other) {
    gone[other] = true;
    Round round = rounds.get(completed);
    if (round != null && round.owed[other] > 0) {
      fail(other, "it was closed");
    }
  }

  private String describe(int other) {
    return String.format("rank %d (%s)", other, peers.ranks().get(other).host());
  }

  /** Takes a rank's values of a chunk of our slice; the last ones make the mean. */
  private void contribute(Round round, int from, int chunk, float[] values) {
    boolean last;
    synchronized (this) {
      round.given[chunk][from] = values;
      round.has[chunk]++;
      round.owed[from]--;
      lastProgressNanos = System.nanoTime();
      // Ours comes when the round has begun here, and so values are known by then.
      last = round.has[chunk] == ranks;
    }
    if (last) {
      reduce(round, chunk);
    }
  }

  private void reduce(Round round, int chunk) {
    int first = start(rank, chunk);
    int length = end(rank, chunk) - first;
    float[] sum = buffer();
    for (int r = 0; r < ranks; r++) {
      float[] given = round.given[chunk][r];
      float[] source = r == rank ? round.values : given;
      int offset = r == rank ? first : 0;
      if (r == 0) {
        System.arraycopy(source, offset, sum, 0, length);
      } else {
        add(sum, source, offset, length);
      }
      if (given != null) {
        spare.add(given);
        round.given[chunk][r] = null;
      }
    }
    divide(sum, length, ranks);
    if (wire == Sync.Wire.BFLOAT16) {
      for (int i = 0; i < length; i++) {
        sum[i] = rounded(sum[i], first + i);
      }
    }
    System.arraycopy(sum, 0, round.values, first, length);
    spare.add(sum);
    for (int turn = 1; turn < ranks; turn++) {
      outboxes[(rank + turn) % ranks].add(
          new Message(MEAN, round.number, chunk, round.values, first, first + length));
    }
    synchronized (this) {
      round.ownMissing--;
      notifyAll();
    }
  }

  private static void add(float[] sum, float[] source, int offset, int length) {
    for (int i = 0; i < length; i++) {
      sum[i] += source[offset + i];
    }
  }

  private static void divide(float[] sum, int length, float by) {
    for (int i = 0; i < length; i++) {
      sum[i] /= by;
    }
  }

  /** {@code value} with what an earlier rounding took, rounded. */
  private float rounded(float value, int index) {
    float wanted = value + residual[index];
    float sent = Bfloat16.toFloat(Bfloat16.of(wanted));
    residual[index] = wanted - sent;
    return sent;
  }

  private synchronized void tookMean(Round round, int owner) {
    round.owed[owner]--;
    lastProgressNanos = System.nanoTime();
    notifyAll();
  }

  private float[] buffer() {
    float[] buffer = spare.poll();
    return buffer == null ? new float[CHUNK] : buffer;
  }

  // Slices and chunks.

  private int sliceStart(int owner) {
    return Math.toIntExact((long) size * owner / ranks);
  }

  private int chunks(int owner) {
    return (sliceStart(owner + 1) - sliceStart(owner) + CHUNK - 1) / CHUNK;
  }

  private int start(int owner, int chunk) {
    return sliceStart(owner) + chunk * CHUNK;
  }

  private int end(int owner, int chunk) {
    return Math.min(start(owner, chunk) + CHUNK, sliceStart(owner + 1));
  }

  // Messages.

  private ByteBuffer header(byte kind, long number, int chunk) {
    return ByteBuffer.allocate(HEADER)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(kind)
        .putInt(rank)
        .putLong(peers.token())
        .putLong(number)
        .putInt(chunk)
        .flip();
  }

  private int numberBytes() {
    return wire == Sync.Wire.BFLOAT16 ? Short.BYTES : Float.BYTES;
  }

  /** Into memory that the socket takes as it is, and that is used again. */
  private ByteBuffer encode(Message message) {
    ByteBuffer buffer = spareBuffers.poll();
    if (buffer == null) {
      buffer = ByteBuffer.allocateDirect(CHUNK * numberBytes()).order(ByteOrder.LITTLE_ENDIAN);
    }
    buffer.clear().limit((message.last() - message.first()) * numberBytes());
    float[] values = message.values();
    if (wire == Sync.Wire.FLOAT32) {
      buffer.asFloatBuffer().put(values, message.first(), message.last() - message.first());
    } else {
      for (int i = message.first(); i < message.last(); i++) {
        // A mean is rounded already.
        buffer.putShort(Bfloat16.of(message.kind() == MEAN ? values[i] : rounded(values[i], i)));
      }
      buffer.flip();
    }
    return buffer;
  }

  @Override
  public void close() {
    // Nobody waits for an introduction that will not come.
    introduced.completeExceptionally(new IllegalStateException("The exchange is closed"));
    factory.close();
    server.close();
    context.close();
  }

  /** One averaging. */
  private final class Round {
    final long number;
    final float[][][] given = new float[chunks(rank)][ranks][]; // of our slice: chunk, rank
    final int[] has = new int[chunks(rank)];
    final int[] owed = new int[ranks]; // messages that are to come, by rank
    int ownMissing = chunks(rank);
    float[] values; // set when the round begins here

    Round(long number) {
      this.number = number;
      for (int r = 0; r < ranks; r++) {
        owed[r] = chunks(rank) + (r == rank ? 0 : chunks(r));
      }
    }

    boolean complete() {
      return ownMissing == 0 && IntStream.of(owed).allMatch(messages -> messages == 0);
    }

    String owing() {
      return IntStream.range(0, ranks)
          .filter(r -> owed[r] > 0 || (outboxes[r] != null && !outboxes[r].isEmpty()))
          .mapToObj(DirectExchange.this::describe)
          .collect(Collectors.joining(", "));
    }
  }

  /** Numbers for a peer: {@code values} from {@code first} to before {@code last}. */
  private record Message(byte kind, long number, int chunk, float[] values, int first, int last) {}

  /** What goes to one peer: encoded when its turn comes, so many at a time. */
  private final class Outbox {
    private final int other;
    private final TransportClient client;
    private final Queue<Message> waiting = new ArrayDeque<>();
    private int inFlight;

    Outbox(int other, TransportClient client) {
      this.other = other;
      this.client = client;
      client.send(header(HELLO, 0, 0));
    }

    void add(Message message) {
      synchronized (waiting) {
        waiting.add(message);
      }
      send();
    }

    boolean isEmpty() {
      synchronized (waiting) {
        return inFlight == 0 && waiting.isEmpty();
      }
    }

    private void send() {
      while (true) {
        Message next;
        synchronized (waiting) {
          if (inFlight == WINDOW || waiting.isEmpty()) {
            return;
          }
          next = waiting.remove();
          inFlight++;
        }
        ByteBuffer numbers = encode(next);
        ByteBuffer header = header(next.kind(), next.number(), next.chunk());
        sent.addAndGet(header.remaining() + numbers.remaining());
        client.uploadStream(
            new NioManagedBuffer(header), new NioManagedBuffer(numbers), new Receipt(numbers));
      }
    }

    /** The peer has taken all numbers of a message, or never will. */
    private final class Receipt implements RpcResponseCallback {
      private final ByteBuffer numbers;

      Receipt(ByteBuffer numbers) {
        this.numbers = numbers;
      }

      @Override
      public void onSuccess(ByteBuffer response) {
        spareBuffers.add(numbers);
        synchronized (waiting) {
          inFlight--;
        }
        send();
        if (isEmpty()) {
          wakeUp();
        }
      }

      @Override
      public void onFailure(Throwable error) {
        fail(other, Transport.reason(error));
      }
    }
  }

  /**
   * Numbers as they come from the wire, in parts of any length: they are written where they belong
   * without being put together first.
   */
  private final class Incoming implements StreamCallbackWithID {
    private final Round round;
    private final byte kind;
    private final int from;
    private final int chunk;
    private final float[] target;
    private final int end;
    private int at;
    private final ByteBuffer cut = // a number that two parts share
        ByteBuffer.allocate(numberBytes()).order(ByteOrder.LITTLE_ENDIAN);

    Incoming(Round round, byte kind, int from, int chunk) {
      this.round = round;
      this.kind = kind;
      this.from = from;
      this.chunk = chunk;
      int owner = kind == MEAN ? from : rank;
      int length = end(owner, chunk) - start(owner, chunk);
      this.target = kind == MEAN ? round.values : buffer();
      this.at = kind == MEAN ? start(owner, chunk) : 0;
      this.end = at + length;
    }

    @Override
    public String getID() {
      return String.format("chunk %d of round %d from rank %d", chunk, round.number, from);
    }

    @Override
    public void onData(String id, ByteBuffer part) {
      part.order(ByteOrder.LITTLE_ENDIAN);
      while (cut.position() > 0 && part.hasRemaining()) {
        cut.put(part.get());
        if (!cut.hasRemaining()) {
          take(cut.flip());
          cut.clear();
        }
      }
      take(part);
      cut.put(part);
    }

    /** All whole numbers. */
    private void take(ByteBuffer part) {
      int count = part.remaining() / numberBytes();
      if (wire == Sync.Wire.FLOAT32) {
        part.asFloatBuffer().get(target, at, count);
        part.position(part.position() + count * Float.BYTES);
      } else {
        for (int i = at; i < at + count; i++) {
          target[i] = Bfloat16.toFloat(part.getShort());
        }
      }
      at += count;
    }

    @Override
    public void onComplete(String id) {
      if (at != end) {
        throw new IllegalStateException(
            String.format("Cannot take %s: %d numbers are missing", id, end - at));
      }
      if (kind == MEAN) {
        tookMean(round, from);
      } else {
        contribute(round, from, chunk, target);
      }
    }

    @Override
    public void onFailure(String id, Throwable cause) {
      fail(from, Transport.reason(cause));
    }
  }

  private final class Handler extends RpcHandler {

    private final StreamManager streams = new OneForOneStreamManager();

    /** Who is at the other end of a connection. */
    private final Map<Channel, Integer> callers = new ConcurrentHashMap<>();

    @Override
    public void receive(TransportClient client, ByteBuffer message, RpcResponseCallback callback) {
      message.order(ByteOrder.LITTLE_ENDIAN);
      if (message.get() == HELLO) {
        callers.put(client.getChannel(), sender(message));
      }
    }

    private int sender(ByteBuffer message) {
      int from = message.getInt();
      // A peer that was introduced first may be quick.
      if (message.getLong() != introduced.join().token()) {
        throw new IllegalStateException("Cannot take part: this is another segment");
      }
      return from;
    }

    @Override
    public StreamCallbackWithID receiveStream(
        TransportClient client, ByteBuffer header, RpcResponseCallback callback) {
      header.order(ByteOrder.LITTLE_ENDIAN);
      byte kind = header.get();
      int from = sender(header);
      Round round;
      synchronized (DirectExchange.this) {
        round = round(header.getLong());
      }
      return new Incoming(round, kind, from, header.getInt());
    }

    @Override
    public void channelInactive(TransportClient client) {
      Integer other = callers.remove(client.getChannel());
      if (other != null) {
        gone(other);
      }
    }

    @Override
    public StreamManager getStreamManager() {
      return streams;
    }
  }
}
