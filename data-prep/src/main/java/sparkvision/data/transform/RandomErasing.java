package sparkvision.data.transform;

import java.io.Serializable;
import sparkvision.data.SplitMix;

/**
 * Random erasing in timm's pixel mode: a rectangle of 2 % to a third of the area, of width / height
 * 0.3 to 1 / 0.3, ten tries, becomes noise, normal with mean 0 and deviation 1 in normalised
 * values.
 *
 * @param probability of erasing
 * @see <a href="https://arxiv.org/abs/1708.04896">Zhong et al., Random Erasing Data Augmentation,
 *     2017</a>
 */
public record RandomErasing(double probability) implements Serializable {

  private static final int TRIES = 10;
  private static final double MIN_AREA = 0.02;
  private static final double MAX_AREA = 1.0 / 3;
  private static final double LOG_RATIO = StrictMath.log(1 / 0.3);

  public RandomErasing {
    if (!(probability >= 0 && probability <= 1)) {
      throw new IllegalArgumentException(
          String.format("Invalid erase-probability: %s (must be in 0..1)", probability));
    }
  }

  /** Changes (C, H, W), which begins at {@code offset}. */
  public void apply(
      float[] target, int offset, int channels, int height, int width, SplitMix random) {
    if (probability == 0 || random.unit() >= probability) {
      return;
    }
    for (int i = 0; i < TRIES; i++) {
      double area = random.between(MIN_AREA, MAX_AREA) * height * width;
      double ratio = StrictMath.exp(random.between(-LOG_RATIO, LOG_RATIO));
      int h = (int) Math.round(Math.sqrt(area * ratio));
      int w = (int) Math.round(Math.sqrt(area / ratio));
      if (w < width && h < height) {
        int top = random.below(height - h + 1);
        int left = random.below(width - w + 1);
        for (int c = 0; c < channels; c++) {
          for (int y = top; y < top + h; y++) {
            int row = offset + (c * height + y) * width;
            for (int x = left; x < left + w; x++) {
              target[row + x] = (float) random.gaussian();
            }
          }
        }
        return;
      }
    }
  }
}
