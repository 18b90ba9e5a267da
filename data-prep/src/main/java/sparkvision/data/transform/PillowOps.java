package sparkvision.data.transform;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.function.IntUnaryOperator;
import sparkvision.data.Images.Picture;

/**
 * The picture operations that augmentation policies are made of, with Pillow's arithmetic to the
 * bit: its rounding, its clipping, its way with edges. Policies and published recipes were tuned
 * with it.
 *
 * <p>Each returns a new picture of the same size and channels. What concerns colour alone leaves a
 * grey picture as it is.
 *
 * @see <a href="https://github.com/python-pillow/Pillow/tree/9.4.0/src">Pillow: ImageOps,
 *     ImageEnhance, Geometry.c, Blend.c, BoxBlur.c, Filter.c, Convert.c</a>
 */
public final class PillowOps {

  /** What {@code ImageFilter.SMOOTH} weighs a pixel's neighbours with; the pixel itself 5 times. */
  private static final float SMOOTH = 1f / 13f;

  private static final int BLUR_PASSES = 3;

  private PillowOps() {}

  // By value

  /** {@code ImageOps.invert}. */
  public static Picture invert(Picture picture) {
    return map(picture, value -> 255 - value);
  }

  /** {@code ImageOps.solarize}: values from {@code threshold} (0..256) on are inverted. */
  public static Picture solarize(Picture picture, int threshold) {
    return map(picture, value -> value < threshold ? value : 255 - value);
  }

  /** timm's {@code solarize_add}: {@code addend} brightens values below 128. */
  public static Picture solarizeAdd(Picture picture, int addend) {
    return map(picture, value -> value < 128 ? Math.min(255, value + addend) : value);
  }

  /** {@code ImageOps.posterize}: keeps so many high bits, 0..8. */
  public static Picture posterize(Picture picture, int bits) {
    return map(picture, value -> value & -(1 << (8 - bits)));
  }

  /** {@code ImageOps.autocontrast}: stretches each channel to 0..255. */
  public static Picture autocontrast(Picture picture) {
    byte[] pixels = new byte[picture.pixels().length];
    for (int c = 0; c < picture.channels(); c++) {
      int[] counts = histogram(picture, c);
      int low = 0;
      while (counts[low] == 0) {
        low++;
      }
      int high = 255;
      while (counts[high] == 0) {
        high--;
      }
      if (high == low) {
        map(picture, c, value -> value, pixels);
        continue;
      }
      double scale = 255.0 / (high - low);
      double offset = -low * scale;
      map(picture, c, value -> clip((int) (value * scale + offset)), pixels);
    }
    return with(picture, pixels);
  }

  /** {@code ImageOps.equalize}: flattens each channel's histogram. */
  public static Picture equalize(Picture picture) {
    byte[] pixels = new byte[picture.pixels().length];
    for (int c = 0; c < picture.channels(); c++) {
      int[] counts = histogram(picture, c);
      int last = 255;
      while (counts[last] == 0) {
        last--;
      }
      int step = (picture.width() * picture.height() - counts[last]) / 255;
      if (step == 0) {
        map(picture, c, value -> value, pixels);
        continue;
      }
      int[] levels = new int[256];
      int below = step / 2;
      for (int value = 0; value < 256; value++) {
        levels[value] = clip(below / step);
        below += counts[value];
      }
      map(picture, c, value -> levels[value], pixels);
    }
    return with(picture, pixels);
  }

  // Enhancement: a blend with a poorer picture, or beyond

  /** {@code ImageEnhance.Brightness}: 0 is black, 1 the picture. */
  public static Picture brightness(Picture picture, double factor) {
    return map(picture, value -> blend(0, value, (float) factor));
  }

  /** {@code ImageEnhance.Contrast}: 0 is the mean luma, 1 the picture. */
  public static Picture contrast(Picture picture, double factor) {
    long sum = 0;
    byte[] pixels = picture.pixels();
    for (int i = 0; i < pixels.length; i += picture.channels()) {
      sum += picture.channels() == 1 ? pixels[i] & 0xFF : luma(pixels, i);
    }
    int mean = (int) ((double) sum / ((long) picture.width() * picture.height()) + 0.5);
    return map(picture, value -> blend(mean, value, (float) factor));
  }

  /** {@code ImageEnhance.Color}: 0 is grey, 1 the picture. */
  public static Picture saturation(Picture picture, double factor) {
    if (picture.channels() == 1) {
      return picture;
    }
    byte[] from = picture.pixels();
    byte[] pixels = new byte[from.length];
    for (int i = 0; i < from.length; i += 3) {
      int grey = luma(from, i);
      for (int c = i; c < i + 3; c++) {
        pixels[c] = (byte) blend(grey, from[c] & 0xFF, (float) factor);
      }
    }
    return with(picture, pixels);
  }

  /** {@code ImageEnhance.Sharpness}: 0 is smoothed, 1 the picture; edges stay as they are. */
  public static Picture sharpness(Picture picture, double factor) {
    byte[] from = picture.pixels();
    byte[] pixels = from.clone();
    int step = picture.channels();
    int stride = picture.width() * step;
    for (int y = 1; y < picture.height() - 1; y++) {
      for (int i = y * stride + step; i < (y + 1) * stride - step; i++) {
        float sum = 0.5f + threeOf(from, i + stride, step, SMOOTH);
        sum += threeOf(from, i, step, 5f / 13f);
        sum += threeOf(from, i - stride, step, SMOOTH);
        pixels[i] = (byte) blend(clip((int) sum), from[i] & 0xFF, (float) factor);
      }
    }
    return with(picture, pixels);
  }

  private static float threeOf(byte[] pixels, int at, int step, float middle) {
    return (pixels[at - step] & 0xFF) * SMOOTH
        + (pixels[at] & 0xFF) * middle
        + (pixels[at + step] & 0xFF) * SMOOTH;
  }

  /** {@code Image.blend} of one value; beyond 0..1 it extrapolates. */
  private static int blend(int from, int to, float factor) {
    return clip((int) (from + factor * (to - from)));
  }

  // Colour

  /** {@code convert("L")}, in all three channels. */
  public static Picture grey(Picture picture) {
    return saturation(picture, 0);
  }

  /**
   * torchvision's {@code adjust_hue}: turns the hue in Pillow's HSV by a share of the circle, -0.5
   * to 0.5, cut to whole steps of 1/255.
   */
  public static Picture hue(Picture picture, double share) {
    if (picture.channels() == 1) {
      return picture;
    }
    int turn = (int) (share * 255);
    byte[] from = picture.pixels();
    byte[] pixels = new byte[from.length];
    for (int i = 0; i < from.length; i += 3) {
      turnHue(from[i] & 0xFF, from[i + 1] & 0xFF, from[i + 2] & 0xFF, turn, pixels, i);
    }
    return with(picture, pixels);
  }

  private static void turnHue(int r, int g, int b, int turn, byte[] pixels, int at) {
    int value = Math.max(r, Math.max(g, b));
    int least = Math.min(r, Math.min(g, b));
    int hue = 0;
    int saturation = 0;
    if (least != value) {
      float range = value - least;
      float red = (value - r) / range;
      float green = (value - g) / range;
      float blue = (value - b) / range;
      float sector;
      if (r == value) {
        sector = blue - green;
      } else if (g == value) {
        sector = (float) (2.0 + red - blue);
      } else {
        sector = (float) (4.0 + green - red);
      }
      float circle = (float) ((sector / 6.0 + 1.0) % 1.0);
      hue = clip((int) (circle * 255.0));
      saturation = clip((int) (range / value * 255.0));
    }
    hue = (hue + turn) & 0xFF;
    if (saturation == 0) {
      put(value, value, value, pixels, at);
      return;
    }
    int sector = (int) Math.floor((float) hue * 6.0 / 255.0);
    float f = (float) ((float) hue * 6.0 / 255.0 - (float) sector);
    float s = (float) (saturation / 255.0);
    int p = round(value * (1.0 - s));
    int q = round(value * (1.0 - s * f));
    int t = round(value * (1.0 - s * (1.0 - f)));
    switch (sector % 6) {
      case 0 -> put(value, t, p, pixels, at);
      case 1 -> put(q, value, p, pixels, at);
      case 2 -> put(p, value, t, pixels, at);
      case 3 -> put(p, q, value, pixels, at);
      case 4 -> put(t, p, value, pixels, at);
      default -> put(value, p, q, pixels, at);
    }
  }

  private static int round(double value) {
    return clip((int) Math.floor(value + 0.5));
  }

  private static void put(int r, int g, int b, byte[] pixels, int at) {
    pixels[at] = (byte) r;
    pixels[at + 1] = (byte) g;
    pixels[at + 2] = (byte) b;
  }

  /** ITU-R 601-2, 16 bits after the point. */
  private static int luma(byte[] pixels, int at) {
    int sum =
        (pixels[at] & 0xFF) * 19595
            + (pixels[at + 1] & 0xFF) * 38470
            + (pixels[at + 2] & 0xFF) * 7471;
    return (sum + 0x8000) >> 16;
  }

  // Blur

  /**
   * {@code ImageFilter.GaussianBlur}: three box blurs along each axis; edges are repeated.
   *
   * @param sigma pixels, at least 0
   * @see <a href="https://doi.org/10.1007/978-3-642-24785-9_38">Gwosdek et al., Theoretical
   *     Foundations of Gaussian Convolution by Extended Box Filtering, 2011</a>
   */
  public static Picture gaussianBlur(Picture picture, double sigma) {
    float radius = boxRadius((float) sigma);
    int reach = (int) radius;
    int weight = (int) ((1 << 24) / (radius * 2 + 1));
    int edge = ((1 << 24) - (reach * 2 + 1) * weight) / 2;
    byte[] pixels = picture.pixels().clone();
    int channels = picture.channels();
    int stride = picture.width() * channels;
    for (int y = 0; y < picture.height(); y++) {
      for (int c = 0; c < channels; c++) {
        blurLine(pixels, y * stride + c, channels, picture.width(), reach, weight, edge);
      }
    }
    for (int i = 0; i < stride; i++) {
      blurLine(pixels, i, stride, picture.height(), reach, weight, edge);
    }
    return with(picture, pixels);
  }

  private static float boxRadius(float sigma) {
    float variance = sigma * sigma / BLUR_PASSES;
    float length = (float) Math.sqrt(12.0 * variance + 1.0);
    float whole = (float) Math.floor((length - 1.0) / 2.0);
    float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
    part /= 6 * (variance - (whole + 1) * (whole + 1));
    return whole + part;
  }

  private static void blurLine(
      byte[] pixels, int from, int step, int length, int reach, int weight, int edge) {
    int[] line = new int[length];
    for (int i = 0; i < length; i++) {
      line[i] = pixels[from + i * step] & 0xFF;
    }
    int[] blurred = new int[length];
    int last = length - 1;
    for (int pass = 0; pass < BLUR_PASSES; pass++) {
      int sum = line[0] * (reach + 1);
      for (int i = 1; i <= reach; i++) {
        sum += line[Math.min(i, last)];
      }
      for (int i = 0; i < length; i++) {
        int beyond = line[Math.max(0, i - reach - 1)] + line[Math.min(last, i + reach + 1)];
        blurred[i] = (sum * weight + beyond * edge + (1 << 23)) >>> 24;
        sum += line[Math.min(last, i + reach + 1)] - line[Math.max(0, i - reach)];
      }
      int[] swap = line;
      line = blurred;
      blurred = swap;
    }
    for (int i = 0; i < length; i++) {
      pixels[from + i * step] = (byte) line[i];
    }
  }

  // Geometry

  /** Mirrored left to right. */
  public static Picture flip(Picture picture) {
    byte[] from = picture.pixels();
    byte[] pixels = new byte[from.length];
    int channels = picture.channels();
    for (int y = 0; y < picture.height(); y++) {
      int row = y * picture.width() * channels;
      for (int x = 0; x < picture.width(); x++) {
        int to = row + (picture.width() - 1 - x) * channels;
        for (int c = 0; c < channels; c++) {
          pixels[to + c] = from[row + x * channels + c];
        }
      }
    }
    return with(picture, pixels);
  }

  /**
   * {@code Image.rotate} about the centre, counter-clockwise, without its short cuts for multiples
   * of 90 degrees.
   *
   * @param fill by channel, for what comes from outside of the picture
   */
  public static Picture rotate(Picture picture, double degrees, Resize.Filter filter, int[] fill) {
    double angle = -StrictMath.toRadians((degrees % 360 + 360) % 360);
    double cos = rounded(StrictMath.cos(angle));
    double sin = rounded(StrictMath.sin(angle));
    double x = picture.width() / 2.0;
    double y = picture.height() / 2.0;
    double[] matrix = {
      cos, sin, cos * -x + sin * -y + 0.0 + x, -sin, cos, -sin * -x + cos * -y + 0.0 + y
    };
    return affine(picture, matrix, filter, fill);
  }

  /** To 15 digits after the point, as Pillow does before it rotates. */
  private static double rounded(double value) {
    return new BigDecimal(value).setScale(15, RoundingMode.HALF_EVEN).doubleValue();
  }

  /**
   * {@code Image.transform(AFFINE)}: the pixel at (x, y) comes from (m0 x + m1 y + m2, m3 x + m4 y
   * + m5), positions counted in pixel centres; no antialiasing.
   *
   * @param matrix m0..m5
   * @param fill by channel, for what comes from outside of the picture
   */
  public static Picture affine(Picture picture, double[] matrix, Resize.Filter filter, int[] fill) {
    int width = picture.width();
    int height = picture.height();
    int channels = picture.channels();
    byte[] pixels = new byte[picture.pixels().length];
    int at = 0;
    for (int y = 0; y < height; y++) {
      double rowCentre = y + 0.5;
      for (int x = 0; x < width; x++) {
        double centre = x + 0.5;
        double fromX = matrix[0] * centre + matrix[1] * rowCentre + matrix[2];
        double fromY = matrix[3] * centre + matrix[4] * rowCentre + matrix[5];
        if (!(fromX >= 0 && fromX < width && fromY >= 0 && fromY < height)) {
          for (int c = 0; c < channels; c++) {
            pixels[at++] = (byte) fill[c];
          }
        } else if (filter == Resize.Filter.BILINEAR) {
          bilinear(picture, fromX - 0.5, fromY - 0.5, pixels, at);
          at += channels;
        } else {
          bicubic(picture, fromX - 0.5, fromY - 0.5, pixels, at);
          at += channels;
        }
      }
    }
    return with(picture, pixels);
  }

  private static void bilinear(Picture picture, double x, double y, byte[] pixels, int at) {
    byte[] from = picture.pixels();
    int channels = picture.channels();
    int left = (int) Math.floor(x);
    int top = (int) Math.floor(y);
    double dx = x - left;
    double dy = y - top;
    int row = Math.max(0, top) * picture.width();
    int nextRow = Math.min(top + 1, picture.height() - 1) * picture.width();
    int a = Math.max(0, left);
    int b = Math.min(left + 1, picture.width() - 1);
    for (int c = 0; c < channels; c++) {
      double above = line(from, (row + a) * channels + c, (row + b) * channels + c, dx);
      double below = line(from, (nextRow + a) * channels + c, (nextRow + b) * channels + c, dx);
      pixels[at + c] = (byte) (above + (below - above) * dy);
    }
  }

  private static double line(byte[] pixels, int a, int b, double share) {
    int start = pixels[a] & 0xFF;
    return start + ((pixels[b] & 0xFF) - start) * share;
  }

  private static void bicubic(Picture picture, double x, double y, byte[] pixels, int at) {
    byte[] from = picture.pixels();
    int channels = picture.channels();
    int left = (int) Math.floor(x);
    int top = (int) Math.floor(y);
    double dx = x - left;
    double dy = y - top;
    int a = column(picture, left - 1);
    int b = column(picture, left);
    int c = column(picture, left + 1);
    int d = column(picture, left + 2);
    int first = row(picture, top - 1);
    int second = row(picture, top);
    int third = row(picture, top + 1);
    int fourth = row(picture, top + 2);
    for (int channel = 0; channel < channels; channel++) {
      double value =
          cubic(
              cubic(from, first + channel, a, b, c, d, dx),
              cubic(from, second + channel, a, b, c, d, dx),
              cubic(from, third + channel, a, b, c, d, dx),
              cubic(from, fourth + channel, a, b, c, d, dx),
              dy);
      pixels[at + channel] = (byte) clip((int) value);
    }
  }

  /** Where a column starts in its row; beyond the edges the last one is repeated. */
  private static int column(Picture picture, int x) {
    return Math.max(0, Math.min(x, picture.width() - 1)) * picture.channels();
  }

  private static int row(Picture picture, int y) {
    int inside = Math.max(0, Math.min(y, picture.height() - 1));
    return inside * picture.width() * picture.channels();
  }

  private static double cubic(byte[] from, int row, int a, int b, int c, int d, double share) {
    return cubic(
        from[row + a] & 0xFF,
        from[row + b] & 0xFF,
        from[row + c] & 0xFF,
        from[row + d] & 0xFF,
        share);
  }

  private static double cubic(double a, double b, double c, double d, double share) {
    double first = -a + c;
    double second = 2 * (a - b) + c - d;
    double third = -a + b - c + d;
    return b + share * (first + share * (second + share * third));
  }

  // Values

  private static Picture map(Picture picture, IntUnaryOperator operator) {
    byte[] pixels = picture.pixels().clone();
    byte[] values = table(operator);
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = values[pixels[i] & 0xFF];
    }
    return with(picture, pixels);
  }

  private static void map(Picture picture, int channel, IntUnaryOperator operator, byte[] target) {
    byte[] from = picture.pixels();
    byte[] values = table(operator);
    for (int i = channel; i < from.length; i += picture.channels()) {
      target[i] = values[from[i] & 0xFF];
    }
  }

  private static byte[] table(IntUnaryOperator operator) {
    byte[] values = new byte[256];
    for (int value = 0; value < 256; value++) {
      values[value] = (byte) operator.applyAsInt(value);
    }
    return values;
  }

  private static int[] histogram(Picture picture, int channel) {
    int[] counts = new int[256];
    byte[] pixels = picture.pixels();
    for (int i = channel; i < pixels.length; i += picture.channels()) {
      counts[pixels[i] & 0xFF]++;
    }
    return counts;
  }

  private static int clip(int value) {
    return Math.max(0, Math.min(255, value));
  }

  private static Picture with(Picture picture, byte[] pixels) {
    return new Picture(picture.width(), picture.height(), picture.channels(), pixels);
  }
}
