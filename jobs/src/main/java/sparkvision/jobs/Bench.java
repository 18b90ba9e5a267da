package sparkvision.jobs;

import java.util.List;
import picocli.CommandLine.Command;

/** How fast this machine is: {@code sparkvision bench WHAT ...}. */
@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    description = "Measures how fast this machine computes.",
    synopsisSubcommandLabel = "WHAT",
    commandListHeading = "%nWhat:%n")
final class Bench {

  /** Every benchmark. */
  static List<ConfJob<?>> jobs() {
    return List.of(
        new BenchStep(),
        new BenchAttention(),
        new BenchScan(),
        new BenchVim(),
        new BenchData(),
        new BenchCoco(),
        new BenchCheckpoint(),
        new BenchExchange());
  }
}
