package sparkvision.data;

import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.util.LongAccumulator;

/** The second pass: which sample goes where, and a task's writing of one file. */
final class ShardWriter {

  private static final long MAX_BLOCK_BYTES = 1L << 30;

  private ShardWriter() {}

  /** A good item on its way into a block. */
  record Entry(Item item, int crc) implements Serializable {}

  /** A file to be written. */
  record FilePlan(int index, int samplesPerBlock, List<Entry> entries) implements Serializable {
    String name() {
      return String.format("part-%05d.parquet", index);
    }
  }

  /**
   * A file that was written, under a name of its own attempt.
   *
   * @param attempt path of what was written
   */
  record Written(String attempt, ShardManifest.ShardFile file, SampleStatistics statistics)
      implements Serializable {}

  /**
   * Lays the good items down in a random order, so that every block mixes classes, and deals the
   * blocks out to {@code files} files, as evenly as can be.
   */
  static List<FilePlan> plan(
      List<Item> items, Probe probe, int samplesPerBlock, int files, long seed) {
    List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      if (probe.problems[i] == null) {
        entries.add(new Entry(items.get(i), probe.crcs[i]));
      }
    }
    int[] order = new int[entries.size()];
    Arrays.setAll(order, i -> i);
    new SplitMix(seed).shuffle(order, 0, order.length);

    long blocks = blocks(order.length, samplesPerBlock);
    List<FilePlan> plans = new ArrayList<>();
    for (int file = 0; file < files; file++) {
      int from = (int) (file * blocks / files * samplesPerBlock);
      int to = (int) Math.min(order.length, (file + 1) * blocks / files * samplesPerBlock);
      List<Entry> mine = new ArrayList<>(to - from);
      for (int i = from; i < to; i++) {
        mine.add(entries.get(order[i]));
      }
      plans.add(new FilePlan(file, samplesPerBlock, mine));
    }
    return plans;
  }

  static long blocks(long samples, int samplesPerBlock) {
    return (samples + samplesPerBlock - 1) / samplesPerBlock;
  }

  /**
   * Writes one file into {@code temporary}. Its bytes are a pure function of the plan; its name is
   * not, so that another attempt at the same plan is not in the way.
   */
  static Written write(
      Configuration hadoop, Reading reading, String temporary, FilePlan plan, LongAccumulator done)
      throws IOException {
    Path attempt = new Path(temporary, plan.name() + "." + UUID.randomUUID());
    FileSystem storage = Storage.of(attempt, hadoop);
    SampleStatistics statistics = new SampleStatistics(reading.task(), reading.classes());
    ShardManifest.ShardFile file =
        write(hadoop, reading, Storage.create(storage, attempt), plan, statistics, done);
    return new Written(attempt.toString(), file, statistics);
  }

  /** Writes one file to {@code out}, and closes it. */
  static ShardManifest.ShardFile write(
      Configuration hadoop,
      Reading reading,
      OutputStream out,
      FilePlan plan,
      SampleStatistics statistics,
      LongAccumulator done)
      throws IOException {
    try (ParquetBlocks blocks = new ParquetBlocks(reading.task(), out)) {
      List<Entry> entries = plan.entries();
      for (int from = 0; from < entries.size(); from += plan.samplesPerBlock()) {
        int to = Math.min(entries.size(), from + plan.samplesPerBlock());
        blocks.append(block(hadoop, reading, entries.subList(from, to), statistics, done));
      }
      return blocks.finish(plan.name());
    }
  }

  private static List<Sample> block(
      Configuration hadoop,
      Reading reading,
      List<Entry> entries,
      SampleStatistics statistics,
      LongAccumulator done)
      throws IOException {
    List<Sample> samples = new ArrayList<>(entries.size());
    long bytes = 0;
    for (Entry entry : entries) {
      Sample sample = reading.form().of(unchanged(hadoop, reading, entry));
      bytes += sample.image().length + sample.mask().length;
      if (bytes > MAX_BLOCK_BYTES) {
        throw new DataException(
            String.format(
                "Cannot write a block of %d samples: they have more than 1 GiB; choose a smaller"
                    + " samples-per-block",
                entries.size()));
      }
      statistics.add(sample);
      samples.add(sample);
      done.add(1);
    }
    return samples;
  }

  private static Sample unchanged(Configuration hadoop, Reading reading, Entry entry)
      throws IOException {
    DataException cause = null;
    try {
      Sample sample = reading.read(hadoop, entry.item());
      if (Probe.crc32c(sample) == entry.crc()) {
        return sample;
      }
    } catch (DataException e) {
      cause = e;
    }
    throw new DataException(
        String.format(
            "Cannot shard %s of %s/%s: it changed while the job ran",
            entry.item().id(), reading.root(), entry.item().path()),
        cause);
  }
}
