package sparkvision.models;

import java.util.List;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/** A network whose feature maps others can read: the head of a segmentation net, a decoder. */
public interface Backbone extends Model {

  /**
   * Declares the parameters that the feature maps need, and computes them.
   *
   * @param prefix what every parameter's name begins with: empty, or ending in a dot
   * @param image (B, C, H, W), for volumes (B, C, D, H, W)
   * @return one map (B, C, h, w) per stage, fine to coarse
   * @throws IllegalArgumentException if the image has the wrong rank or number of channels, or is
   *     too small
   */
  List<Tensor> features(Graph g, String prefix, Tensor image);
}
