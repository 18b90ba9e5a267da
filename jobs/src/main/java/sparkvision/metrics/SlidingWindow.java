package sparkvision.metrics;

import java.util.Arrays;

/**
 * Runs a segmentation network over a picture window by window and averages the logits where windows
 * overlap.
 *
 * <p>Windows go from the upper left corner in steps of the stride; those that would reach over the
 * right or lower edge are moved inside. A picture smaller than the window is one window of its own
 * size. These are the windows and the mean of logits of mmsegmentation's slide_inference
 * (mmseg/models/segmentors/encoder_decoder.py); its other mode, whole inference, is the {@link
 * Predictor} itself. Either way {@link LogitMap#predicted(int, int)} returns to the stored size.
 *
 * @param cropHeight of a window, pixels
 * @param cropWidth of a window, pixels
 * @param strideHeight from one window to the next, pixels
 * @param strideWidth from one window to the next, pixels
 */
public record SlidingWindow(int cropHeight, int cropWidth, int strideHeight, int strideWidth) {

  /** A network for pictures of any size. */
  public interface Predictor {
    /**
     * Returns logits of every pixel.
     *
     * @param image (channels, height, width)
     */
    LogitMap predict(float[] image, int height, int width);
  }

  /**
   * @throws IllegalArgumentException if a stride is not in 1..crop: windows would leave gaps
   */
  public SlidingWindow {
    require(strideHeight, cropHeight, "stride-height", "crop-height");
    require(strideWidth, cropWidth, "stride-width", "crop-width");
  }

  private static void require(int stride, int crop, String key, String cropKey) {
    if (stride < 1 || stride > crop) {
      throw new IllegalArgumentException(
          String.format("Invalid %s: %d (must be in 1..%s %d)", key, stride, cropKey, crop));
    }
  }

  /**
   * Logits of every pixel of a picture.
   *
   * @param image (channels, height, width)
   * @throws IllegalArgumentException if the image does not have that shape, or the predictor
   *     answers with another size than it was given
   */
  public LogitMap predict(Predictor predictor, float[] image, int height, int width) {
    int area = Math.multiplyExact(height, width);
    if (area < 1 || image.length == 0 || image.length % area != 0) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid image: %d values (must be channels x %d x %d)",
              image.length, height, width));
    }
    int windowHeight = Math.min(cropHeight, height);
    int windowWidth = Math.min(cropWidth, width);
    float[] sums = null;
    int classes = 0;
    for (int top : starts(height, cropHeight, strideHeight)) {
      for (int left : starts(width, cropWidth, strideWidth)) {
        float[] crop = cut(image, height, width, top, left, windowHeight, windowWidth);
        LogitMap logits = predictor.predict(crop, windowHeight, windowWidth);
        if (sums == null) {
          classes = logits.classes();
          sums = new float[Math.multiplyExact(classes, area)];
        }
        if (logits.classes() != classes
            || logits.height() != windowHeight
            || logits.width() != windowWidth) {
          throw new IllegalArgumentException(
              String.format(
                  "Invalid logits: %d classes x %d x %d (must be %d x %d x %d)",
                  logits.classes(),
                  logits.height(),
                  logits.width(),
                  classes,
                  windowHeight,
                  windowWidth));
        }
        add(logits, sums, height, width, top, left);
      }
    }
    divide(sums, counts(height, cropHeight, strideHeight), counts(width, cropWidth, strideWidth));
    return new LogitMap(classes, height, width, sums);
  }

  /** First pixels of the windows along one axis. */
  private static int[] starts(int size, int crop, int stride) {
    int windows = (Math.max(size - crop, 0) + stride - 1) / stride + 1;
    int[] starts = new int[windows];
    Arrays.setAll(starts, i -> Math.max(Math.min(i * stride, size - crop), 0));
    return starts;
  }

  /** Windows over each pixel of one axis; those over a picture's pixel are the two's product. */
  private static int[] counts(int size, int crop, int stride) {
    int[] counts = new int[size];
    for (int start : starts(size, crop, stride)) {
      for (int i = start; i < Math.min(start + crop, size); i++) {
        counts[i]++;
      }
    }
    return counts;
  }

  private static float[] cut(
      float[] image, int height, int width, int top, int left, int cropHeight, int cropWidth) {
    int channels = image.length / (height * width);
    float[] crop = new float[channels * cropHeight * cropWidth];
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < cropHeight; y++) {
        int from = (c * height + top + y) * width + left;
        System.arraycopy(image, from, crop, (c * cropHeight + y) * cropWidth, cropWidth);
      }
    }
    return crop;
  }

  private static void add(LogitMap logits, float[] sums, int height, int width, int top, int left) {
    float[] values = logits.values();
    int at = 0;
    for (int k = 0; k < logits.classes(); k++) {
      for (int y = 0; y < logits.height(); y++) {
        int to = (k * height + top + y) * width + left;
        for (int x = 0; x < logits.width(); x++) {
          sums[to + x] += values[at++];
        }
      }
    }
  }

  private static void divide(float[] sums, int[] rows, int[] columns) {
    int at = 0;
    while (at < sums.length) {
      for (int row : rows) {
        for (int column : columns) {
          sums[at++] /= row * column;
        }
      }
    }
  }
}
