package sparkvision.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The arithmetic, and sockets. */
class PreflightTest {

  private static final long MB = 1 << 20;

  @Test
  void fivePercentAreMet() {
    // One round of 0.19 s to a second of steps: 0.19 / (0.19 + 3.61) is 5 %.
    assertThat(Preflight.everyForShare(0.19, 1)).isEqualTo(4);
    assertThat(Preflight.everyForShare(0.19, 3.61)).isEqualTo(1);
    assertThat(Preflight.everyForShare(0.19, 3.60)).isEqualTo(2);
    assertThat(Preflight.everyForShare(0, 1)).isEqualTo(1);
    for (double seconds : new double[] {0.003, 0.7, 41}) {
      long every = Preflight.everyForShare(seconds, 0.25);
      assertThat(seconds / (seconds + every * 0.25)).isLessThanOrEqualTo(0.05);
      assertThat(seconds / (seconds + (every - 1) * 0.25)).isGreaterThan(0.05);
    }
  }

  @Test
  void settingsThatAreAdvisedFitWhatTheyAreAdvisedFor() {
    MemoryBudget.Need need = new MemoryBudget.Need(300 * MB, 346 * MB, 2, 5000 * MB);
    MemoryBudget poor = new MemoryBudget(1024 * MB, 1024 * MB, 4096 * MB, 384 * MB, 2);
    assertThat(poor.heapFits(need)).isFalse();
    assertThat(poor.tensorsFit(need)).isFalse();
    assertThat(poor.outgrowsContainer()).isTrue();

    MemoryBudget advised = parsed(poor.settings(need), 2);
    assertThat(advised.heapFits(need)).isTrue();
    assertThat(advised.tensorsFit(need)).isTrue();
    assertThat(advised.outgrowsContainer()).isFalse();
    assertThat(advised.stopsEarly()).isFalse();
  }

  @Test
  void aLimitBelowHeapAndTensorsStopsEarly() {
    assertThat(new MemoryBudget(2 * MB, 2 * MB, 3 * MB, 0, 1).stopsEarly()).isTrue();
    assertThat(new MemoryBudget(2 * MB, 2 * MB, 4 * MB, 0, 1).stopsEarly()).isFalse();
    assertThat(new MemoryBudget(2 * MB, 2 * MB, 0, 0, 1).stopsEarly()).isFalse();
  }

  private static MemoryBudget parsed(String settings, int ranks) {
    List<Long> sizes =
        Arrays.stream(
                new String[] {
                  "executor.memory=", "maxbytes=", "maxphysicalbytes=", "memoryOverhead="
                })
            .map(key -> Pattern.compile(Pattern.quote(key) + "(\\d+)m").matcher(settings))
            .peek(Matcher::find)
            .map(matcher -> Long.parseLong(matcher.group(1)) * MB)
            .toList();
    return new MemoryBudget(sizes.get(0), sizes.get(1), sizes.get(2), sizes.get(3), ranks);
  }

  @Test
  void aClosedPortIsNamedAndAnOpenOneMeasured() throws Exception {
    String closed;
    try (Peers peers = new Peers("127.0.0.1")) {
      closed = "127.0.0.1:" + peers.port();
    }
    try (Peers peers = new Peers("127.0.0.1")) {
      String open = "127.0.0.1:" + peers.port();
      assertThat(Peers.unreachable(new String[] {open, closed, "no.such.host.invalid:1"}))
          .hasSize(2)
          .hasEntrySatisfying(1, s -> assertThat(s).contains(closed))
          .hasEntrySatisfying(2, s -> assertThat(s).contains("no.such.host.invalid:1"));
      assertThat(Peers.bytesPerSecond(open)).isGreaterThan(1e6);
      assertThat(Peers.roundTripSeconds(open)).isBetween(0.0, 5.0);
    }
  }
}
