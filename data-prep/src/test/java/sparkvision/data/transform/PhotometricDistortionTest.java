package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

final class PhotometricDistortionTest {

  @Test
  void brightnessAndContrastCutOffAndClip() {
    Picture picture = pixel(100, 101, 250);
    assertThat(PhotometricDistortion.linear(picture, 1, 10.7).pixels())
        .containsExactly(bytes(110, 111, 255));
    assertThat(PhotometricDistortion.linear(picture, 1, -100.5).pixels())
        .containsExactly(bytes(0, 0, 149));
    assertThat(PhotometricDistortion.linear(picture, 0.999, 0).pixels())
        .containsExactly(bytes(99, 100, 249));
    assertThat(picture.pixels()).containsExactly(bytes(100, 101, 250));
  }

  @Test
  void saturationMovesColoursAwayFromGrey() {
    // Value 200, saturation 150/200 of 255 = 191, halved 95: the least is 200 * (1 - 95/255).
    assertThat(PhotometricDistortion.saturate(pixel(200, 50, 125), 0.5).pixels())
        .containsExactly(bytes(200, 125, 163));
    assertThat(PhotometricDistortion.saturate(pixel(200, 50, 125), 0).pixels())
        .containsExactly(bytes(200, 200, 200));
    assertThat(PhotometricDistortion.saturate(pixel(77, 77, 77), 1.5).pixels())
        .containsExactly(bytes(77, 77, 77));
  }

  @Test
  void huesGoRoundTheCircle() {
    Picture red = pixel(240, 0, 0);
    assertThat(PhotometricDistortion.turnHue(red, 60).pixels()).containsExactly(bytes(0, 240, 0));
    assertThat(PhotometricDistortion.turnHue(red, -60).pixels()).containsExactly(bytes(0, 0, 240));
    assertThat(PhotometricDistortion.turnHue(red, 15).pixels()).containsExactly(bytes(240, 120, 0));
    assertThat(PhotometricDistortion.turnHue(red, -15).pixels())
        .containsExactly(bytes(240, 0, 120));
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2})
  void matchesAPlainTwinOfTheDraws(long seed) {
    Picture picture = Drawings.noise(5, 4, 3, 256, 9);
    Set<String> plans = new HashSet<>();
    for (int i = 0; i < 300; i++) {
      SplitMix random = new SplitMix(seed, i);
      StringBuilder plan = new StringBuilder();
      Picture expected = picture;
      if (random.below(2) == 1) {
        plan.append("brightness ");
        expected = PhotometricDistortion.linear(expected, 1, 64 * random.unit() - 32);
      }
      boolean first = random.below(2) == 1;
      if (first && random.below(2) == 1) {
        plan.append("contrast ");
        expected = PhotometricDistortion.linear(expected, 0.5 + random.unit(), 0);
      }
      if (random.below(2) == 1) {
        plan.append("saturation ");
        expected = PhotometricDistortion.saturate(expected, 0.5 + random.unit());
      }
      if (random.below(2) == 1) {
        plan.append("hue ");
        expected = PhotometricDistortion.turnHue(expected, random.below(36) - 18);
      }
      if (!first && random.below(2) == 1) {
        plan.append("contrast");
        expected = PhotometricDistortion.linear(expected, 0.5 + random.unit(), 0);
      }
      plans.add(plan.toString());
      assertThat(PhotometricDistortion.apply(picture, new SplitMix(seed, i)).pixels())
          .as(plan.toString())
          .isEqualTo(expected.pixels());
    }
    assertThat(plans).hasSize(24); // 8 without contrast, 8 with it second, 8 with it last
  }

  @Test
  void greyStaysGreyAndUnchangedInAQuarterOfTheCases() {
    int unchanged = 0;
    int lowest = 255;
    int highest = 0;
    for (int i = 0; i < 4000; i++) {
      byte[] pixels =
          PhotometricDistortion.apply(pixel(100, 100, 100), new SplitMix(3, i)).pixels();
      assertThat(pixels[1]).isEqualTo(pixels[0]);
      assertThat(pixels[2]).isEqualTo(pixels[0]);
      unchanged += pixels[0] == 100 ? 1 : 0;
      lowest = Math.min(lowest, pixels[0] & 0xFF);
      highest = Math.max(highest, pixels[0] & 0xFF);
    }
    assertThat(unchanged).isBetween(950, 1100); // a quarter, and what is rounded to it
    assertThat(lowest).isBetween(34, 38); // (100 - 32) / 2
    assertThat(highest).isBetween(190, 198); // (100 + 32) * 1.5
  }

  private static Picture pixel(int red, int green, int blue) {
    return new Picture(1, 1, 3, bytes(red, green, blue));
  }

  private static byte[] bytes(int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return bytes;
  }
}
