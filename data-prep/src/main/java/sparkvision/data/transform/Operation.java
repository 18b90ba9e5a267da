package sparkvision.data.transform;

import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;
import sparkvision.data.transform.Augmentation.Canvas;

/**
 * The operations of AutoAugment and RandAugment with timm's meaning of a level, 0..10. Increasing
 * ones change a picture the more, the higher the level is. Signs are drawn.
 *
 * @see <a
 *     href="https://github.com/huggingface/pytorch-image-models/blob/v0.4.12/timm/data/auto_augment.py">timm
 *     0.4.12, auto_augment.py</a>
 */
enum Operation {
  AUTO_CONTRAST,
  EQUALIZE,
  INVERT,
  ROTATE,
  POSTERIZE,
  POSTERIZE_INCREASING,
  POSTERIZE_ORIGINAL,
  SOLARIZE,
  SOLARIZE_INCREASING,
  SOLARIZE_ADD,
  COLOR,
  COLOR_INCREASING,
  CONTRAST,
  CONTRAST_INCREASING,
  BRIGHTNESS,
  BRIGHTNESS_INCREASING,
  SHARPNESS,
  SHARPNESS_INCREASING,
  SHEAR_X,
  SHEAR_Y,
  TRANSLATE_X,
  TRANSLATE_Y;

  Picture apply(Picture picture, double level, Canvas canvas, SplitMix random) {
    double share = level / 10;
    return switch (this) {
      case AUTO_CONTRAST -> PillowOps.autocontrast(picture);
      case EQUALIZE -> PillowOps.equalize(picture);
      case INVERT -> PillowOps.invert(picture);
      case ROTATE ->
          PillowOps.rotate(picture, signed(share * 30, random), canvas.filter(), canvas.fill());
      case POSTERIZE -> PillowOps.posterize(picture, (int) (share * 4));
      case POSTERIZE_INCREASING -> PillowOps.posterize(picture, 4 - (int) (share * 4));
      case POSTERIZE_ORIGINAL -> PillowOps.posterize(picture, 4 + (int) (share * 4));
      case SOLARIZE -> PillowOps.solarize(picture, (int) (share * 256));
      case SOLARIZE_INCREASING -> PillowOps.solarize(picture, 256 - (int) (share * 256));
      case SOLARIZE_ADD -> PillowOps.solarizeAdd(picture, (int) (share * 110));
      case COLOR -> PillowOps.saturation(picture, factor(share));
      case COLOR_INCREASING -> PillowOps.saturation(picture, increasing(share, random));
      case CONTRAST -> PillowOps.contrast(picture, factor(share));
      case CONTRAST_INCREASING -> PillowOps.contrast(picture, increasing(share, random));
      case BRIGHTNESS -> PillowOps.brightness(picture, factor(share));
      case BRIGHTNESS_INCREASING -> PillowOps.brightness(picture, increasing(share, random));
      case SHARPNESS -> PillowOps.sharpness(picture, factor(share));
      case SHARPNESS_INCREASING -> PillowOps.sharpness(picture, increasing(share, random));
      case SHEAR_X -> affine(picture, canvas, 1, signed(share * 0.3, random), 0, 0, 1, 0);
      case SHEAR_Y -> affine(picture, canvas, 1, 0, 0, signed(share * 0.3, random), 1, 0);
      case TRANSLATE_X -> {
        double pixels = signed(share * 0.45, random) * picture.width();
        yield affine(picture, canvas, 1, 0, pixels, 0, 1, 0);
      }
      case TRANSLATE_Y -> {
        double pixels = signed(share * 0.45, random) * picture.height();
        yield affine(picture, canvas, 1, 0, 0, 0, 1, pixels);
      }
    };
  }

  private static Picture affine(Picture picture, Canvas canvas, double... matrix) {
    return PillowOps.affine(picture, matrix, canvas.filter(), canvas.fill());
  }

  private static double factor(double share) {
    return share * 1.8 + 0.1;
  }

  private static double increasing(double share, SplitMix random) {
    return Math.max(0.1, 1 + signed(share * 0.9, random));
  }

  private static double signed(double value, SplitMix random) {
    return random.unit() < 0.5 ? -value : value;
  }
}
