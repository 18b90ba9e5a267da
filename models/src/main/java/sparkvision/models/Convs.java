package sparkvision.models;

import java.util.Arrays;
import sparkvision.graph.Conv;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;

/** Convolutions that begin with PyTorch's default values, which many originals leave alone. */
final class Convs {

  private Convs() {}

  /** A convolution with bias; weight and bias are uniform within ±1/√fan-in. */
  static Conv standard(Graph g, String name, long in, long out, long... kernel) {
    return plain(g, name, in, out, kernel).withBias(bias(in, kernel));
  }

  /** A convolution without bias; its weight is uniform within ±1/√fan-in. */
  static Conv plain(Graph g, String name, long in, long out, long... kernel) {
    return g.conv(name, in, out, kernel).startingFrom(Initializer.uniformByFanIn());
  }

  /** The first values of a bias whose weight reads {@code in} channels in windows. */
  static Initializer bias(long in, long... kernel) {
    return Initializer.uniform(
        1 / Math.sqrt((double) in * Arrays.stream(kernel).reduce(1, Math::multiplyExact)));
  }
}
