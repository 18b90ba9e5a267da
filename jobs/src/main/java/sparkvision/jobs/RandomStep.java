package sparkvision.jobs;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BiFunction;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.models.Model;
import sparkvision.weights.HostTensor;

/**
 * One step of a model on random numbers: forward, and in training also backward and update.
 *
 * <p>The loss is the cross-entropy against random labels if the model's only output is (B, K), else
 * the sum of all outputs with random weights.
 */
final class RandomStep {

  private static final long SEED = 1;
  // Small: weights that random gradients drive far off saturate softmaxes, whose smallest
  // results are then numbers that processors are slow with.
  private static final double LEARNING_RATE = 1e-6;
  private static final OptimizerConfig SGD =
      OptimizerConfig.of(OptimizerConfig.Name.SGD).withMomentum(0.9);

  private final Graph graph;
  private final List<Tensor> read;
  private final Map<String, HostTensor> inputs = new LinkedHashMap<>();
  private final Random random = new Random(SEED);

  /**
   * @param image height and width, and depth of volumes
   * @throws IllegalArgumentException if the model cannot take such images, or has inputs whose
   *     shapes do not follow from an image
   */
  RandomStep(Model model, int batch, int image, Graph.Mode mode) {
    this(model::apply, shapes(model, batch, image), mode);
    if (mode == Graph.Mode.TRAINING && graph.parameterCount() == 0) {
      requestInputGradients(); // else there would be no backward pass
    }
  }

  /**
   * A step of part of a network.
   *
   * @param shapes of its inputs, the batch first
   */
  RandomStep(
      BiFunction<Graph, List<Tensor>, List<Tensor>> part, List<long[]> shapes, Graph.Mode mode) {
    this.graph = new Graph(mode, SEED);
    this.read = shapes.stream().map(shape -> normal("input." + inputs.size(), shape)).toList();
    List<Tensor> outputs = part.apply(graph, read);
    if (mode == Graph.Mode.INFERENCE) {
      for (int i = 0; i < outputs.size(); i++) {
        graph.output("output." + i, outputs.get(i));
      }
      return;
    }
    graph.loss(loss(outputs, (int) shapes.get(0)[0]));
  }

  private static List<long[]> shapes(Model model, int batch, int image) {
    List<long[]> shapes = model.inputShapes(batch, image);
    if (shapes.isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot bench %s: the shapes of its inputs do not follow from an image size",
              model.name()));
    }
    return shapes;
  }

  /** Has the backward pass go on to what is read, as within a network. */
  void requestInputGradients() {
    read.forEach(graph::requestGradient);
  }

  /** Bytes of what is read: the inputs, and random weights of the outputs. */
  long inputBytes() {
    return graph.inputs().values().stream()
        .filter(tensor -> tensor.type() == Tensor.Type.FLOAT)
        .mapToLong(tensor -> tensor.elements() * Float.BYTES)
        .sum();
  }

  private Tensor loss(List<Tensor> outputs, int batch) {
    Tensor first = outputs.get(0);
    if (outputs.size() == 1 && first.rank() == 2 && first.size(0) == batch) {
      long[] labels = random.longs(batch, 0, first.size(1)).toArray();
      inputs.put("labels", HostTensor.ofLongs(labels, batch));
      return Losses.crossEntropy(graph, first, graph.indices("labels", batch), 0);
    }
    Tensor sum = null;
    for (int i = 0; i < outputs.size(); i++) {
      Tensor weights = normal("weights." + i, outputs.get(i).shape());
      Tensor part = Losses.weightedSum(graph, outputs.get(i), weights);
      sum = sum == null ? part : graph.add(sum, part);
    }
    return sum;
  }

  /** Declares an input and draws its values. */
  private Tensor normal(String name, long... shape) {
    Tensor tensor = graph.input(name, shape);
    float[] values = new float[Math.toIntExact(tensor.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    inputs.put(name, HostTensor.of(values, shape));
    return tensor;
  }

  Graph graph() {
    return graph;
  }

  Engine open(String engine, EngineOptions options) {
    return Engines.open(engine, graph, graph.mode() == Graph.Mode.TRAINING ? SGD : null, options);
  }

  /** Runs the step once; returns the outputs, in training the loss. */
  Map<String, HostTensor> run(Engine engine) {
    if (graph.mode() == Graph.Mode.INFERENCE) {
      return engine.forward(inputs);
    }
    Map<String, HostTensor> results = engine.forwardBackward(inputs);
    engine.update(LEARNING_RATE);
    return results;
  }
}
