package sparkvision.jobs;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigException;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigList;
import com.typesafe.config.ConfigObject;
import com.typesafe.config.ConfigRenderOptions;
import com.typesafe.config.ConfigValue;
import com.typesafe.config.ConfigValueFactory;
import com.typesafe.config.ConfigValueType;
import java.io.File;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Reads a job's configuration into its record: the record is the schema, the job's file in {@code
 * conf/} holds every default with its meaning.
 *
 * <p>A component {@code batchSize} is the key {@code batch-size}; a nested record is a group of
 * keys. Components may be {@code String}, {@code int}, {@code long}, {@code double}, {@code
 * boolean}, an enum, a {@code List} or an {@code Optional} of these, a record, or a {@link Config}
 * for keys that someone else checks (a model's). A key without a value ({@code null}) must be given
 * by the user, unless it is an {@code Optional}.
 */
final class ConfigReader {

  /** One key as {@code --help} shows it. */
  record Key(String path, String type, String defaultValue, String meaning) {}

  /** Keys that have another place now. */
  private static final Map<String, String> MOVED = Map.of("average-every", "sync.every");

  private ConfigReader() {}

  /**
   * The defaults of {@code job}, overlaid by {@code file} and then by {@code key=value} settings.
   *
   * @param file HOCON, or null
   * @throws IllegalArgumentException in one sentence, if a key is missing or unknown, a value is
   *     ill-typed or out of range, or the file cannot be read
   */
  static <R extends Record> R read(Class<R> schema, String job, File file, List<String> settings) {
    Config overlay = file == null ? ConfigFactory.empty() : parse(file);
    for (String setting : settings) {
      overlay = set(overlay, setting);
    }
    return read(schema, job, overlay);
  }

  /** The defaults of {@code job} overlaid by {@code overlay}. */
  static <R extends Record> R read(Class<R> schema, String job, Config overlay) {
    try {
      Config config = withFallback(schema, overlay, defaults(job)).resolve();
      return construct(schema, job, "", config.root());
    } catch (ConfigException e) {
      throw new IllegalArgumentException(
          String.format("Cannot read the configuration of %s: %s", job, e.getMessage()), e);
    }
  }

  /** The job's own conf file, as it stands in the jar. */
  static Config defaults(String job) {
    return ConfigFactory.parseResources("conf/" + job.replace(' ', '-') + ".conf");
  }

  /** Every key of {@code schema} in the order of the record, as its conf file documents it. */
  static List<Key> keys(Class<? extends Record> schema, String job) {
    List<Key> keys = new ArrayList<>();
    collectKeys(schema, "", defaults(job).root(), keys);
    return keys;
  }

  /** Every key of {@code config} with its value as text; keys without a value are left out. */
  static SortedMap<String, String> flatten(Record config) {
    SortedMap<String, String> values = new TreeMap<>();
    flatten(config, "", values);
    return values;
  }

  private static void flatten(Record config, String prefix, SortedMap<String, String> values) {
    for (RecordComponent component : config.getClass().getRecordComponents()) {
      String path = prefix + kebab(component.getName());
      Object value = read(config, component);
      if (value instanceof Optional<?> optional) {
        value = optional.orElse(null);
      }
      if (value instanceof Record group) {
        flatten(group, path + ".", values);
      } else if (value instanceof Config free) {
        free.entrySet()
            .forEach(e -> values.put(path + "." + e.getKey(), e.getValue().unwrapped().toString()));
      } else if (value != null) {
        values.put(path, value.getClass().isEnum() ? kebab(value.toString()) : value.toString());
      }
    }
  }

  private static Object read(Record config, RecordComponent component) {
    try {
      component.getAccessor().setAccessible(true);
      return component.getAccessor().invoke(config);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("Cannot read " + component, e);
    }
  }

  private static void collectKeys(
      Class<?> schema, String prefix, ConfigObject defaults, List<Key> keys) {
    for (RecordComponent component : schema.getRecordComponents()) {
      String name = kebab(component.getName());
      ConfigValue value = defaults.get(name);
      if (component.getType().isRecord() && value instanceof ConfigObject group) {
        collectKeys(component.getType(), prefix + name + ".", group, keys);
        continue;
      }
      String meaning =
          value == null
              ? ""
              : value.origin().comments().stream()
                  .map(String::strip)
                  .collect(Collectors.joining(" "));
      String rendered =
          value == null || value.valueType() == ConfigValueType.NULL
              ? ""
              : value.render(ConfigRenderOptions.concise());
      keys.add(new Key(prefix + name, describe(component.getGenericType()), rendered, meaning));
    }
  }

  private static Config parse(File file) {
    if (!file.isFile()) {
      throw new IllegalArgumentException(
          String.format("Cannot read conf file %s: there is no such file", file));
    }
    try {
      return ConfigFactory.parseFile(file);
    } catch (ConfigException e) {
      throw new IllegalArgumentException(
          String.format("Cannot read conf file %s: %s", file, e.getMessage()), e);
    }
  }

  /** {@code setting} is {@code key=value}; lists, objects and quoted strings are HOCON. */
  private static Config set(Config config, String setting) {
    int equals = setting.indexOf('=');
    if (equals < 1) {
      throw new IllegalArgumentException(
          String.format("Invalid argument: %s (must be key=value)", setting));
    }
    String key = setting.substring(0, equals);
    String text = setting.substring(equals + 1).strip();
    try {
      // Only what opens like a HOCON structure is parsed: "//" in hdfs://... would be a comment.
      boolean structured = text.startsWith("[") || text.startsWith("{") || text.startsWith("\"");
      ConfigValue value =
          structured
              ? ConfigFactory.parseString("value = " + text).getValue("value")
              : ConfigValueFactory.fromAnyRef(text.equals("null") ? null : text, "command line");
      // After model=densenet121 comes model.dropout=0.2.
      String group = key.replaceFirst("\\..*", "");
      ConfigValue name = config.root().get(group);
      boolean named = !group.equals(key) && name != null;
      return named && name.valueType() == ConfigValueType.STRING
          ? config.withValue(group, named(name)).withValue(key, value)
          : config.withValue(key, value);
    } catch (ConfigException e) {
      throw new IllegalArgumentException(
          String.format("Invalid %s: %s (%s)", key, text, e.getMessage()), e);
    }
  }

  /**
   * {@code overlay} over {@code defaults}. A free group (a model) that the overlay names replaces
   * the default one: keys of another model must not shine through. {@code model=densenet121} is
   * short for {@code model.name=densenet121}.
   */
  private static Config withFallback(Class<?> schema, Config overlay, Config defaults) {
    Config over = overlay;
    Config under = defaults;
    for (RecordComponent component : schema.getRecordComponents()) {
      String name = kebab(component.getName());
      boolean free =
          component.getType() == Config.class
              || (component.getGenericType() instanceof ParameterizedType optional
                  && argument(optional) == Config.class);
      ConfigValue value = free ? overlay.root().get(name) : null;
      if (value != null && value.valueType() == ConfigValueType.STRING) {
        over = over.withValue(name, named(value));
      }
      if (free && over.hasPath(name + ".name")) {
        under = under.withoutPath(name);
      }
    }
    return over.withFallback(under);
  }

  private static ConfigValue named(ConfigValue name) {
    return ConfigFactory.empty().withValue("name", name).root();
  }

  private static <R> R construct(Class<R> schema, String job, String prefix, ConfigObject values) {
    RecordComponent[] components = schema.getRecordComponents();
    List<String> names = Arrays.stream(components).map(c -> kebab(c.getName())).toList();
    for (String key : values.keySet()) {
      if (!names.contains(key)) {
        if (MOVED.containsKey(prefix + key)) {
          throw new IllegalArgumentException(
              String.format(
                  "Invalid key: %s%s (it is %s now)", prefix, key, MOVED.get(prefix + key)));
        }
        throw new IllegalArgumentException(
            String.format(
                "Invalid key: %s%s (%s knows %s)",
                prefix, key, job, names.stream().map(n -> prefix + n).toList()));
      }
    }
    Object[] arguments = new Object[components.length];
    Class<?>[] types = new Class<?>[components.length];
    for (int i = 0; i < components.length; i++) {
      String path = prefix + names.get(i);
      types[i] = components[i].getType();
      arguments[i] = convert(job, path, components[i].getGenericType(), values.get(names.get(i)));
    }
    try {
      Constructor<R> constructor = schema.getDeclaredConstructor(types);
      constructor.setAccessible(true);
      return constructor.newInstance(arguments);
    } catch (InvocationTargetException e) {
      if (e.getCause() instanceof IllegalArgumentException invalid) {
        throw invalid;
      }
      throw new IllegalStateException("Cannot construct " + schema, e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("Cannot construct " + schema, e);
    }
  }

  private static Object convert(String job, String path, Type type, ConfigValue value) {
    boolean optional = raw(type) == Optional.class;
    if (value == null || value.valueType() == ConfigValueType.NULL) {
      if (optional) {
        return Optional.empty();
      }
      throw new IllegalArgumentException(
          String.format("Cannot run %s: key %s is missing (give %s=...)", job, path, path));
    }
    if (optional) {
      return Optional.of(convert(job, path, argument(type), value));
    }
    Class<?> raw = raw(type);
    if (raw == Config.class && value instanceof ConfigObject free) {
      // Made anew: what an overlay put in place of a null would ignore every fallback.
      return ConfigValueFactory.fromMap(free.unwrapped()).toConfig();
    }
    if (raw.isRecord() && value instanceof ConfigObject group) {
      return construct(raw, job, path + ".", group);
    }
    if (raw == List.class && value instanceof ConfigList list) {
      List<Object> elements = new ArrayList<>();
      for (ConfigValue element : list) {
        elements.add(convert(job, path, argument(type), element));
      }
      return List.copyOf(elements);
    }
    Object scalar = value.unwrapped();
    if (raw.isRecord() || raw == Config.class || raw == List.class) {
      throw ill(path, type, value, null);
    }
    if (scalar instanceof String || scalar instanceof Number || scalar instanceof Boolean) {
      try {
        return scalar(raw, scalar.toString());
      } catch (IllegalArgumentException e) {
        throw ill(path, type, value, e);
      }
    }
    throw ill(path, type, value, null);
  }

  private static Object scalar(Class<?> type, String text) {
    if (type == String.class && !text.isEmpty()) {
      return text;
    }
    if (type == int.class || type == Integer.class) {
      return Integer.parseInt(text);
    }
    if (type == long.class || type == Long.class) {
      return Long.parseLong(text);
    }
    if (type == double.class || type == Double.class) {
      return Double.parseDouble(text);
    }
    if (type == boolean.class || type == Boolean.class) {
      return switch (text) {
        case "true" -> true;
        case "false" -> false;
        default -> throw new IllegalArgumentException(text);
      };
    }
    for (Object constant : constants(type)) {
      if (kebab(constant.toString()).equals(text)) {
        return constant;
      }
    }
    throw new IllegalArgumentException(text);
  }

  private static IllegalArgumentException ill(
      String path, Type type, ConfigValue value, Exception cause) {
    return new IllegalArgumentException(
        String.format(
            "Invalid %s: %s (must be %s)",
            path,
            value.unwrapped() instanceof String text
                ? text
                : value.render(ConfigRenderOptions.concise()),
            describe(type)),
        cause);
  }

  private static String describe(Type type) {
    Class<?> raw = raw(type);
    if (raw == Optional.class) {
      return describe(argument(type));
    }
    if (raw == List.class) {
      return "a list, each " + describe(argument(type));
    }
    if (raw == int.class || raw == long.class || raw == Integer.class || raw == Long.class) {
      return "a whole number";
    }
    if (raw == double.class || raw == Double.class) {
      return "a number";
    }
    if (raw == boolean.class || raw == Boolean.class) {
      return "true or false";
    }
    if (raw == String.class) {
      return "a text";
    }
    if (raw.isEnum()) {
      return "one of "
          + Stream.of(constants(raw))
              .map(constant -> kebab(constant.toString()))
              .collect(Collectors.joining(", "));
    }
    return "a group of keys";
  }

  private static Object[] constants(Class<?> type) {
    if (!type.isEnum()) {
      throw new IllegalStateException("Cannot read a conf value of " + type);
    }
    return type.getEnumConstants();
  }

  private static Class<?> raw(Type type) {
    return (Class<?>) (type instanceof ParameterizedType p ? p.getRawType() : type);
  }

  private static Type argument(Type type) {
    return ((ParameterizedType) type).getActualTypeArguments()[0];
  }

  /** {@code batchSize} and {@code BATCH_SIZE} are both {@code batch-size}. */
  private static String kebab(String name) {
    return name.replaceAll("([a-z0-9])([A-Z])", "$1-$2").replace('_', '-').toLowerCase(Locale.ROOT);
  }
}
