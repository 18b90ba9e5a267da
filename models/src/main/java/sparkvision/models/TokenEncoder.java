package sparkvision.models;

import java.util.List;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * A network that keeps one sequence of tokens of one width from its first block to its last, one
 * token for each patch of the image: heads read these as maps. B batch, d channels, h x w patches.
 */
interface TokenEncoder extends Model {

  /** The channels d of a token. */
  int dim();

  /** How many blocks there are. */
  int depth();

  /**
   * Declares the parameters that the patches' tokens behind some blocks need, and computes them.
   * Class tokens are dropped.
   *
   * @param prefix what every parameter's name begins with: empty, or ending in a dot
   * @param image (B, C, H, W)
   * @param blocks numbers from 0, ascending
   * @return (B, d, h, w) for each
   * @throws IllegalArgumentException if the image does not fit, or the network has no such maps
   */
  List<Tensor> features(Graph g, String prefix, Tensor image, List<Integer> blocks);

  /**
   * Declares the parameters of all but the classifier, and computes the patches' tokens behind the
   * last norm: (B, C, H, W) → (B, d, h, w).
   *
   * @param prefix what every parameter's name begins with: empty, or ending in a dot
   * @throws IllegalArgumentException if the image does not fit, or the network has no such map
   */
  Tensor encoded(Graph g, String prefix, Tensor image);

  /**
   * The encoder that a configuration describes.
   *
   * @throws IllegalArgumentException if it describes another kind of model, or none
   */
  static TokenEncoder of(Keys keys, String key) {
    if (Models.of(keys.model(key)) instanceof TokenEncoder encoder) {
      return encoder;
    }
    throw keys.invalid(key, "a vision transformer or Vim");
  }
}
