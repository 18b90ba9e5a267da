package sparkvision.data.transform;

import java.util.List;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

/**
 * torchvision's {@code ColorJitter}: brightness, contrast, saturation and hue in random order, the
 * factors of the first three uniform in max(0, 1 - x)..1 + x, hue in -x..x.
 *
 * @param brightness x, at least 0
 * @param contrast x, at least 0
 * @param saturation x, at least 0
 * @param hue x, a share of the circle, 0..0.5
 * @see <a
 *     href="https://github.com/pytorch/vision/blob/v0.15.1/torchvision/transforms/transforms.py">torchvision,
 *     transforms.py</a>
 */
public record ColorJitter(double brightness, double contrast, double saturation, double hue)
    implements Augmentation {

  /** None. */
  public static final ColorJitter NONE = new ColorJitter(0, 0, 0, 0);

  public ColorJitter {
    if (!(brightness >= 0 && contrast >= 0 && saturation >= 0 && hue >= 0 && hue <= 0.5)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid color-jitter: %s (brightness, contrast and saturation must be at least 0,"
                  + " hue 0..0.5)",
              List.of(brightness, contrast, saturation, hue)));
    }
  }

  @Override
  public Picture apply(Picture picture, SplitMix random) {
    int[] order = {0, 1, 2, 3};
    if (!equals(NONE)) {
      random.shuffle(order, 0, order.length);
    }
    Picture result = picture;
    for (int step : order) {
      result =
          switch (step) {
            case 0 ->
                brightness == 0 ? result : PillowOps.brightness(result, factor(brightness, random));
            case 1 -> contrast == 0 ? result : PillowOps.contrast(result, factor(contrast, random));
            case 2 ->
                saturation == 0 ? result : PillowOps.saturation(result, factor(saturation, random));
            default -> hue == 0 ? result : PillowOps.hue(result, random.between(-hue, hue));
          };
    }
    return result;
  }

  private static double factor(double reach, SplitMix random) {
    return random.between(Math.max(0, 1 - reach), 1 + reach);
  }
}
