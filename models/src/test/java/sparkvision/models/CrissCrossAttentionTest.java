package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.EngineOptions.Precision;
import sparkvision.weights.HostTensor;

class CrissCrossAttentionTest {

  private static final int HEIGHT = 4;
  private static final int WIDTH = 5;

  private static Trial trial(int recurrence) {
    return new Trial(
        "name = block/recurrent-criss-cross, channels = 16, recurrence = " + recurrence,
        new long[] {2, 16, HEIGHT, WIDTH});
  }

  /** Full attention whose mask leaves the row and the column. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void matchesMaskedFullAttention(int recurrence) {
    Trial trial = trial(recurrence);
    List<double[][]> expected = new ArrayList<>();
    for (double[][] image : trial.images(0)) {
      double[][] x = image;
      for (int pass = 0; pass < recurrence; pass++) {
        double[][] context =
            Trial.attention(
                trial.pixelwise("query_conv", x),
                trial.pixelwise("key_conv", x),
                trial.pixelwise("value_conv", x),
                1,
                (n, m) -> n / WIDTH == m / WIDTH || n % WIDTH == m % WIDTH);
        x = Trial.sum(trial.vector("gamma")[0], context, x);
      }
      expected.add(x);
    }
    trial.matches(0, expected);
  }

  /** Pixels that the gradient of one output pixel reaches: its cross, and after two passes all. */
  @ParameterizedTest
  @CsvSource({"1, nd4j", "1, compiled", "2, nd4j", "2, compiled"})
  void seesItsCrossAndWithTwoPassesEverything(int recurrence, String engine) {
    int row = 1;
    int column = 3;
    float[] one = new float[2 * 16 * HEIGHT * WIDTH];
    for (int channel = 0; channel < 16; channel++) {
      one[(channel * HEIGHT + row) * WIDTH + column] = 1; // of the first image
    }
    HostTensor weights = HostTensor.of(one, 2, 16, HEIGHT, WIDTH);
    Map<String, float[]> gradients =
        trial(recurrence).gradients(engine, Precision.FLOAT32, weights);
    List<double[][]> images =
        Trial.images(HostTensor.of(gradients.get("input.0"), weights.shape()));
    for (int n = 0; n < HEIGHT * WIDTH; n++) {
      double size = 0;
      for (double[] channel : images.get(0)) {
        size += Math.abs(channel[n]);
      }
      if (recurrence == 2 || n / WIDTH == row || n % WIDTH == column) {
        assertThat(size).as("pixel %d", n).isPositive();
      } else {
        assertThat(size).as("pixel %d", n).isZero();
      }
    }
    for (double[] channel : images.get(1)) {
      assertThat(channel).containsOnly(0);
    }
  }

  /** Scores of thousands, of which one takes all: at the pixel itself too. */
  @ParameterizedTest
  @CsvSource({"nd4j, FLOAT32", "compiled, FLOAT32", "compiled, BFLOAT16"})
  void keepsGradientsFinite(String engine, Precision precision) {
    Trial trial = trial(2);
    float[] large = trial.inputs.get("input.0").floats();
    for (int i = 0; i < large.length; i++) {
      large[i] *= 100;
    }
    Map<String, float[]> gradients =
        trial.gradients(engine, precision, Draw.normal(4, 2, 16, HEIGHT, WIDTH));
    gradients.forEach(
        (name, gradient) -> {
          for (float value : gradient) {
            assertThat(value).as(name).isFinite();
          }
        });
    assertThat(gradients.get("value_conv.weight")).isNotEqualTo(new float[256]);
  }

  @Test
  void aSinglePixelReadsItself() {
    Trial trial = new Trial("name = block/criss-cross, channels = 8", new long[] {1, 8, 1, 1});
    double[][] x = trial.images(0).get(0);
    double[][] y = Trial.sum(trial.vector("gamma")[0], trial.pixelwise("value_conv", x), x);
    trial.matches(0, List.<double[][]>of(y));
  }

  @Test
  void hasThePublishedNumberOfParameters() {
    assertThat(
            new Trial("name = block/criss-cross, channels = 512", new long[] {1, 512, 1, 1})
                .parameters())
        .isEqualTo(328_321);
  }
}
