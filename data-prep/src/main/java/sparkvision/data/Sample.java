package sparkvision.data;

import java.util.List;

/**
 * One sample of a shard set; what it has depends on the set's {@link Task}.
 *
 * @param id unique in the set
 * @param label index into {@link ShardManifest#classes()}; -1 where samples have no class
 * @param depth slices of a volume; 1 for a picture
 * @param height pixels or voxels
 * @param width pixels or voxels
 * @param image the encoded picture (JPEG or PNG), or the volume (NIfTI-1, gzip)
 * @param mask a class for every pixel: an 8-bit grey PNG with 255 = ignore; for every voxel:
 *     NIfTI-1 of uint8, gzip; empty if there is none
 * @param objects of a picture; empty if there are none
 */
@SuppressWarnings("ArrayRecordComponent") // carried along, never compared
public record Sample(
    String id,
    int label,
    int depth,
    int height,
    int width,
    byte[] image,
    byte[] mask,
    List<DetectedObject> objects) {

  /** The value of a mask that neither loss nor metrics count. */
  public static final int IGNORE = 255;

  private static final byte[] NONE = {};

  /** A picture with a class. */
  public Sample(String id, int label, int height, int width, byte[] image) {
    this(id, label, 1, height, width, image, NONE, List.of());
  }

  /**
   * An item that is a picture, with the item's class.
   *
   * @throws DataException if the picture is not whole; the message is the reason alone
   */
  static Sample ofPicture(Item item, byte[] image) {
    Images.Picture picture = Images.inspect(image);
    return new Sample(item.id(), item.label(), picture.height(), picture.width(), image);
  }
}
