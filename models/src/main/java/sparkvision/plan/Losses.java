package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import sparkvision.graph.Node;
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
 * s/K·w − (1 − s)·w(y) at y] / W. Of the forward pass only L is kept.
 */
final class Losses {

  private Losses() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CROSS_ENTROPY, (node, l) -> new CrossEntropy(node, l).emit());
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
    private final float[] weights;
    private final GridLoops loops = GridLoops.best();
    private double spread; // s/K·Σ w
    private double total; // W, of the present run

    CrossEntropy(Node node, Lowering l) {
      this.node = node;
      this.l = l;
      this.x = l.channelsLast(l.in(node, 0));
      this.rows = Concatenations.pixels(x);
      this.classes = (int) x.size(1);
      this.smoothing = node.number("smoothing");
      this.ignored = node.integer("ignore-index");
      this.logSums = l.program.rowMajor("loss", Type.FLOAT32, rows);
      this.weights = new float[classes];
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
              requireLabels(labels);
              weigh(given, labels);
              double sum = forward(team, logits, labels, kept);
              result.set(0, total == 0 ? 0 : (float) (sum / total));
            };
          });
      l.bind(node.output(), loss);
      if (l.wants(node, 0)) {
        l.tape(this::backward);
      }
    }

    private void requireLabels(long[] labels) {
      for (long label : labels) {
        if (label != ignored && (label < 0 || label >= classes)) {
          throw new IllegalArgumentException(
              String.format(
                  "Invalid label: %d (the model has %d classes, numbered from 0)", label, classes));
        }
      }
    }

    private void weigh(Rows given, long[] labels) {
      double sum = 0;
      for (int k = 0; k < classes; k++) {
        weights[k] = given == null ? 1 : given.get(k);
        sum += weights[k];
      }
      spread = smoothing / classes * sum;
      total =
          LongStream.of(labels)
              .filter(label -> label != ignored)
              .mapToDouble(label -> weights[(int) label])
              .sum();
    }

    private double forward(Team team, Grid logits, long[] labels, Rows kept) {
      double[] sums = new double[team.threads()];
      team.run(
          (m, n) -> {
            float[] room = new float[GridLoops.PARTS];
            int end = Team.share(rows, m + 1, n);
            for (int row = Team.share(rows, m, n); row < end; row++) {
              if (labels[row] != ignored) {
                int at = row * logits.rows().stride();
                float logSum = loops.logSumExp(logits, at, classes, room);
                kept.set(row, logSum);
                sums[m] += loss(logits.rows(), at, logSum, (int) labels[row]);
              }
            }
          });
      return Arrays.stream(sums).sum();
    }

    private double loss(Rows logits, int at, float logSum, int label) {
      double own = (1 - smoothing) * weights[label] * (logSum - logits.get(at + label));
      if (smoothing == 0) {
        return own;
      }
      double sum = 0;
      for (int k = 0; k < classes; k++) {
        sum += (double) weights[k] * logits.get(at + k);
      }
      return own + spread * logSum - smoothing / classes * sum;
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
            float[] targets = new float[classes];
            return team -> {
              double factor = total == 0 ? 0 : given.get(0) / total;
              for (int k = 0; k < classes; k++) {
                targets[k] = (float) (factor * smoothing / classes * weights[k]);
              }
              long[] labels = l.indices(node.input(1));
              team.run(
                  (m, n) -> {
                    int end = Team.share(rows, m + 1, n);
                    for (int row = Team.share(rows, m, n); row < end; row++) {
                      gradient(logits, kept, labels[row], target, row, factor, targets);
                    }
                  });
            };
          });
      l.contribute(node, 0, dx);
    }

    private void gradient(
        Grid logits, Rows logSums, long label, Grid dx, int row, double factor, float[] targets) {
      int from = row * logits.rows().stride();
      int to = row * dx.rows().stride();
      if (label == ignored) {
        for (int k = 0; k < classes; k++) {
          dx.rows().set(to + k, 0);
        }
        return;
      }
      double own = factor * (1 - smoothing) * weights[(int) label];
      float scale = (float) (own + factor * spread);
      float logSum = logSums.get(row);
      float spared = targets[(int) label];
      // The label's own element once more, in one go: in bfloat16 two roundings would show.
      float probability = (float) Math.exp(logits.rows().get(from + (int) label) - logSum);
      loops.logitsGradient(logits, from, logSum, scale, targets, dx, to, classes);
      dx.rows().set(to + (int) label, (float) ((double) scale * probability - spared - own));
    }
  }
}
