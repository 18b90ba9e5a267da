package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.typesafe.config.ConfigFactory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import sparkvision.Draw;
import sparkvision.engine.Engine;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.graph.Variable;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

class ModelsTest {

  private static final String FREE =
      "name = densenet, spatial-dims = 2, in-channels = 3, growth-rate = 4, blocks = [2, 2],"
          + " init-features = 8, bottleneck = 4, dropout = 0.1, classes = 5";

  @Test
  void listsEveryName() {
    assertThat(Models.names())
        .containsExactly(
            "densenet",
            "densenet121",
            "densenet161",
            "densenet169",
            "densenet201",
            "densenet264",
            "densenet121-3d",
            "densenet169-3d",
            "densenet201-3d",
            "densenet264-3d",
            "vit",
            "deit-tiny",
            "deit-small",
            "deit-base",
            "vim",
            "vim-tiny",
            "vim-tiny-stride-8",
            "vim-small",
            "vim-small-stride-8",
            "vim-base",
            "vim-base-stride-8",
            "pvt",
            "pvt-tiny",
            "pvt-small",
            "pvt-medium",
            "pvt-large",
            "segformer",
            "segformer-b0",
            "segformer-b1",
            "segformer-b2",
            "segformer-b3",
            "segformer-b4",
            "segformer-b5",
            "attention-unet",
            "unet-3d",
            "attention-unet-single",
            "attention-unet-multi",
            "attention-unet-2d",
            "attention-unet-2d-64",
            "resnet",
            "resnet18",
            "resnet34",
            "resnet50",
            "resnet101",
            "cbam-resnet",
            "cbam-resnet18",
            "cbam-resnet34",
            "cbam-resnet50",
            "cbam-resnet101",
            "danet",
            "danet-resnet50",
            "danet-resnet101",
            "ccnet",
            "ccnet-resnet50",
            "ccnet-resnet101",
            "isanet",
            "isanet-resnet50",
            "isanet-resnet101",
            "non-local-net",
            "non-local-net-resnet50",
            "non-local-net-resnet101",
            "efficient-attention-net",
            "efficient-attention-net-resnet50",
            "efficient-attention-net-resnet101",
            "upernet",
            "upernet-vim-tiny",
            "upernet-vim-small",
            "upernet-deit-tiny",
            "upernet-deit-small",
            "segmenter",
            "segmenter-vim-tiny",
            "segmenter-vim-small",
            "segmenter-deit-tiny",
            "segmenter-deit-small");
  }

  /** A small network of each family; every other name is a variant with a default for every key. */
  private static final Map<String, String> SMALL = small();

  private static final Path README = Path.of("../README.md");

  private static Map<String, String> small() {
    String dilated = "depth = 18, width = 8, stem = deep, dropout = 0.1, auxiliary-weight = 0.4";
    Map<String, String> small = new TreeMap<>();
    small.put(
        "densenet",
        "spatial-dims = 2, in-channels = 3, growth-rate = 4, blocks = [2, 2], init-features = 8,"
            + " bottleneck = 4, dropout = 0.1");
    small.put(
        "vit", "image-size = 32, patch-size = 8, dim = 8, depth = 2, heads = 2, mlp-ratio = 4");
    small.put(
        "pvt",
        "image-size = 32, dims = [8, 8, 16, 16], heads = [1, 2, 2, 4], mlp-ratios = [2, 2, 2, 2],"
            + " depths = [1, 1, 1, 1], sr-ratios = [4, 2, 1, 1], drop-path = 0.1");
    small.put(
        "segformer",
        "dims = [8, 8, 16, 16], heads = [1, 2, 2, 4], mlp-ratios = [2, 2, 2, 2],"
            + " depths = [1, 1, 1, 1], sr-ratios = [4, 2, 1, 1], decoder-dim = 8, dropout = 0.1");
    small.put("attention-unet", "spatial-dims = 3, in-channels = 1, feature-scale = 16, gates = 2");
    small.put("attention-unet-2d", "in-channels = 3, width = 4");
    small.put("resnet", "depth = 18, width = 8, stem = cifar");
    small.put("cbam-resnet", "depth = 18, width = 16, stem = imagenet");
    small.put("danet", dilated + ", channel-weighting = code");
    small.put("ccnet", dilated + ", recurrence = 2");
    small.put("isanet", dilated + ", down-factor = [2, 3]");
    small.put("non-local-net", dilated + ", reduction = 2");
    small.put("efficient-attention-net", dilated + ", heads = 2");
    small.put(
        "vim",
        "image-size = 32, patch-size = 8, stride = 8, dim = 8, depth = 2, state-size = 3,"
            + " in-channels = 3, bidirectional = ssm-conv, cls-token = middle, pool = cls");
    String backbone =
        "backbone { name = vit, image-size = 32, patch-size = 8, dim = 8, depth = 4, heads = 2,"
            + " mlp-ratio = 2, in-channels = 3, classes = 1 }, ";
    small.put(
        "upernet",
        backbone
            + "blocks = [1, 2, 3, 4], channels = 8, pool-scales = [1, 2], dropout = 0.1,"
            + " auxiliary-channels = 8, auxiliary-weight = 0.4");
    small.put("segmenter", backbone + "layers = 1, heads = 2, dropout = 0.1");
    small.replaceAll((name, keys) -> "name = " + name + ", classes = 3, " + keys);
    return small;
  }

  private static List<String> confs() {
    return Models.names().stream().map(name -> SMALL.getOrDefault(name, "name = " + name)).toList();
  }

  @ParameterizedTest
  @MethodSource("confs")
  void everyVariantBuildsForTrainingAndInference(String conf) {
    Model model = Trials.model(conf);
    int size = SMALL.containsValue(conf) ? 32 : size(model);
    Graph training = Trials.build(Graph.Mode.TRAINING, model, 2, size);
    Graph inference = Trials.build(Graph.Mode.INFERENCE, model, 2, size);
    assertThat(inference.outputs().get("logits").shape())
        .isEqualTo(training.outputs().get("logits").shape());
    assertThat(training.variables())
        .extracting(Variable::name)
        .containsAll(inference.variables().stream().map(Variable::name).toList());
    assertThat(inference.parameterCount()).isPositive();
  }

  /** Variants as the README lists them, `name` and number, and as they are. */
  @Test
  void theReadmeHasEveryVariantWithItsParameters() throws IOException {
    Map<String, String> listed = new TreeMap<>();
    Matcher entry =
        Pattern.compile("`([a-z0-9-]+)` ([0-9,]{5,})").matcher(Files.readString(README));
    while (entry.find()) {
      listed.put(entry.group(1), entry.group(2));
    }
    Map<String, String> built = new TreeMap<>();
    for (String name : Models.names()) {
      if (!SMALL.containsKey(name)) {
        Model model = Trials.model("name = " + name);
        Graph g = Trials.build(Graph.Mode.TRAINING, model, 2, size(model));
        built.put(name, String.format(Locale.ROOT, "%,d", g.parameterCount()));
      }
    }
    assertThat(listed).isEqualTo(built);
  }

  /** What it is made for, or what it takes in any case. */
  private static int size(Model model) {
    try {
      return model.inputShapes(1, 224).get(0).length == 5 ? 32 : 224;
    } catch (IllegalArgumentException e) {
      return 512; // it takes nothing but its own size
    }
  }

  static Collection<String> smallNetworks() {
    return SMALL.values();
  }

  @ParameterizedTest
  @MethodSource("smallNetworks")
  void everyFamilyTrainsAStepAndSurvivesSaveAndLoad(String conf) throws IOException {
    Model model = Trials.model(conf);
    Graph training = Trials.build(Graph.Mode.TRAINING, model, 2, 32);
    Draw draw = new Draw(1);
    HostTensor image = draw.values(training.inputs().get("image").shape());
    HostTensor labels = draw.indices(3, training.inputs().get("labels").shape());
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    Map<String, HostTensor> state;
    OptimizerConfig adam = OptimizerConfig.of(OptimizerConfig.Name.ADAMW);
    try (Engine engine = Engines.open("compiled", training, adam)) {
      engine.forwardBackward(Map.of("image", image, "labels", labels));
      for (Variable variable : training.variables()) {
        if (variable.role() == Variable.Role.PARAMETER) {
          for (float value : engine.gradient(variable.name()).floats()) {
            assertThat(value).as(variable.name()).isFinite();
          }
        }
      }
      engine.update(0.01);
      state = engine.state();
      Safetensors.write(file, state, Map.of());
    }
    Map<String, HostTensor> read =
        Safetensors.read(new ByteArrayInputStream(file.toByteArray())).tensors();
    assertThat(logits(model, read, image)).containsExactly(logits(model, state, image));
  }

  /** Of the weights that the inference graph has. */
  private static float[] logits(Model model, Map<String, HostTensor> weights, HostTensor image) {
    Graph inference = Trials.build(Graph.Mode.INFERENCE, model, 2, 32);
    Map<String, HostTensor> used = new HashMap<>(weights);
    used.keySet().retainAll(inference.variables().stream().map(Variable::name).toList());
    try (Engine engine = Engines.open("compiled", inference, null)) {
      engine.load(used);
      return engine.forward(Map.of("image", image)).get("logits").floats();
    }
  }

  @Test
  void aModelKeepsItsName() {
    assertThat(Models.of(ConfigFactory.parseString(FREE)).name()).isEqualTo("densenet");
    assertThat(Models.of(ConfigFactory.parseString("name = densenet121-3d")).name())
        .isEqualTo("densenet121-3d");
    assertThat(Models.of(ConfigFactory.parseString("name = deit-small")).name())
        .isEqualTo("deit-small");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "name = densenet121, depth = 3 | Invalid key: depth = 3 (the keys of this model are name,"
            + " spatial-dims, in-channels, growth-rate, blocks, init-features, bottleneck,"
            + " dropout, classes)",
        "name = densenet, spatial-dims = 2 | Invalid in-channels: missing (must be a whole number >="
            + " 1)",
        "name = densenet121, classes = many | Invalid classes: \"many\" (must be a whole number >="
            + " 1)",
        "name = densenet121, classes = 0 | Invalid classes: 0 (must be a whole number >= 1)",
        "name = densenet121, classes = 2.5 | Invalid classes: 2.5 (must be a whole number >= 1)",
        "name = densenet121, spatial-dims = 4 | Invalid spatial-dims: 4 (must be a whole number"
            + " from 2 to 3)",
        "name = densenet121, blocks = [] | Invalid blocks: [] (must be a list of whole numbers >="
            + " 1)",
        "name = densenet121, blocks = 6 | Invalid blocks: 6 (must be a list of whole numbers >= 1)",
        "name = densenet121, blocks = [6, 2.5] | Invalid blocks: [6,2.5] (must be a list of whole"
            + " numbers >= 1)",
        "name = densenet121, blocks = [6, 5000000000] | Invalid blocks: [6,5000000000] (must be a"
            + " list of whole numbers >= 1)",
        "name = densenet121, dropout = 1 | Invalid dropout: 1 (must be a number in [0, 1))",
        "name = densenet121, dropout = null | Invalid dropout: missing (must be a number in [0, 1))",
        "name = vit, dim = 8 | Invalid image-size: missing (must be a whole number >= 1)",
        "name = deit-tiny, image-size = [224, 224, 3] | Invalid image-size: [224,224,3] (must be a"
            + " whole number >= 1 or two of them, height and width)",
        "name = deit-tiny, image-size = [0, 224] | Invalid image-size: [0,224] (must be a list of"
            + " whole numbers >= 1)",
        "name = deit-tiny, image-size = 225 | Invalid image-size: 225 (must be a multiple of"
            + " patch-size 16)",
        "name = deit-tiny, heads = 5 | Invalid heads: 5 (must be a divisor of dim 192)",
        "name = deit-tiny, drop-path = 1 | Invalid drop-path: 1 (must be a number in [0, 1))",
        "name = deit-tiny, dropout = 0.1 | Invalid key: dropout = 0.1 (the keys of this model are"
            + " name, image-size, patch-size, in-channels, dim, depth, heads, mlp-ratio, drop-path,"
            + " classes)",
        "name = pvt-tiny, image-size = 31 | Invalid image-size: 31 (must be a whole number >= 32)",
        "name = pvt-tiny, depths = [1, 1, 1] | Invalid depths: [1,1,1] (must be 4 whole numbers >="
            + " 1)",
        "name = pvt-tiny, heads = [1, 2, 3, 8] | Invalid heads: [1,2,3,8] (must be divisors of dims"
            + " [64,128,320,512])",
        "name = pvt-tiny, sr-ratios = [8, 4, 2, 2] | Invalid sr-ratios: [8,4,2,2] (must be 1 at the"
            + " last stage, where the class token is no pixel)",
        "name = attention-unet-single, spatial-dims = 2 | Invalid spatial-dims: 2 (must be 3)",
        "name = attention-unet-single, gates = 3 | Invalid gates: 3 (must be a whole number from 0"
            + " to 2)"
      })
  void refusesAConfThatDoesNotFit(String conf, String message) {
    assertThatThrownBy(() -> Models.of(ConfigFactory.parseString(conf)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @ParameterizedTest
  @CsvSource({"name = alexnet, model: alexnet", "classes = 3, name: missing"})
  void refusesAModelThatThereIsNot(String conf, String what) {
    assertThatThrownBy(() -> Models.of(ConfigFactory.parseString(conf)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid %s (must be one of %s)", what, String.join(", ", Models.names()));
  }
}
