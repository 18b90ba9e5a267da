package sparkvision.data.transform;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32;
import sparkvision.data.Images.Picture;

/** Pictures that another program can make too, and a word for the pixels that it found. */
final class Noise {

  private Noise() {}

  /** SplitMix64's numbers from seed 7 on, the high byte first. */
  static Picture noise(int width, int height, int channels) {
    int length = width * height * channels;
    ByteBuffer bytes = ByteBuffer.allocate(length + 8);
    long state = 7;
    for (int i = 0; i < length; i += 8) {
      state += 0x9E3779B97F4A7C15L;
      long z = (state ^ (state >>> 30)) * 0xBF58476D1CE4E5B9L;
      z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
      bytes.putLong(z ^ (z >>> 31));
    }
    return new Picture(width, height, channels, Arrays.copyOf(bytes.array(), length));
  }

  /** A gradient with some noise that leaves out the darkest and the brightest values. */
  static Picture gradient(int width, int height) {
    byte[] noise = noise(width, height, 3).pixels();
    byte[] pixels = new byte[noise.length];
    for (int i = 0; i < pixels.length; i++) {
      int x = i / 3 % width;
      int y = i / 3 / width;
      pixels[i] = (byte) (20 + (3 * x + 2 * y + (noise[i] & 31)) % 200);
    }
    return new Picture(width, height, 3, pixels);
  }

  static String crc(Picture picture) {
    CRC32 crc = new CRC32();
    crc.update(picture.pixels());
    return String.format("%08x", crc.getValue());
  }
}
