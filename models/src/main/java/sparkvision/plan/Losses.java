package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Grid;
import sparkvision.kernels.GridLoops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;
import sparkvision.kernels.Type;

/**
 * Cross-entropy against labels, in float32.
 *
 * <p>With label smoothing s, class weights w and the sum W of the weights of all labels that are
 * not ignored, a row of logits x with label y adds [(1 − s)·w(y)·(L − x(y)) + s/K·Σ_k w(k)·(L −
 * x(k))] / W to the loss, L = log Σ exp(x). Its gradient is [((1 − s)·w(y) + s/K·Σ w)·exp(x − L) −
 * s/K·w − (1 − s)·w(y) at y] / W. Of the forward pass only L is kept, and where only hard labels
 * count their probabilities.
 */
final class Losses {

  private Losses() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.ONE_HOT, Losses::oneHot);
    kernels.put(Node.Kind.CROSS_ENTROPY, (node, l) -> new CrossEntropy(node, l).emit());
  }

  /** A row of classes per label. */
  private static void oneHot(Node node, Lowering l) {
    Tensor labels = node.input(0);
    int classes = (int) node.output().size(1);
    long ignored = node.integer("ignore-index");
    long[] strides = Value.channelsLast(node.output().shape());
    Value y = l.fresh(node.output(), Type.FLOAT32, strides);
    l.program.loop(
        "one hot",
        0,
        List.of(),
        List.of(y),
        () -> {
          Rows rows = new Rows(y.buffer(), y.type, classes);
          return team -> {
            long[] given = l.indices(labels);
            team.run(
                (m, n) -> {
                  int end = Team.share(given.length, m + 1, n);
                  for (int i = Team.share(given.length, m, n); i < end; i++) {
                    for (int k = 0; k < classes; k++) {
                      rows.set(i, k, k == given[i] && k != ignored ? 1 : 0);
                    }
                  }
                });
          };
        });
    l.bind(node.output(), y);
  }

  private static final class CrossEntropy {
    private final Node node;
    private final Lowering l;
    private final Value x; // a row per label
    private final int rows;
    private final int classes;
    private final double smoothing;
    private final long ignored;
    private final Value logSums; // L, per row
    private final int padded; // the classes, in an array for vectors
    private final float[] weights;
    private final GridLoops loops = GridLoops.best();
    private double spread; // s/K·Σ w
    private double total; // W, of the present run
    private final HardLabels hard; // null if all count

    CrossEntropy(Node node, Lowering l) {
      this.node = node;
      this.l = l;
      this.x = l.channelsLast(l.in(node, 0));
      this.rows = Concatenations.pixels(x);
      this.classes = (int) x.size(1);
      this.smoothing = node.number("smoothing");
      this.ignored = node.integer("ignore-index");
      this.logSums = l.program.rowMajor("loss", Type.FLOAT32, rows);
      this.padded = (classes + GridLoops.PARTS - 1) / GridLoops.PARTS * GridLoops.PARTS;
      this.weights = new float[padded];
      double threshold = node.number("threshold");
      this.hard =
          Double.isInfinite(threshold)
              ? null
              : new HardLabels(rows, (float) threshold, node.integer("least-kept"));
    }

    void emit() {
      Value loss = l.fresh(node.output(), Type.FLOAT32);
      Value classWeights = node.inputs().size() > 2 ? l.rowMajor(l.in(node, 2)) : null;
      l.program.loop(
          "loss",
          8.0 * x.elements(),
          classWeights == null ? List.of(x) : List.of(x, classWeights),
          List.of(loss, logSums),
          () -> {
            Grid logits = new Grid(Concatenations.rows(x), 1);
            Rows given =
                classWeights == null ? null : new Rows(classWeights.buffer(), classWeights.type, 0);
            Rows kept = new Rows(logSums.buffer(), logSums.type, 1);
            Rows result = new Rows(loss.buffer(), loss.type, 1);
            return team -> {
              long[] labels = l.indices(node.input(1));
              weigh(given);
              double sum = forward(team, logits, labels, kept);
              if (hard != null) {
                sum = hard.select(labels, ignored);
              }
              total = total(labels);
              result.set(0, total == 0 ? 0 : (float) (sum / total));
            };
          });
      l.bind(node.output(), loss);
      if (l.wants(node, 0)) {
        l.tape(this::backward);
      }
    }

    private void weigh(Rows given) {
      double sum = 0;
      for (int k = 0; k < classes; k++) {
        weights[k] = given == null ? 1 : given.get(k);
        sum += weights[k];
      }
      spread = smoothing / classes * sum;
    }

    private double total(long[] labels) {
      return IntStream.range(0, rows)
          .filter(i -> counts(labels, i))
          .mapToDouble(i -> weights[(int) labels[i]])
          .sum();
    }

    private boolean counts(long[] labels, int i) {
      return labels[i] != ignored && (hard == null || hard.counts(i));
    }

    private double forward(Team team, Grid logits, long[] labels, Rows kept) {
      double[] sums = new double[team.threads()];
      team.run(
          (m, n) -> {
            float[] row = new float[padded];
            float[] room = new float[GridLoops.PARTS];
            int end = Team.share(rows, m + 1, n);
            for (int i = Team.share(rows, m, n); i < end; i++) {
              if (labels[i] != ignored) {
                loops.read(logits, i * logits.rows().stride(), classes, row);
                int label = (int) labels[i];
                float logit = row[label];
                float mean = smoothing == 0 ? 0 : loops.product(row, weights, classes, room);
                float logSum = loops.logSumExp(row, classes, room);
                kept.set(i, logSum);
                double loss =
                    (1 - smoothing) * weights[label] * (logSum - logit)
                        + spread * logSum
                        - smoothing / classes * mean;
                sums[m] += loss;
                if (hard != null) {
                  hard.set(i, logit - logSum, loss);
                }
              }
            }
          });
      return Arrays.stream(sums).sum();
    }

    private void backward() {
      Value dy = l.gradient(node.output());
      if (dy == null) {
        return;
      }
      Value dx = l.like(x);
      l.program.loop(
          "loss",
          8.0 * x.elements(),
          List.of(x, logSums, dy),
          List.of(dx),
          () -> {
            Grid logits = new Grid(Concatenations.rows(x), 1);
            Grid target = new Grid(Concatenations.rows(dx), 1);
            Rows kept = new Rows(logSums.buffer(), logSums.type, 1);
            Rows given = new Rows(dy.buffer(), dy.type, 1);
            float[] targets = new float[padded];
            return team -> {
              double factor = total == 0 ? 0 : given.get(0) / total;
              for (int k = 0; k < classes; k++) {
                targets[k] = (float) (factor * smoothing / classes * weights[k]);
              }
              long[] labels = l.indices(node.input(1));
              team.run(
                  (m, n) -> {
                    float[] row = new float[padded];
                    int end = Team.share(rows, m + 1, n);
                    for (int i = Team.share(rows, m, n); i < end; i++) {
                      if (!counts(labels, i)) {
                        Arrays.fill(row, 0);
                      } else {
                        int label = (int) labels[i];
                        double own = factor * (1 - smoothing) * weights[label];
                        loops.read(logits, i * logits.rows().stride(), classes, row);
                        loops.softmaxGradient(
                            row, kept.get(i), (float) (own + factor * spread), targets, classes);
                        row[label] -= (float) own;
                      }
                      loops.write(row, target, i * target.rows().stride(), classes);
                    }
                  });
            };
          });
      l.contribute(node, 0, dx);
    }
  }

  /** Which labels are hard: those with a small probability. */
  private static final class HardLabels {
    private final float threshold;
    private final long leastKept;
    private final float[] probabilities; // of the labels
    private final double[] losses;
    private float limit;

    HardLabels(int labels, float threshold, long leastKept) {
      this.threshold = threshold;
      this.leastKept = leastKept;
      this.probabilities = new float[labels];
      this.losses = new double[labels];
    }

    void set(int label, float logProbability, double loss) {
      probabilities[label] = (float) Math.exp(logProbability);
      losses[label] = loss;
    }

    /** Decides by all labels that are not ignored; returns the loss of the hard ones. */
    double select(long[] labels, long ignored) {
      float[] sorted = new float[labels.length];
      int valid = 0;
      for (int i = 0; i < labels.length; i++) {
        if (labels[i] != ignored) {
          sorted[valid++] = probabilities[i];
        }
      }
      Arrays.sort(sorted, 0, valid);
      limit =
          valid == 0
              ? threshold
              : Math.max(threshold, sorted[(int) Math.min(leastKept, valid - 1)]);
      double sum = 0;
      for (int i = 0; i < labels.length; i++) {
        sum += labels[i] != ignored && counts(i) ? losses[i] : 0;
      }
      return sum;
    }

    boolean counts(int label) {
      return probabilities[label] < limit;
    }
  }
}
