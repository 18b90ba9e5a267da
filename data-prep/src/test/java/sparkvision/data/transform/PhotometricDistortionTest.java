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

  /**
   * mmsegmentation's PhotoMetricDistortion as its documentation and OpenCV's have it, a pixel at a
   * time: numpy casts float32 to uint8 by cutting off; 8-bit HSV has hues of two degrees.
   */
  @Test
  void matchesPlainLoopsOverThePublishedDefinition() {
    Picture picture = Drawings.noise(31, 17, 3, 256, 4);
    long values = 0;
    long off = 0;
    int most = 0;
    for (int i = 0; i < 200; i++) {
      SplitMix random = new SplitMix(77, i);
      int[] expected = new int[picture.pixels().length];
      for (int at = 0; at < expected.length; at++) {
        expected[at] = picture.pixels()[at] & 0xFF;
      }
      if (random.below(2) == 1) {
        convert(expected, 0, 1, 1, -32 + 64 * random.unit());
      }
      boolean contrastFirst = random.below(2) == 1;
      if (contrastFirst && random.below(2) == 1) {
        convert(expected, 0, 1, 0.5 + random.unit(), 0);
      }
      if (random.below(2) == 1) {
        toHsv(expected);
        convert(expected, 1, 3, 0.5 + random.unit(), 0);
        toRgb(expected);
      }
      if (random.below(2) == 1) {
        int turn = -18 + random.below(36); // numpy's randint(-18, 18) leaves 18 out
        toHsv(expected);
        for (int at = 0; at < expected.length; at += 3) {
          expected[at] = (expected[at] + turn + 180) % 180;
        }
        toRgb(expected);
      }
      if (!contrastFirst && random.below(2) == 1) {
        convert(expected, 0, 1, 0.5 + random.unit(), 0);
      }
      byte[] found = PhotometricDistortion.apply(picture, new SplitMix(77, i)).pixels();
      for (int at = 0; at < expected.length; at++) {
        most = Math.max(most, Math.abs((found[at] & 0xFF) - expected[at]));
        off += (found[at] & 0xFF) == expected[at] ? 0 : 1;
        values++;
      }
    }
    // OpenCV's colours from HSV are float32, which tips halves; contrast widens one to two.
    assertThat(most).isLessThanOrEqualTo(2);
    assertThat((double) off / values).isLessThan(3e-3);
  }

  private static void convert(int[] values, int first, int step, double alpha, double beta) {
    for (int at = first; at < values.length; at += step) {
      float changed = values[at] * (float) alpha + (float) beta;
      values[at] = (int) Math.min(Math.max(changed, 0f), 255f);
    }
  }

  /**
   * V = max, S = 255 (max - min) / max, H = 30 (difference of the others / (max - min) + 0, 2, 4).
   */
  private static void toHsv(int[] values) {
    for (int at = 0; at < values.length; at += 3) {
      int red = values[at];
      int green = values[at + 1];
      int blue = values[at + 2];
      int most = Math.max(red, Math.max(green, blue));
      int range = most - Math.min(red, Math.min(green, blue));
      int hue = 0;
      if (range > 0 && most == red) {
        hue = product(green - blue, 30.0 / range);
      } else if (range > 0 && most == green) {
        hue = product(blue - red + 2 * range, 30.0 / range);
      } else if (range > 0) {
        hue = product(red - green + 4 * range, 30.0 / range);
      }
      values[at] = hue < 0 ? hue + 180 : hue;
      values[at + 1] = most == 0 ? 0 : product(range, 255.0 / most);
      values[at + 2] = most;
    }
  }

  /** In OpenCV's fixed point: 12 bits of the factor. They decide which way halves are rounded. */
  private static int product(int value, double factor) {
    return (value * (int) Math.rint(4096 * factor) + 2048) >> 12;
  }

  private static void toRgb(int[] values) {
    for (int at = 0; at < values.length; at += 3) {
      double hue = values[at] / 30.0;
      double saturation = values[at + 1] / 255.0;
      double value = values[at + 2];
      for (int channel = 0; channel < 3; channel++) {
        // The share of saturation that a channel lacks: 0 within 60 degrees of it, 1 beyond 120.
        double apart = Math.abs(hue - 2 * channel);
        double lacks = Math.min(Math.max(Math.min(apart, 6 - apart) - 1, 0), 1);
        values[at + channel] = (int) Math.rint(value * (1 - saturation * lacks));
      }
    }
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
