package sparkvision.kernels;

/**
 * A matrix whose columns lie {@code step} elements apart; 0 where every column is the same number,
 * as rows that lie 0 apart are all the same row. So broadcasting is a matter of strides.
 */
public record Grid(Rows rows, int step) {

  int stride() {
    return rows.stride();
  }

  /** Whether its columns are neighbours, or all the same: what vectors are made for. */
  boolean isPlain() {
    return step == 0 || step == 1;
  }
}
