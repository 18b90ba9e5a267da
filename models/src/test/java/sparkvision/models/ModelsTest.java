package sparkvision.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.typesafe.config.ConfigFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

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
            "efficient-attention-net-resnet101");
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
