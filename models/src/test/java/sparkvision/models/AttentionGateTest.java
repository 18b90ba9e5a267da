package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import sparkvision.graph.Resize;

class AttentionGateTest {

  private static final int WIDTH = 5;

  @Test
  void matchesNaiveLoops() {
    Trial trial =
        new Trial(
            "name = block/attention-gate, spatial-dims = 2, in-channels = 4, gating-channels = 3,"
                + " inter-channels = 2",
            new long[] {2, 4, 6, WIDTH},
            new long[] {2, 3, 2, 3});
    List<double[][]> features = new ArrayList<>();
    List<double[][]> attention = new ArrayList<>();
    for (int b = 0; b < 2; b++) {
      double[][] x = trial.images(0).get(b);
      double[][] theta = trial.conv("theta", x, WIDTH, 2, 2, 0); // 3 x 2
      double[][] phi = resized(trial.pixelwise("phi", trial.images(1).get(b)), 2, 3, 3, WIDTH / 2);
      double[][] scores = trial.pixelwise("psi", Trial.relu(Trial.sum(1, theta, phi)));
      for (int n = 0; n < scores[0].length; n++) {
        scores[0][n] = Trial.sigmoid(scores[0][n]);
      }
      double[][] alpha = resized(scores, 3, WIDTH / 2, 6, WIDTH);
      double[][] gated = new double[x.length][x[0].length];
      for (int c = 0; c < x.length; c++) {
        for (int n = 0; n < x[c].length; n++) {
          gated[c][n] = alpha[0][n] * x[c][n];
        }
      }
      features.add(trial.norm("W.1", trial.pixelwise("W.0", gated)));
      attention.add(alpha);
    }
    trial.matches(0, features);
    trial.matches(1, attention);
  }

  private static double[][] resized(double[][] x, int height, int width, int rows, int columns) {
    double[][] down = Resize.LINEAR.weights(height, rows);
    double[][] across = Resize.LINEAR.weights(width, columns);
    double[][] y = new double[x.length][rows * columns];
    for (int c = 0; c < x.length; c++) {
      for (int n = 0; n < y[c].length; n++) {
        for (int m = 0; m < x[c].length; m++) {
          y[c][n] += down[n / columns][m / width] * across[n % columns][m % width] * x[c][m];
        }
      }
    }
    return y;
  }

  @Test
  void gatesVolumes() {
    Trial trial =
        new Trial(
            "name = block/attention-gate, spatial-dims = 3, in-channels = 4, gating-channels = 3,"
                + " inter-channels = 2",
            new long[] {1, 4, 4, 6, 5},
            new long[] {1, 3, 2, 3, 2});
    assertThat(trial.output(0).shape()).containsExactly(1, 4, 4, 6, 5);
    assertThat(trial.output(1).shape()).containsExactly(1, 1, 4, 6, 5);
    for (float alpha : trial.output(1).floats()) {
      assertThat(alpha).isBetween(0f, 1f);
    }
  }
}
