package sparkvision.pretrained;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.Draw;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.weights.HostTensor;

class PretrainedTest {

  private static final String DENSENET =
      "name = densenet, in-channels = 3, growth-rate = 4, blocks = [2, 1], init-features = 4,"
          + " bottleneck = 2, dropout = 0.0, classes = 3";
  private static final String SEGFORMER =
      "name = segformer, dims = [4, 4, 8, 8], heads = [1, 1, 2, 2], mlp-ratios = [2, 2, 2, 2],"
          + " depths = [1, 1, 2, 1], sr-ratios = [8, 4, 2, 1], decoder-dim = 8, classes = 3";
  private static final String VIT =
      "name = vit, patch-size = 8, dim = 6, depth = 1, heads = 2, mlp-ratio = 2, classes = 3";

  private static Config conf(String model) {
    return ConfigFactory.parseString(model);
  }

  /** Random tensors under the names and in the shapes of a network. */
  private static Map<String, HostTensor> weights(String model, int size) {
    Graph g = new Graph(Graph.Mode.TRAINING, 0);
    Model network = Models.of(conf(model));
    Tensor x = g.input("x", network.inputShapes(2, size).get(0));
    network.apply(g, List.of(x));
    Map<String, HostTensor> weights = new LinkedHashMap<>();
    for (Variable variable : g.variables()) {
      weights.put(
          variable.name(),
          variable.role() == Variable.Role.COUNTER
              ? HostTensor.ofLongs(new long[] {5})
              : Draw.normal(weights.size(), variable.tensor().shape()));
    }
    return weights;
  }

  private static Map<String, HostTensor> named(
      Map<String, HostTensor> weights, UnaryOperator<String> name) {
    Map<String, HostTensor> named = new LinkedHashMap<>();
    weights.forEach((key, tensor) -> named.put(name.apply(key), tensor));
    return named;
  }

  private static void requireSame(Pretrained fit, Map<String, HostTensor> weights) {
    assertThat(fit.isComplete()).isTrue();
    assertThat(fit.taken()).isEqualTo(weights.size());
    assertThat(fit.unexpected()).isEmpty();
    weights.forEach(
        (name, tensor) -> {
          HostTensor taken = fit.state().get(name);
          assertThat(taken.shape()).as(name).isEqualTo(tensor.shape());
          if (tensor.isFloat()) {
            assertThat(taken.floats()).as(name).isEqualTo(tensor.floats());
          } else {
            assertThat(taken.longs()).as(name).isEqualTo(tensor.longs());
          }
        });
  }

  @Test
  void takesItsOwnNames() {
    Map<String, HostTensor> weights = weights(DENSENET + ", spatial-dims = 2", 64);
    Pretrained fit = Pretrained.fit(conf(DENSENET + ", spatial-dims = 2"), weights, 64);
    assertThat(fit.renamed()).isEmpty();
    requireSame(fit, weights);
    requireSame(
        Pretrained.fit(
            conf(DENSENET + ", spatial-dims = 2"), named(weights, n -> "module.net." + n), 64),
        weights);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "2 | (denselayer\\d+\\.[a-z]+)([12]\\.) | $1.$2 | names of Lua-era DenseNet",
        "2 | (denselayer\\d+)\\. | $1.layers. | names of MONAI's DenseNet in 2D",
        "3 | \\.layers\\. | . | names of torchvision's DenseNet in 3D"
      })
  void knowsOtherNamesOfDenseNet(int dims, String pattern, String other, String renamed) {
    String model = DENSENET + ", spatial-dims = " + dims;
    Map<String, HostTensor> weights = weights(model, 64);
    Map<String, HostTensor> given =
        named(
            weights,
            name -> {
              String changed = name.replaceFirst(pattern, other);
              if (renamed.contains("MONAI")) {
                return changed.replace("classifier.", "class_layers.out.");
              }
              return dims == 3 ? changed.replace("class_layers.out.", "classifier.") : changed;
            });
    assertThat(given.keySet()).isNotEqualTo(weights.keySet());
    Pretrained fit = Pretrained.fit(conf(model), given, 64);
    assertThat(fit.renamed()).isEqualTo(renamed);
    requireSame(fit, weights);
  }

  /** As mit2mmseg.py writes it. */
  @Test
  void splitsTheProjectionsOfMmsegmentation() {
    Map<String, HostTensor> weights = weights(SEGFORMER, 64);
    Map<String, HostTensor> given = new LinkedHashMap<>();
    weights.forEach(
        (name, tensor) -> {
          if (!name.startsWith("backbone.")) {
            return;
          }
          String key = name.substring("backbone.".length());
          key = key.replaceFirst("^patch_embed(\\d)\\.proj", "layers.$1.0.projection");
          key = key.replaceFirst("^patch_embed(\\d)", "layers.$1.0");
          key = key.replaceFirst("^block(\\d)", "layers.$1.1");
          key = key.replaceFirst("^norm(\\d)", "layers.$1.2");
          int stage = Integer.parseInt(key.substring(7, 8));
          key = "layers." + (stage - 1) + key.substring(8);
          key = key.replace("attn.proj.", "attn.attn.out_proj.");
          key = key.replace("mlp.dwconv.dwconv.", "ffn.layers.1.");
          if (key.contains("mlp.fc")) {
            key = key.replace("mlp.fc1.", "ffn.layers.0.").replace("mlp.fc2.", "ffn.layers.4.");
            long[] shape = tensor.shape();
            given.put(
                key,
                shape.length == 1
                    ? tensor
                    : HostTensor.of(tensor.floats(), shape[0], shape[1], 1, 1));
          } else if (key.contains("attn.q.")) {
            HostTensor kv = weights.get(name.replace("attn.q.", "attn.kv."));
            given.put(key.replace("attn.q.", "attn.attn.in_proj_"), joined(tensor, kv));
          } else if (!key.contains("attn.kv.")) {
            given.put(key, tensor);
          }
        });
    Pretrained fit = Pretrained.fit(conf(SEGFORMER), given, 64);
    assertThat(fit.renamed()).isEqualTo("names of mmsegmentation's MiT, below backbone.");
    assertThat(fit.unexpected()).isEmpty();
    assertThat(fit.missing()).allMatch(name -> name.startsWith("decode_head."));
    weights.forEach(
        (name, tensor) -> {
          if (name.startsWith("backbone.")) {
            assertThat(fit.state().get(name).floats()).as(name).isEqualTo(tensor.floats());
            assertThat(fit.state().get(name).shape()).as(name).isEqualTo(tensor.shape());
          }
        });
  }

  private static HostTensor joined(HostTensor q, HostTensor kv) {
    float[] all = new float[q.floats().length + kv.floats().length];
    System.arraycopy(q.floats(), 0, all, 0, q.floats().length);
    System.arraycopy(kv.floats(), 0, all, q.floats().length, kv.floats().length);
    long[] shape = q.shape();
    shape[0] += kv.shape()[0];
    return HostTensor.of(all, shape);
  }

  @Test
  void saysWhatDoesNotFit() {
    Map<String, HostTensor> weights = weights(VIT + ", image-size = 16", 16);
    weights.remove("norm.bias");
    weights.put("head.weight", Draw.normal(1, 10, 6));
    weights.put("head_dist.weight", Draw.normal(1, 3, 6));
    Pretrained fit = Pretrained.fit(conf(VIT + ", image-size = 16"), weights, 16);
    assertThat(fit.isComplete()).isFalse();
    assertThat(fit.missing()).containsExactly("norm.bias");
    assertThat(fit.misshapen()).isEqualTo(Map.of("head.weight", "[10, 6], must be [3, 6]"));
    assertThat(fit.unexpected()).containsExactly("head_dist.weight");
    assertThat(fit.state().keySet()).doesNotContainAnyElementsOf(Set.of("head.weight"));
  }

  /** Expected values: interpolate(mode="bicubic", align_corners=False) of PyTorch 2. */
  @Test
  void resizesPositionEmbeddings() {
    Map<String, HostTensor> weights = weights(VIT + ", image-size = 16", 16);
    float[] table = new float[5 * 6];
    float[] grid = {1, 3, -2, 4};
    for (int i = 0; i < 5; i++) {
      table[6 * i] = i == 0 ? 9 : grid[i - 1];
    }
    weights.put("pos_embed", HostTensor.of(table, 1, 5, 6));
    Pretrained fit = Pretrained.fit(conf(VIT + ", image-size = 24"), weights, 24);
    assertThat(fit.resized()).containsExactly("pos_embed");
    assertThat(fit.isComplete()).isTrue();
    float[] resized = fit.state().get("pos_embed").floats();
    assertThat(resized).hasSize(10 * 6);
    float[] expected = {
      9,
      1.116947f,
      2.086806f,
      3.056665f,
      -0.847223f,
      1.500000f,
      3.847222f,
      -2.811391f,
      0.913195f,
      4.637779f
    };
    for (int i = 0; i < expected.length; i++) {
      assertThat(resized[6 * i]).isCloseTo(expected[i], within(1e-5f));
    }
  }

  /** The class token of Vim stands in the middle of either table. */
  @Test
  void leavesTheClassTokenInTheMiddle() {
    String vim =
        "name = vim, patch-size = 8, stride = 8, dim = 4, depth = 2, state-size = 2, classes = 3,"
            + " bidirectional = ssm, cls-token = middle, pool = cls, image-size = ";
    Map<String, HostTensor> weights = weights(vim + 16, 16);
    float[] table = new float[5 * 4];
    for (int i = 0; i < 5; i++) {
      table[4 * i] = i == 2 ? 9 : 1;
    }
    weights.put("pos_embed", HostTensor.of(table, 1, 5, 4));
    Pretrained fit = Pretrained.fit(conf(vim + "[24, 16]"), weights, 24, 16);
    float[] resized = fit.state().get("pos_embed").floats();
    assertThat(resized).hasSize(7 * 4);
    for (int i = 0; i < 7; i++) {
      assertThat(resized[4 * i]).isCloseTo(i == 3 ? 9 : 1, within(1e-5f));
    }
  }

  /** A classifier's weights below the encoder of a network that labels pixels. */
  @Test
  void takesAnEncoderOfAnotherSize() {
    String encoder = VIT.replace("depth = 1", "depth = 4") + ", image-size = ";
    String uperNet =
        "name = upernet, blocks = [1, 2, 3, 4], channels = 4, pool-scales = [1], dropout = 0.1,"
            + " auxiliary-channels = 4, auxiliary-weight = 0.4, classes = 5, backbone { "
            + encoder
            + "24 }";
    Map<String, HostTensor> weights = weights(encoder + 16, 16);
    Pretrained fit = Pretrained.fit(conf(uperNet), weights, 24);
    assertThat(fit.renamed()).isEqualTo("below backbone.");
    assertThat(fit.resized()).containsExactly("backbone.pos_embed");
    assertThat(fit.misshapen()).isEmpty();
    assertThat(fit.missing())
        .allMatch(name -> !name.startsWith("backbone.") || name.startsWith("backbone.fpn"));
  }
}
