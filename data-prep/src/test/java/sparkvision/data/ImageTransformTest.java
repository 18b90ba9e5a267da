package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

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
            () -> transform.evaluate(new Sample("z", 0, 1, 1, new byte[] {1, 2}), target, 0))
        .isInstanceOf(DataException.class)
        .hasMessage("Cannot decode sample z: cannot be decoded");
    assertThatThrownBy(() -> new ImageTransform.Options(8, 0, 2, 1, 0, ZERO, ONE))
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
