package sparkvision.train;

import java.util.List;
import java.util.OptionalInt;

/**
 * A model of what one round of averaging costs between {@code N} ranks, each a machine of its own.
 *
 * <pre>
 *   direct   per rank b = 2 (N - 1) / N M bytes each way, in k messages (reduce-scatter, all-gather)
 *            max(b / link, b rankByte + k message) + 2 roundTrip
 *   driver   2 N M bytes through one machine, N M in before N M go out
 *            2 N M max(1 / link, driverByte) + roundTrip
 * </pre>
 *
 * where M are the bytes of the vector. Ranks that share a machine's cores (N above {@code cores})
 * take turns at what they compute.
 *
 * @param linkBytesPerSecond of each machine's network, each way
 * @param roundTripSeconds between two machines
 * @param rankByteSeconds what a byte that is sent, and one that is received and summed, cost a rank
 * @param messageSeconds what a message each way costs a rank besides its bytes
 * @param driverByteSeconds what a byte costs the driver
 * @param cores that all ranks share; very many if each has its own machine
 */
public record ExchangeCosts(
    double linkBytesPerSecond,
    double roundTripSeconds,
    double rankByteSeconds,
    double messageSeconds,
    double driverByteSeconds,
    int cores) {

  /** Nobody trains on more. */
  private static final int MOST_RANKS = 1 << 14;

  /** Machines that compute in no time: a lower bound. */
  static ExchangeCosts ofNetwork(double linkBytesPerSecond, double roundTripSeconds) {
    return new ExchangeCosts(linkBytesPerSecond, roundTripSeconds, 0, 0, 0, Integer.MAX_VALUE);
  }

  /**
   * The three costs of processes that explain {@code measured} best, all of it on one machine of
   * {@code cores} processors, whose network is taken to cost nothing else: least squares of
   * relative errors.
   *
   * @param measured two rounds of {@code direct} at least, of different sizes, and one of {@code
   *     driver}
   */
  public static ExchangeCosts fit(List<ExchangeTrial.Measured> measured, int cores) {
    double bb = 0;
    double bk = 0;
    double kk = 0;
    double b1 = 0;
    double k1 = 0;
    double dd = 0;
    double d1 = 0;
    for (ExchangeTrial.Measured point : measured) {
      double bytes = point.bytes();
      int ranks = point.ranks();
      if (point.exchange() == TrainConfig.Exchanges.DRIVER) {
        double d = driverBytes(bytes, ranks) / point.seconds();
        dd += d * d;
        d1 += d;
      } else {
        double crowd = Math.max(1, (double) ranks / cores) / point.seconds();
        double b = rankBytes(bytes, ranks) * crowd;
        double k = messages(bytes, ranks) * crowd;
        bb += b * b;
        bk += b * k;
        kk += k * k;
        b1 += b;
        k1 += k;
      }
    }
    double determinant = bb * kk - bk * bk;
    return new ExchangeCosts(
        Double.POSITIVE_INFINITY,
        0,
        (b1 * kk - k1 * bk) / determinant,
        (k1 * bb - b1 * bk) / determinant,
        d1 / dd,
        cores);
  }

  /** The same processes on machines of their own, on a network. */
  public ExchangeCosts on(double linkBytesPerSecond, double roundTripSeconds) {
    return new ExchangeCosts(
        linkBytesPerSecond,
        roundTripSeconds,
        rankByteSeconds,
        messageSeconds,
        driverByteSeconds,
        Integer.MAX_VALUE);
  }

  /**
   * Seconds of one round.
   *
   * @param bytes of one rank's vector
   */
  public double seconds(TrainConfig.Exchanges exchange, double bytes, int ranks) {
    if (ranks == 1) {
      return 0;
    }
    double crowd = Math.max(1, (double) ranks / cores);
    return switch (exchange) {
      case DIRECT ->
          Math.max(
                  rankBytes(bytes, ranks) / linkBytesPerSecond,
                  crowd
                      * (rankBytes(bytes, ranks) * rankByteSeconds
                          + messages(bytes, ranks) * messageSeconds))
              + 2 * roundTripSeconds;
      case DRIVER ->
          driverBytes(bytes, ranks) * Math.max(1 / linkBytesPerSecond, driverByteSeconds)
              + roundTripSeconds;
    };
  }

  /**
   * The least number of ranks whose round takes longer than the steps between two rounds, so that
   * they exchange more than they train.
   *
   * @param trainSeconds of the steps between two rounds
   */
  public OptionalInt stopsPaying(
      TrainConfig.Exchanges exchange, double bytes, double trainSeconds) {
    for (int ranks = 2; ranks <= MOST_RANKS; ranks++) {
      if (seconds(exchange, bytes, ranks) > trainSeconds) {
        return OptionalInt.of(ranks);
      }
    }
    return OptionalInt.empty();
  }

  /** Bytes that a rank of {@code direct} sends, and receives, in a round. */
  private static double rankBytes(double bytes, int ranks) {
    return 2 * bytes * (ranks - 1) / ranks;
  }

  private static double messages(double bytes, int ranks) {
    return 2 * (ranks - 1) * Math.ceil(bytes / ranks / DirectExchange.CHUNK_BYTES);
  }

  private static double driverBytes(double bytes, int ranks) {
    return 2 * ranks * bytes;
  }
}
