package sparkvision.models;

import java.util.List;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/** A network that can be written into any graph. */
public interface Model {

  /** The name it is configured by. */
  String name();

  /**
   * The shapes of its inputs for images of one size.
   *
   * @param imageSize one size per spatial axis, or a single one for squares and cubes
   * @throws IllegalArgumentException if the number of sizes fits neither
   */
  List<long[]> inputShapes(int batch, int... imageSize);

  /** Its position embeddings, which are resized where weights for another image size are taken. */
  default List<PositionTable> positionTables() {
    return List.of();
  }

  /** What its inputs are called, in their order; empty if they are only numbered. */
  default List<String> inputNames() {
    return List.of();
  }

  /**
   * Declares the parameters and computes the outputs.
   *
   * @return the outputs, the answer first. Those behind it serve training, each with a loss of its
   *     own: an inference graph has neither them nor the parameters that they alone need
   * @throws IllegalArgumentException if an input has the wrong rank or number of channels, or is
   *     too small
   */
  List<Tensor> apply(Graph g, List<Tensor> inputs);

  /** What the loss of each output behind the first counts, where that of the first counts 1. */
  default double auxiliaryWeight() {
    return 0;
  }

  /**
   * Whether a parameter belongs to the head: what stands on the backbone, and what recipes that
   * start from a pre-trained backbone train faster.
   *
   * @param parameter its name
   */
  default boolean isHead(String parameter) {
    return false;
  }
}
