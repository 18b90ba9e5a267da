package sparkvision.data.transform;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import sparkvision.data.Images.Picture;

/**
 * Turns colour pixels into the numbers a network takes: (pixel / 255 - mean) / std by channel.
 * Around the picture it pads with 0, which is the mean colour.
 */
final class Normalization implements Serializable {

  private static final long serialVersionUID = 1;

  static final int CHANNELS = 3;

  private final float[][] values = new float[CHANNELS][256];

  /**
   * @param mean of red, green, blue, or one for all; in 0..1
   * @param std of red, green, blue, or one for all; in 0..1
   * @throws IllegalArgumentException if there are not 1 or 3 of each, or a std is not positive
   */
  Normalization(List<Double> mean, List<Double> std) {
    require(mean.size() == 1 || mean.size() == CHANNELS, "mean", mean, "one value, or three");
    require(std.size() == 1 || std.size() == CHANNELS, "std", std, "one value, or three");
    require(std.stream().allMatch(value -> value > 0), "std", std, "values must be > 0");
    for (int c = 0; c < CHANNELS; c++) {
      double channelMean = mean.get(mean.size() == 1 ? 0 : c);
      double channelStd = std.get(std.size() == 1 ? 0 : c);
      for (int pixel = 0; pixel < 256; pixel++) {
        values[c][pixel] = (float) ((pixel / 255.0 - channelMean) / channelStd);
      }
    }
  }

  static void require(boolean holds, String key, Object value, String allowed) {
    if (!holds) {
      throw new IllegalArgumentException(String.format("Invalid %s: %s (%s)", key, value, allowed));
    }
  }

  /**
   * Writes (3, height, width) with the picture in the upper left corner, from {@code offset} on.
   *
   * @param picture in colour, not larger than that
   */
  void write(Picture picture, int height, int width, float[] target, int offset) {
    byte[] pixels = picture.pixels();
    for (int c = 0; c < CHANNELS; c++) {
      float[] value = values[c];
      for (int y = 0; y < height; y++) {
        int at = offset + (c * height + y) * width;
        int inside = y < picture.height() ? picture.width() : 0;
        int pixel = y * picture.width() * CHANNELS + c;
        for (int x = 0; x < inside; x++) {
          target[at + x] = value[pixels[pixel] & 0xFF];
          pixel += CHANNELS;
        }
        Arrays.fill(target, at + inside, at + width, 0);
      }
    }
  }
}
