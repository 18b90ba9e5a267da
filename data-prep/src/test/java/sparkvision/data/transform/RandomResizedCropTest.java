package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import sparkvision.data.SplitMix;
import sparkvision.data.transform.Resize.Region;

final class RandomResizedCropTest {

  private static final RandomResizedCrop IMAGENET = new RandomResizedCrop(0.08, 1, 0.75, 4.0 / 3);

  @Test
  void cropsLieInsideAndHaveTheirAreaAndShape() {
    double areas = 0;
    double largest = 0;
    double smallest = 1;
    for (int key = 0; key < 2000; key++) {
      Region region = IMAGENET.draw(500, 375, new SplitMix(key));
      assertThat(region.left()).isBetween(0, 500 - region.width());
      assertThat(region.top()).isBetween(0, 375 - region.height());
      double ratio = (double) region.width() / region.height();
      assertThat(ratio).isBetween(0.75 - 0.01, 4.0 / 3 + 0.01);
      double area = region.width() * (double) region.height() / (500 * 375);
      largest = Math.max(largest, area);
      smallest = Math.min(smallest, area);
      areas += area / 2000;
    }
    assertThat(smallest).isCloseTo(0.08, within(0.005));
    assertThat(largest).isGreaterThan(0.95);
    // Uniform in 0.08..1 would be 0.54; large crops fit less often. The mean of torchvision's.
    assertThat(areas).isCloseTo(0.433, within(0.01));
  }

  @Test
  void takesTheLargestCentredCropWhereNoneFits() {
    RandomResizedCrop whole = new RandomResizedCrop(1, 1, 0.75, 4.0 / 3);
    assertThat(whole.draw(1000, 30, new SplitMix(1))).isEqualTo(new Region(480, 0, 40, 30));
    assertThat(whole.draw(30, 1000, new SplitMix(1))).isEqualTo(new Region(0, 480, 30, 40));
    assertThat(whole.draw(1, 1, new SplitMix(1))).isEqualTo(new Region(0, 0, 1, 1));
  }

  @Test
  void refusesRangesThatDoNotRise() {
    assertThatThrownBy(() -> new RandomResizedCrop(0.5, 0.1, 0.75, 1.3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid crop-scale: [0.5, 0.1] (must rise, above 0, at most 1)");
    assertThatThrownBy(() -> new RandomResizedCrop(0.1, 1, 0, 1.3))
        .hasMessage("Invalid crop-ratio: [0.0, 1.3] (must rise, above 0)");
  }
}
