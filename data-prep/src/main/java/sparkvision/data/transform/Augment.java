package sparkvision.data.transform;

import java.io.Serializable;

/**
 * How a picture is changed for training, in this order: crop, flip, policy, colour jitter, and,
 * after normalisation, erasing.
 *
 * @param resizedCrop what {@link Crop#RESIZED} draws
 * @param policy {@link Augmentation#policy}
 */
public record Augment(
    Crop crop,
    RandomResizedCrop resizedCrop,
    String policy,
    ColorJitter colorJitter,
    RandomErasing erasing)
    implements Serializable {

  /** How the network's square is cut out. */
  public enum Crop {
    /** At its size, anywhere in the resized picture and its padding. */
    PADDED,
    /** A {@link RandomResizedCrop}, brought to its size. */
    RESIZED
  }

  /** Nothing but a padded crop. */
  public static final Augment NONE =
      new Augment(
          Crop.PADDED,
          new RandomResizedCrop(0.08, 1, 0.75, 4.0 / 3),
          "none",
          ColorJitter.NONE,
          new RandomErasing(0));
}
