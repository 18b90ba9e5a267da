package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;

final class ImagesTest {

  @Test
  void decodesColourPngToItsExactPixelsInRgbOrder() {
    BufferedImage image = Pictures.noise(7, 5, BufferedImage.TYPE_3BYTE_BGR, 1);
    Images.Picture picture = Images.decode(Pictures.encode("png", image), 3);
    assertThat(picture.width()).isEqualTo(7);
    assertThat(picture.height()).isEqualTo(5);
    assertThat(picture.pixels()).isEqualTo(rgb(image));
  }

  @Test
  void decodesGreyToOneChannelOrThreeEqualOnes() {
    BufferedImage image = Pictures.noise(6, 4, BufferedImage.TYPE_BYTE_GRAY, 2);
    byte[] png = Pictures.encode("png", image);
    Images.Picture grey = Images.inspect(png);
    assertThat(grey.channels()).isEqualTo(1);
    Images.Picture colour = Images.decode(png, 3);
    for (int i = 0; i < grey.pixels().length; i++) {
      assertThat(grey.pixels()[i]).isEqualTo((byte) image.getRaster().getSample(i % 6, i / 6, 0));
      assertThat(Arrays.copyOfRange(colour.pixels(), 3 * i, 3 * i + 3))
          .containsOnly(grey.pixels()[i]);
    }
  }

  @Test
  void dropsAlpha() {
    BufferedImage image = Pictures.noise(5, 5, BufferedImage.TYPE_4BYTE_ABGR, 3);
    Images.Picture picture = Images.inspect(Pictures.encode("png", image));
    assertThat(picture.channels()).isEqualTo(3);
    assertThat(picture.pixels()).isEqualTo(rgb(image));
  }

  @Test
  void keepsTheHighByteOfSixteenBits() {
    BufferedImage image = Pictures.noise(5, 3, BufferedImage.TYPE_USHORT_GRAY, 4);
    Images.Picture picture = Images.inspect(Pictures.encode("png", image));
    for (int i = 0; i < 15; i++) {
      assertThat(picture.pixels()[i])
          .isEqualTo((byte) (image.getRaster().getSample(i % 5, i / 5, 0) >> 8));
    }
  }

  @Test
  void decodesPalettePng() {
    BufferedImage image = Pictures.noise(9, 4, BufferedImage.TYPE_BYTE_INDEXED, 5);
    Images.Picture picture = Images.inspect(Pictures.encode("png", image));
    assertThat(picture.pixels()).isEqualTo(rgb(image));
  }

  @Test
  void decodesJpegCloseToTheJdk() throws IOException {
    byte[] jpeg = Pictures.jpeg(16, 16, BufferedImage.TYPE_3BYTE_BGR, 6);
    byte[] expected = rgb(Pictures.read(jpeg));
    byte[] found = Images.inspect(jpeg).pixels();
    double difference = 0;
    for (int i = 0; i < found.length; i++) {
      difference += Math.abs((found[i] & 0xFF) - (expected[i] & 0xFF));
    }
    assertThat(difference / found.length).isLessThan(2);
    assertThat(Images.inspect(Pictures.jpeg(8, 8, BufferedImage.TYPE_BYTE_GRAY, 7)).channels())
        .isEqualTo(1);
  }

  @Test
  void decodesCmykJpeg() throws IOException {
    // Adobe stores ink inverted: no cyan, full magenta, full yellow, no black is red.
    byte[] jpeg = Pictures.cmykJpeg(16, 8, new int[] {255, 0, 0, 255});
    Images.Picture picture = Images.inspect(jpeg);
    assertThat(picture.channels()).isEqualTo(3);
    assertThat(picture.pixels()[0] & 0xFF).isCloseTo(255, within(3));
    assertThat(picture.pixels()[1] & 0xFF).isCloseTo(0, within(3));
    assertThat(picture.pixels()[2] & 0xFF).isCloseTo(0, within(3));
  }

  @Test
  void inspectsInterlacedAndAncillaryChunksWithoutComplaint() throws IOException {
    byte[] png = Pictures.png(9, 9, BufferedImage.TYPE_3BYTE_BGR, 8);
    assertThat(Images.inspect(withBadProfile(png)).pixels())
        .isEqualTo(Images.inspect(png).pixels());
    assertThat(Images.inspect(PngWriters.interlaced(9, 7)).width()).isEqualTo(9);
  }

  @Test
  void saysWhatIsWrongWithABrokenPicture() throws IOException {
    byte[] jpeg = Pictures.jpeg(64, 64, BufferedImage.TYPE_3BYTE_BGR, 9);
    byte[] png = Pictures.png(64, 64, BufferedImage.TYPE_3BYTE_BGR, 10);
    byte[] endedAnyway = Pictures.half(jpeg);
    endedAnyway[endedAnyway.length - 2] = (byte) 0xFF;
    endedAnyway[endedAnyway.length - 1] = (byte) 0xD9;
    byte[] flipped = png.clone();
    flipped[png.length / 2] ^= 1;

    assertBroken(new byte[0], "empty file");
    assertBroken("these are words".getBytes(StandardCharsets.UTF_8), "neither JPEG nor PNG");
    assertBroken(Pictures.half(jpeg), "truncated");
    assertBroken(Arrays.copyOf(jpeg, jpeg.length - 2), "Missing EOI");
    assertBroken(Arrays.copyOf(jpeg, 50), "truncated JPEG");
    assertBroken(endedAnyway, "premature end of data");
    assertBroken(Pictures.half(png), "truncated PNG");
    assertBroken(Arrays.copyOf(png, png.length - 12), "truncated PNG: no end chunk");
    assertBroken(Arrays.copyOf(png, 8), "truncated PNG");
    assertBroken(flipped, "corrupt PNG: wrong chunk checksum");
    assertBroken(PngWriters.grey(4, 4, 3), "truncated PNG: pixels end in row 3 of 4");
  }

  @Test
  void refusesSizesThatWouldFillAnExecutor() throws IOException {
    assertBroken(
        PngWriters.grey(27_000, 27_000, 1),
        "too large to decode: 27000 x 27000 pixels, at most 134217728 and 65536 on a side");
    assertBroken(PngWriters.grey(70_000, 1, 1), "too large to decode: 70000 x 1 pixels");

    // A JPEG whose frame header (marker, length, precision, height, width) claims more.
    byte[] jpeg = Pictures.jpeg(16, 16, BufferedImage.TYPE_BYTE_GRAY, 12);
    int frame = 0;
    while ((jpeg[frame] & 0xFF) != 0xFF || (jpeg[frame + 1] & 0xFF) != 0xC0) {
      frame++;
    }
    ByteBuffer.wrap(jpeg).putShort(frame + 5, (short) 27_000).putShort(frame + 7, (short) 27_001);
    assertBroken(jpeg, "too large to decode: 27001 x 27000 pixels");

    // What was never inspected: OpenCV throws by itself.
    byte[] png = PngWriters.grey(60_000, 60_000, 1);
    assertThatThrownBy(() -> Images.decode(png, 3))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("cannot be decoded");
  }

  @Test
  void encodesPngThatTheJdkReadsBack() throws IOException {
    for (int channels : List.of(1, 3)) {
      byte[] pixels = new byte[6 * 4 * channels];
      for (int i = 0; i < pixels.length; i++) {
        pixels[i] = (byte) (i * 37);
      }
      byte[] png = Images.encodePng(new Images.Picture(6, 4, channels, pixels));
      int[] found = Pictures.read(png).getRaster().getPixels(0, 0, 6, 4, (int[]) null);
      for (int i = 0; i < pixels.length; i++) {
        assertThat((byte) found[i]).isEqualTo(pixels[i]);
      }
    }
  }

  @Test
  void decodesJpegsReduced() throws IOException {
    BufferedImage image = new BufferedImage(50, 33, BufferedImage.TYPE_3BYTE_BGR);
    for (int y = 0; y < 33; y++) {
      for (int x = 0; x < 50; x++) {
        image.setRGB(x, y, 0x010101 * (4 * x) + 0x000100 * y);
      }
    }
    byte[] jpeg = Pictures.encode("jpeg", image);
    for (int reduction : new int[] {2, 4, 8}) {
      Images.Picture picture = Images.decode(jpeg, 3, reduction, byte[]::new);
      assertThat(picture.width()).isEqualTo((50 + reduction - 1) / reduction);
      assertThat(picture.height()).isEqualTo((33 + reduction - 1) / reduction);
      // Each pixel is about the mean of a square: of a ramp, its middle.
      for (int x = 1; x + 1 < picture.width(); x++) {
        int red = picture.pixels()[(picture.width() + x) * 3] & 0xFF;
        assertThat(red).isCloseTo((int) (4 * ((x + 0.5) * reduction - 0.5)), within(6));
      }
    }
    assertThatThrownBy(() -> Images.decode(jpeg, 3, 3, byte[]::new))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid reduction: 3 (1, 2, 4 or 8)");
  }

  @Test
  void freesNativeMemory() {
    byte[] jpeg = Pictures.jpeg(200, 200, BufferedImage.TYPE_3BYTE_BGR, 11);
    Images.Picture picture = Images.decode(jpeg, 3);
    Images.encodePng(picture);
    long pointers = Pointer.totalCount();
    long resident = Pointer.physicalBytes();
    for (int i = 0; i < 1000; i++) {
      Images.encodePng(Images.decode(jpeg, 3));
    }
    assertThat(Pointer.totalCount()).isEqualTo(pointers);
    // 1000 leaked pictures would be 120 MB, leaked input 40 MB.
    assertThat(Pointer.physicalBytes() - resident).isLessThan(400L << 20);
  }

  private static void assertBroken(byte[] bytes, String reason) {
    assertThatThrownBy(() -> Images.inspect(bytes))
        .isInstanceOf(DataException.class)
        .hasMessageContaining(reason);
  }

  private static byte[] withBadProfile(byte[] png) {
    return PngWriters.insert(png, "iCCP", "nonsense".getBytes(StandardCharsets.UTF_8));
  }

  private static byte[] rgb(BufferedImage image) {
    byte[] pixels = new byte[image.getWidth() * image.getHeight() * 3];
    int at = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        int value = image.getRGB(x, y);
        pixels[at++] = (byte) (value >> 16);
        pixels[at++] = (byte) (value >> 8);
        pixels[at++] = (byte) value;
      }
    }
    return pixels;
  }
}
