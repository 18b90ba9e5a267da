package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;

class VolumeMetricsTest {

  static final int[] SIZES = {20, 24, 22};
  static final double[] SPACING = {2.5, 0.8, 1.1};

  static boolean[] ellipsoid() {
    return ellipsoid(9, 11, 10, 7, 9, 6);
  }

  private static boolean[] ellipsoid(double... at) {
    boolean[] set = new boolean[SIZES[0] * SIZES[1] * SIZES[2]];
    for (int i = 0; i < set.length; i++) {
      int slice = i / (24 * 22);
      double d = (slice - at[0]) / at[3];
      double h = (i / 22 % 24 - at[1]) / at[4];
      double w = (i % 22 - at[2]) / at[5];
      set[i] = d * d + h * h + w * w <= 1;
    }
    return set;
  }

  private static int[] labels(boolean[] set) {
    int[] labels = new int[set.length];
    Arrays.setAll(labels, i -> set[i] ? 1 : 0);
    return labels;
  }

  @Test
  void equalsScipyOnTwoEllipsoidsAndAnOutlier() {
    int[] predicted = labels(ellipsoid());
    int[] truth = labels(ellipsoid(10, 12, 12, 6, 10, 8));
    truth[19 * 24 * 22 + 21] = 1;
    VolumeMetrics metrics = new VolumeMetrics(2);
    metrics.add("a", predicted, truth, SIZES, SPACING);
    assertThat(metrics.dice()[1]).isEqualTo(0.7240506329113924);
    assertThat(metrics.hausdorff95()[1]).isCloseTo(4.4, within(1e-12));
    assertThat(metrics.hausdorff95()[0]).isNaN();

    VolumeMetrics swapped = new VolumeMetrics(2);
    swapped.add("a", truth, predicted, SIZES, SPACING);
    assertThat(swapped.hausdorff95()[1]).isEqualTo(metrics.hausdorff95()[1]);
  }

  @Test
  void equalsScipyOnShiftedHippocampi() throws IOException {
    Path folder = Path.of("../../shared/data/volumes/Task04_Hippocampus/labelsTr");
    Assumptions.assumeTrue(Files.isDirectory(folder), "no ../shared/data beside the checkout");
    double[][] dice = {
      {0.6169413125180688, 0.5096430036930653}, {0.6513043478260869, 0.4928469241773963}
    };
    double[][] distances = {
      {36.264762448836805, 2.23606797749979}, {36.88410457362101, 2.23606797749979}
    };
    for (int n = 0; n < 2; n++) {
      byte[] file =
          Files.readAllBytes(folder.resolve("hippocampus_00" + (n == 0 ? 1 : 4) + ".nii.gz"));
      Volume volume = Nifti.read(file, Nifti.ONLY_CHANNEL).toRas();
      int[] truth = new int[volume.voxels().length];
      int[] predicted = new int[truth.length];
      for (int i = 0; i < truth.length; i++) {
        truth[i] = (int) volume.voxels()[i];
        int moved = i % volume.width() < 2 ? 0 : (int) volume.voxels()[i - 2];
        boolean odd = i / (volume.width() * volume.height()) % 2 == 1;
        predicted[i] = moved == 2 && odd ? 1 : moved;
      }
      VolumeMetrics metrics = new VolumeMetrics(3);
      int[] sizes = {volume.depth(), volume.height(), volume.width()};
      metrics.add("a", predicted, truth, sizes, new double[] {2, 1.5, 0.5});
      for (int c = 1; c < 3; c++) {
        assertThat(metrics.dice()[c]).isEqualTo(dice[n][c - 1]);
        assertThat(metrics.hausdorff95()[c]).isCloseTo(distances[n][c - 1], within(1e-9));
      }
    }
  }

  @Test
  void matchesNaiveSetsAndDistances() {
    Random random = new Random(8);
    for (int round = 0; round < 30; round++) {
      int[] sizes = {1 + random.nextInt(5), 1 + random.nextInt(5), 1 + random.nextInt(5)};
      double[] spacing = {0.5 + random.nextDouble(), 1.5, 0.7};
      int[] predicted = draw(random, sizes);
      int[] truth = draw(random, sizes);
      VolumeMetrics metrics = new VolumeMetrics(3);
      metrics.add("a", predicted, truth, sizes, spacing);
      for (int c = 0; c < 3; c++) {
        int both = 0;
        int either = 0;
        for (int i = 0; i < truth.length; i++) {
          both += predicted[i] == c && truth[i] == c ? 2 : 0;
          either += (predicted[i] == c ? 1 : 0) + (truth[i] == c ? 1 : 0);
        }
        assertThat(metrics.cases().get(0).dice()[c])
            .isEqualTo(Double.valueOf((double) both / either));
      }
      for (int c = 1; c < 3; c++) {
        double expected =
            Math.max(
                naive(predicted, truth, c, sizes, spacing),
                naive(truth, predicted, c, sizes, spacing));
        double found = metrics.cases().get(0).hausdorff95()[c];
        if (Double.isFinite(expected)) {
          assertThat(found).isCloseTo(expected, within(1e-9));
        } else {
          assertThat(found).isEqualTo(Double.valueOf(expected));
        }
      }
    }
  }

  private static int[] draw(Random random, int[] sizes) {
    return random.ints((long) sizes[0] * sizes[1] * sizes[2], 0, 3).toArray();
  }

  /** NaN where neither has the class, infinite where one has it. */
  private static double naive(int[] from, int[] to, int label, int[] sizes, double[] spacing) {
    List<int[]> mine = surface(from, label, sizes);
    List<int[]> theirs = surface(to, label, sizes);
    if (mine.isEmpty() && theirs.isEmpty()) {
      return Double.NaN;
    }
    if (mine.isEmpty() || theirs.isEmpty()) {
      return Double.POSITIVE_INFINITY;
    }
    double[] distances =
        mine.stream()
            .mapToDouble(
                a -> theirs.stream().mapToDouble(b -> distance(a, b, spacing)).min().getAsDouble())
            .sorted()
            .toArray();
    double rank = 0.95 * (distances.length - 1);
    int lower = (int) rank;
    int upper = Math.min(lower + 1, distances.length - 1);
    return distances[lower] + (rank - lower) * (distances[upper] - distances[lower]);
  }

  private static List<int[]> surface(int[] labels, int label, int[] sizes) {
    List<int[]> surface = new java.util.ArrayList<>();
    for (int i = 0; i < labels.length; i++) {
      int[] place = {i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1], i % sizes[2]};
      boolean open = false;
      for (int axis = 0; axis < 3; axis++) {
        for (int step = -1; step <= 1; step += 2) {
          int[] next = place.clone();
          next[axis] += step;
          open |=
              next[axis] < 0
                  || next[axis] >= sizes[axis]
                  || labels[(next[0] * sizes[1] + next[1]) * sizes[2] + next[2]] != label;
        }
      }
      if (labels[i] == label && open) {
        surface.add(place);
      }
    }
    return surface;
  }

  private static double distance(int[] a, int[] b, double[] spacing) {
    double square = 0;
    for (int axis = 0; axis < 3; axis++) {
      square += Math.pow((a[axis] - b[axis]) * spacing[axis], 2);
    }
    return Math.sqrt(square);
  }

  @Test
  void classesThatAreMissingFollowTheConventions() {
    int[] sizes = {1, 1, 4};
    double[] unit = {1, 1, 1};
    VolumeMetrics metrics = new VolumeMetrics(4);
    // Class 1 in both, 2 predicted only, 3 in neither.
    metrics.add("a", new int[] {1, 2, 0, 0}, new int[] {1, 0, 0, 0}, sizes, unit);
    // Class 1 in neither, 2 in both but apart, 3 in the truth only.
    metrics.add("b", new int[] {2, 0, 0, 0}, new int[] {0, 0, 2, 3}, sizes, unit);
    assertThat(metrics.dice()).containsExactly((0.8 + 0.4) / 2, 1, 0, 0);
    assertThat(metrics.hausdorff95()).containsExactly(Double.NaN, 0, 2, Double.NaN);
    assertThat(metrics.missed()).containsExactly(0, 0, 1, 1);
    assertThat(metrics.meanDice()).isEqualTo(1.0 / 3);
    assertThat(metrics.cases().get(0).dice()[3]).isNaN();
    assertThat(metrics.cases().get(0).hausdorff95()[3]).isNaN();
    assertThat(new VolumeMetrics(2).meanDice()).isNaN();
  }

  @Test
  void ignoredVoxelsBelongToNoClass() {
    int[] sizes = {1, 1, 5};
    VolumeMetrics metrics = new VolumeMetrics(2);
    metrics.add(
        "a", new int[] {1, 0, 0, 0, 1}, new int[] {1, 0, 0, 0, 255}, sizes, new double[] {1, 1, 1});
    assertThat(metrics.dice()).containsExactly(1, 1);
    assertThat(metrics.hausdorff95()[1]).isZero();
  }

  @Test
  void mergingIsExactHoweverCasesWereSpread() throws IOException, ClassNotFoundException {
    int[] sizes = {4, 5, 6};
    VolumeMetrics whole = new VolumeMetrics(3);
    VolumeMetrics[] parts = {new VolumeMetrics(3), new VolumeMetrics(3), new VolumeMetrics(3)};
    Random random = new Random(2);
    for (int i = 0; i < 40; i++) {
      int[] predicted = draw(random, sizes);
      int[] truth = draw(random, sizes);
      String id = "case-" + random.nextInt(1 << 30);
      whole.add(id, predicted, truth, sizes, SPACING);
      parts[random.nextInt(3)].add(id, predicted, truth, sizes, SPACING);
    }
    VolumeMetrics merged = parts[2].merge(copy(parts[0])).merge(parts[1]);
    assertThat(merged.cases()).hasSize(40);
    assertThat(merged.dice()).isEqualTo(whole.dice());
    assertThat(merged.hausdorff95()).isEqualTo(whole.hausdorff95());
    assertThat(merged.meanDice()).isEqualTo(whole.meanDice()).isBetween(0.2, 0.5);
  }

  private static VolumeMetrics copy(VolumeMetrics metrics)
      throws IOException, ClassNotFoundException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(metrics);
    }
    try (var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      return (VolumeMetrics) in.readObject();
    }
  }

  @Test
  void saysWhatCannotBeCounted() {
    VolumeMetrics metrics = new VolumeMetrics(2);
    int[] sizes = {1, 1, 2};
    double[] unit = {1, 1, 1};
    assertThatThrownBy(() -> metrics.add("x", new int[2], new int[3], sizes, unit))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot evaluate volume x: [1, 1, 2] voxels, but 2 predicted and 3 true labels");
    assertThatThrownBy(() -> metrics.add("x", new int[2], new int[] {0, 2}, sizes, unit))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot evaluate volume x: true label 2 is none of the 2 classes");
    assertThatThrownBy(() -> metrics.add("x", new int[] {-1, 0}, new int[2], sizes, unit))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot evaluate volume x: predicted label -1 is none of the 2 classes");
    assertThat(metrics.cases()).isEmpty();
    assertThatThrownBy(() -> metrics.merge(new VolumeMetrics(3)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot merge metrics: 2 classes here, 3 there");
    assertThatThrownBy(() -> new VolumeMetrics(1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid classes: 1 (must be in 2..255)");
  }
}
