package sparkvision.data.volume;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import sparkvision.data.DataException;
import sparkvision.data.Sample;
import sparkvision.data.SplitMix;
import sparkvision.data.volume.VolumeTransform.Fit;
import sparkvision.data.volume.VolumeTransform.Options;
import sparkvision.data.volume.VolumeTransform.Range;

final class VolumeTransformTest {

  private static final Range NEVER = new Range(0, 1, 1);
  private static final Affine UNIT = Affine.ofSpacing(1, 1, 1);

  @Test
  void everyCropIsReachedAndNothingElse() {
    VolumeTransform transform = new VolumeTransform(moves(List.of(2, 2, 2), 0, 0, 0));
    Sample sample = sample(counting(3, 4, 3), null);
    Set<String> found = new HashSet<>();
    for (int epoch = 0; epoch < 400; epoch++) {
      found.add(Arrays.toString(train(transform, sample, epoch)));
    }
    Set<String> expected = new HashSet<>();
    for (int d = 0; d < 2; d++) {
      for (int h = 0; h < 3; h++) {
        for (int w = 0; w < 2; w++) {
          float[] patch = new float[8];
          for (int i = 0; i < 8; i++) {
            patch[i] = ((d + i / 4) * 4 + h + i / 2 % 2) * 3 + w + i % 2;
          }
          expected.add(Arrays.toString(patch));
        }
      }
    }
    assertThat(found).isEqualTo(expected);
  }

  @Test
  void flipsAndQuarterTurnsReachTheWholeGroupOfTheCube() {
    VolumeTransform transform = new VolumeTransform(moves(List.of(3, 3, 3), 0, 0.5, 0.7));
    Sample sample = sample(counting(3, 3, 3), null);
    Set<String> found = new HashSet<>();
    for (int epoch = 0; epoch < 2000; epoch++) {
      float[] patch = train(transform, sample, epoch);
      found.add(Arrays.toString(patch));
      float[] sorted = patch.clone();
      Arrays.sort(sorted);
      assertThat(sorted).isEqualTo(counting(3, 3, 3).voxels());
      assertThat(patch[13]).isEqualTo(13);
    }
    // Flips alone make 8; each may be followed by one of 9 turns in a plane: 6 axis orders but the
    // two cyclic ones, times 8 signs.
    assertThat(found).hasSize(32);
  }

  @Test
  void quarterTurnsStayInPlanesOfEqualSides() {
    VolumeTransform transform = new VolumeTransform(moves(List.of(1, 2, 2), 0, 0, 1));
    Sample sample = sample(counting(1, 2, 2), null);
    Set<String> found = new HashSet<>();
    for (int epoch = 0; epoch < 100; epoch++) {
      found.add(Arrays.toString(train(transform, sample, epoch)));
    }
    assertThat(found)
        .containsExactlyInAnyOrder(
            "[1.0, 3.0, 0.0, 2.0]", "[3.0, 2.0, 1.0, 0.0]", "[2.0, 0.0, 3.0, 1.0]");
  }

  @Test
  void foregroundCropsAreCentredOnAVoxelOfAClassDrawnEvenly() {
    // One voxel of class 1, a hundred of class 2 in another corner, one to ignore.
    float[] labels = new float[20 * 20 * 20];
    labels[(10 * 20 + 10) * 20 + 10] = 1;
    labels[0] = 255;
    for (int i = 0; i < 100; i++) {
      labels[(19 * 20 + i / 20) * 20 + i % 20] = 2;
    }
    Sample sample = sample(counting(20, 20, 20), new Volume(20, 20, 20, labels, UNIT));
    VolumeTransform transform = new VolumeTransform(moves(List.of(5, 5, 5), 0.75, 0, 0));
    int centred = 0;
    int other = 0;
    int epochs = 2000;
    for (int epoch = 0; epoch < epochs; epoch++) {
      float[] image = new float[125];
      long[] mask = new long[125];
      transform.train(sample, 1, epoch, 0, image, 0, mask, 0);
      for (int i = 0; i < 125; i++) {
        assertThat((float) mask[i]).isEqualTo(labels[(int) image[i]]);
      }
      boolean second = Arrays.stream(mask).anyMatch(label -> label == 2);
      centred += mask[62] == 1 ? 1 : 0;
      other += second ? 1 : 0;
    }
    // 0.375 for each class; a crop anywhere holds class 2 in 1 of 16 * 16 * 16 / (16 * 7) cases.
    assertThat((double) centred / epochs).isCloseTo(0.375, within(0.04));
    assertThat((double) other / epochs).isCloseTo(0.375 + 0.25 * 7 / 256, within(0.04));
  }

  @Test
  void withoutForegroundTheCropIsAnywhere() {
    Sample sample = sample(counting(4, 1, 1), new Volume(4, 1, 1, new float[4], UNIT));
    VolumeTransform transform = new VolumeTransform(moves(List.of(1, 1, 1), 1, 0, 0));
    Map<Float, Integer> counts = new HashMap<>();
    for (int epoch = 0; epoch < 400; epoch++) {
      counts.merge(train(transform, sample, epoch)[0], 1, Integer::sum);
    }
    assertThat(counts).hasSize(4);
    assertThat(counts.values()).allMatch(count -> count > 60);
  }

  @Test
  void smallVolumesArePaddedOnBothSides() {
    Volume ones = new Volume(1, 2, 1, new float[] {1, 2}, UNIT);
    Sample sample = sample(ones, ones);
    VolumeTransform transform = new VolumeTransform(moves(List.of(1, 5, 2), 1, 0, 0));
    float[] image = new float[12];
    long[] labels = new long[11];
    transform.train(sample, 1, 0, 0, image, 2, labels, 1);
    assertThat(image).containsExactly(0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0);
    assertThat(labels).containsExactly(0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0);
  }

  @Test
  void evaluationTakesTheCentre() {
    VolumeTransform transform = new VolumeTransform(moves(List.of(2, 1, 3), 1, 1, 0));
    float[] image = new float[6];
    long[] labels = new long[6];
    Volume volume = counting(5, 2, 3);
    transform.evaluate(sample(volume, volume), image, 0, labels, 0);
    assertThat(image).containsExactly(6, 7, 8, 12, 13, 14);
    assertThat(labels).containsExactly(6, 7, 8, 12, 13, 14);
  }

  @Test
  void rotationAndZoomReadALinearVolumeWhereTheyShould() {
    // A ramp in each direction in turn tells where each voxel of the patch was read.
    int side = 31;
    float[][] ramps = new float[3][side * side * side];
    for (int i = 0; i < side * side * side; i++) {
      ramps[0][i] = i / (side * side) - 15;
      ramps[1][i] = i / side % side - 15;
      ramps[2][i] = i % side - 15;
    }
    Range turned = new Range(1, 20, 40);
    Range enlarged = new Range(1, 1.25, 1.5);
    VolumeTransform transform =
        new VolumeTransform(
            new Options(
                List.of(31, 31, 31),
                0,
                0,
                0,
                turned,
                enlarged,
                NEVER,
                NEVER,
                NEVER,
                NEVER,
                Fit.CROP));
    float[][] places = new float[3][];
    for (int axis = 0; axis < 3; axis++) {
      Volume ramp = new Volume(side, side, side, ramps[axis], UNIT);
      places[axis] = train(transform, sample(ramp, null), 5);
    }
    int middle = (15 * 31 + 15) * 31 + 15;
    int[] steps = {31 * 31, 31, 1};
    double[][] columns = new double[3][3];
    for (int axis = 0; axis < 3; axis++) {
      assertThat(places[axis][middle]).isCloseTo(0, within(1e-5f));
      for (int direction = 0; direction < 3; direction++) {
        columns[direction][axis] = places[axis][middle + 4 * steps[direction]] / 4;
      }
    }
    // Orthogonal columns of one length, 1 / zoom, right-handed.
    double length = Math.sqrt(dot(columns[0], columns[0]));
    assertThat(1 / length).isBetween(1.25, 1.5);
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        assertThat(dot(columns[i], columns[j]))
            .isCloseTo(i == j ? length * length : 0, within(1e-5));
      }
    }
    double determinant =
        columns[0][0] * (columns[1][1] * columns[2][2] - columns[1][2] * columns[2][1])
            - columns[0][1] * (columns[1][0] * columns[2][2] - columns[1][2] * columns[2][0])
            + columns[0][2] * (columns[1][0] * columns[2][1] - columns[1][1] * columns[2][0]);
    assertThat(determinant).isCloseTo(length * length * length, within(1e-5));
    // Linear everywhere that lies inside.
    for (int d = -6; d <= 6; d += 3) {
      for (int w = -6; w <= 6; w += 3) {
        for (int axis = 0; axis < 3; axis++) {
          assertThat((double) places[axis][middle + d * steps[0] + w])
              .isCloseTo(d * columns[0][axis] + w * columns[2][axis], within(1e-4));
        }
      }
    }
  }

  private static double dot(double[] a, double[] b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  }

  @Test
  void labelsTurnWithTheImage() {
    float[] voxels = new float[21 * 21 * 21];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = i / 441 < 8 ? 10 : 0;
    }
    float[] labels = new float[voxels.length];
    for (int i = 0; i < voxels.length; i++) {
      labels[i] = voxels[i] / 10;
    }
    Options options =
        new Options(
            List.of(12, 10, 10),
            0,
            0.5,
            0.5,
            new Range(1, -30, 30),
            new Range(1, 0.9, 1.2),
            NEVER,
            NEVER,
            NEVER,
            NEVER,
            Fit.CROP);
    VolumeTransform transform = new VolumeTransform(options);
    Sample sample =
        sample(new Volume(21, 21, 21, voxels, UNIT), new Volume(21, 21, 21, labels, UNIT));
    int both = 0;
    for (int epoch = 0; epoch < 30; epoch++) {
      float[] image = new float[transform.size()];
      long[] mask = new long[transform.size()];
      transform.train(sample, 9, epoch, 0, image, 0, mask, 0);
      int agreeing = 0;
      for (int i = 0; i < mask.length; i++) {
        boolean bright = image[i] > 5;
        agreeing += bright == (mask[i] == 1) ? 1 : 0;
      }
      // A plane's interpolated 5 and its nearest voxel part ways in few places.
      assertThat((double) agreeing / mask.length).isGreaterThan(0.95);
      both += Arrays.stream(mask).distinct().count() == 2 ? 1 : 0;
    }
    assertThat(both).isGreaterThan(10);
  }

  @Test
  void intensitiesChangeWithinTheirRanges() {
    Sample sample = sample(counting(2, 2, 2), null);
    Range factor = new Range(1, 2, 2);
    Range shift = new Range(1, -3, -3);
    VolumeTransform scaled =
        new VolumeTransform(intensities(List.of(2, 2, 2), NEVER, factor, shift, NEVER));
    assertThat(train(scaled, sample, 0)).containsExactly(-3, -1, 1, 3, 5, 7, 9, 11);

    VolumeTransform noisy =
        new VolumeTransform(
            intensities(List.of(2, 2, 2), new Range(0.5, 1, 1), NEVER, NEVER, NEVER));
    int changed = 0;
    for (int epoch = 0; epoch < 400; epoch++) {
      changed += Arrays.equals(train(noisy, sample, epoch), counting(2, 2, 2).voxels()) ? 0 : 1;
    }
    assertThat(changed).isBetween(160, 240);

    VolumeTransform curved =
        new VolumeTransform(
            intensities(List.of(3, 4, 5), NEVER, NEVER, NEVER, new Range(1, 0.7, 0.7)));
    float[] expected = ResamplingTest.example().voxels();
    Intensity.gamma(expected, 0.7);
    assertThat(train(curved, sample(ResamplingTest.example(), null), 0)).isEqualTo(expected);
  }

  @Test
  void augmentationIsAPureFunctionOfSeedEpochAndId() {
    Options everything =
        new Options(
            List.of(4, 4, 4),
            0.5,
            0.5,
            0.5,
            new Range(0.5, -30, 30),
            new Range(0.5, 0.7, 1.4),
            new Range(0.5, 0, 0.1),
            new Range(0.5, 0.75, 1.25),
            new Range(0.5, -0.1, 0.1),
            new Range(0.5, 0.7, 1.5),
            Fit.CROP);
    VolumeTransform transform = new VolumeTransform(everything);
    Volume volume = counting(9, 8, 7);
    Sample a = new Sample("a", 0, 9, 8, 7, Nifti.write(volume), new byte[0], List.of());
    Sample b = new Sample("b", 0, 9, 8, 7, Nifti.write(volume), new byte[0], List.of());
    float[] first = train(transform, a, 3);
    assertThat(train(transform, a, 4)).isNotEqualTo(first);
    assertThat(train(transform, b, 3)).isNotEqualTo(first);
    float[] otherSeed = new float[64];
    transform.train(a, 2, 3, 0, otherSeed, 0);
    assertThat(otherSeed).isNotEqualTo(first);
    assertThat(train(new VolumeTransform(everything), a, 3)).isEqualTo(first);
  }

  @Test
  void aWholeVolumeIsResizedAsPlainLoopsDo() {
    int[] patch = {5, 4, 9};
    VolumeTransform transform =
        new VolumeTransform(
            new Options(
                List.of(5, 4, 9), 0, 0, 0, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, Fit.RESIZE));
    SplitMix random = new SplitMix(8);
    float[] voxels = new float[3 * 7 * 4];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = (float) random.unit();
    }
    Sample sample = sample(new Volume(3, 7, 4, voxels, UNIT), null);
    int[] sizes = {3, 7, 4};
    float[] seen = new float[5 * 4 * 9];
    transform.evaluate(sample, seen, 0);
    for (int at = 0; at < seen.length; at++) {
      int[] place = {at / 36, at / 9 % 4, at % 9};
      double expected = 0;
      for (int corner = 0; corner < 8; corner++) {
        double weight = 1;
        int index = 0;
        for (int axis = 0; axis < 3; axis++) {
          // align_corners=False: (i + 1/2) n / m - 1/2, not outside of the first and the last.
          double from = (place[axis] + 0.5) * sizes[axis] / patch[axis] - 0.5;
          from = Math.min(Math.max(from, 0), sizes[axis] - 1);
          int low = (int) Math.floor(from);
          int high = corner >> axis & 1;
          weight *= high == 1 ? from - low : 1 - (from - low);
          index = index * sizes[axis] + Math.min(low + high, sizes[axis] - 1);
        }
        expected += weight * voxels[index];
      }
      assertThat(seen[at]).isCloseTo((float) expected, within(1e-6f));
    }
    assertThat(train(transform, sample, 3)).as("without chance").isEqualTo(seen);
    float[] classed = new float[seen.length + 2];
    long[] label = new long[2];
    new VolumeClassTransform(transform).train(sample, 1, 3, 0, classed, 2, label, 1);
    assertThat(Arrays.copyOfRange(classed, 2, classed.length)).isEqualTo(seen);
    assertThat(label).containsExactly(0, sample.label());
  }

  @Test
  void saysWhatIsWrongWithSamplesAndOptions() {
    VolumeTransform transform = new VolumeTransform(moves(List.of(1, 1, 1), 0, 0, 0));
    Sample bare = sample(counting(2, 2, 2), null);
    assertThatThrownBy(() -> transform.train(bare, 1, 0, 0, new float[1], 0, new long[1], 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot use sample a: it has no mask");
    Sample broken = new Sample("a", 0, 1, 1, 1, new byte[] {1}, new byte[0], List.of());
    assertThatThrownBy(() -> train(transform, broken, 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot decode the volume of sample a: truncated NIfTI: it ends in its header");
    assertThatThrownBy(() -> train(transform, sample(counting(2, 2, 2), counting(2, 2, 1)), 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot use sample a: its volume has 2 x 2 x 2 voxels, its mask 2 x 2 x 1");
    assertThatThrownBy(() -> moves(List.of(1, 2, 3), 0, 0, 0.5))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid quarter-turn-probability: 0.5 (must be 0: no two sides of patch-size [1, 2, 3]"
                + " are equal)");
    assertThatThrownBy(() -> moves(List.of(1, 2), 0, 0, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Invalid patch-size: [1, 2] (three numbers >= 1");
    assertThatThrownBy(() -> moves(List.of(1, 1, 1), 1.5, 0, 0))
        .hasMessage("Invalid foreground-share: 1.5 (must be in 0..1)");
    assertThatThrownBy(() -> new Range(0.5, 2, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid low: 2.0 (must be at most high, 1.0)");
  }

  private static float[] train(VolumeTransform transform, Sample sample, int epoch) {
    float[] image = new float[transform.size()];
    transform.train(sample, 1, epoch, 0, image, 0);
    return image;
  }

  private static Options moves(
      List<Integer> patchSize, double foreground, double flips, double turns) {
    return new Options(
        patchSize, foreground, flips, turns, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, Fit.CROP);
  }

  private static Options intensities(
      List<Integer> patchSize, Range noise, Range factor, Range shift, Range gamma) {
    return new Options(patchSize, 0, 0, 0, NEVER, NEVER, noise, factor, shift, gamma, Fit.CROP);
  }

  private static Sample sample(Volume volume, Volume mask) {
    return new Sample(
        "a",
        0,
        volume.depth(),
        volume.height(),
        volume.width(),
        Nifti.write(volume),
        mask == null ? new byte[0] : Nifti.write(mask),
        List.of());
  }

  /** Each voxel holds its index. */
  private static Volume counting(int depth, int height, int width) {
    float[] voxels = new float[depth * height * width];
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = i;
    }
    return new Volume(depth, height, width, voxels, UNIT);
  }
}
