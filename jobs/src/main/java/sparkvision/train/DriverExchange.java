package sparkvision.train;

import java.nio.ByteBuffer;

/**
 * Averaging through the driver: every rank sends its values to the {@link Coordinator}, which
 * answers all of them with the mean.
 *
 * <p>The driver receives and sends (ranks x parameters) floats a round, so this is for a few ranks
 * and as the reference for other exchanges.
 */
final class DriverExchange implements Exchange {

  private final DriverLink link;

  private DriverExchange(DriverLink link) {
    this.link = link;
  }

  /** Says hello over {@code link}, which stays open when this closes. */
  static DriverExchange open(DriverLink link) {
    link.hello(DriverLink.Peer.here(0));
    return new DriverExchange(link);
  }

  @Override
  public Decision average(float[] values, RoundReport report) {
    String doing = "averaging step " + report.step();
    link.phase(doing);
    ByteBuffer answer = link.await(link.round(report, values), doing);
    Decision decision = Decision.of(answer.get());
    answer.asFloatBuffer().get(values);
    return decision;
  }

  @Override
  public DriverLink driver() {
    return link;
  }

  @Override
  public void close() {}
}
