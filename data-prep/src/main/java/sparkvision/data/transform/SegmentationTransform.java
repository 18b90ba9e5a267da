package sparkvision.data.transform;

import static sparkvision.data.Setting.require;

import java.io.Serializable;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import sparkvision.data.DataException;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Images.Picture;
import sparkvision.data.Sample;
import sparkvision.data.SampleTransform;
import sparkvision.data.SplitMix;
import sparkvision.data.coco.Rle;
import sparkvision.data.transform.OpenCvOps.Interpolation;
import sparkvision.data.transform.Resize.Region;

/**
 * Turns a picture and its mask into what a segmentation network takes: for training resized by a
 * random ratio, cropped, mirrored, distorted in colour and padded; for evaluation resized only.
 * Thread-safe.
 *
 * <p>These are mmsegmentation's pipelines, as in its configs/_base_/datasets/ade20k.py: {@code
 * RandomResize} and {@code Resize} with ratio kept (pictures bilinear, masks nearest, by OpenCV
 * without antialiasing), {@code RandomCrop}, {@code RandomFlip}, {@code PhotoMetricDistortion}. A
 * picture smaller than the crop is padded on the right and at the bottom after normalisation, with
 * the mean colour and ignored labels.
 *
 * <p>A sample without a mask has the masks of its objects painted, larger ones first (crowds too,
 * objects that are only a box not): each pixel gets the category of the smallest object there, and
 * is ignored where there is none.
 */
public final class SegmentationTransform implements SampleTransform {

  private static final long serialVersionUID = 1;

  private static final int CHANNELS = 3;

  /** Crops that are looked at; the next one is taken as it is. */
  private static final int CROP_TRIES = 10;

  /**
   * What is done to a picture.
   *
   * @param cropHeight of a training example, pixels; 512 for ADE20K
   * @param cropWidth of a training example, pixels; 512 for ADE20K
   * @param longEdge the picture's longer side is resized to at most this, pixels; 2048 for ADE20K
   * @param shortEdge and its shorter side to at most this, pixels; 512 for ADE20K
   * @param minRatio both edges are multiplied in training by a ratio of at least this; 0.5
   * @param maxRatio and below this; 2.0
   * @param maxClassShare a crop where one class has this share of the labelled pixels, or more, is
   *     drawn again, at most 10 times; 0.75; from 1 on every crop is taken
   * @param flipProbability of a mirrored picture, 0..1; training only
   * @param photometricDistortion whether colours are distorted; training only
   * @param mean by channel, or one for all, in 0..1
   * @param std by channel, or one for all, in 0..1
   */
  public record Options(
      int cropHeight,
      int cropWidth,
      int longEdge,
      int shortEdge,
      double minRatio,
      double maxRatio,
      double maxClassShare,
      double flipProbability,
      boolean photometricDistortion,
      List<Double> mean,
      List<Double> std)
      implements Serializable {

    public Options {
      require(cropHeight >= 1, "crop-height", cropHeight, "must be >= 1");
      require(cropWidth >= 1, "crop-width", cropWidth, "must be >= 1");
      require(shortEdge >= 1, "short-edge", shortEdge, "must be >= 1");
      require(longEdge >= shortEdge, "long-edge", longEdge, "must be >= short-edge " + shortEdge);
      require(minRatio > 0, "min-ratio", minRatio, "must be > 0");
      require(maxRatio >= minRatio, "max-ratio", maxRatio, "must be >= min-ratio " + minRatio);
      require(
          Images.fits((long) (longEdge * maxRatio), (long) (shortEdge * maxRatio)),
          "max-ratio",
          maxRatio,
          "makes pictures of " + longEdge + " x " + shortEdge + " too large");
      require(maxClassShare > 0, "max-class-share", maxClassShare, "must be > 0");
      require(
          flipProbability >= 0 && flipProbability <= 1,
          "flip-probability",
          flipProbability,
          "must be in 0..1");
      mean = List.copyOf(mean);
      std = List.copyOf(std);
    }
  }

  /**
   * A picture to evaluate.
   *
   * @param image normalised pixels, (3, height, width)
   * @param originalHeight of the picture as it is stored, pixels
   * @param originalWidth of the picture as it is stored, pixels
   * @param labels (originalHeight, originalWidth); a class, or {@link Sample#IGNORE}
   */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared
  public record Example(
      int height, int width, float[] image, int originalHeight, int originalWidth, int[] labels) {}

  private record Pair(Picture picture, Picture mask) {}

  private final Options options;
  private final Normalization normalization;

  /**
   * @throws IllegalArgumentException if there are not 1 or 3 of mean and std, or a std is not
   *     positive
   */
  public SegmentationTransform(Options options) {
    this.options = options;
    this.normalization = new Normalization(CHANNELS, options.mean(), options.std());
  }

  @Override
  public long[] imageShape() {
    return new long[] {CHANNELS, options.cropHeight(), options.cropWidth()};
  }

  @Override
  public long[] labelShape() {
    return new long[] {options.cropHeight(), options.cropWidth()};
  }

  /** Labels of one training example: H * W; its image has three times as many values. */
  public int size() {
    return options.cropHeight() * options.cropWidth();
  }

  /**
   * {@inheritDoc}
   *
   * <p>Drawn from the stream keyed (seed, epoch, hash(id)), with the repeat after them unless it is
   * the first: ratio; row and column of each crop that is tried; flip; distortion.
   *
   * @throws DataException if the picture or its mask cannot be decoded, or their sizes differ
   */
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
    SplitMix random = SampleTransform.stream(sample, seed, epoch, repeat);
    Pair pair = decode(sample);
    double ratio = random.between(options.minRatio(), options.maxRatio());
    Picture picture = resize(pair.picture(), ratio, Interpolation.BILINEAR);
    Picture mask = resize(pair.mask(), ratio, Interpolation.NEAREST);

    Region crop = crop(mask, random);
    picture = Resize.crop(picture, crop);
    mask = Resize.crop(mask, crop);
    if (random.unit() < options.flipProbability()) {
      picture = PillowOps.flip(picture);
      mask = PillowOps.flip(mask);
    }
    if (options.photometricDistortion()) {
      picture = PhotometricDistortion.apply(picture, random);
    }
    normalization.write(picture, options.cropHeight(), options.cropWidth(), images, imageAt);
    for (int y = 0; y < options.cropHeight(); y++) {
      for (int x = 0; x < options.cropWidth(); x++) {
        boolean inside = y < mask.height() && x < mask.width();
        labels[labelAt + y * options.cropWidth() + x] =
            inside ? mask.pixels()[y * mask.width() + x] & 0xFF : Sample.IGNORE;
      }
    }
  }

  /**
   * The picture resized to the two edges, with the labels as they are stored: predictions are
   * measured at the stored size.
   *
   * @throws DataException as {@link #train}
   */
  public Example evaluate(Sample sample) {
    Pair pair = decode(sample);
    Picture picture = resize(pair.picture(), 1, Interpolation.BILINEAR);
    float[] image = new float[CHANNELS * picture.height() * picture.width()];
    normalization.write(picture, picture.height(), picture.width(), image, 0);
    Picture mask = pair.mask();
    int[] labels = new int[mask.pixels().length];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = mask.pixels()[i] & 0xFF;
    }
    return new Example(
        picture.height(), picture.width(), image, mask.height(), mask.width(), labels);
  }

  private static Pair decode(Sample sample) {
    Picture picture = decode(sample, "picture", sample.image(), CHANNELS);
    Picture mask =
        sample.mask().length == 0
            ? painted(sample, picture)
            : decode(sample, "mask", sample.mask(), 1);
    if (mask.width() != picture.width() || mask.height() != picture.height()) {
      throw new DataException(
          String.format(
              "Cannot use sample %s: its picture has %d x %d pixels, its mask %d x %d",
              sample.id(), picture.width(), picture.height(), mask.width(), mask.height()));
    }
    return new Pair(picture, mask);
  }

  private static Picture painted(Sample sample, Picture picture) {
    byte[] labels = new byte[picture.height() * picture.width()];
    Arrays.fill(labels, (byte) Sample.IGNORE);
    List<DetectedObject> largestFirst =
        sample.objects().stream()
            .filter(object -> !object.rle().isEmpty())
            .sorted(Comparator.comparingDouble(DetectedObject::area).reversed())
            .toList();
    for (DetectedObject object : largestFirst) {
      byte[] inside = mask(sample, object, picture);
      for (int i = 0; i < labels.length; i++) {
        if (inside[i] != 0) {
          labels[i] = (byte) object.category();
        }
      }
    }
    return new Picture(picture.width(), picture.height(), 1, labels);
  }

  private static byte[] mask(Sample sample, DetectedObject object, Picture picture) {
    try {
      return Rle.parse(object.rle(), picture.height(), picture.width()).toMask();
    } catch (DataException e) {
      throw new DataException(
          String.format("Cannot paint an object of sample %s: %s", sample.id(), e.getMessage()), e);
    }
  }

  private static Picture decode(Sample sample, String what, byte[] encoded, int channels) {
    try {
      return Images.decode(encoded, channels);
    } catch (DataException e) {
      throw new DataException(
          String.format("Cannot decode the %s of sample %s: %s", what, sample.id(), e.getMessage()),
          e);
    }
  }

  /** As large as fits into the two edges times {@code ratio}. */
  private Picture resize(Picture picture, double ratio, Interpolation interpolation) {
    int longEdge = (int) (options.longEdge() * ratio);
    int shortEdge = (int) (options.shortEdge() * ratio);
    double factor =
        Math.min(
            (double) longEdge / Math.max(picture.width(), picture.height()),
            (double) shortEdge / Math.min(picture.width(), picture.height()));
    int width = Math.max(1, (int) (picture.width() * factor + 0.5));
    int height = Math.max(1, (int) (picture.height() * factor + 0.5));
    return OpenCvOps.resize(picture, width, height, interpolation);
  }

  private Region crop(Picture mask, SplitMix random) {
    Region crop = draw(mask, random);
    for (int i = 0; options.maxClassShare() < 1 && i < CROP_TRIES; i++) {
      if (mixes(mask, crop)) {
        return crop;
      }
      crop = draw(mask, random);
    }
    return crop;
  }

  private Region draw(Picture mask, SplitMix random) {
    int height = Math.min(options.cropHeight(), mask.height());
    int width = Math.min(options.cropWidth(), mask.width());
    int top = random.below(mask.height() - height + 1);
    int left = random.below(mask.width() - width + 1);
    return new Region(left, top, width, height);
  }

  /** Whether no class has too large a share of the crop's labelled pixels, so there are several. */
  private boolean mixes(Picture mask, Region crop) {
    int[] counts = new int[256];
    for (int y = crop.top(); y < crop.top() + crop.height(); y++) {
      for (int x = crop.left(); x < crop.left() + crop.width(); x++) {
        counts[mask.pixels()[y * mask.width() + x] & 0xFF]++;
      }
    }
    int labelled = 0;
    int most = 0;
    for (int label = 0; label < Sample.IGNORE; label++) {
      labelled += counts[label];
      most = Math.max(most, counts[label]);
    }
    return most < options.maxClassShare() * labelled;
  }
}
