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
 *
 * <p><b>Repeated augmentation.</b> With R repeats each sample of that order stands R times in a
 * row, and the order ends where it would have without: an epoch is as long as ever, and shows a 1 /
 * R of the samples, others each time. The repeats differ in their augmentation. Still a pure
 * function of the position, so neither resuming nor the number of ranks changes it. Unlike in
 * DeiT's sampler, which deals repeats out to different ranks, those of a sample are mostly in one
 * rank's batch.
 *
 * @see <a href="https://arxiv.org/abs/1901.09335">Hoffer et al., Augment your batch, 2019</a>
 */
public final class SampleOrder {

  private final int[] starts; // by block: its first sample; then the number of samples
  private final long seed;
  private final int windowBlocks;
  private final int repeats;

  /** Every sample once an epoch. */
  public SampleOrder(ShardManifest manifest, long seed, int windowBlocks) {
    this(manifest, seed, windowBlocks, 1);
  }

  /**
   * Prepares the order of one shard set.
   *
   * @param windowBlocks blocks that are shuffled together, at least 1; above the number of blocks
   *     it means all
   * @param repeats of each sample, at least 1
   */
  public SampleOrder(ShardManifest manifest, long seed, int windowBlocks, int repeats) {
    if (repeats < 1) {
      throw new IllegalArgumentException("Invalid repeats: " + repeats + " (must be >= 1)");
    }
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
    this.repeats = repeats;
  }

  /** Samples by position: a permutation of 0..samples-1 if none is repeated. */
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
    return new Plan(order, ends).repeated(repeats);
  }

  /** Which of the repeats of its sample stands at a position, from 0. */
  int repeat(int position) {
    return position % repeats;
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

    Plan repeated(int repeats) {
      if (repeats == 1) {
        return this;
      }
      int[] repeated = new int[order.length];
      Arrays.setAll(repeated, position -> order[position / repeats]);
      int[] repeatedEnds = ends.clone();
      int windows = 0;
      while (windows == 0 || repeatedEnds[windows - 1] < order.length) {
        repeatedEnds[windows] = (int) Math.min(order.length, (long) ends[windows] * repeats);
        windows++;
      }
      return new Plan(repeated, Arrays.copyOf(repeatedEnds, windows));
    }
  }
}
