package sparkvision.models;

import com.typesafe.config.Config;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The models there are, by name. */
public final class Models {

  private static final Map<String, Config> DENSENETS = DenseNet.variants();

  private Models() {}

  /** Every name that {@link #of} knows. */
  public static List<String> names() {
    List<String> names = new ArrayList<>();
    names.add("densenet"); // no defaults: every key must be given
    names.addAll(DENSENETS.keySet());
    return names;
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
    if (name.equals("densenet")) {
      return new DenseNet(model);
    }
    if (DENSENETS.containsKey(name)) {
      return new DenseNet(model.withFallback(DENSENETS.get(name)));
    }
    throw new IllegalArgumentException(
        String.format("Invalid model: %s (must be %s)", name, allowed));
  }
}
