package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class SampleOrderTest {

  @Test
  void isAPermutationOfAllSamples() {
    for (int windowBlocks : new int[] {1, 3, 10, 99}) {
      int[] order = new SampleOrder(manifest(10, 8, 3), 5, windowBlocks).epoch(2);
      assertThat(Arrays.stream(order).sorted().toArray())
          .isEqualTo(IntStream.range(0, 75).toArray());
    }
  }

  @Test
  void repeatsSamplesInPlaceAndShowsOthersInTheNextEpoch() {
    ShardManifest manifest = manifest(10, 8, 3);
    int[] once = new SampleOrder(manifest, 5, 3).epoch(2);
    SampleOrder order = new SampleOrder(manifest, 5, 3, 3);
    SampleOrder.Plan plan = order.plan(2);
    assertThat(plan.order()).hasSize(75);
    for (int position = 0; position < 75; position++) {
      assertThat(plan.order()[position]).isEqualTo(once[position / 3]);
      assertThat(order.repeat(position)).isEqualTo(position % 3);
      // 24 samples to a window: 72 positions.
      assertThat(plan.windowOf(position)).isEqualTo(position < 72 ? 0 : 1);
    }
    assertThat(Arrays.stream(plan.order()).distinct().toArray())
        .isNotEqualTo(Arrays.stream(order.epoch(3)).distinct().toArray());
    assertThatThrownBy(() -> new SampleOrder(manifest, 5, 3, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid repeats: 0 (must be >= 1)");
  }

  @Test
  void isAPureFunctionOfSeedAndEpoch() {
    ShardManifest manifest = manifest(10, 8, 8);
    int[] order = new SampleOrder(manifest, 5, 4).epoch(3);
    SampleOrder again = new SampleOrder(manifest, 5, 4);
    int[] other = again.epoch(4);
    assertThat(again.epoch(3)).isEqualTo(order);
    assertThat(other).isNotEqualTo(order);
    assertThat(new SampleOrder(manifest, 6, 4).epoch(3)).isNotEqualTo(order);
    assertThat(same(order, other)).isLessThan(10); // 1 of 80 by chance
  }

  @Test
  void staysTheSameInLaterVersions() {
    // A checkpoint of an older version must resume in the same order: never change these numbers,
    // which another implementation of SplitMix64 gave.
    assertThat(new SampleOrder(manifest(3, 2, 2), 1, 2).epoch(0)).containsExactly(4, 1, 5, 0, 2, 3);
  }

  @Test
  void mixesTheBlocksOfAWindowAndOnlyThose() {
    int blockSize = 50;
    SampleOrder order = new SampleOrder(manifest(12, blockSize, blockSize), 9, 4);
    int[] epoch = order.epoch(0);
    Set<Integer> seen = new HashSet<>();
    for (int window = 0; window < 3; window++) {
      int from = window * 4 * blockSize;
      int[] samples = Arrays.copyOfRange(epoch, from, from + 4 * blockSize);
      int[] blocks = Arrays.stream(samples).map(sample -> sample / blockSize).toArray();
      assertThat(Arrays.stream(blocks).distinct().count()).isEqualTo(4);
      Arrays.stream(blocks).forEach(seen::add);
      // Unmixed, a block's samples would change to another's 3 times; well mixed, 3 in 4 times.
      long changes =
          IntStream.range(1, blocks.length).filter(i -> blocks[i] != blocks[i - 1]).count();
      assertThat(changes).isBetween(120L, 180L);
      assertThat(order.plan(0).windowOf(from)).isEqualTo(window);
      assertThat(order.plan(0).windowOf(from + 4 * blockSize - 1)).isEqualTo(window);
    }
    assertThat(seen).hasSize(12);
  }

  @Test
  void putsEverySampleEverywhereOverTheEpochs() {
    SampleOrder order = new SampleOrder(manifest(4, 2, 2), 1, 2);
    int[][] counts = new int[8][8];
    for (int epoch = 0; epoch < 4000; epoch++) {
      int[] samples = order.epoch(epoch);
      for (int position = 0; position < 8; position++) {
        counts[position][samples[position]]++;
      }
    }
    for (int[] row : counts) {
      for (int count : row) {
        assertThat(count).isBetween(400, 600); // 500 +- 5 standard deviations
      }
    }
  }

  @Test
  void findsTheBlockOfASample() {
    SampleOrder order = new SampleOrder(manifest(3, 4, 2), 1, 1);
    assertThat(IntStream.range(0, 10).map(order::blockOf))
        .containsExactly(0, 0, 0, 0, 1, 1, 1, 1, 2, 2);
    assertThatThrownBy(() -> new SampleOrder(manifest(3, 4, 2), 1, 0))
        .hasMessage("Invalid window-blocks: 0 (must be >= 1)");
  }

  private static long same(int[] a, int[] b) {
    return IntStream.range(0, a.length).filter(i -> a[i] == b[i]).count();
  }

  /** Blocks of equal size but for the last, two a file. */
  static ShardManifest manifest(int blocks, int blockSize, int lastSize) {
    List<ShardManifest.ShardFile> files = new ArrayList<>();
    for (int i = 0; i < blocks; i += 2) {
      List<ShardManifest.Block> mine = new ArrayList<>();
      for (int j = i; j < Math.min(blocks, i + 2); j++) {
        int size = j == blocks - 1 ? lastSize : blockSize;
        mine.add(new ShardManifest.Block(size, 0, 0, ""));
      }
      files.add(new ShardManifest.ShardFile("part-" + i, 0, "", mine, ""));
    }
    return new ShardManifest(
        ShardManifest.VERSION,
        Task.CLASSIFICATION,
        "test",
        "",
        "",
        "in",
        "",
        (long) blockSize * (blocks - 1) + lastSize,
        blockSize,
        List.of("a"),
        List.of(),
        List.of(),
        List.of(),
        List.of(),
        List.of(),
        List.of(),
        files,
        List.of(),
        0,
        0,
        1,
        0,
        0,
        "",
        0,
        "");
  }
}
