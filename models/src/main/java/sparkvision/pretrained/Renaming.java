package sparkvision.pretrained;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import sparkvision.weights.HostTensor;

/**
 * How one code base's names become those of another.
 *
 * @param from whose names, in a few words; empty if nothing changes
 */
record Renaming(String from, UnaryOperator<Map<String, HostTensor>> change) {

  /** As they are. */
  static final Renaming NONE = new Renaming("", UnaryOperator.identity());

  /** All that are known; our names are those of each network's original. */
  static final List<Renaming> ALL =
      List.of(
          NONE,
          // torchvision's first weights: denselayer1.norm.1.weight
          names(
              "Lua-era DenseNet",
              Map.of("(.*denselayer\\d+\\.(?:norm|relu|conv))\\.([12]\\..*)", "$1$2")),
          names(
              "MONAI's DenseNet in 2D",
              Map.of(
                  "(.*denselayer\\d+)\\.layers\\.(.*)",
                  "$1.$2",
                  "class_layers\\.out\\.(.*)",
                  "classifier.$1")),
          names(
              "torchvision's DenseNet in 3D",
              Map.of(
                  "(.*denselayer\\d+)\\.((?:norm|conv)[12]\\..*)",
                  "$1.layers.$2",
                  "classifier\\.(.*)",
                  "class_layers.out.$1")),
          new Renaming("mmsegmentation's MiT", Renaming::mixTransformer));

  /** Whole names that match a pattern are replaced; the others stay. */
  private static Renaming names(String from, Map<String, String> replacements) {
    Map<Pattern, String> compiled = new LinkedHashMap<>();
    replacements.forEach((pattern, name) -> compiled.put(Pattern.compile(pattern), name));
    return new Renaming(
        from,
        tensors -> {
          Map<String, HostTensor> renamed = new LinkedHashMap<>();
          tensors.forEach((name, tensor) -> renamed.put(renamed(name, compiled), tensor));
          return renamed;
        });
  }

  private static String renamed(String name, Map<Pattern, String> replacements) {
    for (Map.Entry<Pattern, String> entry : replacements.entrySet()) {
      Matcher matcher = entry.getKey().matcher(name);
      if (matcher.matches()) {
        return matcher.replaceFirst(entry.getValue());
      }
    }
    return name;
  }

  private static final Pattern MIT_STAGE = Pattern.compile("(.*?)layers\\.(\\d+)\\.([012])\\.(.*)");

  /**
   * Patches, blocks and norm of a stage are members 0, 1 and 2 of a list; queries, keys and values
   * are one matrix; the linear layers of the feed-forward part are 1 x 1 convolutions.
   *
   * @see <a
   *     href="https://github.com/open-mmlab/mmsegmentation/blob/v1.2.2/tools/model_converters/mit2mmseg.py">the
   *     converter the other way</a>
   */
  private static Map<String, HostTensor> mixTransformer(Map<String, HostTensor> tensors) {
    Map<String, HostTensor> renamed = new LinkedHashMap<>();
    tensors.forEach(
        (name, tensor) -> {
          Matcher stage = MIT_STAGE.matcher(name);
          if (!stage.matches()) {
            renamed.put(name, tensor);
            return;
          }
          String prefix = stage.group(1);
          int number = Integer.parseInt(stage.group(2)) + 1;
          String rest = stage.group(4);
          switch (stage.group(3)) {
            case "0" ->
                renamed.put(
                    prefix + "patch_embed" + number + "." + rest.replace("projection.", "proj."),
                    tensor);
            case "1" -> putOfBlock(renamed, prefix + "block" + number + ".", rest, tensor);
            default -> renamed.put(prefix + "norm" + number + "." + rest, tensor);
          }
        });
    return renamed;
  }

  private static void putOfBlock(
      Map<String, HostTensor> renamed, String block, String rest, HostTensor tensor) {
    String name =
        rest.replace("attn.attn.out_proj.", "attn.proj.")
            .replace("ffn.layers.0.", "mlp.fc1.")
            .replace("ffn.layers.1.", "mlp.dwconv.dwconv.")
            .replace("ffn.layers.4.", "mlp.fc2.");
    if (name.contains("attn.attn.in_proj_")) {
      String kind = name.endsWith("weight") ? "weight" : "bias";
      String attention = block + name.replaceFirst("attn\\.attn\\.in_proj_.*", "attn.");
      int third = tensor.floats().length / 3;
      long[] shape = tensor.shape();
      long rows = shape[0] / 3;
      renamed.put(attention + "q." + kind, part(tensor, 0, third, rows));
      renamed.put(attention + "kv." + kind, part(tensor, third, 3 * third, 2 * rows));
      return;
    }
    boolean pointwise = name.matches(".*mlp\\.fc[12]\\.weight") && tensor.shape().length == 4;
    renamed.put(
        block + name,
        pointwise ? HostTensor.of(tensor.floats(), Arrays.copyOf(tensor.shape(), 2)) : tensor);
  }

  private static HostTensor part(HostTensor tensor, int begin, int end, long rows) {
    long[] shape = tensor.shape();
    shape[0] = rows;
    return HostTensor.of(Arrays.copyOfRange(tensor.floats(), begin, end), shape);
  }
}
