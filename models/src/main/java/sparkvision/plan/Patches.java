package sparkvision.plan;

import java.util.Arrays;
import java.util.stream.LongStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Type;

/**
 * Convolutions whose windows lie side by side, as those that cut a picture into patches: the
 * gradient of their weight is one product of matrices, which is faster than oneDNN's convolutions.
 */
final class Patches {

  private Patches() {}

  /** Whether windows over {@code picture} neither overlap nor leave anything out. */
  static boolean fits(Node node, Tensor picture) {
    long[] kernel = node.sizes("kernel");
    boolean fits =
        node.integer("groups") == 1
            && Arrays.equals(kernel, node.sizes("stride"))
            && LongStream.of(node.sizes("padding")).allMatch(padding -> padding == 0)
            && Value.elements(kernel) > 1;
    for (int i = 0; i < kernel.length; i++) {
      fits &= picture.size(i + 2) % kernel[i] == 0;
      fits &= node.sizes("dilation")[i] == 1 || kernel[i] == 1;
    }
    return fits;
  }

  /**
   * dWeight (M, N, k...) = Σ sums · patches over all windows.
   *
   * @param sums (B, M, ...), channels last, a pixel for every window
   * @param picture (B, N, ...), channels last
   */
  static void weightGradient(Lowering l, Value sums, Value picture, Value dWeight) {
    int axes = sums.rank() - 2;
    // (B, N, h·k, w·k) is cut into (B, N, h, k, w, k), whose pixels go to (B, h, w, k, k, N).
    long[] cut = new long[2 + 2 * axes];
    int[] order = new int[cut.length];
    long[] laid = new long[axes + 2]; // of the result: (M, k, k, N)
    int[] back = new int[axes + 2]; // as (M, N, k, k)
    cut[0] = picture.size(0);
    cut[1] = picture.size(1);
    order[cut.length - 1] = 1;
    laid[0] = sums.size(1);
    laid[axes + 1] = picture.size(1);
    back[1] = axes + 1;
    for (int i = 0; i < axes; i++) {
      cut[2 + 2 * i] = sums.size(i + 2);
      cut[3 + 2 * i] = picture.size(i + 2) / sums.size(i + 2);
      order[1 + i] = 2 + 2 * i;
      order[1 + axes + i] = 3 + 2 * i;
      laid[1 + i] = cut[3 + 2 * i];
      back[2 + i] = 1 + i;
    }
    long windows = sums.elements() / sums.size(1);
    Value patches = l.rowMajor(picture.reshaped(cut).permuted(order));
    Value rows = patches.reshaped(windows, picture.elements() / windows);
    Value columns =
        sums.permuted(Value.channelsLastOrder(sums.rank()))
            .reshaped(windows, sums.size(1))
            .permuted(1, 0);
    Value result = l.program.rowMajor("weight gradient", Type.FLOAT32, laid);
    l.matmul(columns, rows, null, result.reshaped(sums.size(1), rows.size(1)), false);
    l.copy(result.permuted(back), dWeight);
  }
}
