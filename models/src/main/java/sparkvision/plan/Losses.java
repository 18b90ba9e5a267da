package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
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
 * s/K·w − (1 − s)·w(y) at y] / W. Of the forward pass only L is kept.
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
                sums[m] +=
                    (1 - smoothing) * weights[label] * (logSum - logit)
                        + spread * logSum
                        - smoothing / classes * mean;
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
                      if (labels[i] == ignored) {
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
}
