package sparkvision.graph;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.weights.HostTensor;

class RearrangeTest {

  private final Graph g = new Graph(Graph.Mode.INFERENCE, 1);

  /** The input is 0, 1, 2, ... of shape (2, 6, 4), so that every number says where it was. */
  private double[] numbers(Tensor y) {
    float[] numbers = new float[48];
    IntStream.range(0, 48).forEach(i -> numbers[i] = i);
    return Naive.run(g, Map.of("x", HostTensor.of(numbers, 2, 6, 4))).get(y);
  }

  @Test
  void movesAxes() {
    Tensor y = g.rearrange(g.input("x", 2, 6, 4), "b n c -> c b n");
    assertThat(y.shape()).containsExactly(4, 2, 6);
    double[] numbers = numbers(y);
    for (int c = 0; c < 4; c++) {
      for (int b = 0; b < 2; b++) {
        for (int n = 0; n < 6; n++) {
          assertThat(numbers[(c * 2 + b) * 6 + n]).isEqualTo((b * 6 + n) * 4 + c);
        }
      }
    }
  }

  @Test
  void splitsAndJoinsAxes() {
    Tensor x = g.input("x", 2, 6, 4);
    Tensor y = g.rearrange(x, "b (h w) (m d)->(b m) d  h 1 w", Map.of("w", 3L, "m", 2L));
    assertThat(y.shape()).containsExactly(4, 2, 2, 1, 3);
    double[] numbers = numbers(y);
    int i = 0;
    for (int b = 0; b < 2; b++) {
      for (int m = 0; m < 2; m++) {
        for (int d = 0; d < 2; d++) {
          for (int h = 0; h < 2; h++) {
            for (int w = 0; w < 3; w++) {
              assertThat(numbers[i++]).isEqualTo((b * 6 + h * 3 + w) * 4 + m * 2 + d);
            }
          }
        }
      }
    }
  }

  @Test
  void takesAxesOfOneAway() {
    Tensor x = g.input("x", 2, 1, 4);
    assertThat(g.rearrange(x, "b 1 c -> (c b)").shape()).containsExactly(8);
    assertThat(g.rearrange(x, "b n c -> b c n").shape()).containsExactly(2, 4, 1);
  }

  @Test
  void readsAndMakesScalars() {
    Tensor scalar = g.rearrange(g.input("x", 1, 1), "1 1 -> ");
    assertThat(scalar.rank()).isZero();
    assertThat(g.rearrange(scalar, "-> 1").shape()).containsExactly(1);
  }

  @Test
  void isNoNodeWhereNothingMoves() {
    Tensor x = g.input("x", 2, 6, 4);
    assertThat(g.rearrange(x, "b n c -> b n c")).isSameAs(x);
    assertThat(g.nodes()).isEmpty();
    g.rearrange(x, "b n c -> (b n) c");
    assertThat(g.nodes()).extracting(Node::kind).containsExactly(Node.Kind.RESHAPE);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "b n c -> b n | c stands on one side only",
        "b n c -> b n c d | d stands on one side only",
        "b n n -> b n | n stands twice on one side",
        "b n c -> b n c b | b stands twice on one side",
        "b c -> c b | it has 2 axes on the left",
        "b (h w) c -> b h w c | the sizes of all but one of [h, w] must be given",
        "b 1 c -> b c | axis 1 of size 6 is not []",
        "b n c | a pattern reads like \"b c h w -> b (h w) c\"",
        "b n c -> b -> c | a pattern reads like \"b c h w -> b (h w) c\"",
        "b (n c -> b n c | a pattern reads like \"b c h w -> b (h w) c\"",
        "b ((n) d) c -> b n d c | a pattern reads like \"b c h w -> b (h w) c\"",
        "b N c -> b c N | a pattern reads like \"b c h w -> b (h w) c\"",
        "b, n, c -> b n c | a pattern reads like \"b c h w -> b (h w) c\"",
        "b ... -> ... b | a pattern reads like \"b c h w -> b (h w) c\"",
        "bn(c) -> b | a pattern reads like \"b c h w -> b (h w) c\"",
      })
  void refusesOtherPatterns(String pattern, String reason) {
    Tensor x = g.input("x", 2, 6, 4);
    assertThatThrownBy(() -> g.rearrange(x, pattern))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot rearrange x[2, 6, 4] by \"%s\": %s", pattern, reason);
  }

  @Test
  void refusesSizesThatDoNotFit() {
    Tensor x = g.input("x", 2, 6, 4);
    refuses(x, Map.of("h", 4L), "axis 1 of size 6 is not [h, w]");
    refuses(x, Map.of("h", 2L, "w", 2L), "axis 1 of size 6 is not [h, w]");
    refuses(x, Map.of("h", 0L), "axis 1 of size 6 is not [h, w]");
    refuses(x, Map.of("h", -2L, "w", -3L), "axis 1 of size 6 is not [h, w]");
    refuses(x, Map.of("h", 2L, "c", 3L), "axis 2 of size 4 is not [c]");
    refuses(x, Map.of("h", 2L, "d", 3L), "it has no d");
  }

  private void refuses(Tensor x, Map<String, Long> sizes, String reason) {
    String pattern = "b (h w) c -> b c h w";
    assertThatThrownBy(() -> g.rearrange(x, pattern, sizes))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot rearrange x[2, 6, 4] by \"%s\": %s", pattern, reason);
  }
}
