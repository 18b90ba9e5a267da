package sparkvision.train;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import sparkvision.data.Sample;
import sparkvision.graph.Graph;
import sparkvision.graph.Losses;
import sparkvision.graph.Resize;
import sparkvision.graph.Tensor;

/**
 * A loss against a class of every pixel or voxel, of which 255 counts for nothing.
 *
 * <p>Auxiliary logits weigh what their network says; where the main ones are measured at hard
 * pixels alone, auxiliary ones are at all, as in CCNet's and openseg's code. Logits of another size
 * than the labels are resized linearly, corners not aligned, as by mmsegmentation's decode heads.
 */
record DenseLoss(TrainConfig.Loss loss, double labelSmoothing, TrainConfig.Ohem ohem)
    implements Serializable {

  /** Of soft Dice, voxels; that of Attention U-Net's code. */
  private static final double SMOOTH = 0.01;

  static DenseLoss of(TrainConfig config) {
    return new DenseLoss(config.loss(), config.labelSmoothing(), config.ohem());
  }

  /** The outputs (B, K, ...) at the size of the labels. */
  static List<Tensor> logits(
      Graph graph, List<Tensor> outputs, long[] labelShape, String model, String place) {
    if (outputs.get(0).rank() != labelShape.length + 2) {
      throw new IllegalArgumentException(
          String.format("Invalid model: %s (must give a class for every %s)", model, place));
    }
    return outputs.stream().map(output -> resized(graph, output, labelShape)).toList();
  }

  private static Tensor resized(Graph graph, Tensor logits, long[] size) {
    boolean fits = Arrays.equals(Arrays.copyOfRange(logits.shape(), 2, logits.rank()), size);
    return fits ? logits : graph.resize(logits, Resize.LINEAR, size);
  }

  /** Of the main logits, with those of the auxiliary ones. */
  Tensor of(Graph graph, List<Tensor> logits, Tensor labels, double auxiliaryWeight) {
    Tensor sum =
        loss == TrainConfig.Loss.OHEM
            ? Losses.hardCrossEntropy(
                graph,
                logits.get(0),
                labels,
                labelSmoothing,
                Sample.IGNORE,
                ohem.threshold(),
                ohem.leastKept())
            : everywhere(graph, logits.get(0), labels);
    for (Tensor auxiliary : logits.subList(1, logits.size())) {
      Tensor term = everywhere(graph, auxiliary, labels);
      sum = graph.add(sum, graph.scale(term, auxiliaryWeight));
    }
    return sum;
  }

  private Tensor everywhere(Graph graph, Tensor logits, Tensor labels) {
    return switch (loss) {
      case CROSS_ENTROPY, OHEM -> crossEntropy(graph, logits, labels);
      case DICE -> dice(graph, logits, labels);
      case CROSS_ENTROPY_DICE ->
          graph.add(crossEntropy(graph, logits, labels), dice(graph, logits, labels));
    };
  }

  private Tensor crossEntropy(Graph graph, Tensor logits, Tensor labels) {
    return Losses.crossEntropy(graph, logits, labels, labelSmoothing, Sample.IGNORE);
  }

  private static Tensor dice(Graph graph, Tensor logits, Tensor labels) {
    return Losses.softDice(graph, logits, labels, SMOOTH, Sample.IGNORE);
  }
}
