package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import sparkvision.train.TrainConfig.Exchanges;

/** The arithmetic of the model. */
class ExchangeCostsTest {

  private static final double MB = 1 << 20;

  @Test
  void aNetworkAloneIsALowerBound() {
    ExchangeCosts costs = ExchangeCosts.ofNetwork(1e9, 0.001);
    // Of 32 MB, four ranks send 3 / 4 twice; the driver takes in and gives out four times all.
    assertThat(costs.seconds(Exchanges.DIRECT, 32e6, 4)).isCloseTo(0.048 + 0.002, within(1e-12));
    assertThat(costs.seconds(Exchanges.DRIVER, 32e6, 4)).isCloseTo(0.256 + 0.001, within(1e-12));
    for (Exchanges exchange : Exchanges.values()) {
      assertThat(costs.seconds(exchange, 32e6, 1)).isZero();
    }
  }

  @Test
  void theSlowerOfNetworkAndProcessDecides() {
    ExchangeCosts slowProcess = new ExchangeCosts(1e9, 0, 4e-9, 1e-4, 3e-9, 64);
    // 1.5 MB each way, and three peers twice.
    assertThat(slowProcess.seconds(Exchanges.DIRECT, MB, 4))
        .isCloseTo(1.5 * MB * 4e-9 + 6e-4, within(1e-12));
    assertThat(slowProcess.seconds(Exchanges.DRIVER, MB, 4))
        .isCloseTo(8 * MB * 3e-9, within(1e-12));
    ExchangeCosts slowNetwork = new ExchangeCosts(1e8, 0, 4e-9, 1e-4, 3e-9, 64);
    assertThat(slowNetwork.seconds(Exchanges.DIRECT, MB, 4))
        .isCloseTo(1.5 * MB * 1e-8, within(1e-12));
    assertThat(slowNetwork.seconds(Exchanges.DRIVER, MB, 4))
        .isCloseTo(8 * MB * 1e-8, within(1e-12));
  }

  @Test
  void ranksOnOneMachineTakeTurns() {
    ExchangeCosts two = new ExchangeCosts(1e12, 0, 1e-9, 0, 1e-9, 2);
    ExchangeCosts many = new ExchangeCosts(1e12, 0, 1e-9, 0, 1e-9, 8);
    assertThat(two.seconds(Exchanges.DIRECT, MB, 8))
        .isCloseTo(4 * many.seconds(Exchanges.DIRECT, MB, 8), within(1e-12));
  }

  @Test
  void aFitFindsWhatMadeTheMeasurements() {
    ExchangeCosts truth = new ExchangeCosts(Double.POSITIVE_INFINITY, 2e-3, 1.25e-9, 0, 3.5e-9, 2);
    List<ExchangeTrial.Measured> measured = new ArrayList<>();
    for (int parameters : new int[] {10_000, 3_000_000, 26_000_000}) {
      for (int ranks : new int[] {2, 4}) {
        for (Exchanges exchange : Exchanges.values()) {
          double seconds = truth.seconds(exchange, 4.0 * parameters, ranks);
          measured.add(new ExchangeTrial.Measured(exchange, ranks, parameters, seconds, 0, 0));
        }
      }
    }
    ExchangeCosts found = ExchangeCosts.fit(measured, 2);
    assertThat(found.rankByteSeconds()).isCloseTo(1.25e-9, within(1e-14));
    assertThat(found.roundTripSeconds()).isCloseTo(2e-3, within(1e-9));
  }

  @Test
  void aFitFindsNoCostBelowNothing() {
    List<ExchangeTrial.Measured> measured =
        List.of(
            new ExchangeTrial.Measured(Exchanges.DIRECT, 2, 1_000_000, 0.2, 0, 0),
            new ExchangeTrial.Measured(Exchanges.DIRECT, 2, 2_000_000, 0.1, 0, 0),
            new ExchangeTrial.Measured(Exchanges.DRIVER, 2, 2_000_000, 0.16, 0, 0));
    ExchangeCosts found = ExchangeCosts.fit(measured, 2);
    assertThat(found.rankByteSeconds()).isZero();
    assertThat(found.roundTripSeconds()).isBetween(0.05, 0.1);
    assertThat(found.driverByteSeconds()).isCloseTo(5e-9, within(1e-14));
  }

  @Test
  void anExchangeStopsPayingWhereItsRoundIsLongerThanTheSteps() {
    ExchangeCosts costs = ExchangeCosts.ofNetwork(1e9, 0);
    // 2 N x 0.1 s of the driver pass 4.1 s at 21 ranks; direct stays below 0.2 s.
    assertThat(costs.stopsPaying(Exchanges.DRIVER, 1e8, 4.1)).hasValue(21);
    assertThat(costs.stopsPaying(Exchanges.DIRECT, 1e8, 4.1)).isEmpty();
    // Messages grow with the ranks even when bytes do not.
    ExchangeCosts chatty = new ExchangeCosts(1e9, 0, 0, 1e-3, 0, Integer.MAX_VALUE);
    assertThat(chatty.stopsPaying(Exchanges.DIRECT, 1000, 0.0195)).hasValue(11);
  }
}
