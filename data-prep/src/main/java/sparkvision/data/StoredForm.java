package sparkvision.data;

import java.io.Serializable;
import java.util.List;
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
   * filter, then JPEG; a mask by the nearest pixel, then PNG. A picture that is no larger stays as
   * it came.
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
        List.of());
  }

  /** Takes the pixel at the centre of each of the smaller ones. */
  private static byte[] mask(byte[] png, int width, int height) {
    Images.Picture mask = Images.decode(png, 1);
    byte[] pixels = new byte[width * height];
    for (int y = 0; y < height; y++) {
      int row = (int) ((2L * y + 1) * mask.height() / (2L * height));
      for (int x = 0; x < width; x++) {
        int column = (int) ((2L * x + 1) * mask.width() / (2L * width));
        pixels[y * width + x] = mask.pixels()[row * mask.width() + column];
      }
    }
    return Images.encodePng(new Images.Picture(width, height, 1, pixels));
  }

  /** Bytes that a sample will take, without making them: a smaller picture by its area. */
  long estimate(Sample sample) {
    double side = Math.min(sample.width(), sample.height());
    double share = resize == 0 || side <= resize ? 1 : (resize / side) * (resize / side);
    long objects = sample.objects().stream().mapToLong(object -> 53L + object.rle().length()).sum();
    return (long) (share * (sample.image().length + sample.mask().length)) + objects;
  }
}
