package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.ColorJitter;
import sparkvision.data.transform.RandomErasing;
import sparkvision.data.transform.RandomResizedCrop;
import sparkvision.data.transform.Resize;

final class ImageTransformTest {

  private static final List<Double> ZERO = List.of(0.0);
  private static final List<Double> ONE = List.of(1.0);

  @Test
  void evaluationCropsTheCentreAndNormalisesByChannel() {
    // 4 x 3, pixel (y, x) is red 10y + x, green 100 + that, blue 200 + that.
    byte[] pixels = new byte[4 * 3 * 3];
    for (int i = 0; i < 12; i++) {
      int value = 10 * (i / 4) + i % 4;
      pixels[3 * i] = (byte) value;
      pixels[3 * i + 1] = (byte) (100 + value);
      pixels[3 * i + 2] = (byte) (200 + value);
    }
    ImageTransform transform =
        new ImageTransform(
            new ImageTransform.Options(
                2, 0, 3, 0, 0, List.of(0.1, 0.2, 0.3), List.of(0.5, 0.25, 2.0)));
    float[] target = new float[14];
    transform.evaluate(sample("a", new Images.Picture(4, 3, 3, pixels)), target, 1);
    assertThat(target[0]).isZero();
    assertThat(target[13]).isZero();
    int[] crop = {1, 2, 11, 12}; // rows 0 and 1, columns 1 and 2
    double[] mean = {0.1, 0.2, 0.3};
    double[] std = {0.5, 0.25, 2.0};
    for (int c = 0; c < 3; c++) {
      for (int i = 0; i < 4; i++) {
        double expected = ((100 * c + crop[i]) / 255.0 - mean[c]) / std[c];
        assertThat(target[1 + 4 * c + i]).isEqualTo((float) expected);
      }
    }
  }

  @Test
  void evaluationResizesTheShorterSide() {
    byte[] pixels = new byte[8 * 4];
    Arrays.fill(pixels, (byte) 51);
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(2, 2, 1, 0, 0, ZERO, ONE));
    float[] target = new float[4];
    transform.evaluate(sample("a", new Images.Picture(8, 4, 1, pixels)), target, 0);
    assertThat(target).containsOnly(0.2f);
  }

  @Test
  void trainingReachesEveryCropAndBothDirectionsAndNothingElse() {
    // A 2 x 2 picture padded by 1 and cropped to 2: nine places, times two directions.
    Images.Picture picture =
        new Images.Picture(2, 2, 1, new byte[] {51, 102, (byte) 153, (byte) 204});
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(2, 0, 1, 1, 0.5, ZERO, ONE));
    Set<String> found = new HashSet<>();
    Set<String> expected = new HashSet<>();
    for (int epoch = 0; epoch < 400; epoch++) {
      float[] target = new float[4];
      transform.train(sample("a", picture), 3, epoch, target, 0);
      found.add(Arrays.toString(target));
    }
    float[][] padded = {
      {0, 0, 0, 0}, {0, 0.2f, 0.4f, 0}, {0, 0.6f, 0.8f, 0}, {0, 0, 0, 0},
    };
    for (int top = 0; top < 3; top++) {
      for (int left = 0; left < 3; left++) {
        float[] up = padded[top];
        float[] down = padded[top + 1];
        expected.add(
            Arrays.toString(new float[] {up[left], up[left + 1], down[left], down[left + 1]}));
        expected.add(
            Arrays.toString(new float[] {up[left + 1], up[left], down[left + 1], down[left]}));
      }
    }
    assertThat(found).isEqualTo(expected);
  }

  @Test
  void paddingIsBlackBeforeNormalisation() {
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(3, 0, 1, 1, 0, List.of(0.5), List.of(0.5)));
    float[] target = new float[9];
    byte[] white = {(byte) 255};
    transform.train(sample("a", new Images.Picture(1, 1, 1, white)), 1, 0, target, 0);
    assertThat(target).containsExactly(-1, -1, -1, -1, 1, -1, -1, -1, -1);
  }

  @Test
  void augmentationIsAPureFunctionOfSeedEpochAndId() {
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(8, 0, 1, 4, 0.5, ZERO, ONE));
    Images.Picture picture = noise(16, 16);
    float[] first = train(transform, "a", 1, 0, picture);
    assertThat(train(transform, "b", 1, 0, picture)).isNotEqualTo(first);
    assertThat(train(transform, "a", 2, 0, picture)).isNotEqualTo(first);
    assertThat(train(transform, "a", 1, 1, picture)).isNotEqualTo(first);
    assertThat(train(transform, "a", 1, 0, picture)).isEqualTo(first);
  }

  @Test
  void saysWhichSampleIsTooSmallOrBroken() {
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(8, 0, 1, 1, 0, ZERO, ONE));
    float[] target = new float[64];
    assertThatThrownBy(() -> transform.train(sample("x/y.png", noise(20, 5)), 1, 0, target, 0))
        .isInstanceOf(DataException.class)
        .hasMessage(
            "Cannot crop sample x/y.png to 8 pixels: it is 20 x 5; set images.resize to"
                + " at least 8");
    assertThatThrownBy(
            () -> transform.evaluate(new Sample("z", 0, 8, 8, new byte[] {1, 2}), target, 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot decode sample z: cannot be decoded");
    assertThatThrownBy(
            () -> new ImageTransform(new ImageTransform.Options(8, 0, 2, 1, 0, ZERO, ONE)))
        .hasMessage("Invalid channels: 2 (1 or 3)");
  }

  @Test
  void refusesToMakeANarrowPictureEnormous() {
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(224, 256, 1, 0, 0, ZERO, ONE));
    Sample line = sample("x/line.png", noise(1, 300));
    float[] target = new float[transform.size()];
    String sentence =
        "Cannot resize sample x/line.png: with images.resize 256 its 1 x 300 pixels become"
            + " 256 x 76800; make images.resize smaller, or leave the picture out";
    assertThatThrownBy(() -> transform.train(line, 1, 0, target, 0))
        .isInstanceOf(DataException.class)
        .hasMessage(sentence);
    assertThatThrownBy(() -> transform.evaluate(line, target, 0)).hasMessage(sentence);
  }

  @Test
  void evaluationIsPillowsResizeAndTorchvisionsCentreCrop() {
    // 90 x 61 -> 59 x 40 -> columns 14..45 (half of 27, to even), rows 4..35.
    Images.Picture picture = noise(90, 61);
    ImageTransform transform =
        new ImageTransform(
            new ImageTransform.Options(32, 40, 1, 0, 0, ZERO, ONE),
            Resize.Filter.BICUBIC,
            Augment.NONE);
    Images.Picture expected =
        Resize.crop(
            Resize.resize(picture, 59, 40, Resize.Filter.BICUBIC),
            new Resize.Region(14, 4, 32, 32));
    assertThat(transform.evaluationPicture(sample("a", picture)).pixels())
        .isEqualTo(expected.pixels());
  }

  @Test
  void resizedCropsAreCroppedBeforeTheyAreResized() {
    Images.Picture picture = noise(90, 61);
    Augment augment = augment(Augment.Crop.RESIZED, "none", 0);
    ImageTransform transform =
        new ImageTransform(
            new ImageTransform.Options(32, 0, 1, 0, 0, ZERO, ONE), Resize.Filter.BILINEAR, augment);
    float[] target = new float[transform.size()];
    for (int epoch = 0; epoch < 20; epoch++) {
      transform.train(sample("a", picture), 7, epoch, target, 0);
      Resize.Region region =
          augment.resizedCrop().draw(90, 61, new SplitMix(7, epoch, SplitMix.hash("a")));
      byte[] expected =
          Resize.resize(Resize.crop(picture, region), 32, 32, Resize.Filter.BILINEAR).pixels();
      for (int i = 0; i < expected.length; i++) {
        assertThat(target[i]).isEqualTo((expected[i] & 0xFF) / 255f);
      }
    }
  }

  @Test
  void augmentationIsAPureFunctionOfSeedEpochIdAndRepeat() {
    Augment augment = augment(Augment.Crop.RESIZED, "rand-m9-mstd0.5-inc1", 1);
    ImageTransform transform =
        new ImageTransform(
            new ImageTransform.Options(16, 0, 3, 0, 0.5, ZERO, ONE),
            Resize.Filter.BICUBIC,
            augment);
    Sample sample = sample("a", noise(40, 30));
    float[] first = new float[transform.size()];
    float[] again = new float[transform.size()];
    float[] second = new float[transform.size()];
    transform.train(sample, 1, 2, 0, first, 0);
    transform.train(sample, 1, 2, again, 0);
    transform.train(sample, 1, 2, 1, second, 0);
    assertThat(again).isEqualTo(first);
    assertThat(second).isNotEqualTo(first);
  }

  @Test
  void decodesLargeJpegsReducedForTrainingOnly() {
    // A photograph has few fine details: three waves and some noise.
    BufferedImage image = new BufferedImage(800, 600, BufferedImage.TYPE_BYTE_GRAY);
    SplitMix random = new SplitMix(3);
    for (int y = 0; y < 600; y++) {
      for (int x = 0; x < 800; x++) {
        double value = 128 + 60 * Math.sin(x / 19.0) + 50 * Math.cos(y / 31.0 + x / 50.0);
        image.getRaster().setSample(x, y, 0, (int) (value + random.between(-8, 8)));
      }
    }
    byte[] jpeg = Pictures.encode("jpeg", image);
    Sample sample = new Sample("a", 0, 600, 800, jpeg);
    Images.Picture whole = Images.decode(jpeg, 1);
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(50, 50, 1, 0, 0, ZERO, ONE));
    Images.Picture exact = Resize.resize(whole, 66, 50, Resize.Filter.BILINEAR);
    Images.Picture evaluated = transform.evaluationPicture(sample);
    assertThat(evaluated.pixels())
        .isEqualTo(Resize.crop(exact, new Resize.Region(8, 0, 50, 50)).pixels());
    float[] target = new float[transform.size()];
    double least = 255;
    transform.train(sample, 1, 0, target, 0);
    for (int left = 0; left <= 16; left++) {
      byte[] crop = Resize.crop(exact, new Resize.Region(left, 0, 50, 50)).pixels();
      double difference = 0;
      for (int i = 0; i < crop.length; i++) {
        difference += Math.abs(target[i] * 255 - (crop[i] & 0xFF)) / crop.length;
      }
      least = Math.min(least, difference);
    }
    assertThat(least).isBetween(0.001, 0.6);
  }

  @Test
  void refusesAPictureThatIsNotOfTheSizeThatItsShardSays() {
    ImageTransform transform =
        new ImageTransform(new ImageTransform.Options(4, 0, 1, 0, 0, ZERO, ONE));
    Sample sample = new Sample("a", 0, 9, 8, Images.encodePng(noise(8, 8)));
    assertThatThrownBy(() -> transform.evaluate(sample, new float[16], 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot decode sample a: it is 8 x 8 / 1 pixels, its shard says 8 x 9");
  }

  /** Needs the sample of ILSVRC2012, which cannot be part of this repository. */
  @Test
  void evaluationEqualsPillowOnPhotographs() throws IOException {
    Path root = Path.of("../../shared/data/imagenet/ILSVRC/Data/CLS-LOC");
    assumeTrue(Files.isDirectory(root), "no ../shared/data beside the checkout");
    List<Path> files;
    try (Stream<Path> found = Files.walk(root)) {
      files = found.filter(file -> file.toString().endsWith(".JPEG")).sorted().toList();
    }
    assertThat(files).hasSize(146);
    // CRC-32 over all: Image.open, convert("RGB"), resize, crop in Pillow 9.4.0.
    for (Resize.Filter filter : Resize.Filter.values()) {
      ImageTransform transform =
          new ImageTransform(
              new ImageTransform.Options(224, 256, 3, 0, 0, ZERO, ONE), filter, Augment.NONE);
      CRC32 crc = new CRC32();
      for (Path file : files) {
        byte[] bytes = Files.readAllBytes(file);
        Images.Picture picture = Images.inspect(bytes);
        Sample sample = new Sample(file.toString(), 0, picture.height(), picture.width(), bytes);
        crc.update(transform.evaluationPicture(sample).pixels());
      }
      assertThat(crc.getValue())
          .isEqualTo(filter == Resize.Filter.BILINEAR ? 0x4c314b6dL : 0x781ec082L);
    }
  }

  private static Augment augment(Augment.Crop crop, String policy, double erase) {
    return new Augment(
        crop,
        new RandomResizedCrop(0.08, 1, 0.75, 4.0 / 3),
        policy,
        ColorJitter.NONE,
        new RandomErasing(erase));
  }

  private static float[] train(
      ImageTransform transform, String id, long seed, int epoch, Images.Picture picture) {
    float[] target = new float[transform.size()];
    transform.train(sample(id, picture), seed, epoch, target, 0);
    return target;
  }

  private static Images.Picture noise(int width, int height) {
    byte[] pixels = new byte[width * height];
    SplitMix random = new SplitMix(5);
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) random.next();
    }
    return new Images.Picture(width, height, 1, pixels);
  }

  private static Sample sample(String id, Images.Picture picture) {
    return new Sample(id, 0, picture.height(), picture.width(), Images.encodePng(picture));
  }
}
