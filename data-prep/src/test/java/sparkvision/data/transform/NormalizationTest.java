package sparkvision.data.transform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import sparkvision.data.Images.Picture;

final class NormalizationTest {

  @Test
  void eachChannelHasItsOwnMeanAndStd() {
    Normalization normalization =
        new Normalization(3, List.of(0.1, 0.2, 0.3), List.of(0.5, 0.25, 2.0));
    float[] target = {9, 9, 9, 9, 9, 9, 9, 9};
    normalization.write(new Picture(1, 1, 3, new byte[] {51, 102, -1}), 1, 2, target, 1);
    assertThat(target)
        .containsExactly(
            9,
            (float) ((0.2 - 0.1) / 0.5),
            0,
            (float) ((0.4 - 0.2) / 0.25),
            0,
            (float) ((1 - 0.3) / 2),
            0,
            9);
  }

  @Test
  void refusesFiguresThatFitNoColour() {
    assertThatThrownBy(() -> new Normalization(3, List.of(0.1, 0.2), Drawings.ONE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid mean: [0.1, 0.2] (one value, or per channel)");
    assertThatThrownBy(() -> new Normalization(3, Drawings.ZERO, List.of()))
        .hasMessage("Invalid std: [] (one value, or per channel)");
    assertThatThrownBy(() -> new Normalization(3, Drawings.ZERO, List.of(1.0, 0.0, 1.0)))
        .hasMessage("Invalid std: [1.0, 0.0, 1.0] (values must be > 0)");
  }
}
