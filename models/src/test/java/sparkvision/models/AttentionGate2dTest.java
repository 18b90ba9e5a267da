package sparkvision.models;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionGate2dTest {

  @Test
  void matchesNaiveLoops() {
    Trial trial =
        new Trial(
            "name = block/attention-gate-2d, gating-channels = 3, skip-channels = 4,"
                + " inter-channels = 2",
            new long[] {2, 4, 3, 5},
            new long[] {2, 3, 3, 5});
    List<double[][]> expected = new ArrayList<>();
    for (int b = 0; b < 2; b++) {
      double[][] x = trial.images(0).get(b);
      double[][] signal = trial.norm("W_g.1", trial.pixelwise("W_g.0", trial.images(1).get(b)));
      double[][] features = trial.norm("W_x.1", trial.pixelwise("W_x.0", x));
      double[][] scores =
          trial.norm("psi.1", trial.pixelwise("psi.0", Trial.relu(Trial.sum(1, signal, features))));
      double[][] gated = new double[x.length][x[0].length];
      for (int c = 0; c < x.length; c++) {
        for (int n = 0; n < x[c].length; n++) {
          gated[c][n] = x[c][n] * Trial.sigmoid(scores[0][n]);
        }
      }
      expected.add(gated);
    }
    trial.matches(0, expected);
  }
}
