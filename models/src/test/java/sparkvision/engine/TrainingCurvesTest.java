package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import sparkvision.Draw;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;

/** Both engines learn alike, step by step. */
class TrainingCurvesTest {

  private static final int STEPS = 200;
  private static final int BATCH = 8;
  private static final int BATCHES = 8;
  private static final int CLASSES = 4;
  private static final int SIZE = 48;
  private static final double RATE = 0.02;

  @Test
  void enginesHaveTheSameLossOverTwoHundredSteps() {
    double[] reference = curve("nd4j");
    double[] compiled = curve("compiled");
    for (int step = 0; step < STEPS; step++) {
      assertThat(compiled[step])
          .as("loss of step %d", step)
          .isCloseTo(reference[step], within(1e-3));
    }
    assertThat(reference[0]).isGreaterThan(1);
    assertThat(reference[STEPS - 1]).isLessThan(reference[0] / 2);
  }

  private static double[] curve(String name) {
    Graph g = new Graph(Graph.Mode.TRAINING, 5);
    Tensor logits =
        Models.of(
                ConfigFactory.parseString(
                    """
                    name = densenet, spatial-dims = 2, in-channels = 3, growth-rate = 16
                    blocks = [2, 1], init-features = 16, bottleneck = 2, dropout = 0, classes = 4
                    """))
            .apply(g, List.of(g.input("images", BATCH, 3, SIZE, SIZE)))
            .get(0);
    g.loss(Losses.crossEntropy(g, logits, g.indices("labels", BATCH), 0.1));
    double[] losses = new double[STEPS];
    List<Map<String, HostTensor>> batches = batches();
    OptimizerConfig sgd = OptimizerConfig.of(OptimizerConfig.Name.SGD);
    try (Engine engine = Engines.open(name, g, sgd, EngineOptions.defaults().withThreads(2))) {
      for (int step = 0; step < STEPS; step++) {
        losses[step] = engine.forwardBackward(batches.get(step % BATCHES)).get("loss").floats()[0];
        engine.update(RATE);
      }
    }
    return losses;
  }

  /** Noise around one colour per class. */
  private static List<Map<String, HostTensor>> batches() {
    Draw draw = new Draw(6);
    int pixels = SIZE * SIZE;
    float[] colours = draw.values(CLASSES, 3).floats();
    List<Map<String, HostTensor>> batches = new ArrayList<>();
    for (int i = 0; i < BATCHES; i++) {
      HostTensor images = draw.values(BATCH, 3, SIZE, SIZE);
      long[] labels = draw.numbers(BATCH, 0, CLASSES - 1);
      for (int j = 0; j < BATCH * 3 * pixels; j++) {
        images.floats()[j] += colours[(int) labels[j / pixels / 3] * 3 + j / pixels % 3];
      }
      batches.add(Map.of("images", images, "labels", HostTensor.ofLongs(labels, BATCH)));
    }
    return batches;
  }
}
