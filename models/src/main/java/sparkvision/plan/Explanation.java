package sparkvision.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;

/** What a plan consists of, in words and figures. */
final class Explanation {

  private static final int LISTED = 12;
  private static final double MIB = 1 << 20;

  private static final class Group {
    int count;
    double flop;
    long nanos;
  }

  private Explanation() {}

  static String of(Program program, Lowering lowering, int forwardEnd) {
    List<String> lines = new ArrayList<>();
    List<Step> steps = program.steps();
    lines.add(
        String.format(
            Locale.ROOT,
            "%d steps, %d of them forward; %d reorders, %d casts, %d in oneDNN's plain loops%s",
            steps.size(),
            forwardEnd,
            lowering.reorders(),
            lowering.casts(),
            program.plainCalls().size(),
            program.plainCalls().isEmpty()
                ? ""
                : ": " + String.join(", ", new TreeSet<>(program.plainCalls()))));
    kinds(steps, lines);
    memory(program, lines);
    return String.join(System.lineSeparator(), lines);
  }

  private static void kinds(List<Step> steps, List<String> lines) {
    Map<String, Group> groups = new LinkedHashMap<>();
    for (Step step : steps) {
      Group group = groups.computeIfAbsent(step.kind, kind -> new Group());
      group.count++;
      group.flop += step.flop;
      group.nanos += step.nanos == Long.MAX_VALUE ? 0 : step.nanos; // not measured
    }
    long total = groups.values().stream().mapToLong(group -> group.nanos).sum();
    lines.add(
        String.format("%-32s %6s %10s %8s %8s", "kind", "steps", "GFLOP", "best ms", "share"));
    groups.entrySet().stream()
        .sorted(
            Comparator.comparingLong((Map.Entry<String, Group> entry) -> -entry.getValue().nanos))
        .forEach(
            entry ->
                lines.add(
                    String.format(
                        Locale.ROOT,
                        "%-32s %6d %10.2f %8.1f %7.1f%%",
                        entry.getKey(),
                        entry.getValue().count,
                        entry.getValue().flop / 1e9,
                        entry.getValue().nanos / 1e6,
                        total == 0 ? 0 : 100.0 * entry.getValue().nanos / total)));
  }

  private static void memory(Program program, List<String> lines) {
    List<Storage> storages = program.storages();
    int peak = 0;
    long most = 0;
    for (int step = 0; step < program.size(); step++) {
      long bytes = 0;
      for (Storage storage : storages) {
        if (storage.born <= step && storage.dies >= step) {
          bytes += storage.bytes;
        }
      }
      if (bytes > most) {
        most = bytes;
        peak = step;
      }
    }
    int at = peak;
    lines.add(
        String.format(
            Locale.ROOT,
            "memory: %.1f MiB planned, %.1f MiB of it the arena; most in use at step %d: %.1f MiB",
            program.plannedBytes() / MIB,
            program.arenaBytes() / MIB,
            at,
            most / MIB));
    Map<String, Long> holders = new LinkedHashMap<>();
    storages.stream()
        .filter(storage -> storage.born <= at && storage.dies >= at)
        .forEach(storage -> holders.merge(storage.name, storage.bytes, Long::sum));
    holders.entrySet().stream()
        .sorted(Comparator.comparingLong((Map.Entry<String, Long> entry) -> -entry.getValue()))
        .limit(LISTED)
        .forEach(
            entry ->
                lines.add(
                    String.format(
                        Locale.ROOT, "  %8.1f MiB %s", entry.getValue() / MIB, entry.getKey())));
  }
}
