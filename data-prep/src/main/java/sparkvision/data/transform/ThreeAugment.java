package sparkvision.data.transform;

import sparkvision.data.Images.Picture;
import sparkvision.data.SplitMix;

/**
 * 3-Augment: always one of grey, solarised from 128 on, or blurred with sigma 0.1 to 2 pixels. The
 * colour jitter that goes with it is {@link ColorJitter}, 0.3 for brightness, contrast and
 * saturation.
 *
 * @see <a href="https://arxiv.org/abs/2204.07118">Touvron et al., DeiT III, 2022, section 3.3</a>
 */
final class ThreeAugment implements Augmentation {

  private static final long serialVersionUID = 1;

  @Override
  public Picture apply(Picture picture, SplitMix random) {
    return switch (random.below(3)) {
      case 0 -> PillowOps.grey(picture);
      case 1 -> PillowOps.solarize(picture, 128);
      default -> PillowOps.gaussianBlur(picture, random.between(0.1, 2));
    };
  }
}
