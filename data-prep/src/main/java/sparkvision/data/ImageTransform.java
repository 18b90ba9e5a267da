package sparkvision.data;

import java.io.Serializable;
import java.util.List;

/**
 * Turns an encoded picture into the numbers a network takes: for training with a random crop and
 * flip, for evaluation with a centre crop. Thread-safe.
 *
 * <p>A value is (pixel / 255 - mean) / std. Padding is black before that, as in torchvision.
 */
public final class ImageTransform implements Serializable {

  private static final long serialVersionUID = 1;

  /**
   * What is done to a picture.
   *
   * @param imageSize height and width of the result, pixels
   * @param resize the shorter side is brought to this many pixels first; 0 leaves it as it is
   * @param channels 1 (grey) or 3 (red, green, blue)
   * @param cropPadding black pixels added on each side before the random crop; training only
   * @param flipProbability of a mirrored picture, 0..1; training only
   * @param mean by channel, or one for all, in 0..1
   * @param std by channel, or one for all, in 0..1
   */
  public record Options(
      int imageSize,
      int resize,
      int channels,
      int cropPadding,
      double flipProbability,
      List<Double> mean,
      List<Double> std)
      implements Serializable {

    public Options {
      require(imageSize >= 1, "image-size", imageSize, "must be >= 1");
      require(resize >= 0, "resize", resize, "must be >= 0; 0 leaves the size as it is");
      require(channels == 1 || channels == 3, "channels", channels, "1 or 3");
      require(cropPadding >= 0, "crop-padding", cropPadding, "must be >= 0");
      require(
          flipProbability >= 0 && flipProbability <= 1,
          "flip-probability",
          flipProbability,
          "must be in 0..1");
      require(
          mean.size() == 1 || mean.size() == channels, "mean", mean, "one value, or per channel");
      require(std.size() == 1 || std.size() == channels, "std", std, "one value, or per channel");
      require(std.stream().allMatch(value -> value > 0), "std", std, "values must be > 0");
      mean = List.copyOf(mean);
      std = List.copyOf(std);
    }

    private static void require(boolean holds, String key, Object value, String allowed) {
      if (!holds) {
        throw new IllegalArgumentException(
            String.format("Invalid %s: %s (%s)", key, value, allowed));
      }
    }
  }

  private final Options options;
  private final float[][] values; // by channel and pixel

  public ImageTransform(Options options) {
    this.options = options;
    this.values = new float[options.channels()][256];
    for (int c = 0; c < values.length; c++) {
      double mean = options.mean().get(options.mean().size() == 1 ? 0 : c);
      double std = options.std().get(options.std().size() == 1 ? 0 : c);
      for (int pixel = 0; pixel < 256; pixel++) {
        values[c][pixel] = (float) ((pixel / 255.0 - mean) / std);
      }
    }
  }

  /** Floats of one picture: C * H * W. */
  public int size() {
    return options.channels() * options.imageSize() * options.imageSize();
  }

  /**
   * Writes (C, H, W) for training, augmented by a pure function of (seed, epoch, sample id).
   *
   * @throws DataException if the picture cannot be decoded, is too small to crop, or so narrow that
   *     resizing would make it enormous
   */
  public void train(Sample sample, long seed, int epoch, float[] target, int offset) {
    Images.Picture picture = resized(sample);
    int padding = options.cropPadding();
    int freeRows = free(sample, picture.height() + 2 * padding, picture);
    int freeColumns = free(sample, picture.width() + 2 * padding, picture);
    SplitMix random = new SplitMix(seed, epoch, SplitMix.hash(sample.id()));
    int top = random.below(freeRows + 1) - padding;
    int left = random.below(freeColumns + 1) - padding;
    if (random.unit() < options.flipProbability()) {
      write(picture, top, left + options.imageSize() - 1, -1, target, offset);
      return;
    }
    write(picture, top, left, 1, target, offset);
  }

  /**
   * Writes (C, H, W) for evaluation.
   *
   * @throws DataException as {@link #train}
   */
  public void evaluate(Sample sample, float[] target, int offset) {
    Images.Picture picture = resized(sample);
    int top = free(sample, picture.height(), picture) / 2;
    int left = free(sample, picture.width(), picture) / 2;
    write(picture, top, left, 1, target, offset);
  }

  private Images.Picture resized(Sample sample) {
    Images.Picture picture;
    try {
      picture = Images.decode(sample.image(), options.channels());
    } catch (DataException e) {
      throw new DataException("Cannot decode sample " + sample.id() + ": " + e.getMessage(), e);
    }
    if (options.resize() == 0) {
      return picture;
    }
    long shorter = Math.min(picture.width(), picture.height());
    long width = picture.width() * (long) options.resize() / shorter;
    long height = picture.height() * (long) options.resize() / shorter;
    if (!Images.fits(width, height)) {
      throw new DataException(
          String.format(
              "Cannot resize sample %s: with images.resize %d its %d x %d pixels become %d x %d;"
                  + " make images.resize smaller, or leave the picture out",
              sample.id(), options.resize(), picture.width(), picture.height(), width, height));
    }
    return Images.resize(picture, (int) width, (int) height);
  }

  private int free(Sample sample, int available, Images.Picture picture) {
    if (available < options.imageSize()) {
      throw new DataException(
          String.format(
              "Cannot crop sample %s to %d pixels: it is %d x %d; set images.resize to at least %d",
              sample.id(),
              options.imageSize(),
              picture.width(),
              picture.height(),
              options.imageSize()));
    }
    return available - options.imageSize();
  }

  /** Copies a square from row {@code top}, column {@code first} on, leftwards if step is -1. */
  private void write(
      Images.Picture picture, int top, int first, int step, float[] target, int offset) {
    int size = options.imageSize();
    int channels = options.channels();
    byte[] pixels = picture.pixels();
    int at = offset;
    for (int c = 0; c < channels; c++) {
      float[] value = values[c];
      for (int y = 0; y < size; y++) {
        int row = top + y;
        boolean inside = row >= 0 && row < picture.height();
        for (int x = 0; x < size; x++) {
          int column = first + step * x;
          int pixel =
              inside && column >= 0 && column < picture.width()
                  ? pixels[(row * picture.width() + column) * channels + c] & 0xFF
                  : 0;
          target[at++] = value[pixel];
        }
      }
    }
  }
}
