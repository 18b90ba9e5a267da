package sparkvision.models;

import org.junit.jupiter.api.Test;

class MixFfnTest {

  @Test
  void matchesNaiveLoops() {
    Trial trial =
        new Trial(
            "name = block/mix-ffn, dim = 3, hidden-dim = 4, height = 4, width = 5",
            new long[] {2, 20, 3});
    trial.matches(0, trial.images(0).stream().map(tokens -> mixed(trial, "", tokens)).toList());
  }

  /** Of 4 x 5 tokens. */
  static double[][] mixed(Trial trial, String prefix, double[][] tokens) {
    double[][] y = trial.pixelwise(prefix + "fc1", Trial.transposed(tokens));
    y = trial.conv(prefix + "dwconv.dwconv", y, 5, 3, 1, 1);
    for (double[] channel : y) {
      for (int n = 0; n < channel.length; n++) {
        channel[n] *= normalDistribution(channel[n]);
      }
    }
    return Trial.transposed(trial.pixelwise(prefix + "fc2", y));
  }

  /** Φ(x) by Simpson's rule from 0. */
  private static double normalDistribution(double x) {
    int steps = 200;
    double sum = 0;
    for (int i = 0; i <= steps; i++) {
      double t = x * i / steps;
      int weight = i == 0 || i == steps ? 1 : i % 2 == 0 ? 2 : 4;
      sum += weight * Math.exp(-t * t / 2);
    }
    return 0.5 + x / steps / 3 * sum / Math.sqrt(2 * Math.PI);
  }
}
