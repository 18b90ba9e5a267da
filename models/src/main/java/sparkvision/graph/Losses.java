package sparkvision.graph;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Ends of a training graph: scalars to minimise. */
public final class Losses {

  /** The index to ignore where none is to be ignored. */
  public static final long IGNORE_NOTHING = Long.MIN_VALUE;

  /** Every place counts: no probability reaches this threshold. */
  private static final Map<String, Object> ALL =
      Map.of("threshold", Double.POSITIVE_INFINITY, "least-kept", 0L);

  private Losses() {}

  /** Cross-entropy that ignores no label and weights all classes alike. */
  public static Tensor crossEntropy(Graph g, Tensor logits, Tensor labels, double labelSmoothing) {
    return crossEntropy(g, logits, labels, labelSmoothing, IGNORE_NOTHING);
  }

  /** Cross-entropy that weights all classes alike. */
  public static Tensor crossEntropy(
      Graph g, Tensor logits, Tensor labels, double labelSmoothing, long ignoreIndex) {
    return crossEntropy(g, List.of(logits, labels), labelSmoothing, ignoreIndex, ALL);
  }

  /**
   * Cross-entropy of softmax(logits) over axis 1 against the labels: a mean over batch and pixels.
   *
   * <p>With label smoothing s, class weights w (1 without) and p = softmax(logits), what is
   * minimised is Σ [(1 − s)·w(label)·(−log p(label)) + s/K·Σ_k w(k)·(−log p(k))] / Σ w(label),
   * where the outer sums run over all places whose label is not ignored; 0 if all are. Without
   * weights that is the mean against the target 1 − s + s/K for the label and s/K for the others.
   * The same as PyTorch's {@code cross_entropy}.
   *
   * @param logits (B, K, ...)
   * @param labels int64 (B, ...), each in [0, K) or the one to ignore
   * @param labelSmoothing in [0, 1)
   * @param ignoreIndex the label of places that do not count, or {@link #IGNORE_NOTHING}
   * @param classWeights (K), without gradient
   * @see <a href="https://arxiv.org/abs/1512.00567">Szegedy et al., Rethinking the Inception
   *     Architecture, 2015, section 7</a>
   */
  public static Tensor crossEntropy(
      Graph g,
      Tensor logits,
      Tensor labels,
      double labelSmoothing,
      long ignoreIndex,
      Tensor classWeights) {
    if (logits.rank() < 2 || !Arrays.equals(classWeights.shape(), new long[] {logits.size(1)})) {
      throw Shapes.error(
          "Cannot build cross-entropy: class weights must be (K), found %s for logits %s",
          classWeights, logits);
    }
    return crossEntropy(g, List.of(logits, labels, classWeights), labelSmoothing, ignoreIndex, ALL);
  }

  /**
   * {@link #crossEntropy} over the hard places alone (online hard example mining): those whose
   * label has a probability below max(threshold, p), where p is the {@code leastKept}-th smallest
   * of these probabilities in the batch, counted from 0, or the greatest if there are fewer.
   *
   * <p>So at least {@code leastKept} places count, if there are so many and no two are alike. The
   * mean is over the places that count, as in CCNet's and openseg's code, whose threshold is 0.7 of
   * 100,000 pixels; mmsegmentation divides by all.
   *
   * @param threshold in [0, 1]
   * @param leastKept at least 0
   * @see <a href="https://arxiv.org/abs/1604.03540">Shrivastava et al., Training Region-based
   *     Object Detectors with Online Hard Example Mining, 2016</a>
   * @see <a
   *     href="https://github.com/openseg-group/openseg.pytorch/blob/master/lib/loss/loss_helper.py">openseg's
   *     {@code FSOhemCELoss}</a>
   */
  public static Tensor hardCrossEntropy(
      Graph g,
      Tensor logits,
      Tensor labels,
      double labelSmoothing,
      long ignoreIndex,
      double threshold,
      long leastKept) {
    if (!(threshold >= 0 && threshold <= 1)) {
      throw Shapes.error("Invalid threshold: %s (must be in [0, 1])", threshold);
    }
    if (leastKept < 0) {
      throw Shapes.error("Invalid least-kept: %s (must be >= 0)", leastKept);
    }
    Map<String, Object> hard = Map.of("threshold", threshold, "least-kept", leastKept);
    return crossEntropy(g, List.of(logits, labels), labelSmoothing, ignoreIndex, hard);
  }

  private static Tensor crossEntropy(
      Graph g,
      List<Tensor> inputs,
      double labelSmoothing,
      long ignoreIndex,
      Map<String, Object> kept) {
    Tensor logits = inputs.get(0);
    Tensor labels = inputs.get(1);
    requireLabels("cross-entropy", logits, labels);
    if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
      throw Shapes.error("Invalid label-smoothing: %s (must be in [0, 1))", labelSmoothing);
    }
    Map<String, Object> attributes = new HashMap<>(kept);
    attributes.put("smoothing", labelSmoothing);
    attributes.put("ignore-index", ignoreIndex);
    return g.node(Node.Kind.CROSS_ENTROPY, inputs, attributes);
  }

  /**
   * Cross-entropy of softmax(logits) over axis 1 against distributions, as label mixing makes them:
   * the mean over batch and pixels of −Σ_k target(k)·log p(k).
   *
   * @param logits (B, K, ...)
   * @param target (B, K, ...)
   */
  public static Tensor softCrossEntropy(Graph g, Tensor logits, Tensor target) {
    requireSameShape("soft cross-entropy", logits, target, 2);
    return g.node(Node.Kind.SOFT_CROSS_ENTROPY, List.of(logits, target), Map.of());
  }

  /**
   * Soft Dice loss: 1 − the mean over batch and all classes (with the background) of (2·Σ p·t + s)
   * / (Σ p + Σ t + s), the sums over pixels.
   *
   * <p>The sums in the denominator are not squared, as in Attention U-Net's code and unlike V-Net's
   * equation; that code has 2·s in the numerator, which makes a class that is nowhere better than
   * perfect, so here it is s.
   *
   * @param probabilities p (B, K, ...), after softmax or sigmoid
   * @param target t (B, K, ...), 1 for the class of a pixel and 0 for the others
   * @param smooth s > 0, in pixels
   * @see <a href="https://arxiv.org/abs/1606.04797">Milletari et al., V-Net, 2016, section 3</a>
   */
  public static Tensor dice(Graph g, Tensor probabilities, Tensor target, double smooth) {
    requireSameShape("dice", probabilities, target, 3);
    if (!(smooth > 0 && smooth < Double.POSITIVE_INFINITY)) {
      throw Shapes.error("Invalid smooth: %s (must be > 0)", smooth);
    }
    long[] rows = {probabilities.size(0), probabilities.size(1), -1};
    Tensor p = g.reshape(probabilities, rows); // (B, K, S)
    Tensor t = g.reshape(target, rows);
    Tensor overlap = g.affine(g.sum(g.multiply(p, t), 2), 2, smooth); // (B, K)
    Tensor total = g.addConstant(g.sum(g.add(p, t), 2), smooth);
    return g.affine(g.mean(g.divide(overlap, total)), -1, 1);
  }

  /**
   * {@link #dice} of softmax(logits) over axis 1 against labels; pixels to ignore count in no sum.
   *
   * @param logits (B, K, ...)
   * @param labels int64 (B, ...), each in [0, K) or the one to ignore
   * @param smooth s > 0, in pixels; 0.01 in Attention U-Net's code
   * @param ignoreIndex the label of pixels that do not count, or {@link #IGNORE_NOTHING}
   */
  public static Tensor softDice(
      Graph g, Tensor logits, Tensor labels, double smooth, long ignoreIndex) {
    requireLabels("soft dice", logits, labels);
    Tensor target = g.oneHot(labels, logits.size(1), ignoreIndex); // (B, K, ...)
    Tensor probabilities = g.softmax(logits, 1);
    if (ignoreIndex != IGNORE_NOTHING) {
      Tensor counts = g.sumKeep(target, 1); // (B, 1, ...), 0 for pixels to ignore
      probabilities = g.multiply(probabilities, counts);
    }
    return dice(g, probabilities, target, smooth);
  }

  /**
   * Binary cross-entropy of σ(logits) against targets in [0, 1], the mean over all elements: that
   * of softplus(x) − x·t, which cannot overflow.
   *
   * @param target of the shape of {@code logits}
   */
  public static Tensor bceWithLogits(Graph g, Tensor logits, Tensor target) {
    requireSameShape("binary cross-entropy", logits, target, 0);
    return g.mean(g.subtract(g.softplus(logits), g.multiply(logits, target)));
  }

  /**
   * The mean over all elements of d²/(2·beta) where d = |x − target| < beta, else of d − beta/2.
   *
   * @param target of the shape of {@code x}
   * @param beta where the parabola becomes a line; 0 for the plain mean of d
   * @see <a href="https://arxiv.org/abs/1504.08083">Girshick, Fast R-CNN, 2015, equation 3</a>
   */
  public static Tensor smoothL1(Graph g, Tensor x, Tensor target, double beta) {
    requireSameShape("smooth L1", x, target, 0);
    if (!(beta >= 0 && beta < Double.POSITIVE_INFINITY)) {
      throw Shapes.error("Invalid beta: %s (must be >= 0)", beta);
    }
    Tensor distance = g.abs(g.subtract(x, target));
    if (beta == 0) {
      return g.mean(distance);
    }
    Tensor beyond = g.relu(g.addConstant(distance, -beta));
    Tensor within = g.subtract(distance, beyond); // the smaller of distance and beta
    return g.mean(g.add(g.scale(g.square(within), 0.5 / beta), beyond));
  }

  /**
   * What a discriminator minimises: the mean of max(0, 1 − real) plus that of max(0, 1 + fake).
   *
   * @param real scores of true samples, of any shape
   * @param fake scores of made-up samples, of any shape
   * @see <a href="https://arxiv.org/abs/1705.02894">Lim and Ye, Geometric GAN, 2017, section 3</a>
   */
  public static Tensor hingeDiscriminator(Graph g, Tensor real, Tensor fake) {
    Tensor ofReal = g.mean(g.relu(g.affine(real, -1, 1)));
    Tensor ofFake = g.mean(g.relu(g.addConstant(fake, 1)));
    return g.add(ofReal, ofFake);
  }

  /** What a generator minimises: minus the mean score of its samples. */
  public static Tensor hingeGenerator(Graph g, Tensor fake) {
    return g.negate(g.mean(fake));
  }

  /** Σ x·weights over all elements: its gradient with respect to x is {@code weights}. */
  public static Tensor weightedSum(Graph g, Tensor x, Tensor weights) {
    requireSameShape("weighted sum", x, weights, 0);
    return g.sum(g.multiply(x, weights));
  }

  private static void requireLabels(String what, Tensor logits, Tensor labels) {
    if (logits.rank() < 2
        || labels.type() != Tensor.Type.INT64
        || !Arrays.equals(labels.shape(), Shapes.reduced(logits, new long[] {1}, false))) {
      throw Shapes.error(
          "Cannot build %s: logits must be (B, K, ...) and labels int64 (B, ...), found %s and %s",
          what, logits, labels);
    }
  }

  private static void requireSameShape(String what, Tensor x, Tensor target, int leastRank) {
    if (x.rank() < leastRank || !Arrays.equals(x.shape(), target.shape())) {
      throw Shapes.error(
          "Cannot build %s: %s and %s must be of one shape%s",
          what, x, target, leastRank == 0 ? "" : " with at least " + leastRank + " axes");
    }
  }
}
