package sparkvision.models;

import java.util.List;
import sparkvision.graph.Graph;
import sparkvision.graph.Initializer;
import sparkvision.graph.Linear;
import sparkvision.graph.ScanInputs;
import sparkvision.graph.Tensor;

/**
 * The Mamba mixer as Vision Mamba has it: tokens are expanded, convolved and scanned along the
 * sequence, gated, and brought back, in one direction or in both.
 *
 * <pre>
 *   x, z = in_proj(tokens)      u = silu(conv1d(x))      dt, B, C = x_proj(u)
 *   y = scan(u, dt_proj·dt, A, B, C, D)·silu(z)          out_proj(y)
 * </pre>
 *
 * <p>What runs backward reads the sequence from its end; nothing is flipped in memory. The
 * direction-free parts, in_proj and out_proj, are shared:
 *
 * <ul>
 *   <li>{@code ssm}: a second scan backward over the same u, dt, B and C, with an A of its own; the
 *       sum of both. The convolution stays causal forward.
 *   <li>{@code ssm-conv}: a second convolution, x_proj, dt_proj and scan backward with weights of
 *       their own; half the sum of both, which the paper does not mention.
 * </ul>
 *
 * <p>B batch, L tokens, d channels, E = 2·d inner channels, N states, R = ⌈d/16⌉. Per token E·(3·d
 * + k + R + (R + 2·N) + 6·N) multiply-adds in one direction; no map.
 *
 * @see <a href="https://arxiv.org/abs/2401.09417">Zhu et al., Vision Mamba, 2024, section 3.3 and
 *     algorithm 1</a>
 * @see <a
 *     href="https://github.com/hustvl/Vim/blob/dd0358ad1e42701f22afbefa0717cc8825cf9f45/mamba-1p1p1/mamba_ssm/modules/mamba_simple.py">the
 *     authors' code</a>
 */
public final class MambaMixer {

  /** Which ways a mixer reads the sequence. */
  public enum Directions {
    /** Forward. */
    NONE,
    /** The scan both ways. */
    SSM,
    /** Convolution and scan both ways, each with weights of its own. */
    SSM_CONV
  }

  private static final int EXPANSION = 2;
  private static final int TAPS = 4;
  private static final int DT_SHARE = 16; // d / R

  /** Between which steps Δ starts, and where its bias is cut off. */
  private static final double LEAST_STEP = 1e-3;

  private static final double MOST_STEP = 0.1;
  private static final double FLOOR = 1e-4;

  private final Graph g;
  private final Directions directions;
  private final int inner;
  private final Linear inProj;
  private final Linear outProj;
  private final Path forward;
  private final Path backward; // null unless ssm-conv
  private final Tensor backwardRates; // null unless ssm

  /**
   * @param prefix of the weights' names: empty, or ending in a dot
   * @param depth mixers of the network, by whose root out_proj starts smaller
   */
  public MambaMixer(
      Graph g, String prefix, int dim, int stateSize, Directions directions, int depth) {
    this.g = g;
    this.directions = directions;
    this.inner = EXPANSION * dim;
    int rank = (dim + DT_SHARE - 1) / DT_SHARE;
    this.inProj = g.linear(prefix + "in_proj", dim, 2L * inner).withoutBias();
    this.forward = new Path(prefix, "", rank, stateSize, startingSteps());
    this.backward =
        directions == Directions.SSM_CONV
            // The authors' initialisation finds no mark on this bias and sets it to zero.
            ? new Path(prefix, "_b", rank, stateSize, Initializer.constant(0))
            : null;
    this.backwardRates = directions == Directions.SSM ? rates(prefix + "A_b_log", stateSize) : null;
    double bound = 1 / Math.sqrt((double) inner * depth);
    Linear outProj =
        g.linear(prefix + "out_proj", inner, dim)
            .withoutBias()
            .startingFrom(Initializer.uniform(bound));
    // Half of a weight in place of half of all tokens: the same numbers, since 1/2 rounds nothing.
    this.outProj = directions == Directions.SSM_CONV ? outProj.scaled(0.5) : outProj;
  }

  /** The weights of one direction. */
  private final class Path {
    final int rank;
    final int states;
    final Tensor convWeight; // (E, 1, k)
    final Tensor convBias; // (E)
    final Linear xProj; // E → R + 2·N
    final Linear dtProj; // R → E
    final Tensor dtBias; // (E)
    final Tensor rates; // A (E, N)
    final Tensor through; // D (E)

    Path(String prefix, String suffix, int rank, int states, Initializer steps) {
      this.rank = rank;
      this.states = states;
      Initializer standard = Initializer.uniform(1 / Math.sqrt(TAPS)); // PyTorch's
      String conv = prefix + "conv1d" + suffix;
      this.convWeight = g.parameter(conv + ".weight", standard, inner, 1, TAPS);
      this.convBias = g.parameter(conv + ".bias", standard, inner);
      this.xProj = g.linear(prefix + "x_proj" + suffix, inner, rank + 2L * states).withoutBias();
      String dt = prefix + "dt_proj" + suffix;
      this.dtProj =
          g.linear(dt, rank, inner)
              .withoutBias()
              .startingFrom(Initializer.uniform(1 / Math.sqrt((double) rank)));
      this.dtBias = g.parameter(dt + ".bias", steps, inner);
      String a = suffix.isEmpty() ? "A_log" : "A" + suffix + "_log";
      this.rates = rates(prefix + a, states);
      this.through = g.parameter(prefix + "D" + suffix, Initializer.constant(1), inner);
    }

    /** What the scan reads beside z: u and Δ before its bias (B, E, L), B and C (B, N, L). */
    private List<Tensor> selected(Tensor x, boolean fromTheEnd) {
      Tensor u = g.causalConv(x, convWeight, convBias, fromTheEnd);
      Tensor selection = xProj.apply(g.transpose(u, 1, 2)); // (B, L, R + 2·N)
      List<Tensor> parts = g.split(selection, 2, rank, states, states);
      Tensor steps = g.transpose(dtProj.apply(parts.get(0)), 1, 2);
      Tensor b = g.transpose(parts.get(1), 1, 2);
      Tensor c = g.transpose(parts.get(2), 1, 2);
      return List.of(u, steps, b, c);
    }

    ScanInputs scan(List<Tensor> selected, Tensor a) {
      return new ScanInputs(
          selected.get(0), selected.get(1), a, selected.get(2), selected.get(3), through, dtBias);
    }
  }

  /** A = −exp(its logarithm), which starts at log 1, log 2, ... in each channel (S4D-real). */
  private Tensor rates(String name, int states) {
    Initializer start =
        (seed, anyName, shape) -> {
          float[] values = new float[(int) (shape[0] * shape[1])];
          for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.log(i % (int) shape[1] + 1);
          }
          return values;
        };
    return g.scale(g.exp(g.parameter(name, start, inner, states)), -1);
  }

  /** softplus⁻¹ of steps whose logarithms are uniform. */
  private static Initializer startingSteps() {
    Initializer shares = Initializer.uniform(0.5); // less a half
    return (seed, name, shape) -> {
      float[] values = shares.values(seed, name, shape);
      for (int i = 0; i < values.length; i++) {
        double step = LEAST_STEP * Math.pow(MOST_STEP / LEAST_STEP, values[i] + 0.5);
        step = Math.max(step, FLOOR);
        values[i] = (float) (step + Math.log(-Math.expm1(-step)));
      }
      return values;
    };
  }

  /** (B, L, d) → (B, L, d), read from the first token on. */
  public Tensor apply(Tensor tokens) {
    return apply(tokens, false);
  }

  /**
   * (B, L, d) → (B, L, d).
   *
   * @param fromTheEnd whether the sequence is read from its last token on: the same as flipping it
   *     before and after
   */
  public Tensor apply(Tensor tokens, boolean fromTheEnd) {
    List<Tensor> halves = g.split(inProj.apply(tokens), 2, inner, inner); // (B, L, E) each
    Tensor x = g.transpose(halves.get(0), 1, 2); // (B, E, L)
    Tensor z = g.transpose(halves.get(1), 1, 2);
    List<Tensor> selected = forward.selected(x, fromTheEnd);
    ScanInputs scan = forward.scan(selected, forward.rates);
    Tensor y =
        switch (directions) {
          case NONE -> g.selectiveScan(scan, z, fromTheEnd);
          case SSM -> g.selectiveScan(scan, forward.scan(selected, backwardRates), z, fromTheEnd);
          case SSM_CONV -> {
            ScanInputs other = backward.scan(backward.selected(x, !fromTheEnd), backward.rates);
            yield g.selectiveScan(scan, other, z, fromTheEnd);
          }
        };
    return outProj.apply(g.transpose(y, 1, 2));
  }
}
