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
 * <p>Auxiliary logits weigh {@value #AUXILIARY}, as in PSPNet and mmsegmentation's configs. Logits
 * of another size than the labels are resized linearly, corners not aligned, as by mmsegmentation's
 * decode heads.
 *
 * @see <a href="https://arxiv.org/abs/1612.01105">Zhao et al., Pyramid Scene Parsing Network, 2016,
 *     section 3.3</a>
 */
record DenseLoss(TrainConfig.Loss loss, double labelSmoothing) implements Serializable {

  private static final double AUXILIARY = 0.4;

  /** Of soft Dice, voxels; that of Attention U-Net's code. */
  private static final double SMOOTH = 0.01;

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
  Tensor of(Graph graph, List<Tensor> logits, Tensor labels) {
    Tensor sum = one(graph, logits.get(0), labels);
    for (Tensor auxiliary : logits.subList(1, logits.size())) {
      sum = graph.add(sum, graph.scale(one(graph, auxiliary, labels), AUXILIARY));
    }
    return sum;
  }

  private Tensor one(Graph graph, Tensor logits, Tensor labels) {
    return switch (loss) {
      case CROSS_ENTROPY ->
          Losses.crossEntropy(graph, logits, labels, labelSmoothing, Sample.IGNORE);
      case DICE -> Losses.softDice(graph, logits, labels, SMOOTH, Sample.IGNORE);
    };
  }
}
