package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import picocli.CommandLine.Command;
import sparkvision.data.BatchLoader;
import sparkvision.data.Course;
import sparkvision.data.Sample;
import sparkvision.data.SampleOrder;
import sparkvision.data.ShardSet;

/** A shard set -> which samples a rank sees when. */
@Command(
    name = "sample-order",
    mixinStandardHelpOptions = true,
    description = "Prints which samples a rank sees in which step of training.")
final class PrintSampleOrder extends ConfJob<PrintSampleOrder.Settings> {

  /** {@code conf/sample-order.conf}. */
  record Settings(
      String input,
      int ranks,
      int rank,
      int epoch,
      int firstStep,
      Optional<Integer> lastStep,
      int batchSize,
      int accumulateSteps,
      long seed,
      int windowBlocks,
      int repeats) {

    Settings {
      require(ranks >= 1, "ranks", ranks, "must be at least 1");
      require(rank >= 0 && rank < ranks, "rank", rank, "must be from 0 to ranks - 1");
      require(epoch >= 0, "epoch", epoch, "must be at least 0");
      require(firstStep >= 0, "first-step", firstStep, "must be at least 0");
      require(batchSize >= 1, "batch-size", batchSize, "must be at least 1");
      require(accumulateSteps >= 1, "accumulate-steps", accumulateSteps, "must be at least 1");
    }
  }

  /**
   * A sample in its turn.
   *
   * @param step of the epoch
   * @param position in the epoch's order, over all ranks
   * @param sample its number in the set
   */
  record Turn(long step, int position, int sample, String id) {}

  @Override
  String name() {
    return "sample-order";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) {
    System.out.println("step\tposition\tsample\tid");
    for (Turn turn : turns(new Configuration(), settings)) {
      System.out.printf("%d\t%d\t%d\t%s%n", turn.step(), turn.position(), turn.sample(), turn.id());
    }
  }

  /** The rank's samples in order. */
  static List<Turn> turns(Configuration hadoop, Settings settings) {
    ShardSet shards = ShardSet.open(hadoop, settings.input());
    long samples = shards.manifest().samples();
    long perStep = (long) settings.ranks() * settings.batchSize() * settings.accumulateSteps();
    int steps = Math.toIntExact(samples / perStep);
    int last = settings.lastStep().orElse(steps - 1);
    if (last >= steps || settings.firstStep() > last) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid last-step: %d (from first-step %d to %d: an epoch of %d samples has %d steps"
                  + " of %d)",
              last, settings.firstStep(), steps - 1, samples, steps, perStep));
    }
    int batches = settings.accumulateSteps();
    BatchLoader.Slice slice =
        new BatchLoader.Slice(
            settings.batchSize(),
            settings.rank(),
            settings.ranks(),
            (long) settings.firstStep() * batches,
            (last + 1L) * batches,
            batches,
            Course.of(Math.toIntExact(samples), Math.toIntExact(perStep)));
    SampleOrder order =
        new SampleOrder(
            shards.manifest(), settings.seed(), settings.windowBlocks(), settings.repeats());
    int[] epoch = order.epoch(settings.epoch());
    Map<Integer, List<String>> ids = new HashMap<>(); // by block
    List<Turn> turns = new ArrayList<>();
    for (long batch = slice.firstStep(); batch < slice.endStep(); batch++) {
      for (int i = 0; i < slice.batchSize(); i++) {
        int position = slice.position(batch, i);
        int sample = epoch[position];
        int block = order.blockOf(sample);
        String id =
            ids.computeIfAbsent(block, b -> shards.read(b).stream().map(Sample::id).toList())
                .get(sample - order.start(block));
        turns.add(new Turn(batch / batches, position, sample, id));
      }
    }
    return turns;
  }
}
