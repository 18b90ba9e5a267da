package sparkvision.train;

import io.aeron.FragmentAssembler;
import java.io.IOException;
import org.agrona.concurrent.SleepingIdleStrategy;
import org.nd4j.parameterserver.distributed.conf.VoidConfiguration;
import org.nd4j.parameterserver.distributed.v2.transport.impl.AeronUdpTransport;

/**
 * DL4J's transport, whose threads end with it: its own poll a closed subscription a million times a
 * second until the process ends.
 */
final class UpdatesTransport extends AeronUdpTransport {

  private static final long IDLE_NANOS = 1000; // as DL4J's

  /** The root. */
  UpdatesTransport(String host, int port, VoidConfiguration configuration) {
    super(host, port, configuration);
  }

  UpdatesTransport(
      String host, int port, String rootHost, int rootPort, VoidConfiguration configuration) {
    super(host, port, rootHost, rootPort, configuration);
  }

  @Override
  protected void createSubscription() {
    ownSubscription = aeron.addSubscription(id(), voidConfiguration.getStreamId());
    messageHandler = new FragmentAssembler(this::jointMessageHandler);
    start(SUBSCRIPTION_THREADS, this::poll);
    start(MESSAGE_THREADS, () -> processMessage(messageQueue.take()));
    start(SENDER_THREADS, () -> redirectedPropagateArrayMessage(propagationQueue.take()));
  }

  private void poll() {
    SleepingIdleStrategy idle = new SleepingIdleStrategy(IDLE_NANOS);
    while (!shutdownFlag.get()) {
      idle.idle(ownSubscription.poll(messageHandler, 1024));
    }
  }

  /** What a thread repeats. */
  private interface Work {
    void once() throws IOException, InterruptedException;
  }

  private void start(int threads, Work work) {
    for (int i = 0; i < threads; i++) {
      messagesExecutorService.execute(
          () -> {
            try {
              while (!shutdownFlag.get()) {
                work.once();
              }
            } catch (InterruptedException e) {
              Thread.currentThread().interrupt();
            } catch (IOException e) {
              throw new IllegalStateException("Cannot send an update: " + e, e);
            } catch (RuntimeException e) {
              // Aeron may close what a thread is just using; uncaught, it would end the executor.
              if (!shutdownFlag.get()) {
                throw e;
              }
            }
          });
    }
  }

  @Override
  public synchronized void shutdown() {
    super.shutdown();
    messagesExecutorService.shutdownNow();
    executorService.shutdownNow();
  }

  @Override
  public void close() {
    shutdown();
  }
}
