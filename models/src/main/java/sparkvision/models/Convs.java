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

  /**
   * An eighth of the channels, what queries and keys of several originals have.
   *
   * @param what the block, for the message
   * @throws IllegalArgumentException if there are fewer than eight
   */
  static long eighth(String what, long channels) {
    if (channels < 8) {
      throw new IllegalArgumentException(
          String.format("Cannot build %s: it needs at least 8 channels, has %d", what, channels));
    }
    return channels / 8;
  }
}
