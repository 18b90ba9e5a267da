package sparkvision.data;

import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.util.LongAccumulator;

/** Both passes over some of the items, writing to nowhere, with a stopwatch. */
final class Trial {

  /** Items that are tried, evenly spread over all. */
  private static final int ITEMS = 512;

  private static final int BLOCK = 32;

  private Trial() {}

  /**
   * What was found.
   *
   * @param bytes of the files that the good ones would make
   * @param seconds of one slot's time
   */
  record Result(long tried, long bad, long bytes, double seconds) implements Serializable {
    private Result plus(Result other) {
      return new Result(
          tried + other.tried, bad + other.bad, bytes + other.bytes, seconds + other.seconds);
    }
  }

  static Result run(SparkPass pass, Reading reading, List<Item> items) {
    int tried = Math.min(ITEMS, items.size());
    int tasks = Math.min(tried, pass.slots());
    List<ArrayList<Item>> parts = new ArrayList<>();
    for (int task = 0; task < tasks; task++) {
      parts.add(new ArrayList<>());
    }
    for (int i = 0; i < tried; i++) {
      parts.get(i % tasks).add(items.get((int) ((long) i * items.size() / tried)));
    }
    return pass
        .run(
            "try",
            tried,
            parts.stream().map(part -> part.toArray(Item[]::new)).toList(),
            Item[].class,
            Result.class,
            (hadoop, part, done) -> part(hadoop, reading, List.of(part), done))
        .stream()
        .reduce(new Result(0, 0, 0, 0), Result::plus);
  }

  private static Result part(
      Configuration hadoop, Reading reading, List<Item> items, LongAccumulator done)
      throws IOException {
    both(hadoop, reading, items.subList(0, 1), done); // loads classes and native libraries
    long start = System.nanoTime();
    Result result = both(hadoop, reading, items, done);
    return new Result(
        result.tried(), result.bad(), result.bytes(), (System.nanoTime() - start) * 1e-9);
  }

  private static Result both(
      Configuration hadoop, Reading reading, List<Item> items, LongAccumulator done)
      throws IOException {
    Probe.Part probe = Probe.part(hadoop, reading, items, done);
    List<ShardWriter.Entry> good = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      if (!probe.problems.containsKey(i)) {
        good.add(new ShardWriter.Entry(items.get(i), probe.crcs[i]));
      }
    }
    ShardManifest.ShardFile file =
        ShardWriter.write(
            hadoop,
            reading,
            OutputStream.nullOutputStream(),
            new ShardWriter.FilePlan(0, BLOCK, good),
            new SampleStatistics(reading.task(), reading.classes()),
            done);
    return new Result(items.size(), probe.problems.size(), file.length(), 0);
  }
}
