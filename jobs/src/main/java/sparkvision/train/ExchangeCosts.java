package sparkvision.train;

import java.util.List;
import java.util.OptionalInt;

/**
 * A model of what one round of averaging costs between {@code N} ranks, each a machine of its own.
 *
 * <pre>
 *   direct   per rank b = 2 (N - 1) / N M bytes each way (reduce-scatter, all-gather), to N - 1 peers
 *            max(b / link, b rankByte + 2 (N - 1) message) + 2 roundTrip
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
 * @param messageSeconds what a peer costs a rank, each of the two times, besides bytes
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
   * Costs of processes that explain {@code measured} best, all of it on one machine of {@code
   * cores} processors, whose network is taken to cost nothing else: least squares of relative
   * errors, none below 0. So few ranks say nothing of {@code messageSeconds}, which is left 0.
   *
   * @param measured two rounds of {@code direct} at least, of different sizes, and one of {@code
   *     driver}
   */
  public static ExchangeCosts fit(List<ExchangeTrial.Measured> measured, int cores) {
    double bb = 0;
    double bt = 0;
    double tt = 0;
    double b1 = 0;
    double t1 = 0;
    double dd = 0;
    double d1 = 0;
    for (ExchangeTrial.Measured point : measured) {
      int ranks = point.ranks();
      if (point.exchange() == TrainConfig.Exchanges.DRIVER) {
        double d = driverBytes(point.bytes(), ranks) / point.seconds();
        dd += d * d;
        d1 += d;
      } else {
        double b = rankBytes(point.bytes(), ranks) * crowd(ranks, cores) / point.seconds();
        double t = 2 / point.seconds();
        bb += b * b;
        bt += b * t;
        tt += t * t;
        b1 += b;
        t1 += t;
      }
    }
    double determinant = bb * tt - bt * bt;
    double rankByte = (b1 * tt - t1 * bt) / determinant;
    double roundTrip = (t1 * bb - b1 * bt) / determinant;
    if (rankByte < 0 || roundTrip < 0) {
      roundTrip = rankByte < 0 ? t1 / tt : 0;
      rankByte = rankByte < 0 ? 0 : b1 / bb;
    }
    return new ExchangeCosts(Double.POSITIVE_INFINITY, roundTrip, rankByte, 0, d1 / dd, cores);
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
    return switch (exchange) {
      case DIRECT ->
          Math.max(
                  rankBytes(bytes, ranks) / linkBytesPerSecond,
                  crowd(ranks, cores)
                      * (rankBytes(bytes, ranks) * rankByteSeconds
                          + 2 * (ranks - 1) * messageSeconds))
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

  private static double crowd(int ranks, int cores) {
    return Math.max(1, (double) ranks / cores);
  }

  private static double driverBytes(double bytes, int ranks) {
    return 2 * ranks * bytes;
  }
}
