package sparkvision.metrics;

import java.util.Arrays;

/**
 * Logits of every pixel of a picture.
 *
 * @param values (classes, height, width)
 */
@SuppressWarnings("ArrayRecordComponent") // carried along, never compared
public record LogitMap(int classes, int height, int width, float[] values) {

  /**
   * @throws IllegalArgumentException if the values are not classes * height * width
   */
  public LogitMap {
    if (classes < 1
        || height < 1
        || width < 1
        || values.length != (long) classes * height * width) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid logits: %d values (must be %d classes x %d x %d)",
              values.length, classes, height, width));
    }
  }

  /** The class of highest logit of each pixel, (height, width); the lower one if they are equal. */
  public int[] predicted() {
    return predicted(height, width);
  }

  /**
   * The class of highest logit of each pixel of a picture of another size, (newHeight, newWidth),
   * after bilinear resizing of the logits with corners not aligned; the lower one if they are
   * equal.
   *
   * <p>That is how mmsegmentation returns to a picture's stored size (postprocess_result in
   * mmseg/models/segmentors/base.py, with PyTorch's {@code interpolate}). Class by class and row by
   * row, so that the resized logits, of many classes, are never in memory.
   */
  public int[] predicted(int newHeight, int newWidth) {
    Axis rows = new Axis(height, newHeight);
    Axis columns = new Axis(width, newWidth);
    int[] predicted = new int[newHeight * newWidth];
    float[] highest = new float[newWidth];
    for (int y = 0; y < newHeight; y++) {
      Arrays.fill(highest, Float.NEGATIVE_INFINITY);
      float down = rows.share[y];
      for (int k = 0; k < classes; k++) {
        int upper = (k * height + rows.first[y]) * width;
        int lower = (k * height + rows.second[y]) * width;
        for (int x = 0; x < newWidth; x++) {
          float right = columns.share[x];
          int x0 = columns.first[x];
          int x1 = columns.second[x];
          float above = (1 - right) * values[upper + x0] + right * values[upper + x1];
          float below = (1 - right) * values[lower + x0] + right * values[lower + x1];
          float logit = (1 - down) * above + down * below;
          if (logit > highest[x]) {
            highest[x] = logit;
            predicted[y * newWidth + x] = k;
          }
        }
      }
    }
    return predicted;
  }

  /** Between which two old pixels each new one lies; positions below 0 count as 0. */
  private static final class Axis {
    private final int[] first;
    private final int[] second;
    private final float[] share; // of the second

    Axis(int size, int newSize) {
      first = new int[newSize];
      second = new int[newSize];
      share = new float[newSize];
      float scale = (float) size / newSize;
      for (int i = 0; i < newSize; i++) {
        float position = Math.max(0, scale * (i + 0.5f) - 0.5f);
        first[i] = Math.min((int) position, size - 1);
        second[i] = Math.min(first[i] + 1, size - 1);
        share[i] = position - first[i];
      }
    }
  }
}
