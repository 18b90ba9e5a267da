package sparkvision.data.transform;

import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

/**
 * Random brightness, contrast, saturation and hue, each done with probability 1/2. Contrast comes
 * second or last, with probability 1/2 each.
 *
 * <p>What is drawn and done is that of mmsegmentation's {@code PhotoMetricDistortion} with its
 * defaults (mmseg/datasets/transforms/transforms.py), its rounding included: 8-bit pixels between
 * the steps, cut off rather than rounded, and OpenCV's 8-bit HSV.
 *
 * @see <a href="https://arxiv.org/abs/1512.02325">Liu et al., SSD: Single Shot MultiBox Detector,
 *     2016, section 3.6, data augmentation</a>
 */
final class PhotometricDistortion {

  private static final double BRIGHTNESS = 32;
  private static final double FACTOR_LOW = 0.5;
  private static final double FACTOR_HIGH = 1.5;
  private static final int HUE = 18;

  /** Hues of OpenCV's 8-bit HSV. */
  private static final int HUES = 180;

  private PhotometricDistortion() {}

  /** A distorted picture; {@code picture}, in colour, stays as it is. */
  static Picture apply(Picture picture, SplitMix random) {
    Picture result = picture;
    if (coin(random)) {
      result = linear(result, 1, random.between(-BRIGHTNESS, BRIGHTNESS));
    }
    boolean contrastFirst = coin(random);
    if (contrastFirst) {
      result = contrast(result, random);
    }
    if (coin(random)) {
      result = saturate(result, random.between(FACTOR_LOW, FACTOR_HIGH));
    }
    if (coin(random)) {
      result = turnHue(result, random.below(2 * HUE) - HUE);
    }
    return contrastFirst ? result : contrast(result, random);
  }

  private static Picture contrast(Picture picture, SplitMix random) {
    return coin(random) ? linear(picture, random.between(FACTOR_LOW, FACTOR_HIGH), 0) : picture;
  }

  private static boolean coin(SplitMix random) {
    return random.below(2) == 1;
  }

  /** Every value v becomes factor * v + shift. */
  static Picture linear(Picture picture, double factor, double shift) {
    byte[] pixels = picture.pixels().clone();
    change(pixels, 0, 1, linear(factor, shift));
    return new Picture(picture.width(), picture.height(), picture.channels(), pixels);
  }

  /** Saturation is multiplied. */
  static Picture saturate(Picture picture, double factor) {
    Picture hsv = OpenCvOps.toHsv(picture);
    change(hsv.pixels(), 1, 3, linear(factor, 0));
    return OpenCvOps.fromHsv(hsv);
  }

  /** Hues go round the circle by {@code steps} of two degrees. */
  static Picture turnHue(Picture picture, int steps) {
    Picture hsv = OpenCvOps.toHsv(picture);
    byte[] turned = new byte[256];
    for (int hue = 0; hue < HUES; hue++) {
      turned[hue] = (byte) Math.floorMod(hue + steps, HUES);
    }
    change(hsv.pixels(), 0, 3, turned);
    return OpenCvOps.fromHsv(hsv);
  }

  private static byte[] linear(double factor, double shift) {
    byte[] table = new byte[256];
    for (int value = 0; value < 256; value++) {
      float changed = value * (float) factor + (float) shift;
      table[value] = (byte) (int) Math.min(Math.max(changed, 0), 255);
    }
    return table;
  }

  private static void change(byte[] pixels, int first, int step, byte[] table) {
    for (int i = first; i < pixels.length; i += step) {
      pixels[i] = table[pixels[i] & 0xFF];
    }
  }
}
