package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import sparkvision.data.SplitMix;

final class MixingTest {

  private static final int SIZE = 16;
  private static final long[] LABELS = {2, 0, 1, 1, 4};

  @Test
  void mixupBlendsPartnersAndTargetsInTheSameShare() {
    double shares = 0;
    for (int key = 0; key < 200; key++) {
      float[] images = images();
      float[] targets = new float[5 * 5];
      new Mixing(0.8, 0, 0.5, 0).apply(images, SIZE, LABELS, targets, new SplitMix(key));
      float kept = targets[2];
      shares += Math.abs(kept - 0.5) / 200;
      for (int i = 0; i < 5; i++) {
        float expected = kept * i + (1 - kept) * (4 - i);
        assertThat(images[i * 3 * SIZE * SIZE + 100]).isCloseTo(expected, within(1e-5f));
      }
      // Pictures 0 and 4 are partners, 2 is its own.
      assertThat(row(targets, 0))
          .containsExactly(new float[] {0, 0, kept, 0, 1 - kept}, within(1e-6f));
      assertThat(row(targets, 4))
          .containsExactly(new float[] {0, 0, 1 - kept, 0, kept}, within(1e-6f));
      assertThat(targets[2 * 5 + 1]).isCloseTo(1, within(1e-6f));
    }
    // The mean distance from a half of Beta(0.8, 0.8); of the uniform distribution it is 0.25.
    assertThat(shares).isCloseTo(0.27, within(0.025));
  }

  @Test
  void cutmixSwapsABoxAndTargetsFollowItsArea() {
    int whole = 0;
    for (int key = 0; key < 200; key++) {
      float[] images = images();
      float[] targets = new float[5 * 5];
      new Mixing(0, 1, 0.5, 0).apply(images, SIZE, LABELS, targets, new SplitMix(key));
      int length = 3 * SIZE * SIZE;
      int own = 0;
      for (int k = 0; k < SIZE * SIZE; k++) {
        assertThat(images[k]).isIn(0f, 4f);
        assertThat(images[k + 2 * SIZE * SIZE]).isEqualTo(images[k]);
        assertThat(images[4 * length + k]).isEqualTo(4 - images[k]);
        assertThat(images[2 * length + k]).isEqualTo(2);
        own += images[k] == 0 ? 1 : 0;
      }
      assertThat(targets[2]).isCloseTo((float) own / (SIZE * SIZE), within(1e-6f));
      whole += own == SIZE * SIZE ? 1 : 0;
    }
    assertThat(whole).isLessThan(20);
  }

  @Test
  void smoothingIsSpreadOverAllClasses() {
    float[] targets = new float[5 * 5];
    new Mixing(0.8, 1, 0.5, 0.1).apply(images(), SIZE, LABELS, targets, new SplitMix(1));
    for (int i = 0; i < 5; i++) {
      double sum = 0;
      for (float share : row(targets, i)) {
        assertThat(share).isGreaterThanOrEqualTo(0.02f);
        sum += share;
      }
      assertThat(sum).isCloseTo(1, within(1e-6));
    }
    assertThat(targets[3]).isEqualTo(0.02f);
  }

  @Test
  void switchesBetweenBothAsOftenAsItIsAsked() {
    int cut = 0;
    for (int key = 0; key < 400; key++) {
      float[] images = images();
      new Mixing(0.8, 1, 0.25, 0).apply(images, SIZE, LABELS, new float[25], new SplitMix(key));
      // Mixup leaves no pixel of the first picture at 0.
      cut += images[0] == 0 || images[SIZE * SIZE / 2 + SIZE / 2] == 0 ? 1 : 0;
    }
    assertThat(cut).isBetween(70, 125);
  }

  @Test
  void isAPureFunctionOfItsStream() {
    float[] images = images();
    float[] again = images();
    float[] targets = new float[25];
    float[] targetsAgain = new float[25];
    Mixing mixing = new Mixing(0.8, 1, 0.5, 0.1);
    mixing.apply(images, SIZE, LABELS, targets, new SplitMix(9));
    mixing.apply(again, SIZE, LABELS, targetsAgain, new SplitMix(9));
    assertThat(again).isEqualTo(images);
    assertThat(targetsAgain).isEqualTo(targets);
  }

  @Test
  void refusesValuesOutOfRange() {
    assertThatThrownBy(() -> new Mixing(-1, 0, 0.5, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid mixup-alpha: -1.0 (must be >= 0; 0: none)");
    assertThat(Mixing.NONE.mixes()).isFalse();
    assertThat(new Mixing(0, 1, 0.5, 0).mixes()).isTrue();
  }

  /** Picture i has the value i everywhere. */
  private static float[] images() {
    float[] images = new float[5 * 3 * SIZE * SIZE];
    for (int i = 0; i < images.length; i++) {
      int picture = i / (3 * SIZE * SIZE);
      images[i] = picture;
    }
    return images;
  }

  private static float[] row(float[] targets, int i) {
    return Arrays.copyOfRange(targets, 5 * i, 5 * i + 5);
  }
}
