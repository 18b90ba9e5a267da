package sparkvision.data.transform;

import java.util.Arrays;
import java.util.Locale;
import sparkvision.data.Images.Picture;

/**
 * Resizes as Pillow's {@code Image.resize} does, to the bit: each result pixel is a weighted mean
 * of the pixels that it covers, and when shrinking the filter is as wide as what one pixel covers,
 * so nothing aliases.
 *
 * <p>Weights are normalised, rounded to 22 bits after the point, and applied along rows, then along
 * columns; in between pixels are 8 bits again. So results depend on neither machine nor threads.
 *
 * <p>The loops run over whole columns and rows of {@code int}, which the JIT compiler turns into
 * vector instructions.
 *
 * @see <a
 *     href="https://github.com/python-pillow/Pillow/blob/9.4.0/src/libImaging/Resample.c">Pillow,
 *     Resample.c</a>
 */
public final class Resize {

  /** Bits of a weight after the point: 8 bits of pixel and 2 of overshoot lie above them. */
  private static final int PRECISION = 32 - 8 - 2;

  private static final int HALF = 1 << (PRECISION - 1);

  /** Rows in a strip: enough for the vector loops, few enough for the cache. */
  private static final int STRIP = 64;

  private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

  private Resize() {}

  /** A filter, by its reach on each side in pixels of the larger of both pictures. */
  public enum Filter {
    /** Pillow's BILINEAR: a triangle. */
    BILINEAR(1),
    /** Pillow's BICUBIC: Keys' cubic with a = -0.5. */
    BICUBIC(2);

    private final double support;

    Filter(double support) {
      this.support = support;
    }

    /** By its name in any case. */
    public static Filter of(String name) {
      return valueOf(name.toUpperCase(Locale.ROOT));
    }

    private double at(double distance) {
      double x = Math.abs(distance);
      if (x >= support) {
        return 0;
      }
      if (this == BILINEAR) {
        return 1 - x;
      }
      double a = -0.5;
      return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * a;
    }
  }

  /** What part of a picture to resize, pixels from its upper left corner; need not be whole. */
  public record Box(double left, double top, double right, double bottom) {

    /** All of a picture. */
    public static Box of(Picture picture) {
      return new Box(0, 0, picture.width(), picture.height());
    }
  }

  /** Whole pixels of a picture: a crop. */
  public record Region(int left, int top, int width, int height) {}

  /** The whole picture at another size. */
  public static Picture resize(Picture picture, int width, int height, Filter filter) {
    return resize(picture, Box.of(picture), width, height, filter);
  }

  /**
   * A part of a picture at another size, as Pillow's {@code resize(size, filter, box)}: near the
   * box's edges the filter reaches over them.
   *
   * @throws IllegalArgumentException if the box is empty or reaches out of the picture
   */
  public static Picture resize(Picture picture, Box box, int width, int height, Filter filter) {
    return resize(picture, box, width, height, new Region(0, 0, width, height), filter);
  }

  /**
   * A region of what {@link #resize(Picture, Box, int, int, Filter)} gives, without the work for
   * the rest.
   *
   * @param region of the {@code width} x {@code height} pixels
   * @throws IllegalArgumentException if the box or the region is empty or reaches out
   */
  public static Picture resize(
      Picture picture, Box box, int width, int height, Region region, Filter filter) {
    require(
        box.left() >= 0
            && box.top() >= 0
            && box.right() <= picture.width()
            && box.bottom() <= picture.height()
            && box.left() < box.right()
            && box.top() < box.bottom(),
        box,
        picture.width(),
        picture.height());
    require(
        region.left() >= 0
            && region.top() >= 0
            && region.width() > 0
            && region.height() > 0
            && region.left() + region.width() <= width
            && region.top() + region.height() <= height,
        region,
        width,
        height);
    int channels = picture.channels();
    double stepX = (box.right() - box.left()) / width;
    double stepY = (box.bottom() - box.top()) / height;
    Weights across =
        Weights.of(picture.width(), box.left(), stepX, region.left(), region.width(), filter);
    Weights down =
        Weights.of(picture.height(), box.top(), stepY, region.top(), region.height(), filter);
    int firstRow = down.first();
    int rows = down.end() - firstRow;
    Scratch scratch = SCRATCH.get();

    int length = region.width() * channels;
    int[][] between = scratch.between(rows, length);
    if (across.copies()) {
      unpack(picture, across.first(), firstRow, rows, length, between);
    } else {
      acrossRows(picture, across, firstRow, rows, scratch, between);
    }
    byte[] pixels = new byte[region.height() * length];
    downColumns(between, down, firstRow, length, scratch.sums(length), pixels);
    return new Picture(region.width(), region.height(), channels, pixels);
  }

  /** Copies a region. */
  public static Picture crop(Picture picture, Region region) {
    require(
        region.left() >= 0
            && region.top() >= 0
            && region.left() + region.width() <= picture.width()
            && region.top() + region.height() <= picture.height(),
        region,
        picture.width(),
        picture.height());
    int channels = picture.channels();
    int length = region.width() * channels;
    byte[] pixels = new byte[region.height() * length];
    for (int y = 0; y < region.height(); y++) {
      int from = ((region.top() + y) * picture.width() + region.left()) * channels;
      System.arraycopy(picture.pixels(), from, pixels, y * length, length);
    }
    return new Picture(region.width(), region.height(), channels, pixels);
  }

  private static void require(boolean holds, Object part, int width, int height) {
    if (!holds) {
      throw new IllegalArgumentException(
          String.format("Cannot resize: %s is no part of %d x %d pixels", part, width, height));
    }
  }

  private static void unpack(
      Picture picture, int firstColumn, int firstRow, int rows, int length, int[][] target) {
    byte[] pixels = picture.pixels();
    for (int y = 0; y < rows; y++) {
      int from = ((firstRow + y) * picture.width() + firstColumn) * picture.channels();
      int[] row = target[y];
      for (int i = 0; i < length; i++) {
        row[i] = pixels[from + i] & 0xFF;
      }
    }
  }

  /** Works on strips of rows, turned so that a column is a line: one weight holds for all of it. */
  private static void acrossRows(
      Picture picture, Weights weights, int firstRow, int rows, Scratch scratch, int[][] target) {
    int channels = picture.channels();
    int firstColumn = weights.first();
    int columns = weights.end() - firstColumn;
    int[][] strip = scratch.strip(columns, channels * STRIP);
    int[] sums = scratch.sums(channels * STRIP);
    for (int top = 0; top < rows; top += STRIP) {
      int height = Math.min(STRIP, rows - top);
      int from = ((firstRow + top) * picture.width() + firstColumn) * channels;
      for (int x = 0; x < columns; x++) {
        turn(picture, from + x * channels, height, strip[x]);
      }
      for (int x = 0; x < weights.size(); x++) {
        weigh(strip, weights.start(x) - firstColumn, weights, x, height * channels, sums);
        turnBack(sums, channels, height, x * channels, target, top);
      }
    }
  }

  /** A column of pixels, from index {@code from} downwards. */
  private static void turn(Picture picture, int from, int height, int[] column) {
    byte[] pixels = picture.pixels();
    int channels = picture.channels();
    int stride = picture.width() * channels;
    int at = from;
    if (channels == 1) {
      for (int y = 0; y < height; y++) {
        column[y] = pixels[at] & 0xFF;
        at += stride;
      }
      return;
    }
    for (int i = 0; i < 3 * height; i += 3) {
      column[i] = pixels[at] & 0xFF;
      column[i + 1] = pixels[at + 1] & 0xFF;
      column[i + 2] = pixels[at + 2] & 0xFF;
      at += stride;
    }
  }

  private static void turnBack(
      int[] column, int channels, int height, int to, int[][] rows, int top) {
    if (channels == 1) {
      for (int y = 0; y < height; y++) {
        rows[top + y][to] = column[y];
      }
      return;
    }
    for (int y = 0; y < height; y++) {
      int[] row = rows[top + y];
      row[to] = column[3 * y];
      row[to + 1] = column[3 * y + 1];
      row[to + 2] = column[3 * y + 2];
    }
  }

  private static void downColumns(
      int[][] rows, Weights weights, int firstRow, int length, int[] sums, byte[] target) {
    for (int y = 0; y < weights.size(); y++) {
      weigh(rows, weights.start(y) - firstRow, weights, y, length, sums);
      int at = y * length;
      for (int i = 0; i < length; i++) {
        target[at + i] = (byte) sums[i];
      }
    }
  }

  /** The weighted mean, 0..255, of as many lines as a result has weights, from the first on. */
  private static void weigh(
      int[][] lines, int first, Weights weights, int result, int length, int[] target) {
    int taps = weights.taps(result);
    int tap;
    if (taps % 2 == 1) {
      tap = 1;
      start(lines[first], weights.weight(result, 0), length, target);
    } else {
      tap = 2;
      start(
          lines[first],
          weights.weight(result, 0),
          lines[first + 1],
          weights.weight(result, 1),
          length,
          target);
    }
    for (; tap < taps; tap += 2) {
      add(
          lines[first + tap],
          weights.weight(result, tap),
          lines[first + tap + 1],
          weights.weight(result, tap + 1),
          length,
          target);
    }
    clip(target, length);
  }

  private static void start(int[] line, int weight, int length, int[] sums) {
    for (int i = 0; i < length; i++) {
      sums[i] = HALF + line[i] * weight;
    }
  }

  private static void start(int[] a, int weightA, int[] b, int weightB, int length, int[] sums) {
    for (int i = 0; i < length; i++) {
      sums[i] = HALF + a[i] * weightA + b[i] * weightB;
    }
  }

  /** Two lines at once: the sums are read and written half as often. */
  private static void add(int[] a, int weightA, int[] b, int weightB, int length, int[] sums) {
    for (int i = 0; i < length; i++) {
      sums[i] += a[i] * weightA + b[i] * weightB;
    }
  }

  /** Without branches, and without minimum and maximum, which the compiler does not vectorise. */
  private static void clip(int[] sums, int length) {
    for (int i = 0; i < length; i++) {
      int value = sums[i] >> PRECISION;
      int below = 255 - (value & ~(value >> 31));
      sums[i] = 255 - (below & ~(below >> 31));
    }
  }

  /**
   * The weights along one axis.
   *
   * @param starts by result: the first pixel that it is made of
   * @param counts by result: how many
   * @param values [result * stride + i]
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Weights(int[] starts, int[] counts, int[] values, int stride) {

    /** For results {@code first} to {@code first + results}, each {@code scale} pixels wide. */
    static Weights of(int size, double from, double scale, int first, int results, Filter filter) {
      double widening = Math.max(1, scale);
      double support = filter.support * widening;
      int stride = (int) Math.ceil(support) * 2 + 1;
      int[] starts = new int[results];
      int[] counts = new int[results];
      int[] values = new int[results * stride];
      double[] exact = new double[stride];
      for (int result = 0; result < results; result++) {
        double centre = from + (first + result + 0.5) * scale;
        int start = Math.max(0, (int) (centre - support + 0.5));
        int count = Math.min(size, (int) (centre + support + 0.5)) - start;
        double sum = 0;
        for (int i = 0; i < count; i++) {
          exact[i] = filter.at((i + start - centre + 0.5) * (1 / widening));
          sum += exact[i];
        }
        for (int i = 0; i < count; i++) {
          double value = (sum == 0 ? exact[i] : exact[i] / sum) * (1 << PRECISION);
          values[result * stride + i] = (int) (value < 0 ? value - 0.5 : value + 0.5);
        }
        starts[result] = start;
        counts[result] = count;
      }
      return new Weights(starts, counts, values, stride);
    }

    int size() {
      return starts.length;
    }

    int start(int result) {
      return starts[result];
    }

    int taps(int result) {
      return counts[result];
    }

    int weight(int result, int tap) {
      return values[result * stride + tap];
    }

    /** The first pixel that any result is made of. */
    int first() {
      return starts[0];
    }

    /** One more than the last. */
    int end() {
      return starts[starts.length - 1] + counts[counts.length - 1];
    }

    /** Whether every result is a pixel as it is. */
    boolean copies() {
      for (int i = 0; i < starts.length; i++) {
        for (int tap = 0; tap < counts[i]; tap++) {
          int expected = starts[i] + tap == first() + i ? 1 << PRECISION : 0;
          if (weight(i, tap) != expected) {
            return false;
          }
        }
      }
      return true;
    }
  }

  /** Buffers of a thread, which grow as pictures need. */
  private static final class Scratch {
    private int[][] between = {};
    private int[][] strip = {};
    private int[] sums = {};

    int[][] between(int rows, int length) {
      between = grown(between, rows, length);
      return between;
    }

    int[][] strip(int columns, int length) {
      strip = grown(strip, columns, length);
      return strip;
    }

    int[] sums(int length) {
      if (sums.length < length) {
        sums = new int[length];
      }
      return sums;
    }

    private static int[][] grown(int[][] lines, int count, int length) {
      int[][] grown = lines.length >= count ? lines : Arrays.copyOf(lines, count);
      for (int i = 0; i < count; i++) {
        if (grown[i] == null || grown[i].length < length) {
          grown[i] = new int[length];
        }
      }
      return grown;
    }
  }
}
