package sparkvision.models;

import com.typesafe.config.Config;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Tensor;

/** The attention blocks by name, as models of their own. */
final class Blocks {

  private Blocks() {}

  static Map<String, Function<Config, Model>> all() {
    Map<String, Function<Config, Model>> blocks = new LinkedHashMap<>();
    blocks.put(
        "block/attention-gate",
        Part.of(
            2,
            Blocks::attentionGate,
            "spatial-dims",
            "in-channels",
            "gating-channels",
            "inter-channels"));
    blocks.put(
        "block/attention-gate-2d",
        Part.of(2, Blocks::attentionGate2d, "gating-channels", "skip-channels", "inter-channels"));
    blocks.put(
        "block/spatial-reduction",
        Part.of(1, Blocks::spatialReduction, "dim", "heads", "sr-ratio", "height", "width"));
    blocks.put("block/mix-ffn", Part.of(1, Blocks::mixFfn, "dim", "hidden-dim", "height", "width"));
    blocks.put(
        "block/segformer",
        Part.of(1, Blocks::segFormer, "dim", "heads", "mlp-ratio", "sr-ratio", "height", "width"));
    return blocks;
  }

  private static Part.Builder attentionGate(Keys keys) {
    int dims = keys.integer("spatial-dims", 2, 3);
    int channels = keys.count("in-channels");
    int gating = keys.count("gating-channels");
    int inter = keys.count("inter-channels");
    return (g, x) -> {
      AttentionGate.Gated gated =
          new AttentionGate(g, "", dims, channels, gating, inter).apply(x.get(0), x.get(1));
      return List.of(gated.features(), gated.attention());
    };
  }

  private static Part.Builder attentionGate2d(Keys keys) {
    int gating = keys.count("gating-channels");
    int skip = keys.count("skip-channels");
    int inter = keys.count("inter-channels");
    return (g, x) ->
        List.of(new AttentionGate2d(g, "", gating, skip, inter).apply(x.get(0), x.get(1)));
  }

  private static Part.Builder spatialReduction(Keys keys) {
    int dim = keys.count("dim");
    int heads = keys.count("heads");
    int ratio = keys.count("sr-ratio");
    int height = keys.count("height");
    int width = keys.count("width");
    return (g, x) ->
        List.of(
            new SpatialReductionAttention(g, "", dim, heads, ratio).apply(x.get(0), height, width));
  }

  private static Part.Builder mixFfn(Keys keys) {
    int dim = keys.count("dim");
    int hidden = keys.count("hidden-dim");
    int height = keys.count("height");
    int width = keys.count("width");
    return (g, x) -> List.of(new MixFfn(g, "", dim, hidden).apply(x.get(0), height, width));
  }

  private static Part.Builder segFormer(Keys keys) {
    int dim = keys.count("dim");
    int heads = keys.count("heads");
    int mlpRatio = keys.count("mlp-ratio");
    int ratio = keys.count("sr-ratio");
    int height = keys.count("height");
    int width = keys.count("width");
    return (g, x) -> {
      Tensor tokens = x.get(0);
      return List.of(
          new SegFormerBlock(g, "", dim, heads, mlpRatio, ratio, 0).apply(tokens, height, width));
    };
  }
}
