package sparkvision.train;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigValueFactory;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import sparkvision.data.Batch;
import sparkvision.data.SampleTransform;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.pretrained.Pretrained;
import sparkvision.weights.HostTensor;

/** A network for one batch shape and objective: its training and inference graphs. */
final class Network {

  static final String IMAGES = "input";
  static final String LABELS = "labels";
  static final String TARGETS = "targets";
  static final String LOGITS = "logits";

  private final Model model;
  private final Objective objective;
  private final long[] shape; // (B, C, H, W) or (B, C, D, H, W)
  private final long[] labelShape; // (B, ...)

  /**
   * @throws IllegalArgumentException if the model does not exist, or cannot take such inputs
   */
  Network(Config model, int batchSize, Objective objective) {
    this(Models.of(model), batchSize, objective);
  }

  private Network(Model model, int batchSize, Objective objective) {
    this.model = model;
    this.objective = objective;
    int[] size = objective.inputSize();
    if (model.inputShapes(batchSize, size[0]).get(0).length != size.length + 2) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid model: %s (must take %s, which the shards hold)",
              model.name(), size.length == 2 ? "images" : "volumes"));
    }
    this.shape = model.inputShapes(batchSize, size).get(0);
    this.labelShape =
        LongStream.concat(LongStream.of(batchSize), LongStream.of(objective.labelShape()))
            .toArray();
  }

  /**
   * The same network for another objective's inputs.
   *
   * @throws IllegalArgumentException if it cannot take them
   */
  Network resized(Objective other) {
    return new Network(model, batchSize(), other);
  }

  /** Whether an objective has inputs of the size that this network is for. */
  boolean fits(Objective other) {
    return Arrays.equals(objective.inputSize(), other.inputSize());
  }

  /**
   * {@code model} with as many classes as the data has.
   *
   * @throws IllegalArgumentException if it asks for another number
   */
  static Config withClasses(Config model, int classes) {
    if (!model.hasPath("classes")) {
      return model.withValue("classes", ConfigValueFactory.fromAnyRef(classes));
    }
    String found = model.getValue("classes").unwrapped().toString();
    TrainConfig.check(
        found.equals(String.valueOf(classes)),
        "model.classes",
        found,
        classes + ", the number of classes in the shards");
    return model;
  }

  /** Trainable numbers of the inference graph: auxiliary heads are not counted. */
  long parameters() {
    return inference().parameterCount();
  }

  /**
   * Checks that groups of parameters which an optimizer treats differently are not empty.
   *
   * @throws IllegalArgumentException if one is
   */
  void checkGroups(OptimizerConfig optimizer) {
    Graph graph = training(0, 0);
    List<Tensor> parameters =
        graph.variables().stream()
            .filter(variable -> variable.role() == Variable.Role.PARAMETER)
            .map(Variable::tensor)
            .toList();
    TrainConfig.check(
        optimizer.headRate() == 1 || parameters.stream().anyMatch(graph::isHead),
        "optimizer.head-rate",
        optimizer.headRate(),
        "1: " + model.name() + " has no head apart from the rest");
    for (String part : optimizer.noDecay()) {
      TrainConfig.check(
          parameters.stream().anyMatch(parameter -> parameter.name().contains(part)),
          "optimizer.no-decay",
          part,
          "part of a parameter's name in " + model.name());
    }
  }

  /** A state dict fitted to the training graph. */
  Pretrained fit(Map<String, HostTensor> tensors) {
    // Of two samples: batch norms in training refuse a single value per channel.
    return Pretrained.fit(model, new Network(model, 2, objective).training(0, 0), tensors);
  }

  String name() {
    return model.name();
  }

  boolean isHead(String parameter) {
    return model.isHead(parameter);
  }

  int channels() {
    return Math.toIntExact(shape[1]);
  }

  int batchSize() {
    return Math.toIntExact(shape[0]);
  }

  /** Values of one image. */
  int imageLength() {
    return SampleTransform.length(Arrays.copyOfRange(shape, 1, shape.length));
  }

  /**
   * Logits, and the objective's loss against the labels, or of mixed images against their targets,
   * (B, classes); dropout differs between ranks.
   */
  Graph training(long seed, int rank) {
    Graph graph = new Graph(Graph.Mode.TRAINING, seed).withNoise(rank).withHead(model::isHead);
    List<Tensor> logits = logits(graph, outputs(graph));
    if (objective.mixing().mixes()) {
      Tensor targets = graph.input(TARGETS, batchSize(), logits.get(0).size(1));
      graph.loss(Losses.softCrossEntropy(graph, logits.get(0), targets));
    } else {
      graph.loss(
          objective.loss(
              graph, logits, graph.indices(LABELS, labelShape), model.auxiliaryWeight()));
    }
    return graph;
  }

  /** Logits from the running statistics. */
  Graph inference() {
    Graph graph = new Graph(Graph.Mode.INFERENCE, 0);
    logits(graph, outputs(graph));
    return graph;
  }

  /** A training graph's weights without those that the inference graph has no use for. */
  Map<String, HostTensor> forInference(Map<String, HostTensor> weights) {
    // Of two samples: batch norms in training refuse a single value per channel.
    Set<String> auxiliary = names(new Network(model, 2, objective).training(0, 0));
    auxiliary.removeAll(names(inference()));
    Map<String, HostTensor> kept = new LinkedHashMap<>(weights);
    kept.keySet().removeAll(auxiliary);
    return kept;
  }

  private static Set<String> names(Graph graph) {
    return graph.variables().stream().map(Variable::name).collect(Collectors.toSet());
  }

  private List<Tensor> outputs(Graph graph) {
    return model.apply(graph, List.of(graph.input(IMAGES, shape)));
  }

  private List<Tensor> logits(Graph graph, List<Tensor> outputs) {
    List<Tensor> logits = objective.logits(graph, outputs, model.name());
    graph.output(LOGITS, logits.get(0));
    return logits;
  }

  Map<String, HostTensor> inputs(Batch batch) {
    HostTensor images = HostTensor.of(batch.images(), shape);
    if (batch.targets().length == 0) {
      return Map.of(IMAGES, images, LABELS, HostTensor.ofLongs(batch.labels(), labelShape));
    }
    long classes = batch.targets().length / shape[0];
    return Map.of(IMAGES, images, TARGETS, HostTensor.of(batch.targets(), shape[0], classes));
  }

  Map<String, HostTensor> inputs(float[] images) {
    return Map.of(IMAGES, HostTensor.of(images, shape));
  }
}
