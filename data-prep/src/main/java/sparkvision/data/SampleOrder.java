package sparkvision.data;

import java.util.Arrays;

/**
 * The order of samples in each epoch: a pure function of the manifest's block sizes, a seed and the
 * epoch, whatever the number of ranks.
 *
 * <p>Blocks are permuted; every {@code windowBlocks} of them in a row make a window; the samples of
 * a window are shuffled among themselves. So a reader holds one window in memory, not the set.
 *
 * <p>Samples are numbered globally: blocks in manifest order, rows in a block.
 */
public final class SampleOrder {

  private final int[] starts; // by block: its first sample; then the number of samples
  private final long seed;
  private final int windowBlocks;

  /**
   * Prepares the order of one shard set.
   *
   * @param windowBlocks blocks that are shuffled together, at least 1; above the number of blocks
   *     it means all
   */
  public SampleOrder(ShardManifest manifest, long seed, int windowBlocks) {
    if (windowBlocks < 1) {
      throw new IllegalArgumentException(
          "Invalid window-blocks: " + windowBlocks + " (must be >= 1)");
    }
    int[] sizes =
        manifest.files().stream()
            .flatMap(file -> file.blocks().stream())
            .mapToInt(ShardManifest.Block::samples)
            .toArray();
    this.starts = new int[sizes.length + 1];
    for (int i = 0; i < sizes.length; i++) {
      starts[i + 1] = Math.addExact(starts[i], sizes[i]);
    }
    this.seed = seed;
    this.windowBlocks = Math.min(windowBlocks, Math.max(1, sizes.length));
  }

  /** A permutation of 0..samples-1. */
  public int[] epoch(int epoch) {
    return plan(epoch).order();
  }

  int samples() {
    return starts[starts.length - 1];
  }

  int windows() {
    return (starts.length - 2 + windowBlocks) / windowBlocks;
  }

  /** The first sample of a block. */
  public int start(int block) {
    return starts[block];
  }

  /** The block of a sample. */
  public int blockOf(int sample) {
    int found = Arrays.binarySearch(starts, sample);
    return found >= 0 ? found : -found - 2;
  }

  Plan plan(int epoch) {
    int blocks = starts.length - 1;
    int[] permuted = new int[blocks];
    Arrays.setAll(permuted, block -> block);
    new SplitMix(seed, epoch).shuffle(permuted, 0, blocks);

    int[] order = new int[samples()];
    int[] ends = new int[windows()];
    int filled = 0;
    for (int window = 0; window < ends.length; window++) {
      int from = filled;
      int last = Math.min(blocks, (window + 1) * windowBlocks);
      for (int i = window * windowBlocks; i < last; i++) {
        for (int sample = starts[permuted[i]]; sample < starts[permuted[i] + 1]; sample++) {
          order[filled++] = sample;
        }
      }
      new SplitMix(seed, epoch, window + 1).shuffle(order, from, filled);
      ends[window] = filled;
    }
    return new Plan(order, ends);
  }

  /**
   * One epoch.
   *
   * @param order sample by position
   * @param ends by window: the position after its last
   */
  record Plan(int[] order, int[] ends) {
    int windowOf(int position) {
      int found = Arrays.binarySearch(ends, position + 1);
      return found >= 0 ? found : -found - 1;
    }
  }
}
