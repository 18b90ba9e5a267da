package sparkvision.graph;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * The words without state: tensors in, one tensor out. A model file says them to its {@link Graph}.
 *
 * <p>Axes are counted from 0, negative ones from the end. A word whose inputs do not fit throws an
 * {@link IllegalArgumentException} that says why in one sentence. B batch, C channels.
 */
public abstract sealed class Words permits Graph {

  Words() {}

  /** Records a word. */
  abstract Tensor node(
      Node.Kind kind, List<Tensor> from, Map<String, Object> attributes, long... shape);

  // Functions of one tensor that keep its shape.

  /** max(x, 0). */
  public Tensor relu(Tensor x) {
    return pointwise(Node.Kind.RELU, x, Map.of());
  }

  /** x, or slope·x where x is negative. */
  public Tensor leakyRelu(Tensor x, double slope) {
    return pointwise(Node.Kind.LEAKY_RELU, x, Map.of("slope", slope));
  }

  /**
   * x·Φ(x), the exact form with erf.
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel, Gaussian Error Linear
   *     Units, 2016, section 2</a>
   */
  public Tensor gelu(Tensor x) {
    return pointwise(Node.Kind.GELU, x, Map.of());
  }

  /** x·σ(x), also known as swish. */
  public Tensor silu(Tensor x) {
    return pointwise(Node.Kind.SILU, x, Map.of());
  }

  /** 1 / (1 + exp(−x)). */
  public Tensor sigmoid(Tensor x) {
    return pointwise(Node.Kind.SIGMOID, x, Map.of());
  }

  public Tensor tanh(Tensor x) {
    return pointwise(Node.Kind.TANH, x, Map.of());
  }

  /** log(1 + exp(x)); x itself above 20, as in PyTorch. */
  public Tensor softplus(Tensor x) {
    return pointwise(Node.Kind.SOFTPLUS, x, Map.of());
  }

  public Tensor exp(Tensor x) {
    return pointwise(Node.Kind.EXP, x, Map.of());
  }

  /** The natural logarithm. */
  public Tensor log(Tensor x) {
    return pointwise(Node.Kind.LOG, x, Map.of());
  }

  public Tensor sqrt(Tensor x) {
    return pointwise(Node.Kind.SQRT, x, Map.of());
  }

  /** 1 / √x. */
  public Tensor rsqrt(Tensor x) {
    return pointwise(Node.Kind.RSQRT, x, Map.of());
  }

  /** |x|. */
  public Tensor abs(Tensor x) {
    return pointwise(Node.Kind.ABS, x, Map.of());
  }

  /** x to the power of a constant. */
  public Tensor power(Tensor x, double exponent) {
    return pointwise(Node.Kind.POWER, x, Map.of("exponent", exponent));
  }

  /** x·x. */
  public Tensor square(Tensor x) {
    return multiply(x, x);
  }

  /** scale·x + shift, with constants. */
  public Tensor affine(Tensor x, double scale, double shift) {
    if (!Double.isFinite(scale) || !Double.isFinite(shift)) {
      throw Shapes.error("Cannot affine %s: scale %s and shift %s must be finite", x, scale, shift);
    }
    return pointwise(Node.Kind.AFFINE, x, Map.of("scale", scale, "shift", shift));
  }

  /** factor·x. */
  public Tensor scale(Tensor x, double factor) {
    return affine(x, factor, 0);
  }

  /** x + shift. */
  public Tensor addConstant(Tensor x, double shift) {
    return affine(x, 1, shift);
  }

  /** −x. */
  public Tensor negate(Tensor x) {
    return affine(x, -1, 0);
  }

  /** exp(x) / Σ exp(x) along an axis. */
  public Tensor softmax(Tensor x, int axis) {
    return pointwise(
        Node.Kind.SOFTMAX, x, Map.of("axis", Shapes.axis(word(Node.Kind.SOFTMAX), x, axis)));
  }

  /** The logarithm of {@link #softmax}. */
  public Tensor logSoftmax(Tensor x, int axis) {
    return pointwise(
        Node.Kind.LOG_SOFTMAX,
        x,
        Map.of("axis", Shapes.axis(word(Node.Kind.LOG_SOFTMAX), x, axis)));
  }

  private Tensor pointwise(Node.Kind kind, Tensor x, Map<String, Object> attributes) {
    return node(kind, List.of(x), attributes, x.shape());
  }

  // Arithmetic, element by element: shapes are broadcast as in NumPy, on either side.

  /** x + y. */
  public Tensor add(Tensor x, Tensor y) {
    return pairwise(Node.Kind.ADD, x, y);
  }

  /**
   * x + y of one shape, kept in float32 whatever the precision: the residual stream of a network
   * that is deep.
   */
  public Tensor addInFloat32(Tensor x, Tensor y) {
    if (!Arrays.equals(x.shape(), y.shape())) {
      throw Shapes.error("Cannot add %s to %s in float32: their shapes differ", y, x);
    }
    return node(Node.Kind.ADD, List.of(x, y), Map.of("float32", 1), x.shape());
  }

  /** x − y. */
  public Tensor subtract(Tensor x, Tensor y) {
    return pairwise(Node.Kind.SUBTRACT, x, y);
  }

  /** x·y. */
  public Tensor multiply(Tensor x, Tensor y) {
    return pairwise(Node.Kind.MULTIPLY, x, y);
  }

  /** x / y. */
  public Tensor divide(Tensor x, Tensor y) {
    return pairwise(Node.Kind.DIVIDE, x, y);
  }

  private Tensor pairwise(Node.Kind kind, Tensor x, Tensor y) {
    return node(kind, List.of(x, y), Map.of(), Shapes.broadcast(word(kind), x, y));
  }

  // Reductions: over the named axes, or over all.

  /** Sums over axes, which vanish; without axes the sum of all elements, a scalar. */
  public Tensor sum(Tensor x, int... axes) {
    return reduce(Node.Kind.SUM, x, 0, axes);
  }

  /** Sums over axes, which stay with size 1. */
  public Tensor sumKeep(Tensor x, int... axes) {
    return reduce(Node.Kind.SUM, x, 1, axes);
  }

  /** Means over axes, which vanish; without axes the mean of all elements, a scalar. */
  public Tensor mean(Tensor x, int... axes) {
    return reduce(Node.Kind.MEAN, x, 0, axes);
  }

  /** Means over axes, which stay with size 1. */
  public Tensor meanKeep(Tensor x, int... axes) {
    return reduce(Node.Kind.MEAN, x, 1, axes);
  }

  /** Maxima over axes, which vanish; without axes the maximum of all elements, a scalar. */
  public Tensor max(Tensor x, int... axes) {
    return reduce(Node.Kind.MAX, x, 0, axes);
  }

  /** Maxima over axes, which stay with size 1. */
  public Tensor maxKeep(Tensor x, int... axes) {
    return reduce(Node.Kind.MAX, x, 1, axes);
  }

  private Tensor reduce(Node.Kind kind, Tensor x, int keep, int... axes) {
    long[] sorted = Shapes.axes(word(kind), x, axes);
    return node(
        kind,
        List.of(x),
        Map.of("axes", sorted, "keep", keep),
        Shapes.reduced(x, sorted, keep == 1));
  }

  /** (B, C, ...) → means (B, C). */
  public Tensor globalAveragePool(Tensor x) {
    Shapes.spatialAxes("global average pool", x);
    return node(Node.Kind.GLOBAL_AVERAGE_POOL, List.of(x), Map.of(), x.size(0), x.size(1));
  }

  /** (B, C, ...) → maxima (B, C). */
  public Tensor globalMaxPool(Tensor x) {
    int axes = Shapes.spatialAxes("global max pool", x);
    return max(x, IntStream.range(2, axes + 2).toArray());
  }

  // Windows over 2 or 3 spatial axes. Sizes are given once for all axes, or as one per axis.

  /**
   * Largest values in windows; the padding counts as minus infinity, the last partial window is
   * dropped.
   */
  public Tensor maxPool(Tensor x, long kernel, long stride, long padding) {
    return maxPool(x, new long[] {kernel}, new long[] {stride}, new long[] {padding});
  }

  /** {@link #maxPool(Tensor, long, long, long)} with sizes per axis. */
  public Tensor maxPool(Tensor x, long[] kernel, long[] stride, long[] padding) {
    return pool(Node.Kind.MAX_POOL, x, kernel, stride, padding, Map.of());
  }

  /** Means in windows; the last partial window is dropped. */
  public Tensor averagePool(Tensor x, long kernel, long stride) {
    return averagePool(x, new long[] {kernel}, new long[] {stride}, new long[] {0});
  }

  /** Means in windows, in which the padding counts as zeros. */
  public Tensor averagePool(Tensor x, long[] kernel, long[] stride, long[] padding) {
    return pool(Node.Kind.AVERAGE_POOL, x, kernel, stride, padding, Map.of("count-padding", 1));
  }

  /** Means of those parts of windows that lie inside x. */
  public Tensor averagePoolInside(Tensor x, long[] kernel, long[] stride, long[] padding) {
    return pool(Node.Kind.AVERAGE_POOL, x, kernel, stride, padding, Map.of("count-padding", 0));
  }

  private Tensor pool(
      Node.Kind kind,
      Tensor x,
      long[] kernel,
      long[] stride,
      long[] padding,
      Map<String, Object> more) {
    String what = word(kind);
    int axes = Shapes.spatialAxes(what, x);
    long[] kernels = Shapes.perAxis(what, "kernel", axes, kernel);
    long[] strides = Shapes.perAxis(what, "stride", axes, stride);
    long[] paddings = Shapes.perAxis(what, "padding", axes, padding);
    long[] shape = Shapes.slidden(what, x, x.size(1), kernels, strides, paddings);
    Shapes.requireHalfPadding(what, kernels, paddings);
    Map<String, Object> attributes = new HashMap<>(more);
    attributes.put("kernel", kernels);
    attributes.put("stride", strides);
    attributes.put("padding", paddings);
    return node(kind, List.of(x), attributes, shape);
  }

  /**
   * Means of bins, as many as asked for whatever the input's size: bin i of s over n pixels is
   * [⌊i·n/s⌋, ⌈(i + 1)·n/s⌉), so bins may overlap.
   */
  public Tensor adaptiveAveragePool(Tensor x, long... size) {
    return adaptivePool(Node.Kind.ADAPTIVE_AVERAGE_POOL, x, size);
  }

  /** Maxima of the bins of {@link #adaptiveAveragePool}. */
  public Tensor adaptiveMaxPool(Tensor x, long... size) {
    return adaptivePool(Node.Kind.ADAPTIVE_MAX_POOL, x, size);
  }

  private Tensor adaptivePool(Node.Kind kind, Tensor x, long... size) {
    int axes = Shapes.spatialAxes(word(kind), x);
    long[] sizes = Shapes.perAxis(word(kind), "size", axes, size);
    return node(kind, List.of(x), Map.of("size", sizes), Shapes.resized(word(kind), x, sizes));
  }

  /**
   * (B, C, ...) → (B, C, size...) over 1 to 3 spatial axes, as PyTorch's {@code interpolate}; x
   * itself if it has that size.
   */
  public Tensor resize(Tensor x, Resize way, long... size) {
    if (x.rank() < 3 || x.rank() > 5 || (way.mode().equals("cubic") && x.rank() != 4)) {
      throw Shapes.error(
          "Cannot resize %s: the input must have %s",
          x, way.mode().equals("cubic") ? "2 spatial axes to be cubic" : "1 to 3 spatial axes");
    }
    long[] sizes = Shapes.perAxis("resize", "size", x.rank() - 2, size);
    long[] shape = Shapes.resized("resize", x, sizes);
    if (Arrays.equals(shape, x.shape())) {
      return x;
    }
    return node(
        Node.Kind.RESIZE,
        List.of(x),
        Map.of("mode", way.mode(), "align-corners", way.alignCorners() ? 1 : 0),
        shape);
  }

  // Products.

  /** a·b: (..., M, K), (..., K, N) → (..., M, N), of equal ranks and batch axes. */
  public Tensor matmul(Tensor a, Tensor b) {
    return matmul(a, b, false, false);
  }

  /** a·bᵀ: (..., M, K), (..., N, K) → (..., M, N). */
  public Tensor matmulTransposeB(Tensor a, Tensor b) {
    return matmul(a, b, false, true);
  }

  /** aᵀ·b: (..., K, M), (..., K, N) → (..., M, N). */
  public Tensor matmulTransposeA(Tensor a, Tensor b) {
    return matmul(a, b, true, false);
  }

  private Tensor matmul(Tensor a, Tensor b, boolean transposeA, boolean transposeB) {
    return node(
        Node.Kind.MATMUL,
        List.of(a, b),
        Map.of("transpose-a", transposeA ? 1 : 0, "transpose-b", transposeB ? 1 : 0),
        Shapes.product(a, b, transposeA, transposeB));
  }

  /**
   * softmax(scale·q·kᵀ)·v: q (..., N, d), k (..., M, d), v (..., M, e) → (..., N, e), of equal
   * ranks and batch axes.
   *
   * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al., Attention Is All You Need,
   *     2017, section 3.2.1</a>
   */
  public Tensor attention(Tensor q, Tensor k, Tensor v, double scale) {
    if (!Shapes.attend(q, k, v)) {
      throw Shapes.error(
          "Cannot attend with %s to %s and %s: they must be (..., N, d), (..., M, d) and (..., M,"
              + " e)",
          q, k, v);
    }
    if (!Double.isFinite(scale)) {
      throw Shapes.error("Cannot attend with %s: scale %s must be finite", q, scale);
    }
    long[] shape = q.shape();
    shape[shape.length - 1] = v.size(v.rank() - 1);
    return node(Node.Kind.ATTENTION, List.of(q, k, v), Map.of("scale", scale), shape);
  }

  /**
   * Attention of every pixel to its column and its row: Σ a·v over those H + W − 1 pixels, where a
   * is their softmax of q·k, without a scale. q and k (B, R, H, W), v (B, C, H, W) → (B, C, H, W).
   *
   * @see <a href="https://arxiv.org/abs/1811.11721">Huang et al., CCNet, 2019, section 3.2</a>
   */
  public Tensor crissCross(Tensor q, Tensor k, Tensor v) {
    if (!Shapes.cross(q, k, v)) {
      throw Shapes.error(
          "Cannot criss-cross %s with %s and %s: they must be (B, R, H, W), (B, R, H, W) and (B, C,"
              + " H, W)",
          q, k, v);
    }
    return node(Node.Kind.CRISS_CROSS, List.of(q, k, v), Map.of(), v.shape());
  }

  /**
   * SiLU of a convolution of every channel by itself that sees no later element: y_t = silu(bias +
   * Σ weight_i · x_{t − k + 1 + i}), with zeros before the sequence.
   *
   * @param x (B, E, L)
   * @param weight (E, 1, k), k at most {@link Shapes#MOST_TAPS}
   * @param bias (E)
   * @param backward whether t runs from L − 1 to 0, so that it sees no earlier element
   * @return (B, E, L)
   * @see <a href="https://arxiv.org/abs/2312.00752">Gu and Dao, Mamba, 2023, section 3.4 and figure
   *     3</a>
   */
  public Tensor causalConv(Tensor x, Tensor weight, Tensor bias, boolean backward) {
    if (!Shapes.causal(x, weight, bias)) {
      throw Shapes.error(
          "Cannot apply causal conv to %s with %s and %s: they must be (B, E, L), (E, 1, k) with k at"
              + " most %d, and (E)",
          x, weight, bias, Shapes.MOST_TAPS);
    }
    return node(
        Node.Kind.CAUSAL_CONV,
        List.of(x, weight, bias),
        Map.of("backward", backward ? 1 : 0),
        x.shape());
  }

  /**
   * The selective scan of a state space model: with Δ = softplus(delta + delta-bias), for each
   * channel and each of its N states
   *
   * <pre>
   *   h_t = exp(Δ_t·a)·h_{t−1} + Δ_t·u_t·b_t      y_t = Σ c_t·h_t + d·u_t      result y_t·silu(z_t)
   * </pre>
   *
   * from h = 0 on, in float32 whatever the precision. The input's term is Euler's (Δ·b), as in the
   * authors' code, where the paper has a zero-order hold.
   *
   * @param z (B, E, L)
   * @param backward whether t runs from L − 1 to 0
   * @return (B, E, L)
   * @see <a href="https://arxiv.org/abs/2312.00752">Gu and Dao, Mamba, 2023, section 3.2; {@code
   *     selective_scan_ref} in mamba_ssm/ops/selective_scan_interface.py</a>
   */
  public Tensor selectiveScan(ScanInputs scan, Tensor z, boolean backward) {
    List<Tensor> inputs = new ArrayList<>(scan.first());
    inputs.add(z);
    inputs.add(scan.deltaBias());
    return selectiveScan(inputs, backward);
  }

  /**
   * The selective scan in both directions, with one gate: the sum of the y of {@code scan} and of
   * {@code other}, which is read the other way, times silu(z). They may share tensors.
   */
  public Tensor selectiveScan(ScanInputs scan, ScanInputs other, Tensor z, boolean backward) {
    List<Tensor> inputs = new ArrayList<>(scan.first());
    inputs.add(z);
    inputs.add(scan.deltaBias());
    inputs.addAll(other.first());
    inputs.add(other.deltaBias());
    return selectiveScan(inputs, backward);
  }

  private Tensor selectiveScan(List<Tensor> inputs, boolean backward) {
    if (!Shapes.scan(inputs)) {
      throw Shapes.error(
          "Cannot scan %s: they must be u and delta (B, E, L), a (E, N), b and c (B, N, L), d (E), z"
              + " (B, E, L), delta-bias (E)",
          inputs);
    }
    return node(
        Node.Kind.SELECTIVE_SCAN,
        inputs,
        Map.of("backward", backward ? 1 : 0),
        inputs.get(0).shape());
  }

  // Moving elements.

  /** Joins tensors along axis 1, the channels; the other sizes must agree. */
  public Tensor concat(Tensor... tensors) {
    return concat(1, tensors);
  }

  /** Joins tensors along an axis; the other sizes must agree. */
  public Tensor concat(int axis, Tensor... tensors) {
    int least = axis == 1 ? 2 : 1;
    if (tensors.length == 0
        || Arrays.stream(tensors)
            .anyMatch(x -> x.rank() < least || x.rank() != tensors[0].rank())) {
      throw Shapes.error(
          "Cannot concat %s: ranks must be >= %d and equal", Arrays.toString(tensors), least);
    }
    int along = Shapes.axis(word(Node.Kind.CONCAT), tensors[0], axis);
    long[] shape = tensors[0].shape();
    long size = 0;
    for (Tensor tensor : tensors) {
      size += tensor.size(along);
      shape[along] = tensor.size(along);
      if (!Arrays.equals(tensor.shape(), shape)) {
        throw Shapes.error(
            "Cannot concat %s: sizes differ beside axis %d", Arrays.toString(tensors), along);
      }
    }
    shape[along] = size;
    return node(Node.Kind.CONCAT, List.of(tensors), Map.of("axis", along), shape);
  }

  /** The elements from {@code begin} to {@code end} (exclusive) along one axis. */
  public Tensor slice(Tensor x, int axis, long begin, long end) {
    return slice(x, axis, begin, end, 1);
  }

  /** Every {@code step}-th element from {@code begin} to {@code end} (exclusive), on one axis. */
  public Tensor slice(Tensor x, int axis, long begin, long end, long step) {
    int along = Shapes.axis(word(Node.Kind.SLICE), x, axis);
    long[] begins = new long[x.rank()];
    long[] ends = x.shape();
    long[] steps = Shapes.filled(x.rank(), 1);
    begins[along] = begin;
    ends[along] = end;
    steps[along] = step;
    return slice(x, begins, ends, steps);
  }

  /** Every {@code step}-th element from {@code begin} to {@code end} (exclusive), on every axis. */
  public Tensor slice(Tensor x, long[] begin, long[] end, long[] step) {
    long[] shape = Shapes.sliced(x, begin, end, step);
    return node(
        Node.Kind.SLICE, List.of(x), Map.of("begin", begin, "end", end, "step", step), shape);
  }

  /** {@code length} elements from {@code begin} on, along one axis. */
  public Tensor narrow(Tensor x, int axis, long begin, long length) {
    return slice(x, axis, begin, begin + length);
  }

  /** The elements at {@code index} of an axis, which vanishes. */
  public Tensor select(Tensor x, int axis, long index) {
    Tensor narrow = narrow(x, axis, index, 1);
    long[] along = Shapes.axes(word(Node.Kind.SLICE), x, axis);
    return reshape(narrow, Shapes.reduced(x, along, false));
  }

  /** Cuts an axis into parts of these sizes, which together must make it up. */
  public List<Tensor> split(Tensor x, int axis, long... sizes) {
    int along = Shapes.axis("split", x, axis);
    if (Arrays.stream(sizes).anyMatch(size -> size < 1)
        || Arrays.stream(sizes).sum() != x.size(along)) {
      throw Shapes.error(
          "Cannot split %s: sizes %s must be >= 1 and add up to axis %d",
          x, Shapes.text(sizes), along);
    }
    List<Tensor> parts = new ArrayList<>();
    long begin = 0;
    for (long size : sizes) {
      parts.add(narrow(x, along, begin, size));
      begin += size;
    }
    return parts;
  }

  /** {@code before} zeros in front of an axis and {@code after} behind it. */
  public Tensor pad(Tensor x, int axis, long before, long after) {
    int along = Shapes.axis(word(Node.Kind.PAD), x, axis);
    long[] befores = new long[x.rank()];
    long[] afters = new long[x.rank()];
    befores[along] = before;
    afters[along] = after;
    return pad(x, befores, afters, 0);
  }

  /** A border of {@code value}: so many elements before and after, one entry per axis. */
  public Tensor pad(Tensor x, long[] before, long[] after, double value) {
    long[] shape = Shapes.padded(x, before, after);
    return node(
        Node.Kind.PAD, List.of(x), Map.of("before", before, "after", after, "value", value), shape);
  }

  /** Output axis i is input axis {@code axes[i]}; x itself if that changes nothing. */
  public Tensor permute(Tensor x, int... axes) {
    long[] order = Shapes.order(x, axes);
    if (Arrays.equals(order, LongStream.range(0, x.rank()).toArray())) {
      return x;
    }
    long[] shape = Arrays.stream(order).map(axis -> x.size((int) axis)).toArray();
    return node(Node.Kind.PERMUTE, List.of(x), Map.of("axes", order), shape);
  }

  /** Swaps two axes. */
  public Tensor transpose(Tensor x, int axis, int other) {
    int[] axes = IntStream.range(0, x.rank()).toArray();
    axes[Shapes.axis("transpose", x, axis)] = Shapes.axis("transpose", x, other);
    axes[Shapes.axis("transpose", x, other)] = Shapes.axis("transpose", x, axis);
    return permute(x, axes);
  }

  /**
   * The same elements in row-major order; one size may be -1 and follows from the others. x itself
   * if it has that shape.
   */
  public Tensor reshape(Tensor x, long... shape) {
    long[] sizes = Shapes.reshaped(x, shape);
    return Arrays.equals(sizes, x.shape())
        ? x
        : node(Node.Kind.RESHAPE, List.of(x), Map.of(), sizes);
  }

  /**
   * Reorders, splits and joins axes as a pattern says: {@code "b c h w -> b (h w) c"}.
   *
   * <p>Names are axes, parentheses join axes into one (the last name moves fastest), 1 is an axis
   * of size 1. Every name stands once on each side.
   *
   * @see <a href="https://openreview.net/forum?id=oapKSVM2bcj">Rogozhnikov, Einops, 2022</a>
   */
  public Tensor rearrange(Tensor x, String pattern) {
    return rearrange(x, pattern, Map.of());
  }

  /**
   * {@link #rearrange(Tensor, String)} where the input has joined axes: all sizes in a pair of
   * parentheses but one have to be known.
   *
   * @param sizes sizes of names: {@code "b (h w) c -> b c h w"} needs h or w
   */
  public Tensor rearrange(Tensor x, String pattern, Map<String, Long> sizes) {
    return Rearrange.apply(this, x, pattern, sizes);
  }

  /** x with these axes run backwards. */
  public Tensor flip(Tensor x, int... axes) {
    if (axes.length == 0) {
      throw Shapes.error("Cannot flip %s: no axis is named", x);
    }
    long[] sorted = Shapes.axes(word(Node.Kind.FLIP), x, axes);
    return node(Node.Kind.FLIP, List.of(x), Map.of("axes", sorted), x.shape());
  }

  /**
   * The places of x along an axis that {@code indices} name; the axis becomes those of {@code
   * indices}.
   *
   * @param indices int64, each in [0, size of the axis)
   */
  public Tensor gather(Tensor x, Tensor indices, int axis) {
    int along = Shapes.axis(word(Node.Kind.GATHER), x, axis);
    if (indices.type() != Tensor.Type.INT64) {
      throw Shapes.error("Cannot gather %s: the indices %s must be int64", x, indices);
    }
    long[] shape = new long[x.rank() - 1 + indices.rank()];
    for (int i = 0; i < shape.length; i++) {
      int within = i - along;
      shape[i] =
          within < 0
              ? x.size(i)
              : within < indices.rank() ? indices.size(within) : x.size(i - indices.rank() + 1);
    }
    return node(Node.Kind.GATHER, List.of(x, indices), Map.of("axis", along), shape);
  }

  /** The rows of {@code table} (V, ...) that int64 {@code indices} name: (indices..., ...). */
  public Tensor embedding(Tensor table, Tensor indices) {
    return gather(table, indices, 0);
  }

  /**
   * 1 for the class that is the label and 0 for the others, as distributions over K classes: (B,
   * ...) → (B, K, ...).
   *
   * @param labels int64, each in [0, K) or the one to ignore
   * @param ignoreIndex the label of places that are zeros only, or {@link Losses#IGNORE_NOTHING}
   */
  public Tensor oneHot(Tensor labels, long classes, long ignoreIndex) {
    if (labels.type() != Tensor.Type.INT64 || labels.rank() < 1 || classes < 1) {
      throw Shapes.error(
          "Cannot one hot %s: it must be int64 (B, ...), of at least one class", labels);
    }
    long[] shape = new long[labels.rank() + 1];
    shape[0] = labels.size(0);
    shape[1] = classes;
    System.arraycopy(labels.shape(), 1, shape, 2, labels.rank() - 1);
    return node(
        Node.Kind.ONE_HOT,
        List.of(labels),
        Map.of("classes", classes, "ignore-index", ignoreIndex),
        shape);
  }

  /** A kind as it stands in a sentence. */
  static String word(Node.Kind kind) {
    return kind.name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }
}
