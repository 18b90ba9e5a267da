package sparkvision.plan;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.graph.Tensor;

class SampleNormsTest {

  @ParameterizedTest
  @ValueSource(longs = {3, 13, 48, 192})
  void layerNormOfTokens(long channels) {
    Twins.agreeExactly(b -> b.g.layerNorm("n", channels, 1e-3).apply(b.normal(3, 7, channels)));
    Twins.agree(
        b -> {
          Tensor x = b.g.linear("l", channels, channels).apply(b.normal(3, 7, channels));
          return b.g.layerNorm("n", channels, 0.1).apply(x);
        });
  }

  /** The last axis is not the densest here. */
  @Test
  void layerNormOfPictures() {
    Twins.agree(b -> b.g.layerNorm("n", 7, 0.1).apply(b.convolved(b.normal(2, 5, 3, 7))));
    Twins.agree(b -> b.g.rmsNorm("n", 7, 0.1).apply(b.convolved(b.normal(2, 5, 3, 7))));
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 13, 48, 192})
  void rootMeanSquareNormOfTokens(long channels) {
    Twins.agreeExactly(b -> b.g.rmsNorm("n", channels, 0.1).apply(b.normal(3, 7, channels)));
    Twins.agreeExactly(b -> b.g.rmsNorm("n", channels, 0.1).apply(b.normal(700, channels)));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 8})
  void groupNormOfPictures(int groups) {
    Twins.agree(b -> b.g.groupNorm("n", groups, 8, 1e-3).apply(b.convolved(b.normal(3, 8, 5, 7))));
    Twins.agreeExactly(b -> b.g.groupNorm("n", groups, 8, 1e-3).apply(b.normal(3, 8, 3, 2, 5)));
    Twins.agreeExactly(b -> b.g.groupNorm("n", groups, 32, 1e-3).apply(b.normal(1, 32, 11, 9)));
  }

  /** A mean far from zero, which a sum of squares would drown in. */
  @Test
  void groupNormFarFromZero() {
    Twins.agreeExactly(
        b -> b.g.groupNorm("n", 2, 8, 1e-3).apply(b.g.addConstant(b.normal(2, 8, 16, 16), 64)));
  }

  /** In lean graphs the inputs of convolutions behind norms are made again. */
  @Test
  void normsAndFunctionsBetweenConvolutions() {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(2, 8, 5, 7));
          x = b.convolved(b.g.groupNorm("n", 2, 8, 0.1).apply(x));
          x = b.convolved(b.g.gelu(x));
          return b.convolved(b.g.silu(b.g.groupNorm("m", 4, 8, 0.1).apply(x)));
        });
  }
}
