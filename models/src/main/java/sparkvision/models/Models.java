package sparkvision.models;

import com.typesafe.config.Config;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** The models there are, by name. */
public final class Models {

  /** How models of one family are made, and its variants; the family's own name has no defaults. */
  private record Family(Function<Config, Model> maker, Map<String, Config> variants) {}

  private static final Map<String, Family> FAMILIES = families();
  private static final Map<String, Function<Config, Model>> PARTS = blocksAndHeads();

  private static Map<String, Family> families() {
    Map<String, Family> families = new LinkedHashMap<>();
    families.put("densenet", new Family(DenseNet::new, DenseNet.variants()));
    families.put("vit", new Family(Vit::new, Vit.variants()));
    families.put("vim", new Family(Vim::new, Vim.variants()));
    families.put("pvt", new Family(Pvt::new, Pvt.variants()));
    families.put("segformer", new Family(SegFormer::new, SegFormer.variants()));
    families.put("attention-unet", new Family(AttentionUnet::new, AttentionUnet.variants()));
    families.put("attention-unet-2d", new Family(AttentionUnet2d::new, AttentionUnet2d.variants()));
    families.put("resnet", new Family(ResNet::plain, ResNet.variants("resnet")));
    families.put("cbam-resnet", new Family(ResNet::withCbam, ResNet.variants("cbam-resnet")));
    families.put("danet", new Family(DaNet::of, DaNet.variants()));
    families.put("ccnet", new Family(CcNet::of, CcNet.variants()));
    families.put("isanet", new Family(IsaNet::of, IsaNet.variants()));
    families.put("non-local-net", new Family(NonLocalNet::of, NonLocalNet.variants()));
    families.put(
        "efficient-attention-net",
        new Family(EfficientAttentionNet::of, EfficientAttentionNet.variants()));
    families.put("upernet", new Family(UperNet::new, UperNet.variants()));
    families.put("segmenter", new Family(Segmenter::new, Segmenter.variants()));
    return families;
  }

  private static Map<String, Function<Config, Model>> blocksAndHeads() {
    Map<String, Function<Config, Model>> parts = new LinkedHashMap<>(Blocks.all());
    parts.put("danet-head", DaNet.headPart());
    parts.put("ccnet-head", CcNet.headPart());
    parts.put("isanet-head", IsaNet.headPart());
    parts.put("upernet-head", UperNet.headPart());
    parts.put("segmenter-head", Segmenter.headPart());
    return parts;
  }

  private Models() {}

  /** Every network that {@link #of} knows. */
  public static List<String> names() {
    List<String> names = new ArrayList<>();
    FAMILIES.forEach(
        (name, family) -> {
          names.add(name);
          names.addAll(family.variants.keySet());
        });
    return names;
  }

  /**
   * Every block and head that {@link #of} knows: parts of networks, which read feature maps or
   * tokens and so have no {@link Model#inputShapes}.
   */
  public static List<String> parts() {
    return List.copyOf(PARTS.keySet());
  }

  /**
   * The model that {@code model} describes: its {@code name}, and keys of that model. Variants such
   * as {@code densenet121} have a default for every key.
   *
   * @throws IllegalArgumentException if a key is missing, unknown, ill-typed or out of range
   */
  public static Model of(Config model) {
    String allowed = "one of " + String.join(", ", names());
    String name = Keys.name(model, allowed);
    if (PARTS.containsKey(name)) {
      return PARTS.get(name).apply(model);
    }
    for (Map.Entry<String, Family> entry : FAMILIES.entrySet()) {
      Family family = entry.getValue();
      if (name.equals(entry.getKey())) {
        return family.maker.apply(model);
      }
      if (family.variants.containsKey(name)) {
        return family.maker.apply(model.withFallback(family.variants.get(name)));
      }
    }
    throw new IllegalArgumentException(
        String.format("Invalid model: %s (must be %s)", name, allowed));
  }
}
