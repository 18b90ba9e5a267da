package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.kernels.Type;

/** Cross-entropy against labels, in float32 and computed on the heap: logits are few. */
final class Losses {

  private Losses() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.CROSS_ENTROPY, Losses::crossEntropy);
  }

  private static void crossEntropy(Node node, Lowering l) {
    Value logits = l.cast(l.rowMajor(l.in(node, 0)), Type.FLOAT32);
    int batch = (int) logits.size(0);
    int classes = (int) logits.size(1);
    double smoothing = node.number("smoothing");
    Value loss = l.fresh(node.output(), Type.FLOAT32);
    Value gradient = l.fresh(node.input(0), Type.FLOAT32); // for a gradient of the loss of 1
    l.program.loop(
        "loss",
        8.0 * logits.elements(),
        List.of(logits),
        List.of(loss, gradient),
        () -> {
          float[] x = new float[batch * classes];
          float[] dx = new float[batch * classes];
          float[] result = new float[1];
          return team -> {
            long[] labels = l.indices(node.input(1));
            logits.read(x);
            double total = 0;
            for (int b = 0; b < batch; b++) {
              if (labels[b] < 0 || labels[b] >= classes) {
                throw new IllegalArgumentException(
                    String.format(
                        "Invalid label: %d (the model has %d classes, numbered from 0)",
                        labels[b], classes));
              }
              int row = b * classes;
              double most = Double.NEGATIVE_INFINITY;
              for (int k = 0; k < classes; k++) {
                most = Math.max(most, x[row + k]);
              }
              double sum = 0;
              double mean = 0;
              for (int k = 0; k < classes; k++) {
                sum += Math.exp(x[row + k] - most);
                mean += x[row + k] / (double) classes;
              }
              double log = most + Math.log(sum);
              int label = row + (int) labels[b];
              total += log - (1 - smoothing) * x[label] - smoothing * mean;
              for (int k = 0; k < classes; k++) {
                double target = smoothing / classes + (row + k == label ? 1 - smoothing : 0);
                dx[row + k] = (float) ((Math.exp(x[row + k] - log) - target) / batch);
              }
            }
            result[0] = (float) (total / batch);
            loss.write(result);
            gradient.write(dx);
          };
        });
    l.bind(node.output(), loss);
    if (l.wants(node, 0)) {
      l.tape(
          () -> {
            Value dy = l.gradient(node.output());
            if (dy != null) {
              long[] ones = new long[logits.rank()];
              Arrays.fill(ones, 1);
              Value dx = l.like(gradient);
              l.binary(
                  org.bytedeco.dnnl.global.dnnl.dnnl_binary_mul, gradient, dy.reshaped(ones), dx);
              l.contribute(node, 0, dx);
            }
          });
    }
  }
}
