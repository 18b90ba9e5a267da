package sparkvision.train;

import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.client.RpcResponseCallback;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.client.TransportClientFactory;
import org.apache.spark.network.server.NoOpRpcHandler;
import sparkvision.DaemonThreads;
import sparkvision.data.TaskBytes;

/**
 * A rank's line to the {@link Coordinator}: it tells where it listens, its rounds, its failure, and
 * every two seconds that it lives and what it does.
 */
final class DriverLink implements AutoCloseable {

  /** Where the coordinator of a segment listens. */
  record Address(String host, int port, int timeoutSeconds) implements Serializable {}

  /**
   * Where a rank listens.
   *
   * @param port 0 if it does not
   * @param executor Spark's name for its process
   */
  record Peer(String host, int port, String executor) implements Serializable {

    static Peer here(int port) {
      var block = SparkEnv.get().blockManager().blockManagerId();
      return new Peer(block.host(), port, block.executorId());
    }
  }

  /**
   * All ranks of a segment.
   *
   * @param token tells this segment's messages from those of one that failed before
   */
  record Peers(List<Peer> ranks, long token) implements Serializable {
    Peers {
      ranks = List.copyOf(ranks);
    }
  }

  private static final int BEAT_MILLIS = 2000;

  static final byte HELLO = 0;
  static final byte ROUND = 1;
  static final byte FAILURE = 2;
  static final byte BEAT = 3;
  static final byte WRITTEN = 4;

  private final int rank;
  private final Address address;
  private final TransportContext context;
  private final TransportClientFactory factory;
  private final TransportClient client;
  private final ScheduledExecutorService heart =
      Executors.newSingleThreadScheduledExecutor(DaemonThreads.named("exchange-heartbeat"));
  private final AtomicLong bytes = new AtomicLong();
  private volatile String phase = "starting";
  private volatile long beatNanos;

  private DriverLink(
      int rank,
      Address address,
      TransportContext context,
      TransportClientFactory factory,
      TransportClient client) {
    this.rank = rank;
    this.address = address;
    this.context = context;
    this.factory = factory;
    this.client = client;
    Future<?> unused =
        heart.scheduleWithFixedDelay(this::beat, 0, BEAT_MILLIS, TimeUnit.MILLISECONDS);
  }

  static DriverLink connect(Transport transport, Address address, int rank)
      throws InterruptedException {
    TransportContext context = transport.context(new NoOpRpcHandler());
    TransportClientFactory factory = transport.clients(context);
    try {
      TransportClient client = factory.createClient(address.host(), address.port());
      return new DriverLink(rank, address, context, factory, client);
    } catch (IOException | RuntimeException e) {
      factory.close();
      context.close();
      throw new IllegalStateException(
          String.format(
              "Cannot reach the driver from rank %d: no connection to %s:%d (%s; %s sets the port)",
              rank, address.host(), address.port(), e.getMessage(), Coordinator.PORT),
          e);
    }
  }

  int rank() {
    return rank;
  }

  int timeoutSeconds() {
    return address.timeoutSeconds();
  }

  /** Bytes so far, both ways. */
  long bytes() {
    return bytes.get();
  }

  /** What this rank does now, as "computing step 7"; messages about its silence say it. */
  void phase(String now) {
    phase = now;
    if (System.nanoTime() - beatNanos > TimeUnit.MILLISECONDS.toNanos(BEAT_MILLIS / 4)) {
      beat();
    }
    FaultPoint.pass("rank " + rank + " " + now);
  }

  /** Says where this rank listens; returns when all have. */
  Peers hello(Peer self) {
    byte[] body = TaskBytes.pack(self);
    ByteBuffer message = message(HELLO, body.length);
    message.put(body).rewind();
    byte[] answer = bytes(await(ask(message), "meeting the other ranks"));
    return TaskBytes.unpack(answer, Peers.class);
  }

  /**
   * Tells a round; the answer comes when all ranks have told it: a byte, the code of {@link
   * Exchange.Decision}, and their mean if {@code values} were given.
   *
   * @param values none for an exchange that does not go through the driver
   */
  CompletableFuture<ByteBuffer> round(RoundReport report, float[] values) {
    ByteBuffer message =
        message(ROUND, Math.addExact(RoundReport.BYTES, Math.multiplyExact(4, values.length)));
    report.writeTo(message);
    message.asFloatBuffer().put(values);
    message.rewind();
    return ask(message);
  }

  /** Tells the driver, before the task throws, why this rank gives up. */
  void fail(RankFailure failure) {
    byte[] sentence = failure.sentence().getBytes(StandardCharsets.UTF_8);
    ByteBuffer message = message(FAILURE, Integer.BYTES + sentence.length);
    message.putInt(failure.exit().code()).put(sentence).rewind();
    await(ask(message), "telling its failure");
  }

  /** Tells that this rank's parts of a checkpoint are written, or why not. */
  void written(SegmentTask.Written written) {
    byte[] body = TaskBytes.pack(written);
    ByteBuffer message = message(WRITTEN, body.length);
    message.put(body).rewind();
    await(ask(message), "telling of its checkpoint");
  }

  private void beat() {
    beatNanos = System.nanoTime();
    byte[] words = phase.getBytes(StandardCharsets.UTF_8);
    ByteBuffer message = message(BEAT, words.length);
    message.put(words).rewind();
    // Unanswered beats harm nobody: the driver is the one who counts them.
    CompletableFuture<ByteBuffer> unused = ask(message);
  }

  private ByteBuffer message(byte kind, int length) {
    return ByteBuffer.allocate(Math.addExact(1 + Integer.BYTES, length))
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(kind)
        .putInt(rank);
  }

  private CompletableFuture<ByteBuffer> ask(ByteBuffer message) {
    CompletableFuture<ByteBuffer> answer = new CompletableFuture<>();
    bytes.addAndGet(message.remaining());
    client.sendRpc(
        message,
        new RpcResponseCallback() {
          @Override
          public void onSuccess(ByteBuffer response) {
            bytes.addAndGet(response.remaining());
            // The buffer is lent for this call only.
            ByteBuffer copy = ByteBuffer.allocate(response.remaining());
            copy.put(response).flip();
            answer.complete(copy.order(ByteOrder.LITTLE_ENDIAN));
          }

          @Override
          public void onFailure(Throwable e) {
            answer.completeExceptionally(e);
          }
        });
    return answer;
  }

  /** Waits a little longer than the coordinator, whose sentence knows which rank is missing. */
  ByteBuffer await(CompletableFuture<ByteBuffer> answer, String doing) {
    try {
      return answer.get(address.timeoutSeconds() + 15L, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(
          String.format("Cannot go on with rank %d: interrupted while %s", rank, doing), e);
    } catch (java.util.concurrent.TimeoutException e) {
      throw new IllegalStateException(
          String.format(
              "Cannot go on with rank %d: no answer from the driver for %d s while %s",
              rank, address.timeoutSeconds() + 15, doing),
          e);
    } catch (java.util.concurrent.ExecutionException e) {
      throw new IllegalStateException(
          String.format("Cannot go on with rank %d while %s: %s", rank, doing, Transport.reason(e)),
          e);
    }
  }

  private static byte[] bytes(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(bytes);
    return bytes;
  }

  @Override
  public void close() {
    heart.shutdownNow();
    client.close();
    factory.close();
    context.close();
  }
}
