package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.models.Models;

class ProductsTest {

  /** All orders in which four axes may lie in memory: matrices and batches mixed. */
  static List<int[]> orders() {
    List<int[]> orders = new ArrayList<>();
    for (int code = 0; code < 256; code++) {
      int[] order = {code / 64, code / 16 % 4, code / 4 % 4, code % 4};
      if (IntStream.of(order).distinct().count() == 4) {
        orders.add(order);
      }
    }
    return orders;
  }

  @ParameterizedTest
  @MethodSource("orders")
  void productsOfWhatWasMoved(int... order) {
    productsOfWhatWasMoved(order, 2, 5, 3, 6);
    productsOfWhatWasMoved(order, 1, 5, 3, 6);
    productsOfWhatWasMoved(order, 4, 5, 2, 5); // batch axes of one size
  }

  /** Vectors, of one batch axis and of two. */
  @ParameterizedTest
  @MethodSource("orders")
  void productsOfMovedVectors(int... order) {
    productsOfWhatWasMoved(order, 2, 1, 3, 6);
    productsOfWhatWasMoved(order, 1, 5, 1, 6);
    productsOfWhatWasMoved(order, 3, 5, 3, 1);
    productsOfWhatWasMoved(order, 1, 1, 3, 1);
  }

  @ParameterizedTest
  @CsvSource({"1, 1, 3", "5, 1, 3", "1, 4, 3", "5, 4, 1", "5, 4, 3"})
  void productsOfParts(long rows, long k, long columns) {
    Twins.agreeExactly(
        b ->
            b.g.matmul(
                b.g.narrow(b.g.exp(b.normal(2, 5, rows, k + 5)), 3, 5, k),
                b.g.narrow(b.g.exp(b.normal(2, 5, k, columns + 2)), 3, 1, columns)));
  }

  /**
   * Results that are read transposed; oneDNN's own loops for those take hundreds of times as long.
   * (Without AVX-512 its gradients of a softmax are such loops.)
   */
  @Test
  void noProductIsLeftToPlainLoops() {
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Config block =
        ConfigFactory.parseString(
            "{name=block/efficient, channels=32, key-channels=16, value-channels=16, heads=1}");
    Tensor y = Models.of(block).apply(g, List.of(g.input("x", 2, 32, 8, 8))).get(0);
    g.loss(g.mean(y, 0, 1, 2, 3));
    OptimizerConfig sgd = OptimizerConfig.of(OptimizerConfig.Name.SGD);
    try (Engine engine = Engines.open("compiled", g, sgd, EngineOptions.defaults())) {
      engine.forwardBackward(Map.of("x", Draw.normal(1, 2, 32, 8, 8)));
      assertThat(engine.explain().lines().findFirst().orElseThrow())
          .contains(" in oneDNN's plain loops")
          .doesNotContain("matmul");
    }
  }

  private static void productsOfWhatWasMoved(int[] order, long n, long rows, long k, long columns) {
    Twins.agreeExactly(
        b -> b.g.matmul(moved(b, order, n, 4, rows, k), moved(b, order, n, 4, k, columns)));
    Twins.agreeExactly(b -> b.g.matmul(b.normal(n, 4, rows, k), moved(b, order, n, 4, k, columns)));
    Twins.agreeExactly(
        b ->
            b.g.matmulTransposeB(
                moved(b, order, n, 4, rows, k), moved(b, order, n, 4, columns, k)));
  }

  /** A tensor of this shape whose axes lie in memory in another order. */
  private static Tensor moved(Twins.Builder b, int[] order, long... shape) {
    long[] lying = new long[4];
    int[] back = new int[4];
    for (int i = 0; i < 4; i++) {
      lying[i] = shape[order[i]];
      back[order[i]] = i;
    }
    return b.g.permute(b.normal(lying), back);
  }
}
