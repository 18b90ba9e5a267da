package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.engine.EngineOptions.Memory;
import sparkvision.engine.EngineOptions.Precision;
import sparkvision.graph.Graph;
import sparkvision.weights.HostTensor;

class EngineOptionsTest {

  private static final int PROCESSORS = 7;

  private static Graph graph() {
    Graph g = new Graph(Graph.Mode.INFERENCE, 1);
    g.output("y", g.linear("l", 3, 2).apply(g.input("x", 4, 3)));
    return g;
  }

  @ParameterizedTest
  @CsvSource(
      nullValues = "unset",
      delimiter = '|',
      value = {"unset | 7", "'' | 7", "3 | 3", "' 12 ' | 12", "4,2,1 | 4", "010 | 10"})
  void threadsFollowTheEnvironmentAndWithoutItTheProcessors(String variable, int threads) {
    assertThat(EngineOptions.threads(variable, PROCESSORS)).isEqualTo(threads);
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-2", "many", "2.5", "99999999999"})
  void anUnusableEnvironmentIsNamed(String variable) {
    assertThatThrownBy(() -> EngineOptions.threads(variable, PROCESSORS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid OMP_NUM_THREADS: " + variable + " (must be a whole number >= 1)");
  }

  @Test
  void everyOptionIsSetAlone() {
    EngineOptions options = new EngineOptions(3, Precision.FLOAT32, Memory.FAST, false);
    assertThat(options.withThreads(5))
        .isEqualTo(new EngineOptions(5, Precision.FLOAT32, Memory.FAST, false));
    assertThat(options.withPrecision(Precision.BFLOAT16))
        .isEqualTo(new EngineOptions(3, Precision.BFLOAT16, Memory.FAST, false));
    assertThat(options.withMemory(Memory.LEAN))
        .isEqualTo(new EngineOptions(3, Precision.FLOAT32, Memory.LEAN, false));
    assertThat(options.withPoison())
        .isEqualTo(new EngineOptions(3, Precision.FLOAT32, Memory.FAST, true));
    assertThat(EngineOptions.defaults().withThreads(3)).isEqualTo(options);
    assertThatThrownBy(() -> options.withThreads(0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid threads: 0 (must be at least 1)");
  }

  @Test
  void nd4jRefusesWhatItHasNot() {
    EngineOptions options = EngineOptions.defaults();
    assertThatThrownBy(
            () ->
                Engines.open("nd4j", graph(), null, options.withPrecision(Precision.BFLOAT16))
                    .close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid precision: bfloat16 (engine nd4j has only float32)");
    assertThatThrownBy(
            () -> Engines.open("nd4j", graph(), null, options.withMemory(Memory.LEAN)).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid memory: lean (engine nd4j has only fast)");
    assertThatThrownBy(() -> Engines.open("steam", graph(), null, options).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid engine: steam (must be one of " + Engines.names() + ")");
  }

  @Test
  void optionsDoNotChangeWhatNd4jComputes() {
    HostTensor x = HostTensor.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 4, 3);
    EngineOptions options = EngineOptions.defaults().withThreads(1).withPoison();
    try (Engine plain = Engines.open("nd4j", graph(), null);
        Engine with = Engines.open("nd4j", graph(), null, options)) {
      assertThat(with.forward(Map.of("x", x)).get("y").floats())
          .isEqualTo(plain.forward(Map.of("x", x)).get("y").floats());
    }
  }

  @Test
  void anEngineThatKnowsNothingOfItsCostsSaysSo() {
    try (Engine engine = Engines.open("nd4j", graph(), null)) {
      assertThat(engine.plannedBytes()).isZero();
      assertThat(engine.flopPerStep()).isZero();
      assertThat(engine.explain()).isEmpty();
    }
  }
}
