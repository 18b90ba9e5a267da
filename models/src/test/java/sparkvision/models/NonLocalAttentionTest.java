package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NonLocalAttentionTest {

  private static final int WIDTH = 5;

  private static Trial trial(String mode, String more) {
    return new Trial(
        "name = block/non-local, channels = 5, reduction = 2, mode = " + mode + more,
        new long[] {2, 5, 4, WIDTH});
  }

  @ParameterizedTest
  @CsvSource({
    "embedded-gaussian, false",
    "embedded-gaussian, true",
    "gaussian, false",
    "gaussian, true",
    "dot-product, false",
    "dot-product, true",
    "concatenation, false",
    "concatenation, true"
  })
  void matchesNaiveLoops(String mode, boolean subSample) {
    Trial trial = trial(mode, ", sub-sample = " + subSample);
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      String pooled = subSample ? ".0.conv" : ".conv";
      boolean gaussian = mode.equals("gaussian");
      double[][] q = gaussian ? x : trial.pixelwise("theta.conv", x);
      double[][] k = gaussian ? x : trial.pixelwise("phi" + pooled, x);
      double[][] v = trial.pixelwise("g" + pooled, x);
      if (subSample) {
        k = Trial.maxPool(k, WIDTH);
        v = Trial.maxPool(v, WIDTH);
      }
      double[][] y =
          switch (mode) {
            case "embedded-gaussian" -> Trial.attention(q, k, v, 1 / Math.sqrt(2));
            case "gaussian" -> Trial.attention(q, k, v, 1);
            default -> averaged(trial, mode, q, k, v);
          };
      expected.add(Trial.sum(1, trial.pixelwise("conv_out.conv", y), x));
    }
    trial.matches(0, expected);
  }

  /** The modes without a softmax: Σ f(q, k)·v / M. */
  private static double[][] averaged(
      Trial trial, String mode, double[][] q, double[][] k, double[][] v) {
    double[][] y = new double[v.length][q[0].length];
    for (int n = 0; n < q[0].length; n++) {
      for (int m = 0; m < k[0].length; m++) {
        double f = 0;
        for (int d = 0; d < q.length; d++) {
          if (mode.equals("dot-product")) {
            f += q[d][n] * k[d][m];
          } else {
            double[] w = trial.vector("concat_project.conv.weight");
            f += w[d] * q[d][n] + w[q.length + d] * k[d][m];
          }
        }
        if (mode.equals("concatenation")) {
          f = Math.max(0, f);
        }
        for (int e = 0; e < v.length; e++) {
          y[e][n] += f * v[e][m] / k[0].length;
        }
      }
    }
    return y;
  }

  @Test
  void startsAsTheIdentity() {
    Trial trial = trial("embedded-gaussian", "").asItStarts();
    trial.matches(0, trial.images(0));
  }

  @Test
  void hasThePublishedNumberOfParameters() {
    Trial trial =
        new Trial(
            "name = block/non-local, channels = 512, reduction = 2, mode = embedded-gaussian",
            new long[] {1, 512, 1, 1});
    assertThat(trial.parameters()).isEqualTo(525_568);
  }

  @Test
  void refusesModesThatThereAreNot() {
    assertThatThrownBy(() -> trial("dot", ""))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid mode: \"dot\" (must be one of embedded-gaussian, gaussian, dot-product,"
                + " concatenation)");
  }
}
