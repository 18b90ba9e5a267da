package sparkvision.models;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class CbamTest {

  private static final int WIDTH = 5;

  private static Trial trial() {
    return new Trial("name = block/cbam, channels = 6, reduction = 2", new long[] {2, 6, 4, WIDTH});
  }

  @Test
  void matchesNaiveLoops() {
    Trial trial = trial();
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] gated = channelGated(trial, x);
      double[][] pooled = new double[2][x[0].length];
      for (int n = 0; n < x[0].length; n++) {
        pooled[0][n] = Double.NEGATIVE_INFINITY;
        for (double[] channel : gated) {
          pooled[0][n] = Math.max(pooled[0][n], channel[n]);
          pooled[1][n] += channel[n] / gated.length;
        }
      }
      double[][] scores = trial.conv("SpatialGate.spatial.conv", pooled, WIDTH, 7, 1, 3);
      double[] gate = trial.norm("SpatialGate.spatial.bn", scores)[0];
      for (double[] channel : gated) {
        for (int n = 0; n < channel.length; n++) {
          channel[n] *= Trial.sigmoid(gate[n]);
        }
      }
      expected.add(gated);
    }
    trial.matches(0, expected);
  }

  private static double[][] channelGated(Trial trial, double[][] x) {
    double[][] mean = new double[x.length][1];
    double[][] most = new double[x.length][1];
    for (int c = 0; c < x.length; c++) {
      mean[c][0] = Arrays.stream(x[c]).average().orElseThrow();
      most[c][0] = Arrays.stream(x[c]).max().orElseThrow();
    }
    double[][] scores = Trial.sum(1, mlp(trial, mean), mlp(trial, most));
    double[][] gated = new double[x.length][x[0].length];
    for (int c = 0; c < x.length; c++) {
      for (int n = 0; n < x[c].length; n++) {
        gated[c][n] = x[c][n] * Trial.sigmoid(scores[c][0]);
      }
    }
    return gated;
  }

  private static double[][] mlp(Trial trial, double[][] x) {
    return trial.pixelwise(
        "ChannelGate.mlp.3", Trial.relu(trial.pixelwise("ChannelGate.mlp.1", x)));
  }

  @Test
  void startsWithAGateOfOneHalfForEveryPixel() {
    Trial trial = trial().asItStarts();
    List<double[][]> expected = new ArrayList<>();
    for (double[][] x : trial.images(0)) {
      double[][] gated = channelGated(trial, x);
      expected.add(Trial.sum(-0.5, gated, gated));
    }
    trial.matches(0, expected);
  }
}
