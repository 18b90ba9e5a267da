package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import sparkvision.TestCluster;
import sparkvision.data.BatchLoader;
import sparkvision.data.ImageTransform;
import sparkvision.data.SampleOrder;
import sparkvision.data.ShardSet;
import sparkvision.jobs.PrintSampleOrder.Turn;

/** 256 samples in 8 blocks: what the job prints is what training reads. */
class PrintSampleOrderTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final int SAMPLES = 256;

  @BeforeAll
  static void shardTheImages() throws Exception {
    ShardDataset.run(CLUSTER.spark(), PipelineTest.shardSettings("train"));
  }

  @Test
  void everySampleComesOnceAnEpochInTheSameSequenceForAnyNumberOfRanks() {
    Random random = new Random(3);
    for (int trial = 0; trial < 8; trial++) {
      String seed = "seed=" + random.nextInt(1000);
      String window = "window-blocks=" + (1 + random.nextInt(10));
      String epoch = "epoch=" + random.nextInt(100);
      List<String> sequence = all(1, 1, seed, window, epoch);
      assertThat(sequence).hasSize(SAMPLES).doesNotHaveDuplicates();
      int batch = 1 << random.nextInt(4);
      for (int ranks : new int[] {2, 4, 8}) {
        assertThat(all(ranks, batch, seed, window, epoch)).isEqualTo(sequence);
      }
      // What does not fill a step is left out.
      List<String> three = all(3, 10, seed, window, epoch);
      assertThat(three).isEqualTo(sequence.subList(0, 240));
    }
  }

  @Test
  void everyEpochHasAnotherSequence() {
    List<List<String>> sequences = new ArrayList<>();
    for (int epoch = 0; epoch < 6; epoch++) {
      sequences.add(all(2, 16, "epoch=" + epoch));
    }
    assertThat(sequences).doesNotHaveDuplicates();
  }

  @Test
  void stepsFromTheMiddleContinueTheSequence() {
    List<Turn> whole = turns("ranks=2", "rank=1", "batch-size=16", "epoch=4");
    assertThat(whole).hasSize(128);
    for (int cut : new int[] {1, 3, 7}) {
      List<Turn> parts =
          new ArrayList<>(
              turns("ranks=2", "rank=1", "batch-size=16", "epoch=4", "last-step=" + (cut - 1)));
      parts.addAll(turns("ranks=2", "rank=1", "batch-size=16", "epoch=4", "first-step=" + cut));
      assertThat(parts).isEqualTo(whole);
    }
  }

  @Test
  void isWhatTrainingReads() {
    ShardSet shards = ShardSet.open(new Configuration(), CLUSTER.hdfs("/shards/train"));
    SampleOrder order = new SampleOrder(shards.manifest(), 9, 3, 2);
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(28, 0, 1, 0, 0, List.of(0.5), List.of(0.5)));
    int stepsPerEpoch = 256 / (3 * 5 * 2);
    List<String> read = new ArrayList<>();
    BatchLoader.Slice slice =
        new BatchLoader.Slice(
            5, 1, 3, (stepsPerEpoch + 2) * 2L, (stepsPerEpoch + 5) * 2L, stepsPerEpoch * 2);
    try (BatchLoader loader = new BatchLoader(shards, order, transform, 9, slice, 1, 1)) {
      for (long batch = slice.firstStep(); batch < slice.endStep(); batch++) {
        read.addAll(loader.next().ids());
      }
    }
    List<Turn> printed =
        turns(
            "ranks=3",
            "rank=1",
            "batch-size=5",
            "accumulate-steps=2",
            "seed=9",
            "window-blocks=3",
            "repeats=2",
            "epoch=1",
            "first-step=2",
            "last-step=4");
    assertThat(printed).extracting(Turn::id).isEqualTo(read);
    assertThat(printed).extracting(Turn::step).startsWith(2L).endsWith(4L);
  }

  @Test
  void refusesStepsThatTheEpochDoesNotHave() {
    assertThatThrownBy(() -> turns("batch-size=32", "last-step=8"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Invalid last-step: 8 (from first-step 0 to 7");
    assertThatThrownBy(() -> turns("rank=1"))
        .hasMessage("Invalid rank: 1 (must be from 0 to ranks - 1)");
  }

  /** Ids of all ranks in the order of their positions. */
  private static List<String> all(int ranks, int batchSize, String... settings) {
    List<Turn> turns = new ArrayList<>();
    for (int rank = 0; rank < ranks; rank++) {
      List<String> mine = new ArrayList<>(List.of(settings));
      mine.addAll(List.of("ranks=" + ranks, "rank=" + rank, "batch-size=" + batchSize));
      turns.addAll(turns(mine.toArray(String[]::new)));
    }
    turns.sort(Comparator.comparingInt(Turn::position));
    assertThat(turns).extracting(Turn::position).doesNotHaveDuplicates();
    return turns.stream().map(Turn::id).toList();
  }

  private static List<Turn> turns(String... settings) {
    List<String> all = new ArrayList<>(List.of(settings));
    all.add("input=" + CLUSTER.hdfs("/shards/train"));
    return PrintSampleOrder.turns(
        new Configuration(),
        ConfigReader.read(PrintSampleOrder.Settings.class, "sample-order", null, all));
  }
}
