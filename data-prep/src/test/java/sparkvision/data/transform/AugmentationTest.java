package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;
import sparkvision.data.transform.Augmentation.Canvas;

final class AugmentationTest {

  private static final Canvas CANVAS = new Canvas(Resize.Filter.BICUBIC, new int[] {124, 116, 104});

  @Test
  void noPolicyIsThePictureItself() {
    Picture picture = Noise.gradient(20, 10);
    assertThat(apply("none", picture, 1)).isSameAs(picture);
  }

  @Test
  void policiesArePureFunctionsOfTheirStream() {
    Picture picture = Noise.gradient(40, 30);
    for (String policy :
        List.of("autoaugment", "three-augment", "rand-m9-mstd0.5-inc1", "rand-m5-n3")) {
      Set<String> found = new HashSet<>();
      for (int key = 0; key < 40; key++) {
        Picture result = apply(policy, picture, key);
        assertThat(result.width()).isEqualTo(40);
        assertThat(result.height()).isEqualTo(30);
        assertThat(result.pixels()).isEqualTo(apply(policy, picture, key).pixels());
        found.add(Noise.crc(result));
      }
      assertThat(found).as(policy).hasSizeGreaterThan(12);
    }
  }

  @Test
  void augmentationStaysTheSameInLaterVersions() {
    // A run that is resumed by a later version must see the same pictures: never change these.
    Picture picture = Noise.gradient(40, 30);
    assertThat(Noise.crc(apply("rand-m9-mstd0.5-inc1", picture, 4))).isEqualTo("b3dd761c");
    assertThat(Noise.crc(apply("autoaugment", picture, 2))).isEqualTo("95ab1090");
    assertThat(Noise.crc(apply("three-augment", picture, 2))).isEqualTo("c1942028");
    assertThat(Noise.crc(new ColorJitter(0.4, 0.4, 0.4, 0.1).apply(picture, new SplitMix(3))))
        .isEqualTo("1a6a01a2");
  }

  @Test
  void threeAugmentIsAlwaysOneOfThree() {
    Picture picture = Noise.gradient(40, 30);
    int grey = 0;
    int solarised = 0;
    for (int key = 0; key < 300; key++) {
      String found = Noise.crc(apply("three-augment", picture, key));
      grey += found.equals(Noise.crc(PillowOps.grey(picture))) ? 1 : 0;
      solarised += found.equals(Noise.crc(PillowOps.solarize(picture, 128))) ? 1 : 0;
      assertThat(found).isNotEqualTo(Noise.crc(picture));
    }
    assertThat(grey).isBetween(75, 125);
    assertThat(solarised).isBetween(75, 125);
  }

  @Test
  void randAugmentAppliesAnOperationInOneOfTwoCases() {
    Picture picture = Noise.noise(40, 30, 3);
    int unchanged = 0;
    for (int key = 0; key < 600; key++) {
      Picture result = apply("rand-m9-n1-inc1", picture, key);
      unchanged += Arrays.equals(result.pixels(), picture.pixels()) ? 1 : 0;
    }
    // Half of the draws, and autocontrast, one of 15: noise has every value.
    assertThat(unchanged).isBetween(270, 370);
  }

  @Test
  void levelsMeanWhatTheyMeanInTimm() {
    Picture picture = Noise.gradient(40, 30);
    assertOperation(Operation.POSTERIZE_INCREASING, 9, picture, PillowOps.posterize(picture, 1));
    assertOperation(Operation.POSTERIZE_ORIGINAL, 8, picture, PillowOps.posterize(picture, 7));
    assertOperation(Operation.SOLARIZE, 5, picture, PillowOps.solarize(picture, 128));
    assertOperation(Operation.SOLARIZE_INCREASING, 9, picture, PillowOps.solarize(picture, 26));
    assertOperation(Operation.SOLARIZE_ADD, 9, picture, PillowOps.solarizeAdd(picture, 99));
    assertOperation(Operation.COLOR, 4, picture, PillowOps.saturation(picture, 0.82));
    assertOperation(
        Operation.CONTRAST_INCREASING,
        5,
        picture,
        PillowOps.contrast(picture, 1.45),
        PillowOps.contrast(picture, 0.55));
    assertOperation(
        Operation.ROTATE,
        8,
        picture,
        PillowOps.rotate(picture, 24, CANVAS.filter(), CANVAS.fill()),
        PillowOps.rotate(picture, -24, CANVAS.filter(), CANVAS.fill()));
    double pixels = 0.4 * 0.45 * 40;
    double[] right = {1, 0, pixels, 0, 1, 0};
    double[] left = {1, 0, -pixels, 0, 1, 0};
    assertOperation(
        Operation.TRANSLATE_X,
        4,
        picture,
        PillowOps.affine(picture, right, CANVAS.filter(), CANVAS.fill()),
        PillowOps.affine(picture, left, CANVAS.filter(), CANVAS.fill()));
  }

  private static void assertOperation(
      Operation operation, double level, Picture picture, Picture... expected) {
    Set<String> found = new HashSet<>();
    for (int key = 0; key < 20; key++) {
      found.add(Noise.crc(operation.apply(picture, level, CANVAS, new SplitMix(key))));
    }
    assertThat(found)
        .containsExactlyInAnyOrderElementsOf(List.of(expected).stream().map(Noise::crc).toList());
  }

  @Test
  void refusesUnknownPolicies() {
    for (String policy :
        List.of("rand-m11", "rand-n0", "rand-w3", "rand-m9-", "augmix", "randm9")) {
      assertThatThrownBy(() -> Augmentation.policy(policy, CANVAS))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Invalid policy: "
                  + policy
                  + " (must be none, autoaugment, three-augment, or rand with -m0..10, -n1..,"
                  + " -mstd and -inc, such as rand-m9-mstd0.5-inc1)");
    }
  }

  private static Picture apply(String policy, Picture picture, long key) {
    return Augmentation.policy(policy, CANVAS).apply(picture, new SplitMix(key));
  }
}
