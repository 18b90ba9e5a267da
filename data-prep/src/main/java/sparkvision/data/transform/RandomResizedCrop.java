package sparkvision.data.transform;

import java.io.Serializable;
import sparkvision.data.SplitMix;
import sparkvision.data.transform.Resize.Region;

/**
 * torchvision's {@code RandomResizedCrop}: a part of a picture of random area and shape, ten tries;
 * if none fits, the largest centred one of the nearest shape.
 *
 * @param minScale smallest share of the area
 * @param maxScale largest share of the area
 * @param minRatio least width / height
 * @param maxRatio greatest width / height
 * @see <a href="https://arxiv.org/abs/1409.4842">Szegedy et al., Going Deeper with Convolutions,
 *     2014, section 6</a>
 */
public record RandomResizedCrop(double minScale, double maxScale, double minRatio, double maxRatio)
    implements Serializable {

  private static final int TRIES = 10;

  public RandomResizedCrop {
    if (!(minScale > 0 && minScale <= maxScale && maxScale <= 1)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid crop-scale: [%s, %s] (must rise, above 0, at most 1)", minScale, maxScale));
    }
    if (!(minRatio > 0 && minRatio <= maxRatio && maxRatio < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          String.format("Invalid crop-ratio: [%s, %s] (must rise, above 0)", minRatio, maxRatio));
    }
  }

  /** Where to crop a picture of this size. */
  public Region draw(int width, int height, SplitMix random) {
    double area = (double) width * height;
    for (int i = 0; i < TRIES; i++) {
      double target = area * random.between(minScale, maxScale);
      double ratio =
          StrictMath.exp(random.between(StrictMath.log(minRatio), StrictMath.log(maxRatio)));
      long w = Math.round(Math.sqrt(target * ratio));
      long h = Math.round(Math.sqrt(target / ratio));
      if (w > 0 && w <= width && h > 0 && h <= height) {
        int top = random.below((int) (height - h + 1));
        int left = random.below((int) (width - w + 1));
        return new Region(left, top, (int) w, (int) h);
      }
    }
    double ratio = (double) width / height;
    int w = ratio > maxRatio ? (int) Math.max(1, Math.round(height * maxRatio)) : width;
    int h = ratio < minRatio ? (int) Math.max(1, Math.round(width / minRatio)) : height;
    return new Region((width - w) / 2, (height - h) / 2, w, h);
  }
}
