package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import sparkvision.graph.Graph;

class SegmenterTest {

  private static final String VIM =
      "name = segmenter, layers = 2, heads = 2, dropout = 0.1, classes = 3, backbone { name = vim,"
          + " image-size = 16, patch-size = 4, stride = 4, dim = 8, depth = 4, state-size = 3,"
          + " classes = 1, in-channels = 2, ";

  @Test
  void theHeadHasThePublishedNumberOfParameters() {
    String conf =
        "name = segmenter-head, dim = 192, layers = 2, heads = 3, classes = 150, patch-size = 16,"
            + " image-size = 32";
    assertThat(new Trial(conf, new long[] {1, 4, 192}).parameters()).isEqualTo(1_029_996);
  }

  /** The encoder without its classifier, with positions for 32 x 32 patches, and the head. */
  @ParameterizedTest
  @CsvSource({
    "segmenter-vim-tiny, 7113600",
    "'segmenter-vim-tiny, backbone.bidirectional = block', 6385536",
    "segmenter-deit-tiny, 5683392",
    "segmenter-deit-small, 21983616"
  })
  void isAnEncoderAndAHead(String conf, long encoder) {
    Graph g = Trials.build(Graph.Mode.TRAINING, Trials.model("name = " + conf), 1, 512);
    long head = conf.contains("small") ? 4_050_348 : 1_029_996;
    assertThat(g.parameterCount()).isEqualTo(encoder + head);
    assertThat(g.outputs().get("logits").shape()).containsExactly(1, 150, 32, 32);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        VIM + "bidirectional = ssm-conv, cls-token = middle, pool = cls }",
        VIM + "bidirectional = block, cls-token = none, pool = mean }",
        "name = segmenter, layers = 1, heads = 2, dropout = 0, classes = 3, backbone { name = vit,"
            + " image-size = [16, 20], patch-size = 4, dim = 8, depth = 2, heads = 2, mlp-ratio = 2,"
            + " classes = 1, in-channels = 2 }"
      })
  void learnsAndSurvivesSaveAndLoad(String conf, @TempDir Path folder) throws Exception {
    Model model = Trials.model(conf);
    Trials.keepsGradientsFiniteAndLearns(model, 2, 16, 20);
    Trials.survivesSaveAndLoad(model, folder, 2, 16, 20);
  }

  /** Without blocks: a patch and a class are compared by their directions alone. */
  @Test
  void comparesDirections() {
    Trial trial =
        new Trial(
            "name = segmenter-head, dim = 6, layers = 1, heads = 2, classes = 3, patch-size = 2,"
                + " image-size = [4, 6]",
            new long[] {2, 6, 6});
    for (String layer : List.of("blocks.0.attn.proj", "blocks.0.mlp.fc2")) {
      for (String kind : List.of(".weight", ".bias")) {
        trial.with(layer + kind, new float[trial.state.get(layer + kind).floats().length]);
      }
    }
    List<double[][]> expected = new ArrayList<>();
    for (double[][] tokens : trial.images(0)) {
      double[][] x = trial.pixelwise("proj_dec", Trial.transposed(tokens)); // [channel][patch]
      double[][] patches = directions(trial, "proj_patch", x);
      double[][] classes = new double[6][3];
      for (int i = 0; i < 18; i++) {
        classes[i % 6][i / 6] = trial.vector("cls_emb")[i];
      }
      classes = directions(trial, "proj_classes", classes);
      double[][] cosines = new double[3][6];
      for (int i = 0; i < 18; i++) {
        for (int d = 0; d < 6; d++) {
          cosines[i % 3][i / 3] += patches[d][i / 3] * classes[d][i % 3];
        }
        assertThat(Math.abs(cosines[i % 3][i / 3])).isLessThanOrEqualTo(1 + 1e-9);
      }
      expected.add(trial.layerNorm("mask_norm", cosines, 1e-5));
    }
    trial.matches(0, expected);
  }

  /** Columns of length one. */
  private static double[][] directions(Trial trial, String name, double[][] x) {
    double[][] normed = trial.layerNorm("decoder_norm", x, 1e-5);
    double[] weight = trial.vector(name); // [in][out]
    double[][] y = new double[x.length][x[0].length];
    for (int n = 0; n < x[0].length; n++) {
      double squares = 0;
      for (int o = 0; o < x.length; o++) {
        for (int c = 0; c < x.length; c++) {
          y[o][n] += normed[c][n] * weight[c * x.length + o];
        }
        squares += y[o][n] * y[o][n];
      }
      for (int o = 0; o < x.length; o++) {
        y[o][n] /= Math.sqrt(squares);
      }
    }
    return y;
  }

  @Test
  void refusesWhatDoesNotFit() {
    assertThatThrownBy(() -> Trials.model("name = segmenter-vim-tiny, heads = 5"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid heads: 5 (must be a divisor of the 192 channels)");
    String conf = VIM + "bidirectional = sequence, cls-token = none, pool = mean }";
    assertThatThrownBy(() -> Trials.build(Graph.Mode.INFERENCE, Trials.model(conf), 1, 16))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot read maps of vim: its tokens are reversed by chance");
  }
}
