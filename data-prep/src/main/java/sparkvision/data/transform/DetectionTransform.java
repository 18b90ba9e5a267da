package sparkvision.data.transform;

import static sparkvision.data.Setting.require;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import sparkvision.data.DataException;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Images.Picture;
import sparkvision.data.Sample;
import sparkvision.data.SplitMix;
import sparkvision.data.coco.Box;
import sparkvision.data.coco.Rle;
import sparkvision.data.transform.Resize.Filter;
import sparkvision.data.transform.Resize.Region;

/**
 * Turns a picture and its objects into a square that a detection network takes, with large-scale
 * jitter in training; boxes and masks go along. Thread-safe.
 *
 * <p>In training the picture is mirrored, resized so that it fits into a square of the result's
 * size times a random scale, and cropped at random where it is larger than the result. In
 * evaluation it is resized so that its longer side is the result's. What it does not fill, on the
 * right and at the bottom, is padded after normalisation with the mean colour. Pictures are resized
 * as by Pillow (bilinear), masks to the nearest pixel.
 *
 * <p>The steps are those of detectron2's projects/ViTDet/configs/common/coco_loader_lsj.py ({@code
 * RandomFlip}, {@code ResizeScale}, {@code FixedSizeCrop}, boxes recomputed from masks), but for
 * the crop's row and column, which are drawn one by one, as in the original jitter, and not as one
 * fraction of both axes.
 *
 * @see <a href="https://arxiv.org/abs/2012.07177">Ghiasi et al., Simple Copy-Paste is a Strong Data
 *     Augmentation Method for Instance Segmentation, 2021, section 3, large scale jittering</a>
 * @see <a href="https://arxiv.org/abs/2203.16527">Li et al., Exploring Plain Vision Transformer
 *     Backbones for Object Detection, 2022, appendix A.2</a>
 */
public final class DetectionTransform implements Serializable {

  private static final long serialVersionUID = 1;

  private static final int CHANNELS = 3;

  /** A box that is not wider and higher than this, in pixels, is empty. */
  private static final double EMPTY = 1e-5;

  /**
   * What is done to a picture.
   *
   * @param imageSize height and width of the result, pixels; 1024
   * @param minScale of the jitter; 0.1
   * @param maxScale of the jitter; 2.0
   * @param flipProbability of a mirrored picture, 0..1; training only
   * @param mean by channel, or one for all, in 0..1
   * @param std by channel, or one for all, in 0..1
   */
  public record Options(
      int imageSize,
      double minScale,
      double maxScale,
      double flipProbability,
      List<Double> mean,
      List<Double> std)
      implements Serializable {

    public Options {
      require(imageSize >= 1, "image-size", imageSize, "must be >= 1");
      require(minScale > 0, "min-scale", minScale, "must be > 0");
      require(maxScale >= minScale, "max-scale", maxScale, "must be >= min-scale " + minScale);
      long side = (long) Math.ceil(imageSize * maxScale);
      require(
          Images.fits(side, side), "max-scale", maxScale, "makes too large pictures of " + side);
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
   * Where the picture and its objects lie in the result.
   *
   * @param height of the picture, from the upper edge on, pixels; padding below
   * @param width of the picture, from the left edge on, pixels; padding beside
   * @param instances the objects that are seen; none in evaluation, where the truth stays as it is
   *     stored
   */
  public record Placement(int height, int width, List<Instance> instances) {}

  /**
   * An object in the result.
   *
   * @param category index into the classes
   * @param x of the box's left edge, pixels; likewise the others
   * @param mask (height, width) of the box, row by row, 1 where the object is: the box of an object
   *     with a mask is the tightest around it, in whole pixels; empty if there is only a box
   */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared
  public record Instance(
      int category, double x, double y, double width, double height, byte[] mask) {}

  private final Options options;
  private final Normalization normalization;

  /**
   * @throws IllegalArgumentException if there are not 1 or 3 of mean and std, or a std is not
   *     positive
   */
  public DetectionTransform(Options options) {
    this.options = options;
    this.normalization = new Normalization(CHANNELS, options.mean(), options.std());
  }

  /** Floats of one result: 3 * H * W. */
  public int size() {
    return CHANNELS * options.imageSize() * options.imageSize();
  }

  /**
   * Writes (3, H, W) for training, a pure function of (seed, epoch, sample id).
   *
   * <p>Crowds are left out, and objects of which nothing is left: with a mask, no pixel; without, a
   * box with a side of at most 1e-5 pixels. Drawn from the stream keyed (seed, epoch, hash(id)):
   * flip, scale, row, column.
   *
   * @throws DataException if the picture cannot be decoded or a mask is not one of its size
   */
  public Placement train(Sample sample, long seed, int epoch, float[] target, int offset) {
    Picture original = decode(sample);
    SplitMix random = new SplitMix(seed, epoch, SplitMix.hash(sample.id()));
    boolean flip = random.unit() < options.flipProbability();
    double scale = random.between(options.minScale(), options.maxScale());
    double longest = Math.max(original.height(), original.width());
    double factor = options.imageSize() * scale / longest;
    int height = (int) Math.max(1, Math.rint(original.height() * factor));
    int width = (int) Math.max(1, Math.rint(original.width() * factor));
    int cropHeight = Math.min(height, options.imageSize());
    int cropWidth = Math.min(width, options.imageSize());
    int top = (int) Math.rint((height - cropHeight) * random.unit());
    int left = (int) Math.rint((width - cropWidth) * random.unit());
    Region crop = new Region(left, top, cropWidth, cropHeight);

    // Mirrored after the crop: there are fewer pixels, and the outcome differs by rounding alone.
    Region unflipped =
        flip ? new Region(width - left - cropWidth, top, cropWidth, cropHeight) : crop;
    Picture picture =
        Resize.resize(original, Resize.Box.of(original), width, height, unflipped, Filter.BILINEAR);
    picture = flip ? PillowOps.flip(picture) : picture;
    normalization.write(picture, options.imageSize(), options.imageSize(), target, offset);

    View view = new View(original, height, width, crop, flip);
    List<Instance> instances = new ArrayList<>();
    for (DetectedObject object : sample.objects()) {
      if (!object.crowd()) {
        Optional<Instance> instance =
            object.rle().isEmpty()
                ? view.box(object)
                : view.mask(object.category(), mask(sample, object, original));
        instance.ifPresent(instances::add);
      }
    }
    return new Placement(cropHeight, cropWidth, List.copyOf(instances));
  }

  /**
   * Writes (3, H, W) for evaluation. A predicted box is brought back to the stored picture by the
   * ratios of its width and height to those returned.
   *
   * @throws DataException if the picture cannot be decoded
   */
  public Placement evaluate(Sample sample, float[] target, int offset) {
    Picture original = decode(sample);
    double factor = (double) options.imageSize() / Math.max(original.height(), original.width());
    int height = Math.max(1, (int) (original.height() * factor + 0.5));
    int width = Math.max(1, (int) (original.width() * factor + 0.5));
    Picture picture = Resize.resize(original, width, height, Filter.BILINEAR);
    normalization.write(picture, options.imageSize(), options.imageSize(), target, offset);
    return new Placement(height, width, List.of());
  }

  private static Picture decode(Sample sample) {
    try {
      return Images.decode(sample.image(), CHANNELS);
    } catch (DataException e) {
      throw new DataException("Cannot decode sample " + sample.id() + ": " + e.getMessage(), e);
    }
  }

  private static Rle mask(Sample sample, DetectedObject object, Picture original) {
    try {
      return Rle.parse(object.rle(), original.height(), original.width());
    } catch (DataException e) {
      throw new DataException("Cannot use sample " + sample.id() + ": " + e.getMessage(), e);
    }
  }

  /** The stored picture, mirrored or not, resized to (height, width), of which the crop is seen. */
  private record View(Picture original, int height, int width, Region crop, boolean flip) {

    Optional<Instance> box(DetectedObject object) {
      double left = flip ? original.width() - object.x() - object.width() : object.x();
      double across = (double) width / original.width();
      double down = (double) height / original.height();
      double x0 = clip(left * across - crop.left(), crop.width());
      double x1 = clip((left + object.width()) * across - crop.left(), crop.width());
      double y0 = clip(object.y() * down - crop.top(), crop.height());
      double y1 = clip((object.y() + object.height()) * down - crop.top(), crop.height());
      if (x1 - x0 <= EMPTY || y1 - y0 <= EMPTY) {
        return Optional.empty();
      }
      return Optional.of(new Instance(object.category(), x0, y0, x1 - x0, y1 - y0, new byte[0]));
    }

    private static double clip(double value, double end) {
      return Math.min(Math.max(value, 0), end);
    }

    /** A pixel of the result shows the mask's pixel under its centre. */
    Optional<Instance> mask(int category, Rle rle) {
      byte[] raster = rle.toMask();
      int[] rows = new int[crop.height()];
      for (int y = 0; y < rows.length; y++) {
        rows[y] = source(crop.top() + y, height, original.height());
      }
      int[] columns = new int[crop.width()];
      for (int x = 0; x < columns.length; x++) {
        int column = source(crop.left() + x, width, original.width());
        columns[x] = flip ? original.width() - 1 - column : column;
      }

      Box box = rle.box(); // most objects are small: look at no more than may show one
      int top = rows.length;
      int bottom = -1;
      int left = columns.length;
      int right = -1;
      for (int y = 0; y < rows.length; y++) {
        if (rows[y] < box.y() || rows[y] >= box.y() + box.height()) {
          continue;
        }
        for (int x = 0; x < columns.length; x++) {
          if (raster[rows[y] * original.width() + columns[x]] != 0) {
            top = Math.min(top, y);
            bottom = y;
            left = Math.min(left, x);
            right = Math.max(right, x);
          }
        }
      }
      if (bottom < 0) {
        return Optional.empty();
      }
      int maskHeight = bottom - top + 1;
      int maskWidth = right - left + 1;
      byte[] mask = new byte[maskHeight * maskWidth];
      for (int i = 0; i < mask.length; i++) {
        int y = rows[top + i / maskWidth];
        int x = columns[left + i % maskWidth];
        mask[i] = raster[y * original.width() + x];
      }
      return Optional.of(new Instance(category, left, top, maskWidth, maskHeight, mask));
    }

    /** ⌊(i + ½)·n/s⌋. */
    private static int source(int i, int size, int originalSize) {
      return (int) ((2L * i + 1) * originalSize / (2L * size));
    }
  }
}
