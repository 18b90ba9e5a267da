package sparkvision.models;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class SegFormerBlockTest {

  @Test
  void matchesNaiveLoops() {
    Trial trial =
        new Trial(
            "name = block/segformer, dim = 6, heads = 2, mlp-ratio = 2, sr-ratio = 2, height = 4,"
                + " width = 5",
            new long[] {2, 20, 6});
    List<double[][]> expected = new ArrayList<>();
    for (double[][] tokens : trial.images(0)) {
      double[][] y = normed(trial, "norm1", tokens);
      double[][] x =
          Trial.sum(1, SpatialReductionAttentionTest.attended(trial, "attn.", y, 2), tokens);
      y = normed(trial, "norm2", x);
      expected.add(Trial.sum(1, MixFfnTest.mixed(trial, "mlp.", y), x));
    }
    trial.matches(0, expected);
  }

  private static double[][] normed(Trial trial, String norm, double[][] tokens) {
    return Trial.transposed(trial.layerNorm(norm, Trial.transposed(tokens), 1e-6));
  }
}
