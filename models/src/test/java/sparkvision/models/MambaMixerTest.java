package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class MambaMixerTest {

  private static final int LENGTH = 37;
  private static final int DIM = 20;
  private static final int STATES = 3;

  private static Graph graph(String directions) {
    Model mixer =
        Trials.model(
            "name = mamba-mixer, dim = %d, state-size = %d, bidirectional = %s"
                .formatted(DIM, STATES, directions));
    Graph g = new Graph(Graph.Mode.INFERENCE, 3);
    Tensor tokens = g.input("tokens", 1, LENGTH, DIM);
    g.output("mixed", mixer.apply(g, List.of(tokens)).get(0));
    return g;
  }

  private static float[] mixed(Engine engine, float[] tokens) {
    Map<String, HostTensor> given = Map.of("tokens", HostTensor.of(tokens, 1, LENGTH, DIM));
    return engine.forward(given).get("mixed").floats();
  }

  /** (1, L, d) with the tokens, not their channels, from the last to the first. */
  private static float[] reversed(float[] tokens) {
    float[] reversed = new float[tokens.length];
    for (int t = 0; t < LENGTH; t++) {
      System.arraycopy(tokens, t * DIM, reversed, (LENGTH - 1 - t) * DIM, DIM);
    }
    return reversed;
  }

  /** Drawn weights; those of the backward branch are the forward one's. */
  private static void tie(Engine engine, boolean onlyLastTap) {
    Map<String, HostTensor> state = engine.state();
    Draw draw = new Draw(5);
    state.replaceAll((name, value) -> scaled(draw.values(value.shape())));
    state.forEach(
        (name, value) -> {
          String forward = name.replace("_b_log", "_log").replace("_b", "");
          System.arraycopy(
              state.get(forward).floats(), 0, value.floats(), 0, value.floats().length);
        });
    if (onlyLastTap) {
      float[] taps = state.get("conv1d.weight").floats();
      for (int i = 0; i < taps.length; i++) {
        taps[i] = i % 4 == 3 ? taps[i] : 0;
      }
    }
    engine.load(state);
  }

  private static HostTensor scaled(HostTensor values) {
    for (int i = 0; i < values.floats().length; i++) {
      values.floats()[i] *= 0.3f;
    }
    return values;
  }

  private static boolean turnsWithItsInput(String directions, boolean onlyLastTap) {
    float[] tokens = Draw.normal(6, 1, LENGTH, DIM).floats();
    try (Engine engine = Engines.open("compiled", graph(directions), null)) {
      tie(engine, onlyLastTap);
      float[] there = mixed(engine, tokens);
      float[] back = reversed(mixed(engine, reversed(tokens)));
      double worst = 0;
      for (int i = 0; i < there.length; i++) {
        worst = Math.max(worst, Math.abs(there[i] - back[i]));
      }
      return worst < 1e-5;
    }
  }

  @Test
  void bothBranchesAlikeTurnWithTheSequence() {
    assertThat(turnsWithItsInput("ssm-conv", false)).isTrue();
  }

  /** The convolution of {@code ssm} looks forward alone, unless it sees nothing but its token. */
  @Test
  void aSharedConvolutionDoesNotTurn() {
    assertThat(turnsWithItsInput("ssm", false)).isFalse();
    assertThat(turnsWithItsInput("ssm", true)).isTrue();
    assertThat(turnsWithItsInput("none", false)).isFalse();
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "ssm", "ssm-conv"})
  void seesBothWaysUnlessNone(String directions) {
    float[] tokens = Draw.normal(6, 1, LENGTH, DIM).floats();
    try (Engine engine = Engines.open("compiled", graph(directions), null)) {
      float[] before = mixed(engine, tokens);
      tokens[20 * DIM] += 1;
      float[] after = mixed(engine, tokens);
      int half = 20 * DIM;
      boolean changed = !Arrays.equals(Arrays.copyOf(before, half), Arrays.copyOf(after, half));
      assertThat(changed).as("tokens before the changed one").isEqualTo(!directions.equals("none"));
      assertThat(after[LENGTH * DIM - 1]).isNotEqualTo(before[LENGTH * DIM - 1]);
    }
  }

  @Test
  void startsAsTheAuthorsDo() {
    try (Engine engine = Engines.open("compiled", graph("ssm-conv"), null)) {
      Map<String, HostTensor> state = engine.state();
      for (String name : List.of("A_log", "A_b_log")) {
        float[] logs = state.get(name).floats();
        for (int i = 0; i < logs.length; i++) {
          assertThat((double) logs[i]).isCloseTo(Math.log(1 + i % STATES), within(1e-6));
        }
      }
      assertThat(state.get("D").floats()).containsOnly(1);
      assertThat(state.get("D_b").floats()).containsOnly(1);
      for (float bias : state.get("dt_proj.bias").floats()) {
        assertThat(Math.log1p(Math.exp(bias))).isBetween(0.99e-3, 0.101);
      }
      // Theirs is reset to zero: backward, steps start at softplus(0) = 0.69.
      assertThat(state.get("dt_proj_b.bias").floats()).containsOnly(0);
      double bound = 1 / Math.sqrt(2); // of rank 2
      Trials.assertBound(state.get("dt_proj.weight"), bound);
      Trials.assertBound(state.get("dt_proj_b.weight"), bound);
      Trials.assertBound(state.get("conv1d_b.weight"), 0.5);
    }
  }
}
