package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static sparkvision.data.transform.Resize.Filter.BICUBIC;
import static sparkvision.data.transform.Resize.Filter.BILINEAR;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.data.Images.Picture;
import sparkvision.data.transform.Resize.Box;
import sparkvision.data.transform.Resize.Region;

final class ResizeTest {

  /** CRC-32 of what Pillow 9.4.0's {@code resize} made of the same noise. */
  @ParameterizedTest
  @CsvSource({
    "97, 61, 3, 40, 31, a7c52ffb, 9d69af1e",
    "97, 61, 1, 40, 31, 730a73c2, 454a8852",
    "31, 17, 3, 64, 50, 8aadd7e0, 49f424ae",
    "120, 90, 3, 33, 90, 1149ee56, bff89e52",
    "120, 90, 3, 120, 31, 78bf3dfe, f9bc5e82",
    "300, 2, 3, 7, 5, 36014c8b, a9b846cb",
    "9, 9, 1, 1, 1, 48bd5c3b, 3fba6cad"
  })
  void equalsPillow(
      int width,
      int height,
      int channels,
      int newWidth,
      int newHeight,
      String bilinear,
      String bicubic) {
    Picture picture = Noise.noise(width, height, channels);
    assertThat(Noise.crc(Resize.resize(picture, newWidth, newHeight, BILINEAR)))
        .isEqualTo(bilinear);
    assertThat(Noise.crc(Resize.resize(picture, newWidth, newHeight, BICUBIC))).isEqualTo(bicubic);
  }

  @Test
  void equalsPillowInABoxThatIsNotWhole() {
    Picture picture = Noise.noise(200, 150, 3);
    Box box = new Box(10.25, 3.5, 150.75, 140);
    assertThat(Noise.crc(Resize.resize(picture, box, 64, 64, BILINEAR))).isEqualTo("15c6977c");
    assertThat(Noise.crc(Resize.resize(picture, box, 64, 64, BICUBIC))).isEqualTo("a68cf0e4");
  }

  @Test
  void aRegionIsThatPartOfTheWhole() {
    Picture picture = Noise.noise(200, 150, 3);
    Region region = new Region(13, 7, 41, 30);
    for (Resize.Filter filter : Resize.Filter.values()) {
      Picture whole = Resize.resize(picture, 90, 70, filter);
      Picture part = Resize.resize(picture, Box.of(picture), 90, 70, region, filter);
      assertThat(part.pixels()).isEqualTo(Resize.crop(whole, region).pixels());
      assertThat(part.width()).isEqualTo(41);
      assertThat(part.height()).isEqualTo(30);
    }
  }

  @Test
  void theSameSizeIsTheSamePicture() {
    Picture picture = Noise.noise(37, 70, 3);
    for (Resize.Filter filter : Resize.Filter.values()) {
      assertThat(Resize.resize(picture, 37, 70, filter).pixels()).isEqualTo(picture.pixels());
    }
  }

  @Test
  void keepsOneColourAndCutsWhatOvershoots() {
    byte[] pixels = new byte[50 * 40];
    Arrays.fill(pixels, (byte) 255);
    Picture white = new Picture(50, 40, 1, pixels);
    for (Resize.Filter filter : Resize.Filter.values()) {
      assertThat(Resize.resize(white, 23, 90, filter).pixels()).containsOnly(255);
    }
    // A step from black to white: the cubic goes below 0 and above 255 beside it.
    byte[] step = new byte[40];
    Arrays.fill(step, 20, 40, (byte) 255);
    byte[] grown = Resize.resize(new Picture(40, 1, 1, step), 80, 1, BICUBIC).pixels();
    assertThat(Arrays.copyOf(grown, 38)).containsOnly(0);
    assertThat(Arrays.copyOfRange(grown, 42, 80)).containsOnly(255);
  }

  @Test
  void refusesWhatIsNoPartOfThePicture() {
    Picture picture = Noise.noise(20, 10, 1);
    assertThatThrownBy(() -> Resize.resize(picture, new Box(0, 0, 20.5, 10), 5, 5, BILINEAR))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot resize: Box[left=0.0, top=0.0, right=20.5, bottom=10.0] is no part of 20 x 10"
                + " pixels");
    assertThatThrownBy(() -> Resize.crop(picture, new Region(0, 3, 20, 8)))
        .hasMessageContaining("is no part of 20 x 10 pixels");
  }
}
