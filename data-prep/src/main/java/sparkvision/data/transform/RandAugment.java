package sparkvision.data.transform;

import static sparkvision.data.transform.Operation.*;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

/**
 * RandAugment as timm has it: so many operations, drawn with replacement, each applied in one of
 * two cases, its magnitude drawn from a normal distribution.
 *
 * @see <a href="https://arxiv.org/abs/1909.13719">Cubuk et al., RandAugment, 2019</a>
 * @see Operation
 */
final class RandAugment implements Augmentation {

  private static final long serialVersionUID = 1;

  private static final double PROBABILITY = 0.5;

  private static final List<Operation> PLAIN =
      List.of(
          AUTO_CONTRAST,
          EQUALIZE,
          INVERT,
          ROTATE,
          POSTERIZE,
          SOLARIZE,
          SOLARIZE_ADD,
          COLOR,
          CONTRAST,
          BRIGHTNESS,
          SHARPNESS,
          SHEAR_X,
          SHEAR_Y,
          TRANSLATE_X,
          TRANSLATE_Y);

  private static final List<Operation> INCREASING =
      List.of(
          AUTO_CONTRAST,
          EQUALIZE,
          INVERT,
          ROTATE,
          POSTERIZE_INCREASING,
          SOLARIZE_INCREASING,
          SOLARIZE_ADD,
          COLOR_INCREASING,
          CONTRAST_INCREASING,
          BRIGHTNESS_INCREASING,
          SHARPNESS_INCREASING,
          SHEAR_X,
          SHEAR_Y,
          TRANSLATE_X,
          TRANSLATE_Y);

  private static final Pattern FORM = Pattern.compile("rand(-(m|n|mstd|inc)\\d+(\\.\\d+)?)*");
  private static final Pattern KEY = Pattern.compile("-([a-z]+)([\\d.]+)");

  private final List<Operation> operations;
  private final double magnitude;
  private final double deviation;
  private final int layers;
  private final Canvas canvas;

  private RandAugment(
      List<Operation> operations, double magnitude, double deviation, int layers, Canvas canvas) {
    this.operations = operations;
    this.magnitude = magnitude;
    this.deviation = deviation;
    this.layers = layers;
    this.canvas = canvas;
  }

  /**
   * From timm's configuration string: {@code rand}, then {@code -m} magnitude 0..10 (default 10),
   * {@code -n} operations (2), {@code -mstd} standard deviation of the magnitude (0), {@code -inc1}
   * for the increasing operations.
   *
   * @throws IllegalArgumentException if it is none
   */
  static RandAugment parse(String text, Canvas canvas) {
    double magnitude = 10;
    double layers = 2;
    double deviation = 0;
    double increasing = 0;
    boolean valid = FORM.matcher(text).matches();
    Matcher keys = KEY.matcher(text);
    while (valid && keys.find()) {
      double value = Double.parseDouble(keys.group(2));
      switch (keys.group(1)) {
        case "m" -> magnitude = value;
        case "n" -> layers = value;
        case "mstd" -> deviation = value;
        default -> increasing = value;
      }
    }
    if (!valid || magnitude > 10 || layers < 1 || layers != Math.rint(layers)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid policy: %s (must be none, autoaugment, three-augment, or rand with"
                  + " -m0..10, -n1.., -mstd and -inc, such as rand-m9-mstd0.5-inc1)",
              text));
    }
    return new RandAugment(
        increasing > 0 ? INCREASING : PLAIN, magnitude, deviation, (int) layers, canvas);
  }

  @Override
  public Picture apply(Picture picture, SplitMix random) {
    Picture result = picture;
    for (int layer = 0; layer < layers; layer++) {
      Operation operation = operations.get(random.below(operations.size()));
      if (random.unit() < PROBABILITY) {
        double level = deviation > 0 ? magnitude + deviation * random.gaussian() : magnitude;
        result = operation.apply(result, Math.max(0, Math.min(10, level)), canvas, random);
      }
    }
    return result;
  }
}
