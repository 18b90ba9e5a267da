package sparkvision.train;

import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.client.TransportClientFactory;
import org.apache.spark.network.server.NoOpRpcHandler;
import org.apache.spark.network.util.TransportConf;

/**
 * Averaging through the driver: every rank sends its values to the {@link Coordinator}, which
 * answers all of them with the mean.
 *
 * <p>The driver receives and sends (ranks x parameters) floats a round, so this is for a few ranks
 * and as the reference for other exchanges. It runs on Spark's own transport: {@code
 * spark.authenticate} and {@code spark.network.crypto} hold.
 */
final class DriverExchange implements Exchange {

  /** Where the coordinator of a segment listens. */
  record Address(String host, int port, int timeoutSeconds) implements Serializable {}

  /** Spark setting: the driver's port for the exchange; 0 or none: any free one. */
  static final String PORT = "spark.sparkvision.exchange.port";

  static final byte ROUND = 0;
  static final byte FAILURE = 1;

  private final TransportContext context;
  private final TransportClientFactory factory;
  private final TransportClient client;
  private final Address address;
  private final int rank;

  private DriverExchange(
      TransportContext context,
      TransportClientFactory factory,
      TransportClient client,
      Address address,
      int rank) {
    this.context = context;
    this.factory = factory;
    this.client = client;
    this.address = address;
    this.rank = rank;
  }

  /** Connects from an executor, with the executor's Spark settings. */
  static DriverExchange connect(Address address, int rank) throws InterruptedException {
    SparkEnv env = SparkEnv.get();
    TransportConf conf = Transport.conf(env.conf(), address.timeoutSeconds());
    TransportContext context = new TransportContext(conf, new NoOpRpcHandler());
    TransportClientFactory factory =
        context.createClientFactory(
            Transport.clientBootstraps(conf, env.securityManager(), env.conf()));
    try {
      TransportClient client = factory.createClient(address.host(), address.port());
      return new DriverExchange(context, factory, client, address, rank);
    } catch (IOException | RuntimeException e) {
      factory.close();
      context.close();
      throw new IllegalStateException(
          String.format(
              "Cannot reach the driver from rank %d: no connection to %s:%d (%s; %s sets the port)",
              rank, address.host(), address.port(), e.getMessage(), PORT),
          e);
    }
  }

  @Override
  public void average(float[] values, RoundReport report) {
    ByteBuffer message =
        ByteBuffer.allocate(
                Math.addExact(1 + RoundReport.BYTES, Math.multiplyExact(4, values.length)))
            .order(ByteOrder.LITTLE_ENDIAN);
    message.put(ROUND);
    report.writeTo(message);
    message.asFloatBuffer().put(values);
    message.rewind();
    ByteBuffer mean = send(message, "averaging step " + report.step());
    mean.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
  }

  @Override
  public void fail(RankFailure failure) {
    byte[] sentence = failure.sentence().getBytes(StandardCharsets.UTF_8);
    ByteBuffer message =
        ByteBuffer.allocate(1 + 2 * Integer.BYTES + sentence.length).order(ByteOrder.LITTLE_ENDIAN);
    message.put(FAILURE).putInt(failure.rank()).putInt(failure.exit().code()).put(sentence);
    message.rewind();
    send(message, "telling its failure");
  }

  private ByteBuffer send(ByteBuffer message, String phase) {
    try {
      // The coordinator gives up first: its sentence knows which rank is missing.
      return client.sendRpcSync(message, (address.timeoutSeconds() + 15) * 1000L);
    } catch (RuntimeException e) {
      throw new IllegalStateException(
          String.format("Cannot go on with rank %d after %s: %s", rank, phase, Transport.reason(e)),
          e);
    }
  }

  @Override
  public void close() {
    client.close();
    factory.close();
    context.close();
  }

  /** Bootstraps and settings that both ends share. */
  static final class Transport {

    private Transport() {}

    static TransportConf conf(org.apache.spark.SparkConf spark, int timeoutSeconds) {
      org.apache.spark.SparkConf own = spark.clone();
      // A rank may wait this long for a slower one without a byte on the wire.
      own.set("spark.exchange.io.connectionTimeout", (timeoutSeconds + 30) + "s");
      own.set("spark.exchange.io.connectionCreationTimeout", "30s");
      own.set("spark.exchange.io.numConnectionsPerPeer", "1");
      return org.apache.spark.network.netty.SparkTransportConf.fromSparkConf(
          own, "exchange", 2, scala.Option.empty());
    }

    static List<org.apache.spark.network.client.TransportClientBootstrap> clientBootstraps(
        TransportConf conf,
        org.apache.spark.SecurityManager security,
        org.apache.spark.SparkConf spark) {
      return security.isAuthenticationEnabled()
          ? List.of(
              new org.apache.spark.network.crypto.AuthClientBootstrap(
                  conf, spark.getAppId(), security))
          : List.of();
    }

    static List<org.apache.spark.network.server.TransportServerBootstrap> serverBootstraps(
        TransportConf conf, org.apache.spark.SecurityManager security) {
      return security.isAuthenticationEnabled()
          ? List.of(new org.apache.spark.network.crypto.AuthServerBootstrap(conf, security))
          : List.of();
    }

    /** The sentence in a transport's or Spark's error: ours if there is one, else the cause. */
    static String reason(Throwable error) {
      Throwable root = error;
      while (root.getCause() != null) {
        root = root.getCause();
      }
      String message = String.valueOf(root.getMessage());
      int sentence = message.indexOf("Cannot ");
      if (sentence >= 0) {
        return message.substring(sentence).lines().findFirst().orElseThrow();
      }
      return message
          .lines()
          .filter(line -> line.contains("Failure") || line.contains("Reason:"))
          .findFirst()
          .orElse(message.lines().findFirst().orElse(""));
    }
  }
}
