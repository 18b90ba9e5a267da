package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.engine.EngineOptions.Precision;
import sparkvision.weights.HostTensor;

class ChannelAttentionTest {

  private static Trial trial(String weighting, long... shape) {
    return new Trial("name = block/channel-attention, weighting = " + weighting, shape);
  }

  @ParameterizedTest
  @CsvSource({"code, -1", "paper, 1"})
  void matchesNaiveLoops(String weighting, double sign) {
    Trial trial = trial(weighting, 2, 5, 2, 3);
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] pixels = Trial.transposed(x);
      double[][] y = Trial.transposed(Trial.attention(pixels, pixels, pixels, sign));
      expected.add(Trial.sum(trial.vector("gamma")[0], y, x));
    }
    trial.matches(0, expected);
  }

  /** Channels 0 and 1 are equal, channel 2 is orthogonal to them: E is [[2, 2, 0], ...]. */
  @ParameterizedTest
  @CsvSource({"code, 2", "paper, 0"})
  void countsTheLeastSimilarMostUnlessThePaperIsAskedFor(String weighting, int most) {
    Trial trial = trial(weighting, 1, 3, 1, 3).with("gamma", 1);
    trial.withInput(0, 1, 1, 0, 1, 1, 0, 0, 0, 3);
    double e = Math.exp(2);
    double sum = most == 2 ? 2 + e : 2 * e + 1;
    double similar = (most == 2 ? 1 : e) / sum;
    double other = (most == 2 ? e : 1) / sum;
    float[] y = trial.output(0).floats();
    assertThat((double) y[0]).isCloseTo(1 + 2 * similar, within(1e-5)); // x + Σ a·v, pixel 0
    assertThat((double) y[2]).isCloseTo(3 * other, within(1e-5)); // channel 0, pixel 2
    assertThat(most == 2 ? other > similar : similar > other).isTrue();
  }

  /**
   * Energies around 1,000 that differ by about 1, as of large maps: rounded to bfloat16, which has
   * steps of 4 there, they would weigh channels quite differently.
   */
  @Test
  void energiesStayInFloat32() {
    Trial trial = trial("code", 1, 4, 32, 32);
    float[] x = trial.inputs.get("input.0").floats();
    int pixels = 32 * 32;
    for (int i = 0; i < pixels; i++) {
      float base = Math.round(4 * x[i]) / 4f; // what bfloat16 holds
      for (int channel = 0; channel < 4; channel++) {
        x[channel * pixels + i] = channel == 0 || i < 2 * channel ? base : -base;
      }
    }
    HostTensor weights = Draw.normal(3, 1, 4, 32, 32);
    Map<String, float[]> exact = trial.gradients("nd4j", Precision.FLOAT32, weights);
    Map<String, float[]> rounded = trial.gradients("compiled", Precision.BFLOAT16, weights);
    float[] expected = exact.get("input.0");
    float[] found = rounded.get("input.0");
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      difference += Math.pow((double) found[i] - expected[i], 2);
      norm += (double) expected[i] * expected[i];
    }
    assertThat(Math.sqrt(difference / norm)).isLessThan(0.02);
  }

  @Test
  void staysFiniteWhereProductsAreLarge() {
    Trial trial = trial("code", 1, 4, 16, 16);
    float[] large = Draw.normal(5, 1, 4, 16, 16).floats();
    for (int i = 0; i < large.length; i++) {
      large[i] *= 1000;
    }
    trial.withInput(0, large);
    for (float value : trial.output(0).floats()) {
      assertThat(value).isFinite();
    }
    HostTensor weights = Draw.normal(3, 1, 4, 16, 16);
    trial.gradients("compiled", Precision.BFLOAT16, weights).values().stream()
        .forEach(gradient -> assertThat(gradient).doesNotContain(Float.NaN));
  }
}
