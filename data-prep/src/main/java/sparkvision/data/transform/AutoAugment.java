package sparkvision.data.transform;

import static sparkvision.data.transform.Operation.*;

import java.util.List;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

/**
 * AutoAugment's policy for ImageNet: one of 25 pairs of operations, each with its probability and
 * level. Levels mean what they mean in timm, which calls this policy {@code original}.
 *
 * @see <a href="https://arxiv.org/abs/1805.09501">Cubuk et al., AutoAugment, 2018, table 9</a>
 * @see Operation
 */
final class AutoAugment implements Augmentation {

  private static final long serialVersionUID = 1;

  private record Step(Operation operation, double probability, int level) {}

  private static final List<List<Step>> POLICY =
      List.of(
          pair(POSTERIZE_ORIGINAL, 0.4, 8, ROTATE, 0.6, 9),
          pair(SOLARIZE, 0.6, 5, AUTO_CONTRAST, 0.6, 5),
          pair(EQUALIZE, 0.8, 8, EQUALIZE, 0.6, 3),
          pair(POSTERIZE_ORIGINAL, 0.6, 7, POSTERIZE_ORIGINAL, 0.6, 6),
          pair(EQUALIZE, 0.4, 7, SOLARIZE, 0.2, 4),
          pair(EQUALIZE, 0.4, 4, ROTATE, 0.8, 8),
          pair(SOLARIZE, 0.6, 3, EQUALIZE, 0.6, 7),
          pair(POSTERIZE_ORIGINAL, 0.8, 5, EQUALIZE, 1.0, 2),
          pair(ROTATE, 0.2, 3, SOLARIZE, 0.6, 8),
          pair(EQUALIZE, 0.6, 8, POSTERIZE_ORIGINAL, 0.4, 6),
          pair(ROTATE, 0.8, 8, COLOR, 0.4, 0),
          pair(ROTATE, 0.4, 9, EQUALIZE, 0.6, 2),
          pair(EQUALIZE, 0.0, 7, EQUALIZE, 0.8, 8),
          pair(INVERT, 0.6, 4, EQUALIZE, 1.0, 8),
          pair(COLOR, 0.6, 4, CONTRAST, 1.0, 8),
          pair(ROTATE, 0.8, 8, COLOR, 1.0, 2),
          pair(COLOR, 0.8, 8, SOLARIZE, 0.8, 7),
          pair(SHARPNESS, 0.4, 7, INVERT, 0.6, 8),
          pair(SHEAR_X, 0.6, 5, EQUALIZE, 1.0, 9),
          pair(COLOR, 0.4, 0, EQUALIZE, 0.6, 3),
          pair(EQUALIZE, 0.4, 7, SOLARIZE, 0.2, 4),
          pair(SOLARIZE, 0.6, 5, AUTO_CONTRAST, 0.6, 5),
          pair(INVERT, 0.6, 4, EQUALIZE, 1.0, 8),
          pair(COLOR, 0.6, 4, CONTRAST, 1.0, 8),
          pair(EQUALIZE, 0.8, 8, EQUALIZE, 0.6, 3));

  private final Canvas canvas;

  AutoAugment(Canvas canvas) {
    this.canvas = canvas;
  }

  private static List<Step> pair(
      Operation first,
      double firstProbability,
      int firstLevel,
      Operation second,
      double secondProbability,
      int secondLevel) {
    return List.of(
        new Step(first, firstProbability, firstLevel),
        new Step(second, secondProbability, secondLevel));
  }

  @Override
  public Picture apply(Picture picture, SplitMix random) {
    Picture result = picture;
    for (Step step : POLICY.get(random.below(POLICY.size()))) {
      if (random.unit() < step.probability()) {
        result = step.operation().apply(result, step.level(), canvas, random);
      }
    }
    return result;
  }
}
