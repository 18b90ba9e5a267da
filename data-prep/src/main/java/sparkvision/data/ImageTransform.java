package sparkvision.data;

import static sparkvision.data.Setting.require;

import java.io.Serializable;
import java.util.List;
import sparkvision.data.Images.Picture;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.Augmentation;
import sparkvision.data.transform.Normalization;
import sparkvision.data.transform.PillowOps;
import sparkvision.data.transform.Resize;
import sparkvision.data.transform.Resize.Box;
import sparkvision.data.transform.Resize.Region;

/**
 * Turns an encoded picture into the numbers a network takes: for training with random changes, for
 * evaluation with a centre crop. Thread-safe.
 *
 * <p>A value is (pixel / 255 - mean) / std. Padding is black before that, as in torchvision. Sizes
 * and crops are torchvision's, pixels Pillow's ({@link Resize}).
 *
 * <p><b>Reduced decoding.</b> For training, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where
 * the part that is wanted has then still {@value #LEAST_OVERSAMPLING} times the pixels of the
 * result in both directions. That is not to the bit what Pillow gives: the codec averages squares
 * of pixels in its own way before the filter does. Over 146 photographs of ImageNet the mean
 * difference is 0.4 of 255, 1.0 in the worst of them. Evaluation always decodes all pixels.
 */
public final class ImageTransform implements SampleTransform {

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
      require(cropPadding >= 0, "crop-padding", cropPadding, "must be >= 0");
      require(
          flipProbability >= 0 && flipProbability <= 1,
          "flip-probability",
          flipProbability,
          "must be in 0..1");
      mean = List.copyOf(mean);
      std = List.copyOf(std);
    }
  }

  /** Bytes of a decoded picture whose array a thread keeps for the next one. */
  private static final int MOST_KEPT = 1 << 24;

  private static final ThreadLocal<byte[]> DECODED = ThreadLocal.withInitial(() -> new byte[0]);

  /** Pixels of the reduced picture for each of the result, in one direction. */
  private static final int LEAST_OVERSAMPLING = 2;

  private final Options options;
  private final Resize.Filter filter;
  private final Augment augment;
  private final Augmentation policy;
  private final Normalization normalization;

  /** Without augmentation but padded crop and flip; resizes bilinearly. */
  public ImageTransform(Options options) {
    this(options, Resize.Filter.BILINEAR, Augment.NONE);
  }

  /**
   * @param filter for resizing, in training and evaluation, and for geometric augmentation
   * @throws IllegalArgumentException if there is no such policy, or channels, mean and std do not
   *     fit
   */
  public ImageTransform(Options options, Resize.Filter filter, Augment augment) {
    this.options = options;
    this.filter = filter;
    this.augment = augment;
    this.normalization = new Normalization(options.channels(), options.mean(), options.std());
    this.policy =
        Augmentation.policy(
            augment.policy(), new Augmentation.Canvas(filter, normalization.meanColour()));
  }

  /** Floats of one picture: C * H * W. */
  public int size() {
    return options.channels() * options.imageSize() * options.imageSize();
  }

  @Override
  public long[] imageShape() {
    return new long[] {options.channels(), options.imageSize(), options.imageSize()};
  }

  /** One class. */
  @Override
  public long[] labelShape() {
    return new long[0];
  }

  @Override
  public void train(
      Sample sample,
      long seed,
      int epoch,
      int repeat,
      float[] images,
      int imageAt,
      long[] labels,
      int labelAt) {
    train(sample, seed, epoch, repeat, images, imageAt);
    labels[labelAt] = sample.label();
  }

  /** As the first of the repeats of a sample. */
  public void train(Sample sample, long seed, int epoch, float[] target, int offset) {
    train(sample, seed, epoch, 0, target, offset);
  }

  /**
   * Writes (C, H, W) for training, augmented by a pure function of (seed, epoch, sample id,
   * repeat).
   *
   * @param repeat which of the repeats of the sample in its epoch, from 0
   * @throws DataException if the picture cannot be decoded, is too small to crop, or so narrow that
   *     resizing would make it enormous
   */
  public void train(Sample sample, long seed, int epoch, int repeat, float[] target, int offset) {
    SplitMix random = SampleTransform.stream(sample, seed, epoch, repeat);
    Picture square =
        switch (augment.crop()) {
          case PADDED -> paddedCrop(sample, random);
          case RESIZED -> resizedCrop(sample, random);
        };
    if (random.unit() < options.flipProbability()) {
      square = PillowOps.flip(square);
    }
    square = augment.colorJitter().apply(policy.apply(square, random), random);
    write(square, target, offset);
    int size = options.imageSize();
    augment.erasing().apply(target, offset, options.channels(), size, size, random);
  }

  /**
   * Writes (C, H, W) for evaluation.
   *
   * @throws DataException as {@link #train}
   */
  public void evaluate(Sample sample, float[] target, int offset) {
    write(evaluationPicture(sample), target, offset);
  }

  /** What {@link #evaluate} normalises: the resized picture's centre. */
  public Picture evaluationPicture(Sample sample) {
    int size = options.imageSize();
    Box whole = new Box(0, 0, sample.width(), sample.height());
    int width = resized(sample.width(), sample);
    int height = resized(sample.height(), sample);
    requireFits(sample, width, height);
    int top = (int) Math.rint(free(sample, height, width, height) / 2.0);
    int left = (int) Math.rint(free(sample, width, width, height) / 2.0);
    Region centre = new Region(left, top, size, size);
    return Resize.resize(decode(sample, 1), whole, width, height, centre, filter);
  }

  private Picture paddedCrop(Sample sample, SplitMix random) {
    int width = resized(sample.width(), sample);
    int height = resized(sample.height(), sample);
    requireFits(sample, width, height);
    Box whole = new Box(0, 0, sample.width(), sample.height());
    int reduction = reduction(sample, whole, width, height);
    Picture picture =
        Resize.resize(decode(sample, reduction), reduced(whole, reduction), width, height, filter);
    int padding = options.cropPadding();
    int freeRows = free(sample, height + 2 * padding, width, height);
    int freeColumns = free(sample, width + 2 * padding, width, height);
    int top = random.below(freeRows + 1) - padding;
    int left = random.below(freeColumns + 1) - padding;
    return square(picture, top, left);
  }

  private Picture resizedCrop(Sample sample, SplitMix random) {
    int size = options.imageSize();
    Region region = augment.resizedCrop().draw(sample.width(), sample.height(), random);
    Box box =
        new Box(
            region.left(),
            region.top(),
            region.left() + region.width(),
            region.top() + region.height());
    int reduction = reduction(sample, box, size, size);
    Box reduced = reduced(box, reduction);
    int left = (int) reduced.left();
    int top = (int) reduced.top();
    // Cropped first, as torchvision does: nothing from beyond the crop comes in.
    Picture crop =
        Resize.crop(
            decode(sample, reduction),
            new Region(
                left,
                top,
                (int) Math.ceil(reduced.right()) - left,
                (int) Math.ceil(reduced.bottom()) - top));
    Box within =
        new Box(
            reduced.left() - left,
            reduced.top() - top,
            reduced.right() - left,
            reduced.bottom() - top);
    return Resize.resize(crop, within, size, size, filter);
  }

  /** How much smaller a picture may be decoded of which {@code box} becomes width x height. */
  private static int reduction(Sample sample, Box box, int width, int height) {
    double oversampling =
        Math.min((box.right() - box.left()) / width, (box.bottom() - box.top()) / height);
    int reduction = 1;
    while (reduction < 8 && oversampling >= 2 * reduction * LEAST_OVERSAMPLING) {
      reduction *= 2;
    }
    return reduction > 1 && Images.isJpeg(sample.image()) ? reduction : 1;
  }

  private static Box reduced(Box box, double reduction) {
    return new Box(
        box.left() / reduction,
        box.top() / reduction,
        box.right() / reduction,
        box.bottom() / reduction);
  }

  /** What the thread decodes next overwrites it: large arrays are dear to give to the collector. */
  private Picture decode(Sample sample, int reduction) {
    Picture picture;
    try {
      picture = Images.decode(sample.image(), options.channels(), reduction, ImageTransform::room);
    } catch (DataException e) {
      throw new DataException("Cannot decode sample " + sample.id() + ": " + e.getMessage(), e);
    }
    if (picture.width() != (sample.width() + reduction - 1) / reduction
        || picture.height() != (sample.height() + reduction - 1) / reduction) {
      throw new DataException(
          String.format(
              "Cannot decode sample %s: it is %d x %d / %d pixels, its shard says %d x %d",
              sample.id(),
              picture.width(),
              picture.height(),
              reduction,
              sample.width(),
              sample.height()));
    }
    return picture;
  }

  private static byte[] room(int size) {
    if (size > MOST_KEPT) {
      return new byte[size];
    }
    if (DECODED.get().length < size) {
      DECODED.set(new byte[size]);
    }
    return DECODED.get();
  }

  /** A side after the shorter one was brought to {@code resize}. */
  private int resized(int side, Sample sample) {
    if (options.resize() == 0) {
      return side;
    }
    long shorter = Math.min(sample.width(), sample.height());
    return Math.toIntExact(Math.min(Integer.MAX_VALUE, (long) side * options.resize() / shorter));
  }

  private void requireFits(Sample sample, int width, int height) {
    if (!Images.fits(width, height)) {
      throw new DataException(
          String.format(
              "Cannot resize sample %s: with images.resize %d its %d x %d pixels become %d x %d;"
                  + " make images.resize smaller, or leave the picture out",
              sample.id(), options.resize(), sample.width(), sample.height(), width, height));
    }
  }

  private int free(Sample sample, int available, int width, int height) {
    if (available < options.imageSize()) {
      throw new DataException(
          String.format(
              "Cannot crop sample %s to %d pixels: it is %d x %d; set images.resize to at least %d",
              sample.id(), options.imageSize(), width, height, options.imageSize()));
    }
    return available - options.imageSize();
  }

  /** The network's square from (top, left) on; black outside of the picture. */
  private Picture square(Picture picture, int top, int left) {
    int size = options.imageSize();
    int channels = options.channels();
    byte[] pixels = new byte[size * size * channels];
    int firstColumn = Math.max(0, -left);
    int columns = Math.min(size, picture.width() - left) - firstColumn;
    for (int y = Math.max(0, -top); y < Math.min(size, picture.height() - top); y++) {
      if (columns > 0) {
        System.arraycopy(
            picture.pixels(),
            ((top + y) * picture.width() + left + firstColumn) * channels,
            pixels,
            (y * size + firstColumn) * channels,
            columns * channels);
      }
    }
    return new Picture(size, size, channels, pixels);
  }

  private void write(Picture square, float[] target, int offset) {
    normalization.write(square, options.imageSize(), options.imageSize(), target, offset);
  }
}
