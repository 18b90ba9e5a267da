package sparkvision.plan;

import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.AttentionLoops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/**
 * Criss-cross attention and its gradients: {@link Attention} with every row of the map as a head,
 * and once more with every column, in which a pixel does not attend to itself.
 *
 * <p>A softmax over both is a mean of the two softmaxes, weighted with their sums of powers. With r
 * = log Σ exp(scores) of the row, c of the column and l = log(exp r + exp c) of both:
 *
 * <pre>
 *   y = exp(r − l)·y of the row + exp(c − l)·y of the column
 * </pre>
 *
 * <p>Backward, l and Σ y∘dy are all that a row has to know of the columns, and a column of the
 * rows: each adds its share to the gradients. The map, N·(H + W), exists nowhere; kept between the
 * passes is l. Without a second row there is no column to attend to.
 *
 * @see <a href="https://arxiv.org/abs/1811.11721">Huang et al., CCNet, 2019, section 3.2</a>
 */
final class CrissCross {

  private final Node node;
  private final Lowering l;
  private final Value y; // (B, C, H, W), channels last
  private final Value rowLogs; // (B·H, W): −l
  private final Value columnLogs; // (B·W, H), the same numbers
  private final Attention ofRows;
  private final Attention ofColumns;

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CRISS_CROSS, (node, l) -> new CrissCross(node, l).emit());
  }

  private CrissCross(Node node, Lowering l) {
    this.node = node;
    this.l = l;
    Value q = input(0);
    Value k = input(1);
    Value v = input(2);
    this.y = fresh();
    this.rowLogs = Attention.logs(l, rows(q));
    this.columnLogs = Attention.logs(l, columns(q));
    this.ofRows = new Attention(l, rows(q), rows(k), rows(v), rowLogs, 1, true);
    this.ofColumns = new Attention(l, columns(q), columns(k), columns(v), columnLogs, 1, false);
  }

  private Value input(int index) {
    return l.cast(l.rows(l.in(node, index)), l.compute);
  }

  private Value fresh() {
    return l.fresh(node.output(), l.compute, Value.channelsLast(node.output().shape()));
  }

  /** (B, C, H, W) as (B, H, W, C). */
  private static Value rows(Value x) {
    return x == null ? null : x.permuted(0, 2, 3, 1);
  }

  /** (B, C, H, W) as (B, W, H, C). */
  private static Value columns(Value x) {
    return x == null ? null : x.permuted(0, 3, 2, 1);
  }

  private boolean hasColumns() {
    return y.size(2) > 1;
  }

  private void emit() {
    ofRows.forward(rows(y));
    if (hasColumns()) {
      Value apart = fresh();
      ofColumns.forward(columns(apart));
      join(apart);
    }
    l.bind(node.output(), y);
    if (l.wantsAny(node)) {
      l.tape(this::backward);
    }
  }

  /** What the columns gave is added to what the rows gave, and l takes the place of r and c. */
  private void join(Value apart) {
    l.program.loop(
        "attention",
        3.0 * y.elements(),
        List.of(apart, y, rowLogs, columnLogs),
        List.of(y, rowLogs, columnLogs),
        () -> {
          int height = (int) y.size(2);
          int width = (int) y.size(3);
          int pixels = Math.toIntExact(rowLogs.elements());
          FloatBuffer inRows = rowLogs.buffer().asFloatBuffer();
          FloatBuffer inColumns = columnLogs.buffer().asFloatBuffer();
          float[] ofApart = new float[pixels];
          float[] ofY = new float[pixels];
          Rows from = pixels(apart);
          Rows to = pixels(y);
          AttentionLoops loops = AttentionLoops.best();
          Team.Work work =
              (m, n) -> {
                int first = Team.share(pixels, m, n);
                int end = Team.share(pixels, m + 1, n);
                for (int i = first; i < end; i++) {
                  int row = i / width % height;
                  int place = (i / width / height * width + i % width) * height + row;
                  float c = inColumns.get(place);
                  float r = inRows.get(i);
                  float least = Math.min(c, r);
                  float log = least - (float) Math.log1p(Math.exp(least - Math.max(c, r)));
                  ofApart[i] = (float) Math.exp(log - c);
                  ofY[i] = (float) Math.exp(log - r);
                  inRows.put(i, log);
                  inColumns.put(place, log);
                }
                loops.mixRows(from, to, (int) y.size(1), first, end, ofApart, ofY);
              };
          return team -> team.run(work);
        });
  }

  private static Rows pixels(Value x) {
    return new Rows(x.buffer(), x.type, (int) x.size(1));
  }

  private void backward() {
    Value given = l.gradient(node.output());
    if (given == null) {
      return;
    }
    Value dy = l.cast(l.rows(given), l.compute);
    Value[] gradients = new Value[3];
    for (int i = 0; i < gradients.length; i++) {
      Tensor input = node.input(i);
      gradients[i] =
          l.wants(node, i)
              ? l.fresh(input, l.in(node, i).type, Value.channelsLast(input.shape()))
              : null;
    }
    backward(ofRows, CrissCross::rows, dy, gradients, false);
    if (hasColumns()) {
      backward(ofColumns, CrissCross::columns, dy, gradients, true);
    }
    for (int i = 0; i < gradients.length; i++) {
      if (gradients[i] != null) {
        l.contribute(node, i, gradients[i]);
      }
    }
  }

  private void backward(
      Attention of, UnaryOperator<Value> lines, Value dy, Value[] gradients, boolean adding) {
    Value[] parts = Arrays.stream(gradients).map(lines).toArray(Value[]::new);
    of.backward(lines.apply(y), lines.apply(dy), parts, adding);
  }
}
