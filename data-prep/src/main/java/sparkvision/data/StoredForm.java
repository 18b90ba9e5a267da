package sparkvision.data;

import java.io.Serializable;
import sparkvision.data.coco.Rle;
import sparkvision.data.transform.Resize;

/**
 * What becomes of a sample's bytes on their way into a shard: nothing, or a smaller picture. A pure
 * function.
 *
 * @param resize shorter side of the stored pictures, pixels; 0 keeps every byte as it came
 * @param jpegQuality of the smaller pictures, 1 to 100
 */
record StoredForm(int resize, int jpegQuality) implements Serializable {

  /**
   * Brings the shorter side of a picture to {@code resize}: by Pillow's antialiased bilinear
   * filter, then JPEG; a mask by the nearest pixel, then PNG. Of objects, boxes and areas are
   * multiplied by the ratios of the sides, and masks take the nearest pixel too: one too thin for
   * any is empty, and keeps its box. A picture that is no larger stays as it came.
   */
  Sample of(Sample sample) {
    int shorter = Math.min(sample.width(), sample.height());
    if (resize == 0 || shorter <= resize) {
      return sample;
    }
    int width = (int) Math.round((double) sample.width() * resize / shorter);
    int height = (int) Math.round((double) sample.height() * resize / shorter);
    byte[] image = sample.image();
    Images.Picture picture =
        Resize.resize(
            Images.decode(image, Images.channels(image)), width, height, Resize.Filter.BILINEAR);
    return new Sample(
        sample.id(),
        sample.label(),
        sample.depth(),
        height,
        width,
        Images.encodeJpeg(picture, jpegQuality),
        sample.mask().length == 0 ? sample.mask() : mask(sample.mask(), width, height),
        sample.objects().stream().map(object -> object(object, sample, width, height)).toList());
  }

  private static DetectedObject object(
      DetectedObject object, Sample sample, int width, int height) {
    double across = (double) width / sample.width();
    double down = (double) height / sample.height();
    String rle = object.rle();
    if (!rle.isEmpty()) {
      byte[] mask = Rle.parse(rle, sample.height(), sample.width()).toMask();
      byte[] smaller = nearest(mask, sample.width(), sample.height(), width, height);
      rle = Rle.ofMask(smaller, height, width).toString();
    }
    return new DetectedObject(
        object.category(),
        object.x() * across,
        object.y() * down,
        object.width() * across,
        object.height() * down,
        object.area() * across * down,
        object.crowd(),
        rle);
  }

  private static byte[] mask(byte[] png, int width, int height) {
    Images.Picture mask = Images.decode(png, 1);
    byte[] pixels = nearest(mask.pixels(), mask.width(), mask.height(), width, height);
    return Images.encodePng(new Images.Picture(width, height, 1, pixels));
  }

  /** Takes the pixel at the centre of each of the smaller ones. */
  private static byte[] nearest(byte[] mask, int maskWidth, int maskHeight, int width, int height) {
    byte[] pixels = new byte[width * height];
    for (int y = 0; y < height; y++) {
      int row = (int) ((2L * y + 1) * maskHeight / (2L * height));
      for (int x = 0; x < width; x++) {
        int column = (int) ((2L * x + 1) * maskWidth / (2L * width));
        pixels[y * width + x] = mask[row * maskWidth + column];
      }
    }
    return pixels;
  }

  /** Bytes that a sample will take, without making them: a smaller picture by its area. */
  long estimate(Sample sample) {
    double side = Math.min(sample.width(), sample.height());
    double share = resize == 0 || side <= resize ? 1 : (resize / side) * (resize / side);
    long objects = sample.objects().stream().mapToLong(object -> 53L + object.rle().length()).sum();
    return (long) (share * (sample.image().length + sample.mask().length)) + objects;
  }
}
