package sparkvision.train;

import java.net.BindException;
import java.util.List;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.client.TransportClientBootstrap;
import org.apache.spark.network.client.TransportClientFactory;
import org.apache.spark.network.crypto.AuthClientBootstrap;
import org.apache.spark.network.crypto.AuthServerBootstrap;
import org.apache.spark.network.netty.SparkTransportConf;
import org.apache.spark.network.server.RpcHandler;
import org.apache.spark.network.server.TransportServer;
import org.apache.spark.network.server.TransportServerBootstrap;
import org.apache.spark.network.util.TransportConf;
import scala.Option;

/**
 * Spark's own transport as the exchanges use it: with {@code spark.authenticate}, who does not know
 * the application's secret is refused; with {@code spark.network.crypto.enabled} bytes are
 * encrypted.
 */
final class Transport {

  private final SparkConf spark;
  private final SecurityManager security;
  private final TransportConf conf;

  /**
   * @param timeoutSeconds how long a rank may wait for another without a byte on the wire
   */
  Transport(SparkConf spark, SecurityManager security, int timeoutSeconds) {
    this.spark = spark;
    this.security = security;
    SparkConf own = spark.clone();
    own.set("spark.exchange.io.connectionTimeout", (timeoutSeconds + 30) + "s");
    own.set("spark.exchange.io.connectionCreationTimeout", "30s");
    own.set("spark.exchange.io.numConnectionsPerPeer", "1");
    this.conf = SparkTransportConf.fromSparkConf(own, "exchange", 2, Option.empty());
  }

  /** With the settings and the secret of this driver or executor. */
  static Transport ofThisProcess(int timeoutSeconds) {
    SparkEnv env = SparkEnv.get();
    return new Transport(env.conf(), env.securityManager(), timeoutSeconds);
  }

  TransportContext context(RpcHandler handler) {
    return new TransportContext(conf, handler);
  }

  TransportClientFactory clients(TransportContext context) {
    List<TransportClientBootstrap> bootstraps =
        security.isAuthenticationEnabled()
            ? List.of(new AuthClientBootstrap(conf, spark.getAppId(), security))
            : List.of();
    return context.createClientFactory(bootstraps);
  }

  /**
   * Listens on {@code host}, at the port of {@code key} or, where it is taken, one of the next
   * {@code spark.port.maxRetries}; without that setting at any free port.
   */
  TransportServer serve(TransportContext context, String host, String key) {
    List<TransportServerBootstrap> bootstraps =
        security.isAuthenticationEnabled()
            ? List.of(new AuthServerBootstrap(conf, security))
            : List.of();
    int first = spark.getInt(key, 0);
    int last = first == 0 ? 0 : first + spark.getInt("spark.port.maxRetries", 16);
    for (int port = first; ; port++) {
      try {
        return context.createServer(host, port, bootstraps);
      } catch (Exception e) {
        if (!(root(e) instanceof BindException) || port == last) {
          throw new IllegalStateException(
              String.format(
                  "Cannot listen on %s, port %d: %s (%s sets the port)",
                  host, port, root(e).getMessage(), key),
              e);
        }
      }
    }
  }

  /** The sentence in a transport's or Spark's error: ours if there is one, else the cause. */
  static String reason(Throwable error) {
    String message = String.valueOf(root(error).getMessage());
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

  private static Throwable root(Throwable error) {
    Throwable root = error;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    return root;
  }
}
