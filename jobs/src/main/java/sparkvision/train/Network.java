package sparkvision.train;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigValueFactory;
import java.util.List;
import java.util.Map;
import sparkvision.data.Batch;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Tensor;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;

/** A classification network for one batch shape: its training and inference graphs. */
final class Network {

  static final String IMAGES = "input";
  static final String LABELS = "labels";
  static final String TARGETS = "targets";
  static final String LOGITS = "logits";

  private final Model model;
  private final long[] shape;

  /**
   * @param imageSize height and width of the input
   * @throws IllegalArgumentException if the model does not exist, or cannot take such images
   */
  Network(Config model, int batchSize, int imageSize) {
    this.model = Models.of(model);
    this.shape = this.model.inputShapes(batchSize, imageSize).get(0); // (B, C, H, W)
    if (shape.length != 4) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid model: %s (must take images: shards of volumes come from no job yet)",
              this.model.name()));
    }
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

  /** Trainable numbers. */
  long parameters() {
    return inference().parameterCount();
  }

  int channels() {
    return Math.toIntExact(shape[1]);
  }

  int batchSize() {
    return Math.toIntExact(shape[0]);
  }

  /** Values of one image. */
  int imageLength() {
    int length = 1;
    for (int axis = 1; axis < shape.length; axis++) {
      length = Math.multiplyExact(length, Math.toIntExact(shape[axis]));
    }
    return length;
  }

  /** Logits, and the mean cross-entropy against the labels; dropout differs between ranks. */
  Graph training(long seed, int rank, double labelSmoothing) {
    Graph graph = new Graph(Graph.Mode.TRAINING, seed).withNoise(rank);
    Tensor logits = logits(graph);
    Tensor labels = graph.indices(LABELS, batchSize());
    graph.loss(Losses.crossEntropy(graph, logits, labels, labelSmoothing));
    return graph;
  }

  /** The same with targets of mixed images, (B, classes), in place of labels. */
  Graph softTraining(long seed, int rank, int classes) {
    Graph graph = new Graph(Graph.Mode.TRAINING, seed).withNoise(rank);
    Tensor logits = logits(graph);
    graph.loss(Losses.softCrossEntropy(graph, logits, graph.input(TARGETS, batchSize(), classes)));
    return graph;
  }

  /** Logits from the running statistics. */
  Graph inference() {
    Graph graph = new Graph(Graph.Mode.INFERENCE, 0);
    logits(graph);
    return graph;
  }

  private Tensor logits(Graph graph) {
    Tensor images = graph.input(IMAGES, shape);
    Tensor logits = model.apply(graph, List.of(images)).get(0);
    graph.output(LOGITS, logits);
    return logits;
  }

  Map<String, HostTensor> inputs(Batch batch) {
    HostTensor images = HostTensor.of(batch.images(), shape);
    if (batch.targets().length == 0) {
      return Map.of(IMAGES, images, LABELS, HostTensor.ofLongs(batch.labels(), shape[0]));
    }
    long classes = batch.targets().length / shape[0];
    return Map.of(IMAGES, images, TARGETS, HostTensor.of(batch.targets(), shape[0], classes));
  }

  Map<String, HostTensor> inputs(float[] images) {
    return Map.of(IMAGES, HostTensor.of(images, shape));
  }
}
