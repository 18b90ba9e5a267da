package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.ConfigFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;

/**
 * A block with drawn weights on both engines, and the plain loops in double precision that blocks
 * are made of. A map is [channel][pixel].
 */
final class Trial {

  private static final double TOLERANCE = 1e-4;

  final Map<String, HostTensor> state = new LinkedHashMap<>();
  final Map<String, HostTensor> inputs = new LinkedHashMap<>();
  private final String conf;

  /** Weights of variance 1/fan-in, everything else normal, γ = 0.7, variances positive. */
  Trial(String conf, long[]... shapes) {
    this.conf = conf;
    Draw draw = new Draw(conf.hashCode());
    for (int i = 0; i < shapes.length; i++) {
      inputs.put("input." + i, draw.values(shapes[i]));
    }
    for (Variable variable : graph(Graph.Mode.INFERENCE).variables()) {
      state.put(variable.name(), drawn(draw, variable));
    }
  }

  private static HostTensor drawn(Draw draw, Variable variable) {
    long[] shape = variable.tensor().shape();
    String name = variable.name();
    if (variable.role() == Variable.Role.COUNTER) {
      return HostTensor.ofLongs(new long[1]);
    }
    if (name.endsWith("gamma") || name.endsWith("sigma_ratio")) {
      return HostTensor.of(new float[] {0.7f}, 1);
    }
    if (name.endsWith("running_var")) {
      return draw.positive(shape);
    }
    HostTensor values = draw.values(shape);
    if (shape.length > 1) {
      float scale = (float) Math.sqrt((double) shape[0] / values.floats().length);
      for (int i = 0; i < values.floats().length; i++) {
        values.floats()[i] *= scale;
      }
    }
    return values;
  }

  Trial with(String name, float... values) {
    state.put(name, HostTensor.of(values, state.get(name).shape()));
    return this;
  }

  Trial withInput(int index, float... values) {
    String name = "input." + index;
    inputs.put(name, HostTensor.of(values, inputs.get(name).shape()));
    return this;
  }

  private Graph graph(Graph.Mode mode) {
    Graph g = new Graph(mode, 1);
    List<Tensor> given = new ArrayList<>();
    inputs.forEach((name, value) -> given.add(g.input(name, value.shape())));
    List<Tensor> results = Models.of(ConfigFactory.parseString(conf)).apply(g, given);
    for (int i = 0; i < results.size(); i++) {
      g.output("output." + i, results.get(i));
    }
    if (mode == Graph.Mode.TRAINING) {
      g.inputs().values().stream().toList().forEach(g::requestGradient);
      Tensor first = results.get(0);
      g.loss(Losses.weightedSum(g, first, g.input("weights", first.shape())));
    }
    return g;
  }

  /** How many numbers the block learns. */
  long parameters() {
    return graph(Graph.Mode.INFERENCE).parameterCount();
  }

  /** What the weights are before any is loaded. */
  Trial asItStarts() {
    try (Engine engine = Engines.open("compiled", graph(Graph.Mode.INFERENCE), null)) {
      state.putAll(engine.state());
    }
    return this;
  }

  /** An output, on which the engines agree. */
  HostTensor output(int index) {
    HostTensor compiled = output("compiled", index);
    HostTensor reference = output("nd4j", index);
    assertThat(compiled.shape()).isEqualTo(reference.shape());
    for (int i = 0; i < compiled.floats().length; i++) {
      double value = reference.floats()[i];
      assertThat((double) compiled.floats()[i])
          .as("element %d of output %d, compiled and nd4j", i, index)
          .isCloseTo(value, within(TOLERANCE * (1 + Math.abs(value))));
    }
    return compiled;
  }

  private HostTensor output(String name, int index) {
    try (Engine engine = Engines.open(name, graph(Graph.Mode.INFERENCE), null)) {
      engine.load(state);
      return engine.forward(inputs).get("output." + index);
    }
  }

  /**
   * The gradients of Σ weights·output.0 with respect to parameters and inputs, by name.
   *
   * @param weights (B, C, ...)
   */
  Map<String, float[]> gradients(
      String name, EngineOptions.Precision precision, HostTensor weights) {
    Graph g = graph(Graph.Mode.TRAINING);
    EngineOptions options = EngineOptions.defaults().withPrecision(precision);
    try (Engine engine = Engines.open(name, g, OptimizerConfig.plainSgd(), options)) {
      engine.load(state);
      Map<String, HostTensor> values = new LinkedHashMap<>(inputs);
      values.put("weights", weights);
      engine.forwardBackward(values);
      Map<String, float[]> gradients = new LinkedHashMap<>();
      inputs.keySet().forEach(input -> gradients.put(input, engine.gradient(input).floats()));
      g.variables().stream()
          .filter(variable -> variable.role() == Variable.Role.PARAMETER)
          .forEach(v -> gradients.put(v.name(), engine.gradient(v.name()).floats()));
      return gradients;
    }
  }

  /** Compares an output with what plain loops make, image by image. */
  void matches(int index, List<double[][]> images) {
    float[] found = output(index).floats();
    int at = 0;
    for (double[][] image : images) {
      for (double[] channel : image) {
        for (double value : channel) {
          assertThat((double) found[at])
              .as("element %d of output %d", at, index)
              .isCloseTo(value, within(TOLERANCE * (1 + Math.abs(value))));
          at++;
        }
      }
    }
    assertThat(at).isEqualTo(found.length);
  }

  // Plain loops.

  /** The images of an input. */
  List<double[][]> images(int index) {
    return images(inputs.get("input." + index));
  }

  static List<double[][]> images(HostTensor values) {
    int batch = (int) values.shape()[0];
    int channels = (int) values.shape()[1];
    int pixels = values.floats().length / batch / channels;
    List<double[][]> images = new ArrayList<>();
    int at = 0;
    for (int b = 0; b < batch; b++) {
      double[][] image = new double[channels][pixels];
      for (double[] channel : image) {
        for (int n = 0; n < pixels; n++) {
          channel[n] = values.floats()[at++];
        }
      }
      images.add(image);
    }
    return images;
  }

  double[] vector(String name) {
    float[] floats = state.get(name).floats();
    double[] doubles = new double[floats.length];
    for (int i = 0; i < floats.length; i++) {
      doubles[i] = floats[i];
    }
    return doubles;
  }

  /** A 1 x 1 convolution, or a linear layer of what stands in columns. */
  double[][] pixelwise(String layer, double[][] x) {
    double[] weight = vector(layer + ".weight");
    int out = weight.length / x.length;
    double[][] y = new double[out][x[0].length];
    for (int o = 0; o < out; o++) {
      for (int n = 0; n < x[0].length; n++) {
        y[o][n] = state.containsKey(layer + ".bias") ? vector(layer + ".bias")[o] : 0;
        for (int c = 0; c < x.length; c++) {
          y[o][n] += weight[o * x.length + c] * x[c][n];
        }
      }
    }
    return y;
  }

  /** A convolution of one image of {@code width} pixels a row, padded so that it may keep sizes. */
  double[][] conv(String layer, double[][] x, int width, int kernel, int stride, int padding) {
    double[] weight = vector(layer + ".weight");
    int height = x[0].length / width;
    int rows = (height + 2 * padding - kernel) / stride + 1;
    int columns = (width + 2 * padding - kernel) / stride + 1;
    int out = (int) state.get(layer + ".weight").shape()[0];
    int in = weight.length / out / kernel / kernel; // 1 in a depthwise convolution
    double[][] y = new double[out][rows * columns];
    for (int o = 0; o < out; o++) {
      for (int n = 0; n < y[o].length; n++) {
        y[o][n] = state.containsKey(layer + ".bias") ? vector(layer + ".bias")[o] : 0;
        for (int i = 0; i < in * kernel * kernel; i++) {
          int row = n / columns * stride - padding + i / kernel % kernel;
          int column = n % columns * stride - padding + i % kernel;
          if (row >= 0 && row < height && column >= 0 && column < width) {
            int channel = in == x.length ? i / kernel / kernel : o;
            y[o][n] += weight[o * in * kernel * kernel + i] * x[channel][row * width + column];
          }
        }
      }
    }
    return y;
  }

  /** Batch norm in inference. */
  double[][] norm(String norm, double[][] x) {
    double[][] y = new double[x.length][x[0].length];
    for (int c = 0; c < x.length; c++) {
      double scale =
          vector(norm + ".weight")[c] / Math.sqrt(vector(norm + ".running_var")[c] + 1e-5);
      for (int n = 0; n < x[c].length; n++) {
        y[c][n] = (x[c][n] - vector(norm + ".running_mean")[c]) * scale + vector(norm + ".bias")[c];
      }
    }
    return y;
  }

  /** Layer norm of every column. */
  double[][] layerNorm(String norm, double[][] x, double epsilon) {
    double[][] y = new double[x.length][x[0].length];
    for (int n = 0; n < x[0].length; n++) {
      double mean = 0;
      for (double[] channel : x) {
        mean += channel[n] / x.length;
      }
      double variance = 0;
      for (double[] channel : x) {
        variance += (channel[n] - mean) * (channel[n] - mean) / x.length;
      }
      for (int c = 0; c < x.length; c++) {
        y[c][n] =
            (x[c][n] - mean) / Math.sqrt(variance + epsilon) * vector(norm + ".weight")[c]
                + vector(norm + ".bias")[c];
      }
    }
    return y;
  }

  /** Which pairs of query and key there are. */
  @FunctionalInterface
  interface Pairs {
    boolean contains(int query, int key);
  }

  /** Σ a·v, where a is the softmax of scale·q·k over the keys that a query may see. */
  static double[][] attention(
      double[][] q, double[][] k, double[][] v, double scale, Pairs visible) {
    double[][] y = new double[v.length][q[0].length];
    for (int n = 0; n < q[0].length; n++) {
      double[] weights = new double[k[0].length];
      double sum = 0;
      for (int m = 0; m < weights.length; m++) {
        if (visible.contains(n, m)) {
          double score = 0;
          for (int d = 0; d < q.length; d++) {
            score += q[d][n] * k[d][m];
          }
          weights[m] = Math.exp(scale * score);
          sum += weights[m];
        }
      }
      for (int e = 0; e < v.length; e++) {
        for (int m = 0; m < weights.length; m++) {
          y[e][n] += weights[m] / sum * v[e][m];
        }
      }
    }
    return y;
  }

  static double[][] attention(double[][] q, double[][] k, double[][] v, double scale) {
    return attention(q, k, v, scale, (query, key) -> true);
  }

  /** factor·y + x. */
  static double[][] sum(double factor, double[][] y, double[][] x) {
    double[][] sum = new double[x.length][x[0].length];
    for (int c = 0; c < x.length; c++) {
      for (int n = 0; n < x[c].length; n++) {
        sum[c][n] = factor * y[c][n] + x[c][n];
      }
    }
    return sum;
  }

  static double[][] relu(double[][] x) {
    double[][] y = new double[x.length][x[0].length];
    for (int c = 0; c < x.length; c++) {
      for (int n = 0; n < x[c].length; n++) {
        y[c][n] = Math.max(0, x[c][n]);
      }
    }
    return y;
  }

  static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** Maxima of 2 x 2 windows; what does not fill one is left out. */
  static double[][] maxPool(double[][] x, int width) {
    int columns = width / 2;
    int rows = x[0].length / width / 2;
    double[][] y = new double[x.length][rows * columns];
    for (int c = 0; c < x.length; c++) {
      for (int n = 0; n < y[c].length; n++) {
        int first = n / columns * 2 * width + n % columns * 2;
        y[c][n] =
            Math.max(
                Math.max(x[c][first], x[c][first + 1]),
                Math.max(x[c][first + width], x[c][first + width + 1]));
      }
    }
    return y;
  }

  /** Columns as rows: tokens are [token][channel]. */
  static double[][] transposed(double[][] x) {
    double[][] y = new double[x[0].length][x.length];
    for (int c = 0; c < x.length; c++) {
      for (int n = 0; n < x[c].length; n++) {
        y[n][c] = x[c][n];
      }
    }
    return y;
  }

  /** Some rows. */
  static double[][] rows(double[][] x, int first, int count) {
    return Arrays.copyOfRange(x, first, first + count);
  }
}
