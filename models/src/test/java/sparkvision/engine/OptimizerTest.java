package sparkvision.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.engine.OptimizerConfig.Name;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

class OptimizerTest {

  /** Several tiles, less than one, one number; a gradient of zeros, weights of zeros. */
  private static final List<Tensor> PARAMETERS =
      List.of(
          tensor("wide", 3, 3001),
          tensor("kernel", 2, 3, 3, 3),
          tensor("bias", 5),
          tensor("gamma"),
          tensor("idle", 4, 4),
          tensor("zeros", 4, 4));

  private static final List<Tensor> STATISTICS = List.of(tensor("mean", 7), tensor("var", 7));

  private static boolean isHead(Tensor parameter) {
    return List.of("kernel", "bias").contains(parameter.name());
  }

  private static Tensor tensor(String name, long... shape) {
    return new Graph(Graph.Mode.TRAINING, 0).parameter(name, Initializer.constant(0), shape);
  }

  /** An engine's memory: weights and gradients by variable, drawn anew for every step. */
  private static final class Heap implements Optimizer.Weights {

    final List<Tensor> variables;
    final float[][] w;
    final float[][] g;

    Heap(List<Tensor> variables) {
      this.variables = variables;
      this.w = room();
      this.g = room();
      fill(w, new Random(1), "zeros");
    }

    private float[][] room() {
      return variables.stream().map(v -> new float[(int) v.elements()]).toArray(float[][]::new);
    }

    private void fill(float[][] values, Random random, String spared) {
      for (int v = 0; v < values.length; v++) {
        for (int i = 0; i < values[v].length; i++) {
          double value = random.nextGaussian() * (v + 1);
          values[v][i] = variables.get(v).name().equals(spared) ? 0 : (float) value;
        }
      }
    }

    /** The gradients of step {@code step}, and running statistics that move. */
    void draw(int step) {
      fill(g, new Random(100 + step), "idle");
      for (int v = PARAMETERS.size(); v < w.length; v++) {
        w[v][0] += step;
      }
    }

    @Override
    public void read(int variable, int first, float[] target, int count) {
      System.arraycopy(w[variable], first, target, 0, count);
    }

    @Override
    public void write(int variable, int first, float[] source, int count) {
      System.arraycopy(source, 0, w[variable], first, count);
    }

    @Override
    public void readGradient(int parameter, int first, float[] target, int count) {
      System.arraycopy(g[parameter], first, target, 0, count);
    }
  }

  /** A heap and the optimizer over it. */
  private static final class Run {

    final Heap heap = new Heap(Stream.concat(PARAMETERS.stream(), STATISTICS.stream()).toList());
    final Optimizer optimizer;
    final Optimizer.Loop loop;

    Run(OptimizerConfig config) {
      this(config, Optimizer.Loop.serial());
    }

    Run(OptimizerConfig config, Optimizer.Loop loop) {
      this.optimizer = new Optimizer(config, PARAMETERS, STATISTICS, OptimizerTest::isHead, heap);
      this.loop = loop;
    }

    Run steps(int first, int end) {
      for (int step = first; step < end; step++) {
        heap.draw(step);
        optimizer.step(0.1 / (1 + step), loop);
      }
      return this;
    }

    Map<String, List<Float>> bits() {
      Map<String, List<Float>> bits = new LinkedHashMap<>();
      for (int v = 0; v < heap.w.length; v++) {
        bits.put(heap.variables.get(v).name(), list(heap.w[v]));
      }
      optimizer
          .state()
          .forEach((name, t) -> bits.put(name, t.isFloat() ? list(t.floats()) : List.of()));
      return bits;
    }

    private static List<Float> list(float[] values) {
      List<Float> list = new ArrayList<>();
      for (float value : values) {
        list.add(value);
      }
      return list;
    }
  }

  /** The formulas, number by number in double precision. */
  private static final class Twin {

    final OptimizerConfig config;
    final double[][] w;
    final double[][] buffer;
    final double[][] square;
    int t;

    Twin(OptimizerConfig config, Heap heap) {
      this.config = config;
      this.w = doubles(heap.w);
      this.buffer = new double[w.length][];
      this.square = new double[w.length][];
      for (int p = 0; p < w.length; p++) {
        buffer[p] = new double[w[p].length];
        square[p] = new double[w[p].length];
      }
    }

    static double[][] doubles(float[][] values) {
      return Stream.of(values)
          .map(x -> IntStream.range(0, x.length).mapToDouble(i -> x[i]).toArray())
          .toArray(double[][]::new);
    }

    static double norm(double[]... vectors) {
      double sum = 0;
      for (double[] vector : vectors) {
        for (double x : vector) {
          sum += x * x;
        }
      }
      return Math.sqrt(sum);
    }

    void step(float[][] gradients, double rate) {
      t++;
      double[][] g = doubles(gradients);
      double total = norm(g);
      for (int p = 0; p < PARAMETERS.size(); p++) {
        for (int i = 0; i < g[p].length; i++) {
          if (config.clipNorm() > 0 && total > config.clipNorm()) {
            g[p][i] *= config.clipNorm() / total;
          }
        }
        boolean vector = PARAMETERS.get(p).rank() < 2;
        String name = PARAMETERS.get(p).name();
        boolean spared =
            (vector && !config.decayNormAndBias())
                || config.noDecay().stream().anyMatch(name::contains);
        double decay = spared ? 0 : config.weightDecay();
        double own = isHead(PARAMETERS.get(p)) ? config.headRate() * rate : rate;
        move(w[p], g[p], buffer[p], square[p], own, decay, vector);
      }
    }

    private void move(
        double[] w, double[] g, double[] m, double[] v, double rate, double decay, boolean vector) {
      int n = w.length;
      double[] u = new double[n];
      switch (config.name()) {
        case SGD, LARS -> {
          double ratio = 1;
          if (config.name() == Name.LARS && !vector && norm(w) > 0 && norm(g) > 0) {
            ratio =
                config.trustCoefficient()
                    * norm(w)
                    / (norm(g) + decay * norm(w) + config.epsilon());
          }
          for (int i = 0; i < n; i++) {
            double gradient = ratio * (g[i] + decay * w[i]);
            m[i] = config.momentum() * m[i] + gradient;
            u[i] = config.nesterov() ? gradient + config.momentum() * m[i] : m[i];
          }
        }
        case ADAM, ADAMW, LAMB -> {
          for (int i = 0; i < n; i++) {
            double gradient = g[i] + (config.name() == Name.ADAM ? decay * w[i] : 0);
            m[i] = config.beta1() * m[i] + (1 - config.beta1()) * gradient;
            v[i] = config.beta2() * v[i] + (1 - config.beta2()) * gradient * gradient;
            double mean = m[i] / (1 - Math.pow(config.beta1(), t));
            double size = Math.sqrt(v[i] / (1 - Math.pow(config.beta2(), t)));
            u[i] = mean / (size + config.epsilon());
            u[i] += config.name() == Name.ADAM ? 0 : decay * w[i];
          }
        }
      }
      double trust = 1;
      if (config.name() == Name.LAMB && !vector && norm(w) > 0 && norm(u) > 0) {
        trust = norm(w) / norm(u);
      }
      for (int i = 0; i < n; i++) {
        w[i] -= rate * trust * u[i];
      }
    }
  }

  static List<OptimizerConfig> configs() {
    List<OptimizerConfig> configs = new ArrayList<>();
    for (Name name : Name.values()) {
      OptimizerConfig plain =
          OptimizerConfig.of(name).withBetas(0.8, 0.95).withEpsilon(1e-3).withTrustCoefficient(0.3);
      configs.add(plain);
      configs.add(plain.withMomentum(0.9).withWeightDecay(0.05).withClipNorm(1e9));
      OptimizerConfig full =
          plain.withNesterov(0.9).withWeightDecay(0.05).sparingNormAndBias().withClipNorm(10);
      configs.add(full);
      configs.add(full.withHeadRate(5));
      configs.add(full.sparing("ide", "absent").withHeadRate(0));
      configs.add(full.withEmaDecay(0.7));
    }
    return configs;
  }

  @ParameterizedTest
  @MethodSource("configs")
  void followsTheFormulas(OptimizerConfig config) {
    Run run = new Run(config);
    double[][] start = Twin.doubles(run.heap.w);
    Twin twin = new Twin(config, run.heap);
    for (int step = 0; step < 6; step++) {
      run.steps(step, step + 1);
      float[][] gradients = run.heap.g.clone();
      for (int v = PARAMETERS.size(); v < gradients.length; v++) {
        gradients[v] = new float[7]; // statistics have none
      }
      twin.step(gradients, 0.1 / (1 + step));
    }
    for (int p = 0; p < PARAMETERS.size(); p++) {
      double[] error = twin.w[p].clone();
      double[] moved = twin.w[p].clone();
      for (int i = 0; i < error.length; i++) {
        error[i] -= run.heap.w[p][i];
        moved[i] -= start[p][i];
      }
      assertThat(Twin.norm(error))
          .as(PARAMETERS.get(p).name())
          .isLessThanOrEqualTo(1e-5 * Twin.norm(moved) + 1e-7 * Twin.norm(start[p]));
    }
  }

  /** One parameter w = (3, 4), one gradient, one step of rate 1. */
  private static float[] step(OptimizerConfig config, Tensor parameter, float... gradient) {
    Heap heap = new Heap(List.of(parameter));
    heap.w[0][0] = 3;
    heap.w[0][1] = 4;
    heap.g[0] = gradient;
    new Optimizer(config, List.of(parameter), List.of(), p -> false, heap)
        .step(1, Optimizer.Loop.serial());
    return heap.w[0];
  }

  @Test
  void larsStepsAreAShareOfTheWeightsNorm() {
    OptimizerConfig lars =
        OptimizerConfig.of(Name.LARS).withTrustCoefficient(0.1).withWeightDecay(0.4);
    // |w| = 5, |g| = 1: 0.1·5 / (1 + 0.4·5) = 1/6 of g + 0.4·w = (1.8, 2.4)
    assertThat(step(lars, tensor("w", 2, 1), 0.6f, 0.8f))
        .containsExactly(new float[] {2.7f, 3.6f}, within(1e-6f));
    assertThat(step(lars, tensor("b", 2), 0.6f, 0.8f))
        .as("a bias moves as SGD would")
        .containsExactly(new float[] {1.2f, 1.6f}, within(1e-6f));
  }

  @Test
  void lambStepsAreAsLongAsTheWeights() {
    OptimizerConfig lamb = OptimizerConfig.of(Name.LAMB).withEpsilon(0);
    float side = (float) (5 / Math.sqrt(2)); // the first direction is the gradient's sign
    assertThat(step(lamb, tensor("w", 2, 1), 0.6f, -0.8f))
        .containsExactly(new float[] {3 - side, 4 + side}, within(1e-5f));
    assertThat(step(lamb, tensor("b", 2), 0.6f, -0.8f))
        .containsExactly(new float[] {2, 5}, within(1e-5f));
  }

  @Test
  void clippingShortensALongGradientAndLeavesAShortOne() {
    OptimizerConfig clipping = OptimizerConfig.plainSgd().withClipNorm(1);
    assertThat(step(clipping, tensor("w", 2), 30, 40))
        .containsExactly(new float[] {3 - 0.6f, 4 - 0.8f}, within(1e-6f));
    assertThat(step(clipping, tensor("w", 2), 0.3f, 0.4f))
        .containsExactly(step(OptimizerConfig.plainSgd(), tensor("w", 2), 0.3f, 0.4f));
  }

  @ParameterizedTest
  @EnumSource(Name.class)
  void accumulatedGradientsMoveAsTheirMeanDoes(Name name) {
    OptimizerConfig config = OptimizerConfig.of(name).withClipNorm(1);
    Run one = new Run(config);
    Run accumulating = new Run(config);
    for (int step = 0; step < 3; step++) {
      float[][] mean = new float[one.heap.g.length][];
      for (int micro = 0; micro < 4; micro++) {
        accumulating.heap.draw(4 * step + micro);
        accumulating.optimizer.accumulate(accumulating.loop);
        for (int v = 0; v < mean.length; v++) {
          mean[v] = micro == 0 ? new float[one.heap.g[v].length] : mean[v];
          for (int i = 0; i < mean[v].length; i++) {
            mean[v][i] += accumulating.heap.g[v][i];
          }
        }
      }
      accumulating.optimizer.step(0.1, accumulating.loop);
      for (int v = 0; v < mean.length; v++) {
        for (int i = 0; i < mean[v].length; i++) {
          one.heap.g[v][i] = mean[v][i] / 4; // a power of two: exact in whatever order
        }
      }
      one.optimizer.step(0.1, one.loop);
    }
    one.steps(20, 21);
    accumulating.steps(20, 21); // of the last gradient alone: the sum is gone
    for (int p = 0; p < PARAMETERS.size(); p++) {
      assertThat(accumulating.heap.w[p]).containsExactly(one.heap.w[p]);
    }
  }

  @Test
  void theMovingAverageFollowsWeightsAndStatistics() {
    Run run = new Run(OptimizerConfig.of(Name.SGD).withEmaDecay(0.7));
    assertThat(run.optimizer.ema()).isEmpty();
    double[][] average = null;
    for (int step = 0; step < 5; step++) {
      run.heap.draw(step);
      double[][] before = Twin.doubles(run.heap.w);
      average = average == null ? before : average;
      run.optimizer.step(0.1, run.loop);
      for (int v = 0; v < average.length; v++) {
        for (int i = 0; i < average[v].length; i++) {
          average[v][i] = 0.7 * average[v][i] + (1 - 0.7) * run.heap.w[v][i];
        }
      }
    }
    Map<String, HostTensor> ema = run.optimizer.ema();
    assertThat(ema.keySet())
        .containsExactly("wide", "kernel", "bias", "gamma", "idle", "zeros", "mean", "var");
    for (int v = 0; v < average.length; v++) {
      String name = run.heap.variables.get(v).name();
      float[] found = ema.get(name).floats();
      assertThat(run.optimizer.state().get("ema/" + name).floats()).containsExactly(found);
      for (int i = 0; i < found.length; i++) {
        assertThat((double) found[i]).as(name).isCloseTo(average[v][i], within(1e-5));
      }
    }
  }

  /** In float, 0.9999 and 1 - 0.9999 do not add up to 1: the average would fall short by 1e-4. */
  @Test
  void aSlowMovingAverageOfAConstantIsThatConstant() {
    Run run = new Run(OptimizerConfig.plainSgd().withEmaDecay(0.9999));
    for (int step = 0; step < 5000; step++) {
      run.optimizer.step(0, run.loop);
    }
    assertThat(run.optimizer.ema().get("kernel").floats()).containsExactly(run.heap.w[1]);
  }

  @ParameterizedTest
  @MethodSource("configs")
  void continuesFromAStoredStateWithTheSameBits(OptimizerConfig config) {
    Run whole = new Run(config).steps(0, 3);
    Run resumed = new Run(config).steps(7, 9); // something else before
    resumed.optimizer.load(whole.optimizer.state());
    for (int v = 0; v < whole.heap.w.length; v++) {
      resumed.heap.w[v] = whole.heap.w[v].clone();
    }
    assertThat(resumed.optimizer.step()).isEqualTo(3);
    assertThat(resumed.steps(3, 6).bits()).isEqualTo(whole.steps(3, 6).bits());
  }

  @ParameterizedTest
  @MethodSource("configs")
  void anEmptyStateStartsAfresh(OptimizerConfig config) {
    Run run = new Run(config).steps(0, 3);
    run.heap.draw(9);
    run.optimizer.accumulate(run.loop);
    run.optimizer.load(Map.of());
    assertThat(run.optimizer.state()).isEmpty();
    Heap fresh = new Run(config).heap;
    for (int v = 0; v < fresh.w.length; v++) {
      run.heap.w[v] = fresh.w[v];
    }
    assertThat(run.steps(0, 2).bits()).isEqualTo(new Run(config).steps(0, 2).bits());
  }

  @ParameterizedTest
  @MethodSource("configs")
  void threadsThatTakeTilesInAnyOrderMakeTheSameBits(OptimizerConfig config) {
    Optimizer.Loop parallel =
        (tiles, body) -> {
          List<Integer> order = new ArrayList<>(IntStream.range(0, tiles).boxed().toList());
          Collections.shuffle(order, new Random(tiles));
          order.parallelStream().forEach(tile -> body.run(tile, new Optimizer.Scratch()));
        };
    assertThat(new Run(config, parallel).steps(0, 4).bits())
        .isEqualTo(new Run(config).steps(0, 4).bits());
  }

  /** In float, 1 - 0.9999 would be off by 1.7e-4 of itself. */
  @Test
  void adamKeepsTheDigitsOfASlowDecay() {
    Run run = new Run(OptimizerConfig.of(Name.ADAM).withBetas(0.9999, 0.9999)).steps(0, 1);
    double gradient = run.heap.g[3][0];
    assertThat((double) run.optimizer.state().get("exp-avg/gamma").floats()[0])
        .isCloseTo(1e-4 * gradient, within(1e-10 * Math.abs(gradient)));
    assertThat((double) run.optimizer.state().get("exp-avg-sq/gamma").floats()[0])
        .isCloseTo(1e-4 * gradient * gradient, within(1e-10 * gradient * gradient));
  }

  @Test
  void stateNamesEveryMomentAndTheStep() {
    List<Tensor> two = List.of(tensor("w", 1, 1), tensor("b", 1));
    List<Tensor> statistic = List.of(tensor("s", 1));
    Map<OptimizerConfig, List<String>> expected = new LinkedHashMap<>();
    expected.put(OptimizerConfig.plainSgd(), List.of("step"));
    expected.put(
        OptimizerConfig.of(Name.LARS).withMomentum(0.9),
        List.of("step", "momentum/w", "momentum/b"));
    for (Name name : List.of(Name.ADAM, Name.ADAMW, Name.LAMB)) {
      expected.put(
          OptimizerConfig.of(name).withEmaDecay(0.9),
          List.of(
              "step",
              "exp-avg/w",
              "exp-avg/b",
              "exp-avg-sq/w",
              "exp-avg-sq/b",
              "ema/w",
              "ema/b",
              "ema/s"));
    }
    expected.forEach(
        (config, names) -> {
          Heap heap = new Heap(Stream.concat(two.stream(), statistic.stream()).toList());
          Optimizer optimizer = new Optimizer(config, two, statistic, p -> false, heap);
          assertThat(optimizer.state()).isEmpty();
          optimizer.step(0.1, Optimizer.Loop.serial());
          assertThat(optimizer.state().keySet()).containsExactlyElementsOf(names);
          assertThat(optimizer.state().get("step").longs()).containsExactly(1);
        });
  }

  @Test
  void refusesAStateOfAnotherOptimizer() {
    Tensor weight = tensor("w", 1, 1);
    Optimizer sgd =
        new Optimizer(
            OptimizerConfig.plainSgd().withMomentum(0.9),
            List.of(weight),
            List.of(),
            parameter -> false,
            new Heap(List.of(weight)));
    Map<String, HostTensor> state = new LinkedHashMap<>();
    state.put("step", HostTensor.ofLongs(new long[] {3}));
    state.put("exp-avg/w", HostTensor.of(new float[1], 1, 1));
    assertThatThrownBy(() -> sgd.load(state))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot load optimizer state: missing momentum/w; unknown exp-avg/w");
  }

  @Test
  void refusesSettingsOutOfRange() {
    OptimizerConfig plain = OptimizerConfig.plainSgd();
    assertThatThrownBy(() -> plain.withMomentum(1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid optimizer.momentum: 1.0 (must be at least 0, below 1)");
    assertThatThrownBy(() -> OptimizerConfig.of(Name.LARS).withNesterov(0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Invalid optimizer.nesterov: true (must be false where optimizer.momentum is 0)");
    assertThatThrownBy(() -> plain.withHeadRate(-1))
        .hasMessage("Invalid optimizer.head-rate: -1.0 (must be at least 0)");
    assertThatThrownBy(() -> plain.withClipNorm(-1))
        .hasMessage("Invalid optimizer.clip-norm: -1.0 (must be at least 0)");
    assertThatThrownBy(() -> plain.withEmaDecay(1))
        .hasMessage("Invalid optimizer.ema-decay: 1.0 (must be at least 0, below 1)");
    assertThatThrownBy(() -> plain.withTrustCoefficient(Double.NaN))
        .hasMessage("Invalid optimizer.trust-coefficient: NaN (must be above 0)");
  }
}
