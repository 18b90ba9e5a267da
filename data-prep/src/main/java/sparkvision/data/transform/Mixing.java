package sparkvision.data.transform;

import static sparkvision.data.Setting.require;

import java.io.Serializable;
import java.util.Arrays;
import sparkvision.data.SplitMix;

/**
 * Mixup and CutMix in timm's batch mode: one draw for a whole batch decides which of them it is,
 * and how much each picture gets of its partner, the batch read backwards. The targets are mixed
 * alike.
 *
 * @param mixupAlpha a of Beta(a, a) that mixup's share comes from; 0: no mixup
 * @param cutmixAlpha the same for CutMix's area; 0: no CutMix
 * @param switchProbability of CutMix where there are both
 * @param labelSmoothing share of the targets that is spread evenly over all classes
 * @see <a href="https://arxiv.org/abs/1710.09412">Zhang et al., mixup, 2017</a>
 * @see <a href="https://arxiv.org/abs/1905.04899">Yun et al., CutMix, 2019</a>
 */
public record Mixing(
    double mixupAlpha, double cutmixAlpha, double switchProbability, double labelSmoothing)
    implements Serializable {

  /** None. */
  public static final Mixing NONE = new Mixing(0, 0, 0.5, 0);

  public Mixing {
    require(mixupAlpha >= 0, "mixup-alpha", mixupAlpha, "must be >= 0; 0: none");
    require(cutmixAlpha >= 0, "cutmix-alpha", cutmixAlpha, "must be >= 0; 0: none");
    require(
        switchProbability >= 0 && switchProbability <= 1,
        "mix-switch",
        switchProbability,
        "must be in 0..1");
  }

  /** Whether batches are mixed at all, and so have soft targets. */
  public boolean mixes() {
    return mixupAlpha > 0 || cutmixAlpha > 0;
  }

  /**
   * Mixes a batch in place.
   *
   * @param images (B, C, H, W)
   * @param size H and W
   * @param labels (B), each in 0..classes - 1
   * @param targets (B, classes), which are written
   */
  public void apply(float[] images, int size, long[] labels, float[] targets, SplitMix random) {
    boolean cuts = mixupAlpha == 0 || (cutmixAlpha > 0 && random.unit() < switchProbability);
    double alpha = cuts ? cutmixAlpha : mixupAlpha;
    double kept = random.beta(alpha, alpha);
    int length = images.length / labels.length;
    if (cuts) {
      kept = cut(images, length, size, labels.length, kept, random);
    } else {
      blend(images, length, labels.length, (float) kept);
    }
    int classes = targets.length / labels.length;
    Arrays.fill(targets, (float) (labelSmoothing / classes));
    float rise = (float) (1 - labelSmoothing);
    for (int i = 0; i < labels.length; i++) {
      int row = i * classes;
      targets[row + (int) labels[i]] += rise * (float) kept;
      targets[row + (int) labels[labels.length - 1 - i]] += rise * (float) (1 - kept);
    }
  }

  private static void blend(float[] images, int length, int batch, float kept) {
    float given = 1 - kept;
    for (int i = 0; i < (batch + 1) / 2; i++) {
      int a = i * length;
      int b = (batch - 1 - i) * length;
      for (int k = 0; k < length; k++) {
        float first = images[a + k];
        float second = images[b + k];
        images[a + k] = first * kept + second * given;
        images[b + k] = second * kept + first * given;
      }
    }
  }

  /** Swaps a box between partners; returns the share of a picture that is still its own. */
  private static double cut(
      float[] images, int length, int size, int batch, double kept, SplitMix random) {
    int side = (int) (size * Math.sqrt(1 - kept));
    int row = random.below(size);
    int column = random.below(size);
    int top = Math.max(0, row - side / 2);
    int bottom = Math.min(size, row + side / 2);
    int left = Math.max(0, column - side / 2);
    int right = Math.min(size, column + side / 2);
    for (int i = 0; i < batch / 2; i++) {
      int a = i * length;
      int b = (batch - 1 - i) * length;
      for (int plane = 0; plane < length; plane += size * size) {
        for (int y = top; y < bottom; y++) {
          int from = plane + y * size;
          for (int k = from + left; k < from + right; k++) {
            float swap = images[a + k];
            images[a + k] = images[b + k];
            images[b + k] = swap;
          }
        }
      }
    }
    return 1 - (double) (bottom - top) * (right - left) / (size * size);
  }
}
