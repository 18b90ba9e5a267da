package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import sparkvision.Draw;
import sparkvision.engine.EngineOptions.Precision;
import sparkvision.graph.Graph;
import sparkvision.weights.HostTensor;

/** What all blocks and heads have in common. */
class BlocksTest {

  /** Every part, and the shapes that it reads. */
  private static final Map<String, long[][]> PARTS = new LinkedHashMap<>();

  static {
    long[][] map = {{2, 16, 5, 6}};
    PARTS.put("name = block/non-local, channels = 16, reduction = 2, mode = gaussian", map);
    PARTS.put("name = block/position-attention, channels = 16", map);
    PARTS.put("name = block/channel-attention", map);
    PARTS.put("name = block/cbam, channels = 16, reduction = 4", map);
    PARTS.put(
        "name = block/attention-gate, spatial-dims = 3, in-channels = 4, gating-channels = 3,"
            + " inter-channels = 2",
        new long[][] {{2, 4, 4, 5, 6}, {2, 3, 2, 3, 3}});
    PARTS.put(
        "name = block/attention-gate-2d, gating-channels = 3, skip-channels = 4,"
            + " inter-channels = 2",
        new long[][] {{2, 4, 5, 6}, {2, 3, 5, 6}});
    PARTS.put("name = block/sagan-attention, channels = 16", map);
    PARTS.put("name = block/sagan-attention-pooled, channels = 16", map);
    PARTS.put("name = block/criss-cross, channels = 16", map);
    PARTS.put("name = block/recurrent-criss-cross, channels = 16, recurrence = 2", map);
    PARTS.put(
        "name = block/interlaced, channels = 16, key-channels = 4, value-channels = 6,"
            + " out-channels = 8, down-factor = [2, 4]",
        map);
    PARTS.put(
        "name = block/efficient, channels = 16, key-channels = 4, value-channels = 6, heads = 2",
        map);
    long[][] tokens = {{2, 20, 6}};
    PARTS.put(
        "name = block/spatial-reduction, dim = 6, heads = 2, sr-ratio = 2, height = 4, width = 5",
        tokens);
    PARTS.put("name = block/mix-ffn, dim = 6, hidden-dim = 8, height = 4, width = 5", tokens);
    PARTS.put(
        "name = block/segformer, dim = 6, heads = 2, mlp-ratio = 2, sr-ratio = 2, height = 4,"
            + " width = 5",
        tokens);
    PARTS.put(
        "name = block/selective-scan",
        new long[][] {{2, 3, 7}, {2, 3, 7}, {3, 4}, {2, 4, 7}, {2, 4, 7}, {3}, {2, 3, 7}, {3}});
    PARTS.put("name = mamba-mixer, dim = 6, state-size = 4, bidirectional = none", tokens);
    PARTS.put("name = mamba-mixer, dim = 6, state-size = 4, bidirectional = ssm", tokens);
    PARTS.put("name = mamba-mixer, dim = 6, state-size = 4, bidirectional = ssm-conv", tokens);
    PARTS.put("name = danet-head, in-channels = 16, inter-channels = 8, classes = 3", map);
    PARTS.put(
        "name = ccnet-head, in-channels = 16, inter-channels = 8, classes = 3, recurrence = 2",
        map);
    PARTS.put(
        "name = upernet-head, in-channels = [3, 4], channels = 5, classes = 3",
        new long[][] {{2, 3, 7, 9}, {2, 4, 4, 5}});
    PARTS.put(
        "name = segmenter-head, dim = 6, layers = 2, heads = 2, classes = 3, patch-size = 4,"
            + " image-size = [16, 20]",
        tokens);
    PARTS.put(
        "name = isanet-head, in-channels = 16, inter-channels = 8, classes = 3, down-factor = 4",
        map);
  }

  static final List<String> CONFS = List.copyOf(PARTS.keySet());

  private static Trial trial(String conf) {
    return new Trial(conf, PARTS.get(conf));
  }

  @Test
  void triesEveryPart() {
    assertThat(CONFS.stream().map(conf -> ConfigFactory.parseString(conf).getString("name")))
        .containsAll(Models.parts());
  }

  @ParameterizedTest
  @FieldSource("CONFS")
  void hasTheSameFiniteGradientsOnBothEngines(String conf) {
    Trial trial = trial(conf);
    HostTensor weights = Draw.normal(3, trial.output(0).shape());
    Map<String, float[]> expected = trial.gradients("nd4j", Precision.FLOAT32, weights);
    Map<String, float[]> found = trial.gradients("compiled", Precision.FLOAT32, weights);
    assertThat(found.keySet()).isEqualTo(expected.keySet());
    expected.forEach(
        (name, gradient) -> {
          double norm = 0;
          double difference = 0;
          for (int i = 0; i < gradient.length; i++) {
            assertThat(gradient[i]).as(name).isFinite();
            norm += gradient[i] * gradient[i];
            difference += Math.pow(found.get(name)[i] - gradient[i], 2);
          }
          // A gradient that is zero by nature (a bias in front of a norm) is all rounding.
          assertThat(Math.sqrt(difference))
              .as(name)
              .isCloseTo(0, within(1e-3 * (1 + Math.sqrt(norm))));
        });
    assertThat(trial.gradients("compiled", Precision.BFLOAT16, weights).values())
        .allSatisfy(
            gradient -> {
              for (float value : gradient) {
                assertThat(value).isFinite();
              }
            });
  }

  @Test
  void refusesWhatItCannotRead() {
    Model head = Models.of(ConfigFactory.parseString(CONFS.get(CONFS.size() - 1)));
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    assertThatThrownBy(() -> head.apply(g, List.of(g.input("map", 2, 15, 4, 4))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot build a head: it reads maps of 16 channels, the input is map[2, 15, 4, 4]");
    assertThatThrownBy(() -> head.apply(g, List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot build isanet-head: it reads 1 tensors, 0 are given");
    assertThatThrownBy(() -> head.inputShapes(1, 32))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid image-size: [32] (isanet-head is part of a network and reads no images)");
  }
}
