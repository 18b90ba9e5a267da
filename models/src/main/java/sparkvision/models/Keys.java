package sparkvision.models;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigException;
import com.typesafe.config.ConfigRenderOptions;
import com.typesafe.config.ConfigValueType;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;

/** The keys of one model's configuration: reads them by type and complains in one sentence. */
final class Keys {

  private final Config config;

  private Keys(Config config) {
    this.config = config;
  }

  /**
   * Accepts no other keys than these.
   *
   * @throws IllegalArgumentException if {@code config} holds another key
   */
  static Keys of(Config config, String... allowed) {
    Keys keys = new Keys(config);
    Set<String> unknown = new TreeSet<>(config.root().keySet());
    unknown.removeAll(Arrays.asList(allowed));
    if (!unknown.isEmpty()) {
      String key = unknown.iterator().next();
      throw new IllegalArgumentException(
          String.format(
              "Invalid key: %s = %s (the keys of this model are %s)",
              key, keys.render(key), String.join(", ", allowed)));
    }
    return keys;
  }

  /** Reads only the name, so that the caller knows which keys there may be. */
  static String name(Config config, String allowed) {
    return new Keys(config).text("name", allowed);
  }

  String text(String key, String allowed) {
    return read(key, config::getString, allowed);
  }

  /** One of the constants of an enum, in lower case and with dashes. */
  <E extends Enum<E>> E choice(String key, Class<E> constants) {
    List<E> all = List.of(constants.getEnumConstants());
    List<String> names = all.stream().map(Keys::spelled).toList();
    String allowed = "one of " + String.join(", ", names);
    int index = names.indexOf(text(key, allowed));
    if (index < 0) {
      throw invalid(key, allowed);
    }
    return all.get(index);
  }

  private static String spelled(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  boolean flag(String key) {
    return read(key, config::getBoolean, "true or false");
  }

  /** A model's own configuration. */
  Config model(String key) {
    return read(key, config::getConfig, "a model's name and keys in braces");
  }

  /** Whether a key that may be missing is there. */
  boolean has(String key) {
    return config.hasPath(key);
  }

  /** A whole number from {@code least} to {@code most}. */
  int integer(String key, int least, int most) {
    String allowed =
        most == Integer.MAX_VALUE
            ? "a whole number >= " + least
            : least == most
                ? String.valueOf(least)
                : String.format("a whole number from %d to %d", least, most);
    Number number = read(key, config::getNumber, allowed);
    if (!isWhole(number) || number.intValue() < least || number.intValue() > most) {
      throw invalid(key, allowed);
    }
    return number.intValue();
  }

  private static boolean isWhole(Number number) {
    return number.doubleValue() == number.intValue();
  }

  /** A whole number >= 1. */
  int count(String key) {
    return integer(key, 1, Integer.MAX_VALUE);
  }

  /** Height and width: a whole number >= 1 for squares, or a list of two. */
  int[] imageSize(String key) {
    if (config.hasPath(key) && config.getValue(key).valueType() == ConfigValueType.LIST) {
      List<Integer> sizes = counts(key);
      if (sizes.size() != 2) {
        throw invalid(key, "a whole number >= 1 or two of them, height and width");
      }
      return new int[] {sizes.get(0), sizes.get(1)};
    }
    int size = count(key);
    return new int[] {size, size};
  }

  /** At least one whole number, each >= 1. */
  List<Integer> counts(String key) {
    String allowed = "a list of whole numbers >= 1";
    List<Number> numbers = read(key, config::getNumberList, allowed);
    if (numbers.isEmpty() || numbers.stream().anyMatch(n -> !isWhole(n) || n.intValue() < 1)) {
      throw invalid(key, allowed);
    }
    return numbers.stream().map(Number::intValue).toList();
  }

  /** So many whole numbers, each >= 1. */
  List<Integer> counts(String key, int length) {
    List<Integer> counts = counts(key);
    if (counts.size() != length) {
      throw invalid(key, length + " whole numbers >= 1");
    }
    return counts;
  }

  /** So many whole numbers, each a divisor of the one at its place under another key. */
  List<Integer> divisors(String key, String of, int length) {
    List<Integer> divisors = counts(key, length);
    List<Integer> multiples = counts(of, length);
    for (int i = 0; i < length; i++) {
      if (multiples.get(i) % divisors.get(i) != 0) {
        throw invalid(key, "divisors of " + of + " " + render(of));
      }
    }
    return divisors;
  }

  /** A number >= 0. */
  double weight(String key) {
    String allowed = "a number >= 0";
    double weight = read(key, config::getDouble, allowed);
    if (!(weight >= 0 && weight < Double.POSITIVE_INFINITY)) {
      throw invalid(key, allowed);
    }
    return weight;
  }

  /** A number in [0, 1). */
  double share(String key) {
    String allowed = "a number in [0, 1)";
    double share = read(key, config::getDouble, allowed);
    if (!(share >= 0 && share < 1)) {
      throw invalid(key, allowed);
    }
    return share;
  }

  /** A number in [0, 1]. */
  double probability(String key) {
    String allowed = "a number in [0, 1]";
    double probability = read(key, config::getDouble, allowed);
    if (!(probability >= 0 && probability <= 1)) {
      throw invalid(key, allowed);
    }
    return probability;
  }

  private <T> T read(String key, Function<String, T> reader, String allowed) {
    try {
      return reader.apply(key);
    } catch (ConfigException.Missing missing) {
      throw new IllegalArgumentException(
          String.format("Invalid %s: missing (must be %s)", key, allowed), missing);
    } catch (ConfigException.WrongType | ConfigException.BadValue wrong) {
      throw invalid(key, allowed);
    }
  }

  /** What is wrong with the value of a key, when only the caller can tell. */
  IllegalArgumentException invalid(String key, String allowed) {
    return new IllegalArgumentException(
        String.format("Invalid %s: %s (must be %s)", key, render(key), allowed));
  }

  private String render(String key) {
    return config.root().get(key).render(ConfigRenderOptions.concise());
  }
}
