package sparkvision.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import sparkvision.graph.Node;

/** Normalisations. */
final class Norms {

  private Norms() {}

  static void register(Map<Node.Kind, Kernel> kernels) {
    kernels.put(Node.Kind.BATCH_NORM, (node, l) -> new BatchNorm(node, l).emit());
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
}
