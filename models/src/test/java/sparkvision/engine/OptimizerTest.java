package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import sparkvision.engine.OptimizerConfig.Name;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/** Two steps by hand: w = 1, gradients 0.5 and -0.2, learning rate 0.1. */
class OptimizerTest {

  private static final Tensor WEIGHT = tensor("w", 1, 1);
  private static final Tensor BIAS = tensor("b", 1);

  private static Tensor tensor(String name, long... shape) {
    return new Graph(Graph.Mode.TRAINING, 0).parameter(name, Initializer.constant(0), shape);
  }

  private static OptimizerConfig sgd(double momentum, boolean nesterov, double decay) {
    return new OptimizerConfig(Name.SGD, momentum, nesterov, 0, 0, 0, decay, true);
  }

  private static OptimizerConfig adam(Name name, double decay) {
    return new OptimizerConfig(name, 0, false, 0.9, 0.99, 1e-3, decay, true);
  }

  /** The weight after each of the two steps. */
  private static float[] steps(OptimizerConfig config, Tensor parameter) {
    Optimizer optimizer = new Optimizer(config, List.of(parameter));
    float[] w = {1};
    float[] path = new float[2];
    float[] gradients = {0.5f, -0.2f};
    for (int i = 0; i < 2; i++) {
      optimizer.beginStep();
      optimizer.update(parameter, w, new float[] {gradients[i]}, 0.1);
      path[i] = w[0];
    }
    return path;
  }

  private static void assertSteps(OptimizerConfig config, double first, double second) {
    assertThat(steps(config, WEIGHT))
        .containsExactly(new float[] {(float) first, (float) second}, within(1e-6f));
  }

  @Test
  void sgdFollowsTheGradient() {
    assertSteps(sgd(0, false, 0), 0.95, 0.97);
  }

  @Test
  void sgdAddsWeightDecayToTheGradient() {
    // 0.5 + 0.1·1 = 0.6 → 0.94; -0.2 + 0.094 = -0.106 → 0.9506
    assertSteps(sgd(0, false, 0.1), 0.94, 0.9506);
  }

  @Test
  void momentumKeepsMoving() {
    // buffer 0.5 → 0.95; buffer 0.9·0.5 − 0.2 = 0.25 → 0.925
    assertSteps(sgd(0.9, false, 0), 0.95, 0.925);
  }

  @Test
  void nesterovLooksAhead() {
    // 0.5 + 0.9·0.5 = 0.95 → 0.905; buffer 0.25, −0.2 + 0.9·0.25 = 0.025 → 0.9025
    assertSteps(sgd(0.9, true, 0), 0.905, 0.9025);
  }

  @Test
  void adamDividesByTheSizeOfTheGradient() {
    // mean 0.05 / 0.1 = 0.5, square 0.0025 / 0.01 = 0.25: 1 − 0.1·0.5 / 0.501
    double first = 1 - 0.1 * 0.5 / 0.501;
    double mean = (0.9 * 0.05 + 0.1 * -0.2) / (1 - 0.81);
    double square = (0.99 * 0.0025 + 0.01 * 0.04) / (1 - 0.9801);
    assertSteps(adam(Name.ADAM, 0), first, first - 0.1 * mean / (Math.sqrt(square) + 1e-3));
  }

  @Test
  void adamAddsWeightDecayToTheGradient() {
    double first = 1 - 0.1 * 0.6 / 0.601;
    double gradient = -0.2 + 0.1 * first;
    double mean = (0.9 * 0.06 + 0.1 * gradient) / (1 - 0.81);
    double square = (0.99 * 0.0036 + 0.01 * gradient * gradient) / (1 - 0.9801);
    assertSteps(adam(Name.ADAM, 0.1), first, first - 0.1 * mean / (Math.sqrt(square) + 1e-3));
  }

  @Test
  void adamwShrinksTheWeightItself() {
    double first = 0.99 - 0.1 * 0.5 / 0.501;
    double mean = (0.9 * 0.05 + 0.1 * -0.2) / (1 - 0.81);
    double square = (0.99 * 0.0025 + 0.01 * 0.04) / (1 - 0.9801);
    assertSteps(
        adam(Name.ADAMW, 0.1), first, 0.99 * first - 0.1 * mean / (Math.sqrt(square) + 1e-3));
  }

  /** In float, 1 - 0.9999 would be off by 1.7e-4 of itself. */
  @Test
  void adamKeepsTheDigitsOfASlowDecay() {
    OptimizerConfig slow = new OptimizerConfig(Name.ADAM, 0, false, 0.9999, 0.9999, 1e-8, 0, true);
    Optimizer optimizer = new Optimizer(slow, List.of(WEIGHT));
    optimizer.beginStep();
    optimizer.update(WEIGHT, new float[] {1}, new float[] {0.5f}, 0.1);
    assertThat(optimizer.state().get("exp-avg/w").floats()[0]).isCloseTo(5e-5f, within(1e-11f));
    assertThat(optimizer.state().get("exp-avg-sq/w").floats()[0])
        .isCloseTo(2.5e-5f, within(5e-12f));
  }

  @Test
  void sparesNormsAndBiasesWhenAsked() {
    OptimizerConfig sparing = new OptimizerConfig(Name.SGD, 0, false, 0, 0, 0, 0.1, false);
    assertThat(steps(sparing, BIAS)).containsExactly(new float[] {0.95f, 0.97f}, within(1e-6f));
    assertThat(steps(sparing, WEIGHT)).containsExactly(new float[] {0.94f, 0.9506f}, within(1e-6f));
    assertThat(steps(sgd(0, false, 0.1), BIAS)[0]).isCloseTo(0.94f, within(1e-6f));
  }

  @Test
  void stateNamesEveryMomentAndTheStep() {
    Optimizer sgd = new Optimizer(sgd(0.9, false, 0), List.of(WEIGHT, BIAS));
    assertThat(sgd.state()).isEmpty();
    sgd.beginStep();
    assertThat(sgd.state().keySet()).containsExactly("step", "momentum/w", "momentum/b");
    Optimizer adam = new Optimizer(adam(Name.ADAM, 0), List.of(WEIGHT));
    adam.beginStep();
    assertThat(adam.state().keySet()).containsExactly("step", "exp-avg/w", "exp-avg-sq/w");
    assertThat(adam.state().get("step").longs()).containsExactly(1);
  }

  @Test
  void continuesFromAStoredStateWithTheSameBits() {
    for (OptimizerConfig config :
        List.of(sgd(0.9, true, 0.01), adam(Name.ADAM, 0.01), adam(Name.ADAMW, 0.01))) {
      Optimizer whole = new Optimizer(config, List.of(WEIGHT));
      float[] w = {1};
      whole.beginStep();
      whole.update(WEIGHT, w, new float[] {0.5f}, 0.1);
      Optimizer resumed = new Optimizer(config, List.of(WEIGHT));
      resumed.load(whole.state());
      float[] again = w.clone();
      for (Optimizer optimizer : List.of(whole, resumed)) {
        optimizer.beginStep();
        optimizer.update(WEIGHT, optimizer == whole ? w : again, new float[] {-0.2f}, 0.1);
      }
      assertThat(again).containsExactly(w);
      assertThat(resumed.state().get("step").longs()).containsExactly(2);
    }
  }

  @Test
  void refusesAStateOfAnotherOptimizer() {
    Optimizer sgd = new Optimizer(sgd(0.9, false, 0), List.of(WEIGHT));
    Map<String, HostTensor> state = new LinkedHashMap<>();
    state.put("step", HostTensor.ofLongs(new long[] {3}));
    state.put("exp-avg/w", HostTensor.of(new float[1], 1, 1));
    assertThatThrownBy(() -> sgd.load(state))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot load optimizer state: missing momentum/w; unknown exp-avg/w");
  }

  @Test
  void refusesSettingsOutOfRange() {
    assertThatThrownBy(() -> sgd(1, false, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid optimizer.momentum: 1.0 (must be at least 0, below 1)");
    assertThatThrownBy(() -> sgd(0, true, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid optimizer.nesterov: true (must be false where optimizer.momentum is 0)");
  }
}
