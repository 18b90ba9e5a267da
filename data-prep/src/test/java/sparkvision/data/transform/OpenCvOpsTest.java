package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import sparkvision.data.Images.Picture;
import sparkvision.data.transform.OpenCvOps.Interpolation;

final class OpenCvOpsTest {

  @Test
  void nearestTakesThePixelThatIsThere() {
    Picture picture = new Picture(3, 1, 1, new byte[] {10, 20, 30});
    assertThat(OpenCvOps.resize(picture, 6, 1, Interpolation.NEAREST).pixels())
        .containsExactly(10, 10, 20, 20, 30, 30);
    assertThat(OpenCvOps.resize(picture, 2, 1, Interpolation.NEAREST).pixels())
        .containsExactly(10, 20);
  }

  @Test
  void bilinearLooksAtNoMoreThanTwoPixelsEachWay() {
    byte[] pixels = new byte[8];
    pixels[0] = 80;
    Picture picture = new Picture(8, 1, 1, pixels);
    // Halfway between pixels 1 and 2, and between 5 and 6: the bright one is not seen.
    assertThat(OpenCvOps.resize(picture, 2, 1, Interpolation.BILINEAR).pixels())
        .containsExactly(0, 0);
    assertThat(OpenCvOps.resize(picture, 4, 1, Interpolation.BILINEAR).pixels())
        .containsExactly(40, 0, 0, 0);
  }

  @Test
  void hueSaturationAndValueAreThoseOfEightBits() {
    byte[] colours = {-1, 0, 0, 0, 100, 0, 0, 0, 60, 77, 77, 77, -56, 50, 125};
    Picture hsv = OpenCvOps.toHsv(new Picture(5, 1, 3, colours));
    assertThat(hsv.pixels())
        .containsExactly(0, -1, -1, 60, -1, 100, 120, -1, 60, 0, 0, 77, -91, -65, -56);
    assertThat(OpenCvOps.fromHsv(hsv).pixels()).containsExactly(colours);
  }

  @Test
  void freesNativeMemory() {
    Picture picture = Drawings.noise(200, 200, 3, 256, 1);
    OpenCvOps.toHsv(picture); // what is loaded once
    long pointers = Pointer.totalCount();
    for (int i = 0; i < 20; i++) {
      OpenCvOps.fromHsv(OpenCvOps.toHsv(picture));
      OpenCvOps.resize(picture, 100, 300, Interpolation.BILINEAR);
    }
    assertThat(Pointer.totalCount()).isEqualTo(pointers);
  }
}
