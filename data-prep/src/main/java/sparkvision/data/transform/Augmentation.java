package sparkvision.data.transform;

import java.io.Serializable;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

/** A random change of a picture that keeps its size: what it draws comes from one stream alone. */
@FunctionalInterface
public interface Augmentation extends Serializable {

  Picture apply(Picture picture, SplitMix random);

  /**
   * A policy by its name.
   *
   * @param policy {@code none}, {@code autoaugment}, {@code three-augment}, or timm's configuration
   *     of a {@link RandAugment}, such as {@code rand-m9-mstd0.5-inc1}
   * @param canvas what geometric operations need
   * @throws IllegalArgumentException for any other name
   */
  static Augmentation policy(String policy, Canvas canvas) {
    return switch (policy) {
      case "none" -> (picture, random) -> picture;
      case "autoaugment" -> new AutoAugment(canvas);
      case "three-augment" -> new ThreeAugment();
      default -> RandAugment.parse(policy, canvas);
    };
  }

  /**
   * What geometric operations need.
   *
   * @param filter for positions between pixels
   * @param fill by channel, for what comes from outside of the picture
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  record Canvas(Resize.Filter filter, int[] fill) implements Serializable {}
}
