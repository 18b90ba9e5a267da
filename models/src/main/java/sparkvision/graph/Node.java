package sparkvision.graph;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * One word of the vocabulary, used once: what an engine has to compute.
 *
 * <p>Shapes follow from {@code outputs}. Attributes are numbers, texts and lists of whole numbers;
 * nothing that a node holds can be changed. Axes in attributes count from 0 and are never negative.
 */
public record Node(
    Kind kind, List<Tensor> inputs, List<Tensor> outputs, Map<String, Object> attributes) {

  /**
   * The words: their inputs → output; their attributes.
   *
   * <p>A <em>primitive</em> is a kernel in every engine. A <em>region</em> is short for other
   * words, its composite: an engine that has no kernel for it asks for {@link Graph#lowered}.
   *
   * <p>Lists named kernel, stride, padding, padding-after, output-padding, dilation and size hold
   * one entry per spatial axis, 1 to 3 of them for convolutions and resizing, 2 or 3 for pools.
   */
  public enum Kind {
    // Windows over (B, C, ...).

    /**
     * x (B, C, ...), weight (O, C/groups, k...) [, bias (O)] → cross-correlation (B, O, ...);
     * kernel, stride, padding (zeros before), padding-after, dilation, groups.
     */
    CONV,
    /**
     * x (B, C, ...), weight (C, O/groups, k...) [, bias (O)] → (B, O, ...), the gradient of a
     * convolution with respect to its input; kernel, stride, padding, output-padding, dilation,
     * groups. Sizes: (n − 1)·stride − 2·padding + dilation·(k − 1) + output-padding + 1.
     */
    CONV_TRANSPOSE,
    /** x → maxima, padded with minus infinity; kernel, stride, padding (≤ kernel / 2). */
    MAX_POOL,
    /**
     * x → means; kernel, stride, padding (≤ kernel / 2), count-padding: 1 if the padding counts as
     * zeros, 0 if means are taken over what lies inside x.
     */
    AVERAGE_POOL,
    /** x → means of bins; size. Bin i of s over n pixels is [⌊i·n/s⌋, ⌈(i + 1)·n/s⌉). */
    ADAPTIVE_AVERAGE_POOL,
    /** x → maxima of the bins of {@link #ADAPTIVE_AVERAGE_POOL}; size. */
    ADAPTIVE_MAX_POOL,
    /** Region. x (B, C, ...) → means (B, C). */
    GLOBAL_AVERAGE_POOL,
    /**
     * x (B, C, ...) → values between the pixels, as PyTorch's {@code interpolate}; mode: nearest,
     * linear or cubic, align-corners: 0 or 1. {@link Resize} has the weights.
     */
    RESIZE,

    // Normalisations.

    /**
     * Region in inference, a primitive in training. x (B, C, ...), weight, bias, running mean,
     * running variance [, batch counter] → normalised x; epsilon, momentum. In training the last
     * inputs, from the running mean on, are state that the node also changes.
     */
    BATCH_NORM,
    /** Region. x (..., C), weight (C), bias (C) → x normalised over the last axis; epsilon. */
    LAYER_NORM,
    /**
     * Region. x (B, C, ...), weight (C), bias (C) → x normalised over each group of channels and
     * their pixels; groups, epsilon.
     */
    GROUP_NORM,
    /**
     * Region. x (..., C), weight (C) → x / √(mean of x² over the last axis + ε)·weight; epsilon.
     */
    RMS_NORM,

    // Products.

    /**
     * a (..., M, K), b (..., K, N) of the same batch axes → (..., M, N); transpose-a, transpose-b:
     * 1 if the last two axes of a, of b, are the other way round.
     */
    MATMUL,
    /** Region. x (..., I), weight (O, I) [, bias (O)] → (..., O). */
    LINEAR,
    /**
     * Region. q (..., N, d), k (..., M, d), v (..., M, e) of the same batch axes → softmax(scale ·
     * q·kᵀ)·v (..., N, e); scale.
     */
    ATTENTION,
    /**
     * Region. q (B, R, H, W), k (B, R, H, W), v (B, C, H, W) → for every pixel the mean of v over
     * its column and its row (B, C, H, W), weighted by one softmax of q·k over those H + W − 1.
     */
    CRISS_CROSS,
    /**
     * Region. x (B, E, L), weight (E, 1, k) with k up to {@link Shapes#MOST_TAPS}, bias (E) → silu
     * of each channel's causal convolution (B, E, L); backward: 1 if it is causal from the last
     * element to the first.
     */
    CAUSAL_CONV,
    /**
     * Region. u, delta (B, E, L), a (E, N) negative, b, c (B, N, L), d (E), z (B, E, L), delta-bias
     * (E) → y·silu(z) (B, E, L), where y is what a state of N numbers per channel gives along L;
     * backward: 1 if it runs from the last element to the first. {@link Graph#selectiveScan} has
     * the recurrence. With a second u, delta, a, b, c, d and delta-bias behind these: y is the sum
     * of this and of what they give in the other direction.
     */
    SELECTIVE_SCAN,

    // Functions of one tensor that keep its shape.

    /** x → exp(x) / Σ exp(x) along an axis; axis. */
    SOFTMAX,
    /** x → x − log Σ exp(x) along an axis; axis. */
    LOG_SOFTMAX,
    /** x → max(x, 0). */
    RELU,
    /** x → x, or slope·x where x is negative; slope. */
    LEAKY_RELU,
    /** x → x·Φ(x) with the normal distribution Φ, the exact form with erf. */
    GELU,
    /** x → x·σ(x). */
    SILU,
    /** x → σ(x) = 1 / (1 + exp(−x)). */
    SIGMOID,
    /** x → tanh(x). */
    TANH,
    /** x → log(1 + exp(x)); x itself above 20. */
    SOFTPLUS,
    /** x → exp(x). */
    EXP,
    /** x → the natural logarithm. */
    LOG,
    /** x → √x. */
    SQRT,
    /** x → 1 / √x. */
    RSQRT,
    /** x → |x|, with gradient 0 at 0. */
    ABS,
    /** x → x to the power of a constant; exponent. */
    POWER,
    /** x → scale·x + shift with constants; scale, shift. */
    AFFINE,

    // Arithmetic, element by element: shapes are broadcast as in NumPy, on either side.

    /** x, y → x + y; float32 (may be missing): 1 if it is not to be kept more coarsely. */
    ADD,
    /** x, y → x − y. */
    SUBTRACT,
    /** x, y → x·y. */
    MULTIPLY,
    /** x, y → x / y. */
    DIVIDE,

    // Reductions: axes (sorted), keep: 1 if the axes stay, with size 1.

    /** x → sums over axes; axes, keep. */
    SUM,
    /** x → means over axes; axes, keep. */
    MEAN,
    /**
     * x → maxima over axes; axes, keep. The gradient goes to the first maximum, in row-major order
     * of the reduced axes.
     */
    MAX,

    // Moving elements.

    /** Any number of tensors → joined along an axis; axis. */
    CONCAT,
    /** x → a part of it; begin, end (exclusive) and step (≥ 1), one entry per axis. */
    SLICE,
    /** x → x inside a border; before, after (one entry per axis), value. */
    PAD,
    /** x → output axis i is input axis axes[i]; axes. */
    PERMUTE,
    /** x → the same elements in row-major order, in the shape of the output. */
    RESHAPE,
    /** x → x with axes run backwards; axes. */
    FLIP,
    /**
     * x, int64 indices of any shape → the places of x along an axis that they name, in the shape
     * {@code x[..axis) + indices + x(axis..]}; axis. Engines throw {@code Invalid index: ...} for
     * one outside when they run.
     */
    GATHER,

    // Noise.

    /**
     * x → x with some elements zeroed and the others scaled; rate, mask (x's rank; 1 on axes whose
     * elements share their fate, x's size on the others), index (tells one dropout of the graph
     * from another). Which ones: {@link Dropout}.
     */
    DROPOUT,

    // Losses.

    /**
     * int64 labels (B, ...) → (B, K, ...), 1 for the class that is the label and 0 for the others;
     * classes, ignore-index: the label whose places are zeros only ({@link Losses#IGNORE_NOTHING}:
     * none). Engines throw {@code Invalid label: ...} for any other one when they run.
     */
    ONE_HOT,
    /**
     * Logits (B, K, ...), int64 labels (B, ...) [, class weights (K)] → the mean cross-entropy, a
     * scalar; smoothing, ignore-index ({@link Losses#IGNORE_NOTHING}: none), threshold (infinite:
     * every place counts) and least-kept. {@link Losses#crossEntropy} and {@link
     * Losses#hardCrossEntropy} have the formulas. Class weights get no gradient.
     */
    CROSS_ENTROPY,
    /**
     * Region. Logits (B, K, ...), target of the same shape → the mean over all but the class axis
     * of −Σ target·log softmax(logits), a scalar.
     */
    SOFT_CROSS_ENTROPY;

    /** Whether this is short for other words. */
    public boolean isRegion() {
      return switch (this) {
        case GLOBAL_AVERAGE_POOL,
            BATCH_NORM,
            LAYER_NORM,
            GROUP_NORM,
            RMS_NORM,
            LINEAR,
            ATTENTION,
            CRISS_CROSS,
            CAUSAL_CONV,
            SELECTIVE_SCAN,
            SOFT_CROSS_ENTROPY ->
            true;
        default -> false;
      };
    }

    /** Whether the input at {@code index} is int64; all others are float. */
    boolean takesIntegers(int index) {
      return switch (this) {
        case BATCH_NORM -> index == 5;
        case ONE_HOT -> index == 0;
        case CROSS_ENTROPY, GATHER -> index == 1;
        default -> false;
      };
    }
  }

  public Node {
    inputs = List.copyOf(inputs);
    outputs = List.copyOf(outputs);
    Map<String, Object> frozen = new HashMap<>(attributes);
    frozen.replaceAll((name, value) -> frozen(value));
    attributes = Map.copyOf(frozen);
  }

  private static Object frozen(Object value) {
    return value instanceof long[] sizes
        ? Arrays.stream(sizes).boxed().toList() // arrays could be changed from outside
        : value;
  }

  public Tensor input(int index) {
    return inputs.get(index);
  }

  /** The only output. */
  public Tensor output() {
    return outputs.get(0);
  }

  /** An attribute that is a list of whole numbers, as a copy. */
  public long[] sizes(String attribute) {
    return ((List<?>) attributes.get(attribute))
        .stream().mapToLong(size -> ((Number) size).longValue()).toArray();
  }

  /** An attribute that is a number. */
  public double number(String attribute) {
    return ((Number) attributes.get(attribute)).doubleValue();
  }

  /** An attribute that is a whole number. */
  public long integer(String attribute) {
    return ((Number) attributes.get(attribute)).longValue();
  }

  /** An attribute that is one of a few texts. */
  public String text(String attribute) {
    return (String) attributes.get(attribute);
  }
}
