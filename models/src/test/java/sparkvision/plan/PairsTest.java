package sparkvision.plan;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Arithmetic;

class PairsTest {

  private static final long[] SHAPE = {2, 5, 3, 7};
  private static final List<long[]> NARROWER =
      List.of(
          new long[] {},
          new long[] {7},
          new long[] {3, 1},
          new long[] {5, 1, 1},
          new long[] {5, 3, 7},
          new long[] {2, 1, 1, 1},
          new long[] {2, 5, 1, 1},
          new long[] {2, 1, 3, 7},
          new long[] {1, 5, 1, 7},
          new long[] {1, 1, 1, 1},
          new long[] {2, 5, 3, 7});

  private static Tensor combined(Graph g, Arithmetic operation, Tensor x, Tensor y) {
    return switch (operation) {
      case ADD -> g.add(x, y);
      case SUBTRACT -> g.subtract(x, y);
      case MULTIPLY -> g.multiply(x, y);
      case DIVIDE -> g.divide(x, y);
    };
  }

  @ParameterizedTest
  @EnumSource(Arithmetic.class)
  void broadcastsOnEitherSide(Arithmetic operation) {
    for (long[] shape : NARROWER) {
      Twins.agree(b -> combined(b.g, operation, b.convolved(b.normal(SHAPE)), b.positive(shape)));
      Twins.agree(b -> combined(b.g, operation, b.normal(shape), b.convolved(b.positive(SHAPE))));
      Twins.agreeExactly(b -> combined(b.g, operation, b.normal(SHAPE), b.positive(shape)));
    }
  }

  @ParameterizedTest
  @EnumSource(Arithmetic.class)
  void broadcastsBothSides(Arithmetic operation) {
    Twins.agreeExactly(b -> combined(b.g, operation, b.normal(3, 1, 5), b.positive(4, 1)));
    Twins.agree(
        b -> combined(b.g, operation, b.convolved(b.normal(2, 5, 1, 1)), b.positive(2, 1, 3, 7)));
  }

  /** Long enough to be shared by a team, and cut in the middle of rows. */
  @ParameterizedTest
  @EnumSource(Arithmetic.class)
  void sharesLongOnes(Arithmetic operation) {
    Twins.agree(
        b ->
            combined(
                b.g, operation, b.convolved(b.normal(1, 19, 23, 17)), b.positive(1, 1, 23, 17)));
    Twins.agree(
        b ->
            combined(
                b.g, operation, b.convolved(b.normal(3, 3, 40, 31)), b.positive(3, 3, 40, 31)));
    Twins.agreeExactly(b -> combined(b.g, operation, b.normal(3, 4001), b.positive(3, 1)));
    Twins.agreeExactly(b -> combined(b.g, operation, b.normal(3, 4001), b.positive(4001)));
  }

  @Test
  void squares() {
    Twins.agree(b -> b.g.square(b.convolved(b.normal(SHAPE))));
  }

  /** Gradients in both layouts meet, some of them broadcast, some of parts of the network. */
  @Test
  void addsGradientsOfAllLayouts() {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(SHAPE));
          Tensor gate = b.g.sigmoid(b.g.meanKeep(x, 2, 3));
          Tensor y = b.g.multiply(b.convolved(x), gate);
          y = b.g.add(y, b.g.multiply(b.normal(SHAPE), x));
          y = b.g.add(b.g.softmax(x, 3), y);
          return b.g.add(x, b.g.add(y, x));
        });
  }

  /** The first contribution is itself a gradient that others need unchanged. */
  @Test
  void leavesSharedGradientsAlone() {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(SHAPE));
          Tensor y = b.g.add(x, b.g.tanh(x));
          return b.g.add(b.g.add(x, y), b.g.subtract(y, x));
        });
  }

  @Test
  void givesParametersTheirGradients() {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(1, 5, 3, 7));
          Tensor position = b.g.parameter("p", Twins::positive, 1, 5, 3, 7);
          Tensor scale = b.g.parameter("s", Twins::positive, 5, 1, 1);
          return b.g.multiply(b.g.add(b.g.add(x, position), b.g.multiply(position, x)), scale);
        });
  }
}
