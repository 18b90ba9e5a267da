package sparkvision.models;

import sparkvision.graph.BatchNorm;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

/**
 * A convolution without bias that keeps the size, batch norm, ReLU: (B, C, H, W) → (B, O, H, W),
 * with PyTorch's default first values.
 */
final class ConvNorm {

  private final Graph g;
  private final Conv conv;
  private final BatchNorm norm;

  /**
   * @param conv the convolution's name
   * @param norm the norm's name
   * @param kernel odd
   */
  ConvNorm(Graph g, String conv, String norm, long in, long out, long kernel) {
    this.g = g;
    this.conv = Convs.plain(g, conv, in, out, kernel, kernel).padding(kernel / 2);
    this.norm = g.batchNorm(norm, out);
  }

  Tensor apply(Tensor x) {
    return g.relu(norm.apply(conv.apply(x)));
  }
}
