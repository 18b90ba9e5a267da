package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

final class ColorJitterTest {

  @Test
  void brightnessAloneScalesWithinItsReach() {
    Picture grey = new Picture(1, 1, 3, new byte[] {100, 100, 100});
    int least = 255;
    int most = 0;
    for (int key = 0; key < 500; key++) {
      byte[] found = new ColorJitter(0.4, 0, 0, 0).apply(grey, new SplitMix(key)).pixels();
      least = Math.min(least, found[0] & 0xFF);
      most = Math.max(most, found[0] & 0xFF);
    }
    assertThat(least).isBetween(60, 62);
    assertThat(most).isBetween(138, 139);
  }

  @Test
  void noneDrawsNothing() {
    SplitMix random = new SplitMix(1);
    Picture picture = Noise.gradient(5, 5);
    assertThat(ColorJitter.NONE.apply(picture, random)).isSameAs(picture);
    assertThat(random.next()).isEqualTo(new SplitMix(1).next());
  }

  @Test
  void refusesValuesOutOfRange() {
    assertThatThrownBy(() -> new ColorJitter(0.4, 0.4, 0.4, 0.6))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid color-jitter: [0.4, 0.4, 0.4, 0.6] (brightness, contrast and saturation must"
                + " be at least 0, hue 0..0.5)");
  }
}
