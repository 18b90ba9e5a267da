package sparkvision.data.coco;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import sparkvision.data.DataException;

/**
 * A binary mask as run lengths, bit for bit as COCO's tools make and read it.
 *
 * <p>Pixels are counted down the columns, from the left one on. The counts are the lengths of runs
 * of zeros and ones in turn; the first is of zeros and may be 0. They add up to height x width.
 *
 * <p>The compressed string writes each count, from the fourth on as its difference from the count
 * two before, as a signed number in groups of five bits, lowest first. A group is one character of
 * '0' (48) to 'o' (111): five bits, and 32 if another follows; the last group's bit of 16 is the
 * sign.
 *
 * @see <a href="https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c">COCO API,
 *     common/maskApi.c</a>
 */
public final class Rle implements Serializable {

  private static final long serialVersionUID = 1;

  /** Polygons are drawn on a grid this much finer than the pixels. */
  private static final int GRID = 5;

  /** Pixels; a picture has at most half of it on a side. */
  private static final int MAX_COORDINATE = 1 << 17;

  private static final int GROUP_BITS = 5;
  private static final int MAX_GROUPS = 7; // 35 bits: any difference of two counts

  private final int height;
  private final int width;
  private final int[] counts;

  private Rle(int height, int width, int[] counts) {
    this.height = height;
    this.width = width;
    this.counts = counts;
  }

  /**
   * The mask of these run lengths.
   *
   * @throws DataException if a count is negative or they do not add up to the size; the message is
   *     the reason alone
   */
  public static Rle ofCounts(int[] counts, int height, int width) {
    return checked(counts.clone(), height, width);
  }

  private static Rle checked(int[] counts, int height, int width) {
    long pixels = size(height, width);
    long sum = 0;
    for (int count : counts) {
      if (count < 0) {
        throw new DataException("mask has a run of " + count + " pixels");
      }
      sum += count;
    }
    if (sum != pixels) {
      throw new DataException(
          String.format(
              "mask has runs of %d pixels in all, %d x %d has %d", sum, width, height, pixels));
    }
    return new Rle(height, width, counts);
  }

  /**
   * Reads a compressed string.
   *
   * @throws DataException if it is not one, or of another size; the message is the reason alone
   */
  public static Rle parse(String text, int height, int width) {
    int[] counts = new int[text.length()];
    int runs = 0;
    int at = 0;
    while (at < text.length()) {
      long count = 0;
      int groups = 0;
      boolean more = true;
      while (more) {
        if (at == text.length()) {
          throw new DataException("mask string ends within a number");
        }
        int group = text.charAt(at) - '0';
        if (group < 0 || group > 63 || groups == MAX_GROUPS) {
          throw new DataException("mask string is wrong at character " + at);
        }
        count |= (long) (group & 31) << (GROUP_BITS * groups);
        groups++;
        at++;
        more = (group & 32) != 0;
        if (!more && (group & 16) != 0) {
          count |= -1L << (GROUP_BITS * groups);
        }
      }
      if (runs > 2) {
        count += counts[runs - 2];
      }
      if (count < 0 || count > Integer.MAX_VALUE) {
        throw new DataException("mask has a run of " + count + " pixels");
      }
      counts[runs++] = (int) count;
    }
    return checked(Arrays.copyOf(counts, runs), height, width);
  }

  /**
   * The mask of the non-zero pixels.
   *
   * @param mask (H, W), rows from the top
   */
  public static Rle ofMask(byte[] mask, int height, int width) {
    if (mask.length != size(height, width)) {
      throw new IllegalArgumentException(
          String.format("Invalid mask: %d bytes (must be %d x %d)", mask.length, width, height));
    }
    Runs runs = new Runs();
    boolean ones = false;
    int count = 0;
    for (int x = 0; x < width; x++) {
      for (int y = 0; y < height; y++) {
        if ((mask[y * width + x] != 0) != ones) {
          runs.add(count);
          count = 0;
          ones = !ones;
        }
        count++;
      }
    }
    runs.add(count);
    return new Rle(height, width, runs.toArray());
  }

  /**
   * The pixels inside a polygon.
   *
   * <p>Its corners are rounded to a grid of five lines a pixel. The outline is walked on that grid,
   * one step in its longer direction at a time. Wherever it crosses the middle line of a pixel
   * column, the mask changes from there down.
   *
   * @param polygon x and y of each corner in turn, pixels; closed by itself
   * @throws DataException if it is no polygon that can be drawn; the message is the reason alone
   */
  public static Rle ofPolygon(double[] polygon, int height, int width) {
    size(height, width);
    if (polygon.length < 6 || polygon.length % 2 != 0) {
      throw new DataException("polygon has " + polygon.length + " numbers, not x, y of 3 corners");
    }
    return outline(polygon, height, width);
  }

  /**
   * The pixels inside a box, drawn as the polygon of its corners.
   *
   * @throws DataException if it is too large to be drawn; the message is the reason alone
   */
  public static Rle ofBox(Box box, int height, int width) {
    size(height, width);
    double right = box.x() + box.width();
    double bottom = box.y() + box.height();
    double[] corners = {box.x(), box.y(), box.x(), bottom, right, bottom, right, box.y()};
    return outline(corners, height, width);
  }

  private static Rle outline(double[] corners, int height, int width) {
    int edges = corners.length / 2;
    int[] xs = new int[edges + 1];
    int[] ys = new int[edges + 1];
    for (int i = 0; i < edges; i++) {
      xs[i] = onGrid(corners[2 * i]);
      ys[i] = onGrid(corners[2 * i + 1]);
    }
    xs[edges] = xs[0];
    ys[edges] = ys[0];

    Outline outline = new Outline(height, width);
    for (int i = 0; i < edges; i++) {
      outline.walk(xs[i], ys[i], xs[i + 1], ys[i + 1]);
    }
    return new Rle(height, width, outline.runs());
  }

  private static int onGrid(double coordinate) {
    if (!(Math.abs(coordinate) <= MAX_COORDINATE)) {
      throw new DataException("polygon has the coordinate " + coordinate);
    }
    return (int) (GRID * coordinate + 0.5); // towards zero, below it too
  }

  /** The pixels that are in any of the masks, which are of one size. */
  public static Rle union(List<Rle> masks) {
    return masks.stream().reduce((a, b) -> merge(a, b, false)).orElseThrow();
  }

  /** The pixels that are in all of the masks, which are of one size. */
  public static Rle intersection(List<Rle> masks) {
    return masks.stream().reduce((a, b) -> merge(a, b, true)).orElseThrow();
  }

  private static Rle merge(Rle a, Rle b, boolean all) {
    a.requireSizeOf(b);
    Runs runs = new Runs();
    Cursor inA = new Cursor(a.counts);
    Cursor inB = new Cursor(b.counts);
    boolean ones = false;
    int count = 0;
    while (inA.left > 0) {
      boolean next = all ? inA.ones && inB.ones : inA.ones || inB.ones;
      if (next != ones) {
        runs.add(count);
        count = 0;
        ones = next;
      }
      int step = Math.min(inA.left, inB.left);
      count += step;
      inA.advance(step);
      inB.advance(step);
    }
    runs.add(count);
    return new Rle(a.height, a.width, runs.toArray());
  }

  public int height() {
    return height;
  }

  public int width() {
    return width;
  }

  /** The number of pixels in the mask. */
  public int area() {
    int area = 0;
    for (int i = 1; i < counts.length; i += 2) {
      area += counts[i];
    }
    return area;
  }

  /**
   * The smallest box of whole pixels around the mask; a run that goes on in the next column makes
   * it as high as the picture. All 0 for an empty mask.
   */
  public Box box() {
    int left = width;
    int top = height;
    int right = 0;
    int bottom = 0;
    int end = 0;
    for (int i = 0; i + 1 < counts.length; i += 2) {
      int start = end + counts[i];
      end = start + counts[i + 1];
      if (start == end) {
        continue;
      }
      int last = end - 1;
      left = Math.min(left, start / height);
      right = Math.max(right, last / height);
      if (start / height < last / height) {
        top = 0;
        bottom = height - 1;
      }
      top = Math.min(top, start % height);
      bottom = Math.max(bottom, last % height);
    }
    return left == width
        ? new Box(0, 0, 0, 0)
        : new Box(left, top, right - left + 1, bottom - top + 1);
  }

  /**
   * The intersection with {@code other} over the union, 0..1.
   *
   * @throws IllegalArgumentException if it is of another size
   */
  public double iou(Rle other) {
    int both = overlap(other);
    return both == 0 ? 0 : both / ((double) area() + other.area() - both);
  }

  /**
   * The share of this mask inside {@code crowd}, 0..1: what COCO takes for the intersection over
   * union with a group that was not told apart.
   *
   * @throws IllegalArgumentException if it is of another size
   */
  public double shareInside(Rle crowd) {
    int both = overlap(crowd);
    return both == 0 ? 0 : (double) both / area();
  }

  private int overlap(Rle other) {
    requireSizeOf(other);
    Cursor here = new Cursor(counts);
    Cursor there = new Cursor(other.counts);
    int both = 0;
    while (here.left > 0) {
      int step = Math.min(here.left, there.left);
      if (here.ones && there.ones) {
        both += step;
      }
      here.advance(step);
      there.advance(step);
    }
    return both;
  }

  private void requireSizeOf(Rle other) {
    if (height != other.height || width != other.width) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid mask: %d x %d (must be %d x %d like the other)",
              other.width, other.height, width, height));
    }
  }

  /** The pixels, 0 or 1: (H, W), rows from the top. */
  public byte[] toMask() {
    byte[] mask = new byte[height * width];
    int at = 0;
    for (int i = 1; i < counts.length; i += 2) { // the even runs are background
      at += counts[i - 1];
      int end = at + counts[i];
      for (; at < end; at++) {
        mask[at % height * width + at / height] = 1;
      }
    }
    return mask;
  }

  /** COCO's compressed string. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(2 * counts.length);
    for (int i = 0; i < counts.length; i++) {
      int rest = i > 2 ? counts[i] - counts[i - 2] : counts[i];
      boolean more = true;
      while (more) {
        int group = rest & 31;
        rest >>= GROUP_BITS;
        more = rest != ((group & 16) != 0 ? -1 : 0);
        text.append((char) ('0' + (more ? group | 32 : group)));
      }
    }
    return text.toString();
  }

  private static long size(int height, int width) {
    long pixels = (long) height * width;
    if (height < 1 || width < 1 || pixels > Integer.MAX_VALUE) {
      throw new DataException(String.format("mask is %d x %d pixels", width, height));
    }
    return pixels;
  }

  /** A place in the runs of a mask; those of no pixels are passed over. */
  private static final class Cursor {

    private final int[] counts;
    private int next;
    private int left;
    private boolean ones = true; // until the first run begins

    Cursor(int[] counts) {
      this.counts = counts;
      advance(0);
    }

    void advance(int pixels) {
      left -= pixels;
      while (left == 0 && next < counts.length) {
        left = counts[next++];
        ones = !ones;
      }
    }
  }

  /** A growing list of numbers. */
  private static final class Runs {

    private int[] numbers = new int[16];
    private int size;

    void add(int number) {
      if (size == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * size);
      }
      numbers[size++] = number;
    }

    int[] toArray() {
      return Arrays.copyOf(numbers, size);
    }
  }

  /** A closed line on the grid, and where it crosses the middle of a pixel column. */
  private static final class Outline {

    private final int height;
    private final int width;
    private final Runs crossings = new Runs(); // pixels, counted down the columns
    private boolean started;
    private int lastX;
    private int lastY;

    Outline(int height, int width) {
      this.height = height;
      this.width = width;
    }

    /** From one corner to the next; both ends are points of the line. */
    void walk(int fromX, int fromY, int toX, int toY) {
      int across = Math.abs(toX - fromX);
      int down = Math.abs(toY - fromY);
      boolean flat = across >= down;
      // Both directions of an edge must give the same points: it is always drawn rightwards or
      // downwards.
      boolean backwards = flat ? fromX > toX : fromY > toY;
      int startX = backwards ? toX : fromX;
      int startY = backwards ? toY : fromY;
      int steps = Math.max(across, down);
      double slope =
          flat
              ? (double) ((backwards ? fromY : toY) - startY) / across
              : (double) ((backwards ? fromX : toX) - startX) / down;
      for (int i = 0; i <= steps; i++) {
        int t = backwards ? steps - i : i;
        if (flat) {
          point(startX + t, (int) (startY + slope * t + 0.5));
        } else {
          point((int) (startX + slope * t + 0.5), startY + t);
        }
      }
    }

    private void point(int x, int y) {
      if (started && x != lastX) {
        int column = (x < lastX ? x : x - 1) - GRID / 2;
        if (column >= 0 && column % GRID == 0 && column / GRID < width) {
          int row = Math.floorDiv(Math.min(y, lastY) + GRID / 2, GRID); // rounded up
          crossings.add(column / GRID * height + Math.max(0, Math.min(row, height)));
        }
      }
      started = true;
      lastX = x;
      lastY = y;
    }

    /** The lengths between the crossings; two at one place are none. */
    int[] runs() {
      crossings.add(height * width);
      int[] places = crossings.toArray();
      Arrays.sort(places);
      Runs runs = new Runs();
      runs.add(places[0]);
      int i = 1;
      while (i < places.length) {
        int length = places[i] - places[i - 1];
        if (length > 0) {
          runs.add(length);
          i++;
          continue;
        }
        if (i + 1 < places.length) {
          runs.numbers[runs.size - 1] += places[i + 1] - places[i];
        }
        i += 2;
      }
      return runs.toArray();
    }
  }
}
