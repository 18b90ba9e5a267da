package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;
import sparkvision.graph.Tensor;
import sparkvision.kernels.Loops;
import sparkvision.kernels.Rows;
import sparkvision.kernels.Team;

/** Batch norm, with the ReLU behind it if there is one. Layout: channels last. */
final class Norms {

  private Norms() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.BATCH_NORM, Norms::batchNorm);
  }

  private static void batchNorm(Node node, Lowering l) {
    Value x = l.rows(l.in(node, 0));
    Node relu = l.soleConsumer(node.output(), Node.Kind.RELU);
    Tensor output = relu == null ? node.output() : relu.output();
    if (relu != null) {
      l.absorb(relu);
    }
    if (l.training) {
      new BatchNorm(node, l, x, output, relu != null).emit();
    } else {
      inference(node, l, x, output, relu != null);
    }
  }

  // Inference.

  private static void inference(Node node, Lowering l, Value x, Tensor output, boolean relu) {
    Value y = l.fresh(output, l.compute, Value.channelsLast(output.shape()));
    Value[] coefficients = runningCoefficients(node, l);
    int channels = (int) x.size(1);
    l.program.loop(
        "norm",
        2.0 * y.elements(),
        List.of(x, coefficients[0], coefficients[1]),
        List.of(y),
        () -> {
          Rows from = Concatenations.rows(x);
          Rows to = Concatenations.rows(y);
          int pixels = Concatenations.pixels(x);
          float[] scale = new float[channels];
          float[] shift = new float[channels];
          return team -> {
            coefficients[0].read(scale);
            coefficients[1].read(shift);
            scale(team, from, to, channels, pixels, scale, shift, relu);
          };
        });
    l.bind(output, y);
  }

  /** γ / √(running variance + ε) and β − running mean · that, made anew when weights change. */
  static Value[] runningCoefficients(Node node, Lowering l) {
    int channels = (int) node.input(1).elements();
    Value scale = l.program.owned("norm scale", channels);
    Value shift = l.program.owned("norm shift", channels);
    Value[] state = new Value[4];
    Arrays.setAll(state, i -> l.in(node, i + 1));
    double epsilon = node.number("epsilon");
    l.onceLoop(
        "norm",
        List.of(state),
        List.of(scale, shift),
        () -> {
          float[][] numbers = new float[4][channels];
          float[] factors = new float[channels];
          float[] offsets = new float[channels];
          return team -> {
            for (int i = 0; i < 4; i++) {
              state[i].read(numbers[i]);
            }
            for (int c = 0; c < channels; c++) {
              double factor = numbers[0][c] / Math.sqrt(numbers[3][c] + epsilon);
              factors[c] = (float) factor;
              offsets[c] = (float) (numbers[1][c] - numbers[2][c] * factor);
            }
            scale.write(factors);
            shift.write(offsets);
          };
        });
    return new Value[] {scale, shift};
  }

  private static void scale(
      Team team,
      Rows x,
      Rows y,
      int channels,
      int pixels,
      float[] scale,
      float[] shift,
      boolean relu) {
    Loops loops = Loops.best();
    team.run(
        (m, n) ->
            loops.scale(
                x,
                y,
                channels,
                Team.share(pixels, m, n),
                Team.share(pixels, m + 1, n),
                scale,
                shift,
                relu));
  }
}
