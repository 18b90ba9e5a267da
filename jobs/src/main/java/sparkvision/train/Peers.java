package sparkvision.train;

import java.io.Closeable;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import sparkvision.DaemonThreads;

/**
 * Plain sockets from each executor to each other: whether names resolve, ports are open, and how
 * fast bytes go.
 *
 * <p>What is sent: a length, so many bytes; what comes back: the length.
 */
final class Peers implements Closeable {

  private static final int TIMEOUT_MILLIS = 10_000;
  private static final int BULK = 8 << 20;

  private final ServerSocket server;
  private final ExecutorService threads =
      Executors.newCachedThreadPool(DaemonThreads.named("preflight-peer"));

  /**
   * Listens on {@code host}, as Spark calls this executor's machine.
   *
   * @throws IOException if no port can be had
   */
  Peers(String host) throws IOException {
    server = new ServerSocket(0, 64, InetAddress.getByName(host));
    threads.execute(this::listen);
  }

  int port() {
    return server.getLocalPort();
  }

  private void listen() {
    while (!server.isClosed()) {
      try {
        Socket socket = server.accept();
        threads.execute(() -> answer(socket));
      } catch (IOException e) {
        return; // closed
      }
    }
  }

  private static void answer(Socket socket) {
    try (socket) {
      socket.setSoTimeout(TIMEOUT_MILLIS);
      DataInputStream in = new DataInputStream(socket.getInputStream());
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      byte[] buffer = new byte[1 << 16];
      while (true) {
        int length = in.readInt();
        for (int left = length; left > 0; ) {
          int read = in.read(buffer, 0, Math.min(left, buffer.length));
          if (read < 0) {
            return;
          }
          left -= read;
        }
        out.writeInt(length);
      }
    } catch (IOException e) {
      // The other end has hung up, which is how it says that it is done.
    }
  }

  /** Tries every address, in order; the sentence of each that fails, by its number. */
  static Map<Integer, String> unreachable(String[] addresses) {
    Map<Integer, String> failures = new LinkedHashMap<>();
    for (int i = 0; i < addresses.length; i++) {
      try {
        send(addresses[i], 1);
      } catch (IOException e) {
        failures.put(i, String.format("no answer from %s (%s)", addresses[i], e.getMessage()));
      }
    }
    return failures;
  }

  /** Bytes a second to {@code address}. */
  static double bytesPerSecond(String address) throws IOException {
    return BULK / send(address, BULK);
  }

  /** Seconds for one byte to {@code address} and an answer. */
  static double roundTripSeconds(String address) throws IOException {
    return send(address, 1);
  }

  /** Connects, and takes the time of the second exchange, when the connection is warm. */
  private static double send(String address, int bytes) throws IOException {
    int colon = address.lastIndexOf(':');
    try (Socket socket = new Socket()) {
      socket.setTcpNoDelay(true);
      socket.setSoTimeout(TIMEOUT_MILLIS);
      socket.connect(
          new InetSocketAddress(
              address.substring(0, colon), Integer.parseInt(address.substring(colon + 1))),
          TIMEOUT_MILLIS);
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      DataInputStream in = new DataInputStream(socket.getInputStream());
      byte[] message = new byte[bytes];
      long started = 0;
      for (int i = 0; i < 2; i++) {
        started = System.nanoTime();
        out.writeInt(bytes);
        out.write(message);
        if (in.readInt() != bytes) {
          throw new IOException("another program listens there");
        }
      }
      return (System.nanoTime() - started) / 1e9;
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
    threads.shutdownNow();
  }
}
