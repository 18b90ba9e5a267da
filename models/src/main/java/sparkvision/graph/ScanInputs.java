package sparkvision.graph;

import java.util.List;

/**
 * What {@link Graph#selectiveScan} reads in one direction.
 *
 * @param u (B, E, L), as is {@code delta}
 * @param a (E, N), negative
 * @param b (B, N, L), as is {@code c}
 * @param d (E), as is {@code deltaBias}
 */
public record ScanInputs(
    Tensor u, Tensor delta, Tensor a, Tensor b, Tensor c, Tensor d, Tensor deltaBias) {

  /** All but delta-bias. */
  List<Tensor> first() {
    return List.of(u, delta, a, b, c, d);
  }
}
