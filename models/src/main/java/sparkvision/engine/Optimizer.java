package sparkvision.engine;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Tensor;
import sparkvision.weights.HostTensor;

/**
 * SGD, Adam and AdamW over float arrays, as PyTorch computes them.
 *
 * <p>State by name: {@code step} (int64 scalar), and for each parameter {@code momentum/<name>}
 * (SGD with momentum) or {@code exp-avg/<name>} and {@code exp-avg-sq/<name>} (Adam, AdamW).
 *
 * @see <a href="https://arxiv.org/abs/1412.6980">Kingma and Ba, Adam, 2015, algorithm 1</a>
 * @see <a href="https://arxiv.org/abs/1711.05101">Loshchilov and Hutter, Decoupled Weight Decay
 *     Regularization, 2019, algorithm 2</a>
 */
final class Optimizer {

  private static final String STEP = "step";

  private final OptimizerConfig config;
  private final List<Tensor> parameters;
  private final Map<String, float[]> moments = new LinkedHashMap<>();
  private long step;

  Optimizer(OptimizerConfig config, List<Tensor> parameters) {
    this.config = config;
    this.parameters = parameters;
    reset();
  }

  private void reset() {
    step = 0;
    for (String kind : kinds()) {
      for (Tensor parameter : parameters) {
        moments.put(kind + parameter.name(), new float[(int) parameter.elements()]);
      }
    }
  }

  private List<String> kinds() {
    return switch (config.name()) {
      case SGD -> config.momentum() == 0 ? List.of() : List.of("momentum/");
      case ADAM, ADAMW -> List.of("exp-avg/", "exp-avg-sq/");
    };
  }

  /** How many steps were taken. */
  long step() {
    return step;
  }

  /** Counts a step; each parameter's {@link #update} follows. */
  void beginStep() {
    step++;
  }

  /** Moves the weights {@code w} of one parameter along the gradient {@code g}. */
  void update(Tensor parameter, float[] w, float[] g, double learningRate) {
    boolean decays = config.decayNormAndBias() || parameter.rank() > 1;
    double decay = decays ? config.weightDecay() : 0;
    int n = (int) parameter.elements();
    switch (config.name()) {
      case SGD -> sgd(parameter, w, g, n, (float) learningRate, (float) decay);
      case ADAM -> {
        for (int i = 0; i < n; i++) {
          g[i] += (float) decay * w[i];
        }
        adam(parameter, w, g, n, learningRate);
      }
      case ADAMW -> {
        float kept = (float) (1 - learningRate * decay);
        for (int i = 0; i < n; i++) {
          w[i] *= kept;
        }
        adam(parameter, w, g, n, learningRate);
      }
    }
  }

  private void sgd(Tensor parameter, float[] w, float[] g, int n, float rate, float decay) {
    float momentum = (float) config.momentum();
    if (momentum == 0) {
      for (int i = 0; i < n; i++) {
        w[i] -= rate * (g[i] + decay * w[i]);
      }
      return;
    }
    float[] buffer = moments.get("momentum/" + parameter.name());
    float previous = step == 1 ? 0 : momentum;
    for (int i = 0; i < n; i++) {
      float gradient = g[i] + decay * w[i];
      buffer[i] = previous * buffer[i] + gradient;
      w[i] -= rate * (config.nesterov() ? gradient + momentum * buffer[i] : buffer[i]);
    }
  }

  private void adam(Tensor parameter, float[] w, float[] g, int n, double learningRate) {
    float[] mean = moments.get("exp-avg/" + parameter.name());
    float[] square = moments.get("exp-avg-sq/" + parameter.name());
    float beta1 = (float) config.beta1();
    float beta2 = (float) config.beta2();
    float gain1 = (float) (1 - config.beta1()); // in double: 1 - 0.9999f is off by 1.7e-4
    float gain2 = (float) (1 - config.beta2());
    float size = (float) (learningRate / (1 - Math.pow(config.beta1(), (double) step)));
    float scale = (float) (1 / Math.sqrt(1 - Math.pow(config.beta2(), (double) step)));
    float epsilon = (float) config.epsilon();
    for (int i = 0; i < n; i++) {
      mean[i] = beta1 * mean[i] + gain1 * g[i];
      square[i] = beta2 * square[i] + gain2 * g[i] * g[i];
      w[i] -= size * mean[i] / ((float) Math.sqrt(square[i]) * scale + epsilon);
    }
  }

  Map<String, HostTensor> state() {
    if (step == 0) {
      return Map.of();
    }
    Map<String, HostTensor> state = new LinkedHashMap<>();
    state.put(STEP, HostTensor.ofLongs(new long[] {step}));
    for (String kind : kinds()) {
      for (Tensor parameter : parameters) {
        String name = kind + parameter.name();
        state.put(name, HostTensor.of(moments.get(name).clone(), parameter.shape()));
      }
    }
    return state;
  }

  void load(Map<String, HostTensor> state) {
    if (state.isEmpty()) {
      reset();
      return;
    }
    Map<String, Signature> expected = new LinkedHashMap<>();
    expected.put(STEP, Signature.of(Tensor.Type.INT64));
    for (String kind : kinds()) {
      for (Tensor parameter : parameters) {
        expected.put(kind + parameter.name(), Signature.of(Tensor.Type.FLOAT, parameter.shape()));
      }
    }
    Signature.requireMatch("load optimizer state", expected, state);
    step = state.get(STEP).longs()[0];
    moments.replaceAll((name, values) -> state.get(name).floats().clone());
  }
}
