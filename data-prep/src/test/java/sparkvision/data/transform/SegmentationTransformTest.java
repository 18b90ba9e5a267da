package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import sparkvision.data.DataException;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Images.Picture;
import sparkvision.data.Sample;
import sparkvision.data.SplitMix;
import sparkvision.data.coco.Rle;

final class SegmentationTransformTest {

  private static final Path ADE20K = Path.of("../../shared/data/ade20k/ADEChallengeData2016");

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Trained(float[] image, long[] labels) {}

  @Test
  void trainingReachesEveryCropAndBothDirectionsAndNothingElse() {
    // Edges equal to the picture's own: nothing is resized.
    Picture mask = new Picture(4, 3, 1, new byte[] {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23});
    Picture picture = new Picture(4, 3, 3, new byte[36]);
    for (int i = 0; i < 36; i++) {
      picture.pixels()[i] = (byte) (mask.pixels()[i / 3] + 100 * (i % 3));
    }
    SegmentationTransform transform = transform(2, 2, 4, 3, 1, 1, 1);
    Sample sample = Drawings.segmentation("a", picture, mask);
    Set<String> found = new HashSet<>();
    for (int epoch = 0; epoch < 300; epoch++) {
      Trained trained = train(transform, sample, 3, epoch);
      found.add(Arrays.toString(trained.labels));
      for (int i = 0; i < 12; i++) {
        assertThat(trained.image[i])
            .isEqualTo((float) ((trained.labels[i % 4] + 100L * (i / 4)) / 255.0));
      }
    }
    Set<String> expected = new HashSet<>();
    for (int top = 0; top < 2; top++) {
      for (int left = 0; left < 3; left++) {
        int at = 10 * top + left;
        expected.add(Arrays.toString(new long[] {at, at + 1, at + 10, at + 11}));
        expected.add(Arrays.toString(new long[] {at + 1, at, at + 11, at + 10}));
      }
    }
    assertThat(found).isEqualTo(expected);
  }

  @Test
  void matchesAPlainTwinOfThePipeline() {
    Picture picture = Drawings.noise(31, 23, 3, 256, 1);
    Picture mask =
        OpenCvOps.resize(Drawings.noise(5, 4, 1, 3, 2), 31, 23, OpenCvOps.Interpolation.NEAREST);
    SegmentationTransform transform = transform(20, 26, 60, 20, 0.5, 2, 0.45);
    Sample sample = Drawings.segmentation("twin", picture, mask);
    Set<Integer> tries = new HashSet<>();
    for (int epoch = 0; epoch < 200; epoch++) {
      SplitMix random = new SplitMix(7, epoch, SplitMix.hash("twin"));
      double ratio = 0.5 + 1.5 * random.unit();
      double factor = Math.min((int) (60 * ratio) / 31.0, (int) (20 * ratio) / 23.0);
      int width = (int) (31 * factor + 0.5);
      int height = (int) (23 * factor + 0.5);
      int[] labels = new int[20 * 26];
      int top;
      int left;
      int tried = 0;
      while (true) {
        top = random.below(Math.max(height - 20, 0) + 1);
        left = random.below(Math.max(width - 26, 0) + 1);
        int[] counts = new int[3];
        for (int i = 0; i < labels.length; i++) {
          int y = top + i / 26;
          int x = left + i % 26;
          boolean inside = y < height && x < width;
          labels[i] = inside ? mask.pixels()[y * 23 / height * 31 + x * 31 / width] : 255;
          if (inside) {
            counts[labels[i]]++;
          }
        }
        int most = Arrays.stream(counts).max().orElseThrow();
        if (most < 0.45 * Arrays.stream(counts).sum() || tried == 10) {
          break;
        }
        tried++;
      }
      tries.add(tried);
      boolean flip = random.unit() < 0.5;

      Trained trained = train(transform, sample, 7, epoch);
      int shownWidth = Math.min(26, width);
      int shownHeight = Math.min(20, height);
      for (int i = 0; i < labels.length; i++) {
        int y = i / 26;
        int x = i % 26;
        boolean inside = y < shownHeight && x < shownWidth;
        int column = inside && flip ? shownWidth - 1 - x : x;
        assertThat(trained.labels[i]).isEqualTo(labels[y * 26 + column]);
        for (int c = 0; c < 3; c++) {
          float value = trained.image[c * 20 * 26 + i];
          if (inside) {
            double expected = bilinear(picture, c, top + y, left + column, width, height);
            assertThat(255 * value).isCloseTo((float) expected, within(1.01f));
          } else {
            assertThat(value).isZero();
          }
        }
      }
    }
    assertThat(tries)
        .contains(0, 1, 10); // crops taken at once, at the second draw, for want of better
  }

  /** Channel c of the resized picture's pixel (y, x), by the definition. */
  private static double bilinear(Picture picture, int c, int y, int x, int width, int height) {
    double row = Math.max(0, (y + 0.5) * picture.height() / height - 0.5);
    double column = Math.max(0, (x + 0.5) * picture.width() / width - 0.5);
    int y0 = Math.min((int) row, picture.height() - 1);
    int x0 = Math.min((int) column, picture.width() - 1);
    int y1 = Math.min(y0 + 1, picture.height() - 1);
    int x1 = Math.min(x0 + 1, picture.width() - 1);
    double down = row - y0;
    double right = column - x0;
    return (1 - down)
            * ((1 - right) * value(picture, c, y0, x0) + right * value(picture, c, y0, x1))
        + down * ((1 - right) * value(picture, c, y1, x0) + right * value(picture, c, y1, x1));
  }

  private static int value(Picture picture, int c, int y, int x) {
    return picture.pixels()[(y * picture.width() + x) * 3 + c] & 0xFF;
  }

  @Test
  void aCropIsDrawnAgainUntilClassesMix() {
    // Only crops of columns 7 and 8 have two classes; ignored pixels count for neither.
    byte[] classes = new byte[12];
    Arrays.fill(classes, 0, 4, (byte) 255);
    Arrays.fill(classes, 8, 12, (byte) 1);
    Sample sample =
        Drawings.segmentation(
            "a", new Picture(12, 1, 3, new byte[36]), new Picture(12, 1, 1, classes));
    SegmentationTransform guarded = transform(1, 2, 12, 1, 1, 1, 0.75);
    SegmentationTransform free = transform(1, 2, 12, 1, 1, 1, 1);
    int guardedMixed = 0;
    int freeMixed = 0;
    for (int epoch = 0; epoch < 500; epoch++) {
      long[] labels = train(guarded, sample, 5, epoch).labels;
      guardedMixed += labels[0] + labels[1] == 1 ? 1 : 0;
      labels = train(free, sample, 5, epoch).labels;
      freeMixed += labels[0] + labels[1] == 1 ? 1 : 0;
    }
    assertThat(freeMixed).isBetween(30, 62); // one of 11 places
    assertThat(guardedMixed).isBetween(300, 350); // 1 - (10/11)^11 = 0.65
  }

  @Test
  void aSmallPictureIsPaddedWithTheMeanColourAndIgnoredLabels() {
    Sample sample =
        Drawings.segmentation(
            "a",
            new Picture(1, 1, 3, new byte[] {(byte) 255, 0, 51}),
            new Picture(1, 1, 1, new byte[] {7}));
    SegmentationTransform transform =
        new SegmentationTransform(
            new SegmentationTransform.Options(
                2, 2, 1, 1, 1, 1, 0.75, 0.5, false, List.of(0.5), List.of(0.5)));
    Trained trained = train(transform, sample, 1, 0);
    assertThat(trained.labels).containsExactly(7, 255, 255, 255);
    assertThat(trained.image).containsExactly(1, 0, 0, 0, -1, 0, 0, 0, -0.6f, 0, 0, 0);
  }

  @Test
  void writesWhereItIsToldTo() {
    Sample sample =
        Drawings.segmentation("a", Drawings.noise(4, 4, 3, 256, 1), Drawings.noise(4, 4, 1, 9, 2));
    SegmentationTransform transform = transform(2, 2, 4, 4, 1, 1, 1);
    float[] image = new float[14];
    long[] labels = new long[6];
    Arrays.fill(image, 9);
    Arrays.fill(labels, 99);
    transform.train(sample, 1, 0, 0, image, 1, labels, 1);
    Trained trained = train(transform, sample, 1, 0);
    assertThat(Arrays.copyOfRange(image, 1, 13)).isEqualTo(trained.image);
    assertThat(Arrays.copyOfRange(labels, 1, 5)).isEqualTo(trained.labels);
    assertThat(new float[] {image[0], image[13]}).containsOnly(9);
    assertThat(new long[] {labels[0], labels[5]}).containsOnly(99);
  }

  @Test
  void augmentationIsAPureFunctionOfSeedEpochAndId() throws Exception {
    SegmentationTransform transform =
        new SegmentationTransform(
            new SegmentationTransform.Options(
                16, 16, 64, 32, 0.5, 2, 0.75, 0.5, true, Drawings.ZERO, Drawings.ONE));
    Picture picture = Drawings.noise(40, 30, 3, 256, 3);
    Picture mask = Drawings.noise(40, 30, 1, 5, 4);
    Sample sample = Drawings.segmentation("a", picture, mask);
    Trained first = train(transform, sample, 1, 0);
    assertThat(train(transform, Drawings.segmentation("b", picture, mask), 1, 0).image)
        .isNotEqualTo(first.image);
    assertThat(train(transform, sample, 2, 0).image).isNotEqualTo(first.image);
    assertThat(train(transform, sample, 1, 1).image).isNotEqualTo(first.image);
    Trained again = train(Drawings.sent(transform, SegmentationTransform.class), sample, 1, 0);
    assertThat(again.image).isEqualTo(first.image);
    assertThat(again.labels).isEqualTo(first.labels);
  }

  @Test
  void distortionChangesColoursAndNoLabels() {
    Sample sample =
        Drawings.segmentation("a", Drawings.noise(8, 8, 3, 256, 1), Drawings.noise(8, 8, 1, 5, 2));
    SegmentationTransform.Options options =
        new SegmentationTransform.Options(
            8, 8, 8, 8, 1, 1, 1, 0.5, true, Drawings.ZERO, Drawings.ONE);
    int changed = 0;
    for (int epoch = 0; epoch < 40; epoch++) {
      Trained plain = train(transform(8, 8, 8, 8, 1, 1, 1), sample, 1, epoch);
      Trained distorted = train(new SegmentationTransform(options), sample, 1, epoch);
      assertThat(distorted.labels).isEqualTo(plain.labels);
      changed += Arrays.equals(distorted.image, plain.image) ? 0 : 1;
    }
    assertThat(changed).isBetween(30, 40); // of 40, one in 16 stays as it is
  }

  @Test
  void evaluationKeepsTheRatioAndTheStoredLabels() {
    Picture mask = Drawings.noise(300, 200, 1, 256, 2);
    Sample sample = Drawings.segmentation("a", Drawings.noise(300, 200, 3, 256, 1), mask);
    SegmentationTransform transform = transform(512, 512, 2048, 512, 0.5, 2, 0.75);
    SegmentationTransform.Example example = transform.evaluate(sample);
    assertThat(example.width()).isEqualTo(768);
    assertThat(example.height()).isEqualTo(512);
    assertThat(example.image()).hasSize(3 * 768 * 512);
    assertThat(example.originalWidth()).isEqualTo(300);
    assertThat(example.originalHeight()).isEqualTo(200);
    for (int i = 0; i < 300 * 200; i++) {
      assertThat(example.labels()[i]).isEqualTo(mask.pixels()[i] & 0xFF);
    }
    Picture picture = Images.decode(sample.image(), 3);
    for (int i = 0; i < example.image().length; i += 97) {
      int c = i / (768 * 512);
      double expected = bilinear(picture, c, i / 768 % 512, i % 768, 768, 512);
      assertThat(255 * example.image()[i]).isCloseTo((float) expected, within(1.01f));
    }
  }

  @Test
  void theLongEdgeLimitsPanoramas() {
    Sample sample =
        Drawings.segmentation(
            "a",
            new Picture(3000, 100, 3, new byte[900000]),
            new Picture(3000, 100, 1, new byte[300000]));
    SegmentationTransform.Example example =
        transform(512, 512, 2048, 512, 0.5, 2, 0.75).evaluate(sample);
    assertThat(example.width()).isEqualTo(2048);
    assertThat(example.height()).isEqualTo(68);
  }

  @Test
  void saysWhichSampleIsBad() {
    SegmentationTransform transform = transform(8, 8, 64, 8, 1, 1, 0.75);
    Picture picture = Drawings.noise(4, 3, 3, 256, 1);
    assertThatThrownBy(
            () ->
                transform.evaluate(
                    Drawings.segmentation("x/y", picture, Drawings.noise(3, 4, 1, 9, 1))))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot use sample x/y: its picture has 4 x 3 pixels, its mask 3 x 4");
    byte[] png = Images.encodePng(picture);
    Sample broken = new Sample("z", 0, 1, 3, 4, png, new byte[] {1}, List.of());
    assertThatThrownBy(() -> transform.evaluate(broken))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot decode the mask of sample z: ");
    DetectedObject outside = object(0, 1, new byte[25], 5);
    assertThatThrownBy(
            () ->
                transform.evaluate(
                    new Sample("z", -1, 1, 3, 4, png, new byte[0], List.of(outside))))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot paint an object of sample z: mask has runs of 25 pixels");
    assertThatThrownBy(() -> transform(0, 8, 64, 8, 1, 1, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid crop-height: 0 (must be >= 1)");
    assertThatThrownBy(() -> transform(8, 8, 4, 8, 1, 1, 1))
        .hasMessage("Invalid long-edge: 4 (must be >= short-edge 8)");
    assertThatThrownBy(() -> transform(8, 8, 8, 8, 1, 0.5, 1))
        .hasMessage("Invalid max-ratio: 0.5 (must be >= min-ratio 1.0)");
    assertThatThrownBy(() -> transform(8, 8, 65536, 8, 1, 2, 1))
        .hasMessage("Invalid max-ratio: 2.0 (makes pictures of 65536 x 8 too large)");
  }

  @Test
  void objectsArePaintedTheSmallestOnTop() {
    byte[] large = {1, 1, 1, 0, 0, 0};
    byte[] small = {0, 1, 0, 0, 0, 0};
    DetectedObject box = new DetectedObject(7, 0, 0, 3, 2, 6, false, "");
    List<DetectedObject> objects =
        List.of(object(5, 1, small, 3), box, object(4, 3, large, 3)); // the large one comes last
    byte[] png = Images.encodePng(Drawings.noise(3, 2, 3, 256, 1));
    Sample sample = new Sample("a", -1, 1, 2, 3, png, new byte[0], objects);
    assertThat(transform(2, 2, 4, 4, 1, 1, 1).evaluate(sample).labels())
        .containsExactly(4, 5, 4, 255, 255, 255);
  }

  private static DetectedObject object(int category, double area, byte[] mask, int width) {
    String rle = Rle.ofMask(mask, mask.length / width, width).toString();
    return new DetectedObject(category, 0, 0, 1, 1, area, false, rle);
  }

  @Test
  void realPicturesKeepTheirClasses() throws IOException {
    Path file = ADE20K.resolve("images/validation/ADE_val_00000001.jpg");
    Assumptions.assumeTrue(Files.exists(file), "no ../shared/data beside the checkout");
    byte[] png = Files.readAllBytes(ADE20K.resolve("annotations/validation/ADE_val_00000001.png"));
    Picture mask = Images.decode(png, 1);
    Set<Integer> stored = new HashSet<>(Set.of(255));
    for (byte b : mask.pixels()) {
      stored.add(b & 0xFF);
    }
    Sample sample =
        new Sample(
            "val", -1, 1, mask.height(), mask.width(), Files.readAllBytes(file), png, List.of());
    SegmentationTransform transform =
        new SegmentationTransform(
            new SegmentationTransform.Options(
                512,
                512,
                2048,
                512,
                0.5,
                2,
                0.75,
                0.5,
                true,
                List.of(0.485, 0.456, 0.406),
                List.of(0.229, 0.224, 0.225)));
    Set<Integer> seen = new HashSet<>();
    for (int epoch = 0; epoch < 5; epoch++) {
      Trained trained = train(transform, sample, 1, epoch);
      Arrays.stream(trained.labels).forEach(label -> seen.add((int) label));
      for (float value : trained.image) {
        assertThat(value).isBetween(-2.2f, 2.7f);
      }
    }
    assertThat(stored).containsAll(seen);
    assertThat(seen).hasSizeGreaterThan(3);
    SegmentationTransform.Example example = transform.evaluate(sample);
    assertThat(Math.min(example.width(), example.height())).isEqualTo(512);
    assertThat(example.labels()).hasSize(mask.width() * mask.height());
  }

  private static SegmentationTransform transform(
      int cropHeight,
      int cropWidth,
      int longEdge,
      int shortEdge,
      double minRatio,
      double maxRatio,
      double maxClassShare) {
    return new SegmentationTransform(
        new SegmentationTransform.Options(
            cropHeight,
            cropWidth,
            longEdge,
            shortEdge,
            minRatio,
            maxRatio,
            maxClassShare,
            0.5,
            false,
            Drawings.ZERO,
            Drawings.ONE));
  }

  private static Trained train(
      SegmentationTransform transform, Sample sample, long seed, int epoch) {
    float[] image = new float[3 * transform.size()];
    long[] labels = new long[transform.size()];
    transform.train(sample, seed, epoch, 0, image, 0, labels, 0);
    return new Trained(image, labels);
  }
}
