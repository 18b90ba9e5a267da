package sparkvision.data.transform;

import static sparkvision.data.Setting.require;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import sparkvision.data.Images.Picture;

/**
 * Turns pixels into the numbers a network takes: (pixel / 255 - mean) / std by channel. Around the
 * picture it pads with 0, which is the mean colour.
 */
public final class Normalization implements Serializable {

  private static final long serialVersionUID = 1;

  private final float[][] values; // by channel and pixel
  private final int[] meanColour;

  /**
   * @param channels 1 (grey) or 3 (red, green, blue)
   * @param mean by channel, or one for all, in 0..1
   * @param std by channel, or one for all, in 0..1
   * @throws IllegalArgumentException if there is neither one of each nor one for each channel, or a
   *     std is not positive
   */
  public Normalization(int channels, List<Double> mean, List<Double> std) {
    require(channels == 1 || channels == 3, "channels", channels, "1 or 3");
    require(mean.size() == 1 || mean.size() == channels, "mean", mean, "one value, or per channel");
    require(std.size() == 1 || std.size() == channels, "std", std, "one value, or per channel");
    require(std.stream().allMatch(value -> value > 0), "std", std, "values must be > 0");
    this.values = new float[channels][256];
    this.meanColour = new int[channels];
    for (int c = 0; c < channels; c++) {
      double channelMean = mean.get(mean.size() == 1 ? 0 : c);
      double channelStd = std.get(std.size() == 1 ? 0 : c);
      meanColour[c] = (int) Math.min(255, Math.rint(channelMean * 255));
      for (int pixel = 0; pixel < 256; pixel++) {
        values[c][pixel] = (float) ((pixel / 255.0 - channelMean) / channelStd);
      }
    }
  }

  /** The mean as a pixel, 0..255 by channel. */
  public int[] meanColour() {
    return meanColour.clone();
  }

  /**
   * Writes (C, height, width) with the picture in the upper left corner, from {@code offset} on.
   *
   * @param picture of as many channels, not larger than that
   */
  public void write(Picture picture, int height, int width, float[] target, int offset) {
    byte[] pixels = picture.pixels();
    int channels = values.length;
    for (int c = 0; c < channels; c++) {
      float[] value = values[c];
      for (int y = 0; y < height; y++) {
        int at = offset + (c * height + y) * width;
        int inside = y < picture.height() ? picture.width() : 0;
        int pixel = y * picture.width() * channels + c;
        for (int x = 0; x < inside; x++) {
          target[at + x] = value[pixels[pixel] & 0xFF];
          pixel += channels;
        }
        Arrays.fill(target, at + inside, at + width, 0);
      }
    }
  }
}
