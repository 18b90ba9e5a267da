package sparkvision.models;

import com.typesafe.config.Config;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import sparkvision.graph.Graph;
import sparkvision.graph.ScanInputs;
import sparkvision.graph.Tensor;

/** The attention blocks by name, as models of their own. */
final class Blocks {

  private Blocks() {}

  static Map<String, Function<Config, Model>> all() {
    Map<String, Function<Config, Model>> blocks = new LinkedHashMap<>();
    blocks.put(
        "block/non-local",
        Part.of(1, Blocks::nonLocal, "channels", "reduction", "mode", "sub-sample"));
    blocks.put("block/position-attention", Part.of(1, Blocks::positionAttention, "channels"));
    blocks.put("block/channel-attention", Part.of(1, Blocks::channelAttention, "weighting"));
    blocks.put("block/cbam", Part.of(1, Blocks::cbam, "channels", "reduction"));
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
    blocks.put("block/sagan-attention", Part.of(1, Blocks::positionAttention, "channels"));
    blocks.put("block/sagan-attention-pooled", Part.of(1, Blocks::saganAttention, "channels"));
    blocks.put("block/criss-cross", Part.of(1, Blocks::crissCross, "channels"));
    blocks.put(
        "block/recurrent-criss-cross",
        Part.of(1, Blocks::recurrentCrissCross, "channels", "recurrence"));
    blocks.put(
        "block/interlaced",
        Part.of(
            1,
            Blocks::interlaced,
            "channels",
            "key-channels",
            "value-channels",
            "out-channels",
            "down-factor"));
    blocks.put(
        "block/efficient",
        Part.of(1, Blocks::efficient, "channels", "key-channels", "heads", "value-channels"));
    blocks.put(
        "block/spatial-reduction",
        Part.of(1, Blocks::spatialReduction, "dim", "heads", "sr-ratio", "height", "width"));
    blocks.put("block/mix-ffn", Part.of(1, Blocks::mixFfn, "dim", "hidden-dim", "height", "width"));
    blocks.put(
        "block/segformer",
        Part.of(1, Blocks::segFormer, "dim", "heads", "mlp-ratio", "sr-ratio", "height", "width"));
    blocks.put(
        "block/selective-scan",
        Part.named(
            List.of("u", "delta", "A", "B", "C", "D", "z", "delta_bias"), Blocks::selectiveScan));
    blocks.put("mamba-mixer", Part.of(1, Blocks::mambaMixer, "dim", "state-size", "bidirectional"));
    return blocks;
  }

  private static List<Tensor> selectiveScan(Graph g, List<Tensor> x) {
    ScanInputs scan =
        new ScanInputs(x.get(0), x.get(1), x.get(2), x.get(3), x.get(4), x.get(5), x.get(7));
    return List.of(g.selectiveScan(scan, x.get(6), false));
  }

  private static Part.Builder mambaMixer(Keys keys) {
    int dim = keys.count("dim");
    int stateSize = keys.count("state-size");
    MambaMixer.Directions directions = keys.choice("bidirectional", MambaMixer.Directions.class);
    return (g, x) -> List.of(new MambaMixer(g, "", dim, stateSize, directions, 1).apply(x.get(0)));
  }

  private static Part.Builder nonLocal(Keys keys) {
    int channels = keys.count("channels");
    int reduction = keys.count("reduction");
    NonLocalAttention.Mode mode = keys.choice("mode", NonLocalAttention.Mode.class);
    boolean subSample = keys.has("sub-sample") && keys.flag("sub-sample");
    return (g, x) -> {
      NonLocalAttention block =
          subSample
              ? NonLocalAttention.subSampled(g, "", channels, reduction, mode)
              : new NonLocalAttention(g, "", channels, reduction, mode);
      return List.of(block.apply(x.get(0)));
    };
  }

  private static Part.Builder positionAttention(Keys keys) {
    int channels = keys.count("channels");
    return (g, x) -> List.of(new PositionAttention(g, "", channels).apply(x.get(0)));
  }

  private static Part.Builder channelAttention(Keys keys) {
    ChannelAttention.Weighting weighting =
        keys.has("weighting")
            ? keys.choice("weighting", ChannelAttention.Weighting.class)
            : ChannelAttention.Weighting.CODE;
    return (g, x) -> List.of(new ChannelAttention(g, "", weighting).apply(x.get(0)));
  }

  private static Part.Builder cbam(Keys keys) {
    int channels = keys.count("channels");
    int reduction = keys.count("reduction");
    return (g, x) -> List.of(new Cbam(g, "", channels, reduction).apply(x.get(0)));
  }

  private static Part.Builder saganAttention(Keys keys) {
    int channels = keys.count("channels");
    return (g, x) -> List.of(new SaganAttention(g, "", channels).apply(x.get(0)));
  }

  private static Part.Builder crissCross(Keys keys) {
    int channels = keys.count("channels");
    return (g, x) -> List.of(new CrissCrossAttention(g, "", channels).apply(x.get(0)));
  }

  private static Part.Builder recurrentCrissCross(Keys keys) {
    int channels = keys.count("channels");
    int recurrence = keys.count("recurrence");
    return (g, x) -> List.of(new CrissCrossAttention(g, "", channels).apply(x.get(0), recurrence));
  }

  private static Part.Builder interlaced(Keys keys) {
    int channels = keys.count("channels");
    int key = keys.count("key-channels");
    int value = keys.count("value-channels");
    int out = keys.count("out-channels");
    int[] window = keys.imageSize("down-factor");
    return (g, x) ->
        List.of(
            new InterlacedAttention(g, "", channels, key, value, out, window[0], window[1])
                .apply(x.get(0)));
  }

  private static Part.Builder efficient(Keys keys) {
    int channels = keys.count("channels");
    int key = keys.count("key-channels");
    int heads = keys.count("heads");
    int value = keys.count("value-channels");
    return (g, x) ->
        List.of(new EfficientAttention(g, "", channels, key, heads, value).apply(x.get(0)));
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
