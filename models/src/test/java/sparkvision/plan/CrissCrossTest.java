package sparkvision.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class CrissCrossTest {

  @ParameterizedTest
  @CsvSource({
    "2, 3, 2, 4, 5",
    "1, 1, 1, 1, 1", // a pixel that reads itself alone: no gradient of q or k
    "2, 4, 3, 1, 6",
    "2, 4, 3, 6, 1",
    "2, 3, 17, 9, 21",
    "1, 2, 5, 3, 400", // rows of several tiles
    "1, 2, 5, 400, 2" // columns of several tiles
  })
  void equalsItsComposite(long batch, long narrow, long channels, long height, long width) {
    Twins.agree(
        b ->
            b.g.crissCross(
                b.convolved(b.normal(batch, narrow, height, width)),
                b.convolved(b.normal(batch, narrow, height, width)),
                b.convolved(b.normal(batch, channels, height, width))));
  }

  /** Of inputs that one tensor holds, and one that is used twice. */
  @Test
  void addsToGradientsOfWhatItReadsTwice() {
    Twins.agree(
        b -> {
          Tensor x = b.convolved(b.normal(2, 9, 5, 4));
          Tensor q = b.g.narrow(x, 1, 0, 4);
          return b.g.crissCross(q, q, b.g.narrow(x, 1, 4, 5));
        });
  }

  @ParameterizedTest
  @CsvSource({"FLOAT32", "BFLOAT16"})
  void givesTheSameBitsWithAnyNumberOfThreads(EngineOptions.Precision precision) {
    EngineOptions one = EngineOptions.defaults().withThreads(1).withPrecision(precision);
    Map<String, float[]> expected = results(one);
    for (int threads : new int[] {2, 3, 8}) {
      results(one.withThreads(threads))
          .forEach((name, found) -> assertThat(found).as(name).isEqualTo(expected.get(name)));
    }
  }

  private static Map<String, float[]> results(EngineOptions options) {
    long[] narrow = {2, 8, 23, 37};
    long[] wide = {2, 40, 23, 37};
    Map<String, HostTensor> inputs = new LinkedHashMap<>();
    inputs.put("q", Draw.normal(1, narrow));
    inputs.put("k", Draw.normal(2, narrow));
    inputs.put("v", Draw.normal(3, wide));
    inputs.put("weights", Draw.normal(4, wide));
    Graph g = new Graph(Graph.Mode.TRAINING, 1);
    Tensor q = g.input("q", narrow);
    Tensor k = g.input("k", narrow);
    Tensor v = g.input("v", wide);
    Tensor y = g.crissCross(q, k, v);
    g.requestGradient(q);
    g.requestGradient(k);
    g.requestGradient(v);
    g.output("y", y);
    g.loss(g.sum(g.multiply(y, g.input("weights", wide))));
    Map<String, float[]> results = new LinkedHashMap<>();
    try (Engine engine = Engines.open("compiled", g, OptimizerConfig.plainSgd(), options)) {
      results.put("y", engine.forwardBackward(inputs).get("y").floats().clone());
      for (String name : new String[] {"q", "k", "v"}) {
        results.put(name, engine.gradient(name).floats().clone());
      }
    }
    return results;
  }
}
