package sparkvision.data;

import java.io.Serializable;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;
import sparkvision.data.volume.Nifti;

/**
 * Figures over samples as they are stored. Sums are exact, so that they do not depend on how the
 * samples were divided among tasks.
 */
final class SampleStatistics implements Serializable {

  private static final long serialVersionUID = 1;
  private static final int SIZE_STEP = 32;

  private final Task task;
  private final long[] counts; // by class
  private final Moments grey = new Moments();
  private final Moments colour = new Moments();
  private final VoxelMoments voxels = new VoxelMoments();
  private final TreeMap<Integer, Long> widths = new TreeMap<>();
  private final TreeMap<Integer, Long> heights = new TreeMap<>();
  private final TreeMap<Integer, Long> depths = new TreeMap<>();

  SampleStatistics(Task task, int classes) {
    this.task = task;
    this.counts = new long[classes];
  }

  /** Sums over voxels: those of one volume are rounded, those of several are not. */
  private static final class VoxelMoments implements Serializable {
    private static final long serialVersionUID = 1;
    long voxels;
    BigDecimal sum = BigDecimal.ZERO;
    BigDecimal squares = BigDecimal.ZERO;

    void add(float[] values) {
      double sum = 0;
      double squares = 0;
      for (float value : values) {
        sum += value;
        squares += (double) value * value;
      }
      add(values.length, new BigDecimal(sum), new BigDecimal(squares));
    }

    void add(long voxels, BigDecimal sum, BigDecimal squares) {
      this.voxels += voxels;
      this.sum = this.sum.add(sum);
      this.squares = this.squares.add(squares);
    }
  }

  /** Sums over 8-bit values by channel. */
  private static final class Moments implements Serializable {
    private static final long serialVersionUID = 1;
    long pixels;
    final long[] sum = new long[3];
    final long[] squares = new long[3];

    void add(Images.Picture picture) {
      int channels = picture.channels();
      byte[] values = picture.pixels();
      pixels += (long) picture.width() * picture.height();
      for (int i = 0; i < values.length; i += channels) {
        for (int c = 0; c < channels; c++) {
          int value = values[i + c] & 0xFF;
          sum[c] += value;
          squares[c] += (long) value * value;
        }
      }
    }

    void add(Moments other) {
      pixels += other.pixels;
      for (int c = 0; c < 3; c++) {
        sum[c] += other.sum[c];
        squares[c] += other.squares[c];
      }
    }
  }

  /**
   * Takes a sample in.
   *
   * @throws DataException if it does not fit its own description
   */
  void add(Sample sample) {
    widths.merge(bucket(sample.width()), 1L, Long::sum);
    heights.merge(bucket(sample.height()), 1L, Long::sum);
    if (task.isVolume()) {
      depths.merge(bucket(sample.depth()), 1L, Long::sum);
      voxels.add(Nifti.read(sample.image(), Nifti.ONLY_CHANNEL).voxels());
    } else {
      Images.Picture picture = Images.decode(sample.image(), Images.channels(sample.image()));
      (picture.channels() == 1 ? grey : colour).add(picture);
    }
    switch (task) {
      case CLASSIFICATION, VOLUME_CLASSIFICATION -> counts[sample.label()]++;
      case DETECTION -> sample.objects().forEach(object -> counts[object.category()]++);
      case SEGMENTATION, VOLUME_SEGMENTATION -> countMask(sample);
    }
  }

  private void countMask(Sample sample) {
    boolean[] seen = new boolean[Sample.IGNORE + 1];
    if (task.isVolume()) {
      for (float value : Nifti.read(sample.mask(), Nifti.ONLY_CHANNEL).voxels()) {
        seen[(int) value] = true;
      }
    } else {
      for (byte value : Images.decode(sample.mask(), 1).pixels()) {
        seen[value & 0xFF] = true;
      }
    }
    for (int value = 0; value < Sample.IGNORE; value++) {
      if (seen[value] && value >= counts.length) {
        throw new DataException(
            String.format(
                "Cannot shard %s: its mask has the value %d, there are %d classes",
                sample.id(), value, counts.length));
      }
      if (seen[value]) {
        counts[value]++;
      }
    }
  }

  void add(SampleStatistics other) {
    Arrays.setAll(counts, label -> counts[label] + other.counts[label]);
    grey.add(other.grey);
    colour.add(other.colour);
    voxels.add(other.voxels.voxels, other.voxels.sum, other.voxels.squares);
    other.widths.forEach((from, samples) -> widths.merge(from, samples, Long::sum));
    other.heights.forEach((from, samples) -> heights.merge(from, samples, Long::sum));
    other.depths.forEach((from, samples) -> depths.merge(from, samples, Long::sum));
  }

  List<Long> classCounts() {
    return Arrays.stream(counts).boxed().toList();
  }

  /** By channel: one if all pictures are grey, else grey pictures count in each. */
  List<Double> mean() {
    if (task.isVolume()) {
      return List.of(voxels.sum.doubleValue() / voxels.voxels);
    }
    return IntStream.range(0, channels()).mapToObj(c -> average(c) / 255).toList();
  }

  List<Double> std() {
    if (task.isVolume()) {
      double average = voxels.sum.doubleValue() / voxels.voxels;
      double square = voxels.squares.doubleValue() / voxels.voxels;
      return List.of(Math.sqrt(Math.max(0, square - average * average)));
    }
    return IntStream.range(0, channels()).mapToObj(c -> deviation(c) / 255).toList();
  }

  private int channels() {
    return colour.pixels == 0 ? 1 : 3;
  }

  private double average(int channel) {
    return (grey.sum[0] + colour.sum[channel]) / (double) (grey.pixels + colour.pixels);
  }

  private double deviation(int channel) {
    double square =
        (grey.squares[0] + colour.squares[channel]) / (double) (grey.pixels + colour.pixels);
    double average = average(channel);
    return Math.sqrt(Math.max(0, square - average * average));
  }

  List<ShardManifest.Sizes> widths() {
    return sizes(widths);
  }

  List<ShardManifest.Sizes> heights() {
    return sizes(heights);
  }

  List<ShardManifest.Sizes> depths() {
    return sizes(depths);
  }

  private static List<ShardManifest.Sizes> sizes(SortedMap<Integer, Long> buckets) {
    return buckets.entrySet().stream()
        .map(bucket -> new ShardManifest.Sizes(bucket.getKey(), bucket.getValue()))
        .toList();
  }

  private static int bucket(int size) {
    return size / SIZE_STEP * SIZE_STEP;
  }
}
