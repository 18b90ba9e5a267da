package sparkvision.plan;

import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;

class ReductionsTest {

  private interface Word {
    Tensor apply(Graph g, Tensor x, int... axes);
  }

  private static final List<Word> WORDS =
      List.of(Graph::sum, Graph::sumKeep, Graph::mean, Graph::meanKeep, Graph::max, Graph::maxKeep);

  /** All sets of axes of a picture. */
  static List<int[]> axes() {
    return IntStream.range(1, 16)
        .mapToObj(set -> IntStream.range(0, 4).filter(axis -> (set >> axis & 1) == 1).toArray())
        .toList();
  }

  @ParameterizedTest
  @MethodSource("axes")
  void ofPictures(int[] axes) {
    for (Word word : WORDS) {
      Twins.agree(b -> word.apply(b.g, b.convolved(b.ties(3, 5, 4, 7)), axes));
      Twins.agreeExactly(b -> word.apply(b.g, b.ties(3, 5, 4, 7), axes));
    }
  }

  /** Long enough for a team, each of whose members has the more work along another axis. */
  @ParameterizedTest
  @MethodSource("axes")
  void ofLargePictures(int[] axes) {
    for (Word word : WORDS) {
      Twins.agree(b -> word.apply(b.g, b.convolved(b.ties(2, 18, 11, 13)), axes));
      Twins.agreeExactly(b -> word.apply(b.g, b.ties(9, 3, 2, 700), axes));
    }
  }
}
