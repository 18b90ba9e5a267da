package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import sparkvision.data.SplitMix;

final class RandomErasingTest {

  private static final float UNTOUCHED = 1000;

  @Test
  void erasesARectangleOfNoiseInAllChannels() {
    for (int key = 0; key < 50; key++) {
      float[] target = erased(1, key);
      int top = 40;
      int bottom = -1;
      int left = 30;
      int right = -1;
      int erased = 0;
      for (int y = 0; y < 40; y++) {
        for (int x = 0; x < 30; x++) {
          boolean red = target[1 + y * 30 + x] != UNTOUCHED;
          assertThat(target[1 + 1200 + y * 30 + x] != UNTOUCHED).isEqualTo(red);
          if (red) {
            erased++;
            top = Math.min(top, y);
            bottom = Math.max(bottom, y);
            left = Math.min(left, x);
            right = Math.max(right, x);
          }
        }
      }
      assertThat(erased).isEqualTo((bottom - top + 1) * (right - left + 1));
      assertThat(erased / 1200.0).isBetween(0.015, 0.36);
      assertThat(target[0]).isEqualTo(UNTOUCHED);
    }
  }

  @Test
  void noiseIsNormal() {
    double sum = 0;
    double squares = 0;
    int count = 0;
    for (int key = 0; key < 100; key++) {
      for (float value : erased(1, key)) {
        if (value != UNTOUCHED) {
          sum += value;
          squares += value * value;
          count++;
        }
      }
    }
    assertThat(sum / count).isCloseTo(0, within(0.02));
    assertThat(squares / count).isCloseTo(1, within(0.03));
  }

  @Test
  void erasesAsOftenAsItIsAsked() {
    int erased = 0;
    for (int key = 0; key < 1000; key++) {
      float sum = 0;
      for (float value : erased(0.25, key)) {
        sum += value == UNTOUCHED ? 0 : 1;
      }
      erased += sum > 0 ? 1 : 0;
    }
    assertThat(erased).isBetween(200, 300);
    assertThatThrownBy(() -> new RandomErasing(1.5))
        .hasMessage("Invalid erase-probability: 1.5 (must be in 0..1)");
  }

  /** Two channels of 40 x 30, from index 1 on. */
  private static float[] erased(double probability, int key) {
    float[] target = new float[1 + 2 * 40 * 30];
    Arrays.fill(target, UNTOUCHED);
    new RandomErasing(probability).apply(target, 1, 2, 40, 30, new SplitMix(key));
    return target;
  }
}
