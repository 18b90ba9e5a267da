package sparkvision.data;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriter;

/**
 * Pictures that tests write themselves, with the JDK's codecs so that OpenCV is checked by another.
 */
final class Pictures {

  private Pictures() {}

  /** Noise: no two pixels alike, so that a wrong crop shows. */
  static BufferedImage noise(int width, int height, int type, long seed) {
    BufferedImage image = new BufferedImage(width, height, type);
    SplitMix random = new SplitMix(seed);
    for (int i = 0; i < image.getRaster().getDataBuffer().getSize(); i++) {
      image.getRaster().getDataBuffer().setElem(i, (int) (random.next() >>> 40));
    }
    return image;
  }

  static byte[] png(int width, int height, int type, long seed) {
    return encode("png", noise(width, height, type, seed));
  }

  static byte[] jpeg(int width, int height, int type, long seed) {
    return encode("jpeg", noise(width, height, type, seed));
  }

  static byte[] encode(String format, BufferedImage image) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try {
      if (!ImageIO.write(image, format, bytes)) {
        throw new IllegalStateException("Cannot write " + format);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return bytes.toByteArray();
  }

  /** A four-channel JPEG as Adobe programs write it: CMYK, inverted. */
  static byte[] cmykJpeg(int width, int height, int[] cmyk) throws IOException {
    java.awt.image.WritableRaster raster =
        java.awt.image.Raster.createInterleavedRaster(0, width, height, 4, null);
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        raster.setPixel(x, y, cmyk);
      }
    }
    ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (var out = ImageIO.createImageOutputStream(bytes)) {
      writer.setOutput(out);
      writer.write(null, new IIOImage(raster, null, null), null);
    } finally {
      writer.dispose();
    }
    byte[] plain = bytes.toByteArray();
    byte[] adobe = {
      (byte) 0xFF, (byte) 0xEE, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0
    };
    ByteArrayOutputStream marked = new ByteArrayOutputStream();
    marked.write(plain, 0, 2);
    marked.write(adobe);
    marked.write(plain, 2, plain.length - 2);
    return marked.toByteArray();
  }

  static byte[] half(byte[] bytes) {
    return Arrays.copyOf(bytes, bytes.length / 2);
  }

  static BufferedImage read(byte[] bytes) throws IOException {
    return ImageIO.read(new ByteArrayInputStream(bytes));
  }

  static void write(Path file, byte[] bytes) throws IOException {
    Files.createDirectories(file.getParent());
    Files.write(file, bytes);
  }

  /** Three classes of grey 6 x 5 PNG, some one folder deeper; names tell the order. */
  static Path folder(Path root, int perClass) throws IOException {
    long seed = 1;
    for (String name : List.of("ant", "bee", "cat")) {
      for (int i = 0; i < perClass; i++) {
        String place = i % 4 == 3 ? "deep/er/" : "";
        write(
            root.resolve(name + "/" + place + String.format("%03d.png", i)),
            png(6, 5, BufferedImage.TYPE_BYTE_GRAY, seed++));
      }
    }
    return root;
  }
}
