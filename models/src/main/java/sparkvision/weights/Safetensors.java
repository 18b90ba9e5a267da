package sparkvision.weights;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigException;
import com.typesafe.config.ConfigFactory;
import com.typesafe.config.ConfigParseOptions;
import com.typesafe.config.ConfigSyntax;
import com.typesafe.config.ConfigUtil;
import com.typesafe.config.ConfigValue;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The safetensors file format: named tensors, and a map of texts about them.
 *
 * <p>Eight bytes: the length n of the header, little-endian. n bytes: the header, JSON in UTF-8,
 * possibly padded with blanks: {@code {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets":
 * [begin, end]}, ..., "__metadata__": {"key": "text", ...}}}. Then the data, little-endian and
 * row-major, without gaps; offsets count from its first byte.
 *
 * @see <a href="https://huggingface.co/docs/safetensors">safetensors</a>
 */
public final class Safetensors {

  private static final String METADATA = "__metadata__";
  private static final long LONGEST_HEADER = 100_000_000;
  private static final int CHUNK = 1 << 16;
  private static final int FIRST_LENGTH = 1 << 20;

  private Safetensors() {}

  /** A file's tensors in the order of their data, and its metadata in that of the keys. */
  public record Contents(Map<String, HostTensor> tensors, Map<String, String> metadata) {}

  private record Entry(String name, String dtype, List<Long> shape, long begin, long end) {}

  /**
   * Reads a whole file. F32 stays; F64, F16 and BF16 become float32; I64 stays; I32 becomes int64.
   *
   * @throws IOException if the file is not well-formed: one sentence says why
   */
  public static Contents read(InputStream in) throws IOException {
    DataInputStream data = new DataInputStream(in);
    Config header = header(data);
    Map<String, String> metadata = new LinkedHashMap<>();
    List<Entry> entries = new ArrayList<>();
    for (Map.Entry<String, ConfigValue> member : header.root().entrySet()) {
      if (member.getKey().equals(METADATA)) {
        metadata.putAll(metadata(member.getValue()));
      } else {
        entries.add(entry(header, member.getKey()));
      }
    }
    entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    Map<String, HostTensor> tensors = new LinkedHashMap<>();
    long position = 0;
    for (Entry entry : entries) {
      if (entry.begin() != position) {
        throw malformed(
            "data of tensor %s begins at byte %d, expected %d"
                .formatted(entry.name(), entry.begin(), position));
      }
      tensors.put(entry.name(), tensor(data, entry));
      position = entry.end();
    }
    if (data.read() >= 0) {
      throw malformed("there is data after the last tensor's %d bytes".formatted(position));
    }
    return new Contents(tensors, metadata);
  }

  private static Config header(DataInputStream data) throws IOException {
    byte[] bytes = new byte[Long.BYTES];
    fill(data, bytes, bytes.length, "the header's length");
    long length = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (length < 2 || length > LONGEST_HEADER) {
      throw malformed(
          "the header's length is %d, must be 2 to %d".formatted(length, LONGEST_HEADER));
    }
    byte[] header = data.readNBytes((int) length);
    if (header.length < length) {
      throw malformed("it ends within the header");
    }
    try {
      return ConfigFactory.parseString(
          new String(header, StandardCharsets.UTF_8),
          ConfigParseOptions.defaults().setSyntax(ConfigSyntax.JSON));
    } catch (ConfigException e) {
      throw malformed("the header is not a JSON object of distinct names");
    }
  }

  private static Map<String, String> metadata(ConfigValue value) throws IOException {
    Map<String, String> metadata = new TreeMap<>();
    if (!(value.unwrapped() instanceof Map<?, ?> members)) {
      throw malformed("%s is not an object".formatted(METADATA));
    }
    for (Map.Entry<?, ?> member : members.entrySet()) {
      if (!(member.getValue() instanceof String text)) {
        throw malformed("%s holds a value that is no text".formatted(METADATA));
      }
      metadata.put((String) member.getKey(), text);
    }
    return metadata;
  }

  private static Entry entry(Config header, String name) throws IOException {
    try {
      Config entry = header.getConfig(ConfigUtil.joinPath(name));
      List<Long> shape = sizes(entry, "shape");
      List<Long> offsets = sizes(entry, "data_offsets");
      if (offsets.size() == 2) {
        return new Entry(name, entry.getString("dtype"), shape, offsets.get(0), offsets.get(1));
      }
    } catch (ConfigException e) {
      // The sentence below covers it.
    }
    throw malformed("tensor %s lacks a sound dtype, shape or data_offsets".formatted(name));
  }

  /** Whole numbers >= 0. */
  private static List<Long> sizes(Config entry, String key) {
    List<Long> sizes = new ArrayList<>();
    for (Object value : entry.getList(key).unwrapped()) {
      if (!(value instanceof Number number)
          || number.doubleValue() != number.longValue()
          || number.longValue() < 0) {
        throw new ConfigException.BadValue(key, "not a list of whole numbers");
      }
      sizes.add(number.longValue());
    }
    return sizes;
  }

  private static HostTensor tensor(DataInputStream data, Entry entry) throws IOException {
    int width =
        switch (entry.dtype()) {
          case "F64", "I64" -> 8;
          case "F32", "I32" -> 4;
          case "F16", "BF16" -> 2;
          default ->
              throw malformed(
                  "tensor %s is %s (must be F32, F64, F16, BF16, I64 or I32)"
                      .formatted(entry.name(), entry.dtype()));
        };
    long elements = elements(entry);
    if (entry.end() - entry.begin() != elements * width) {
      throw malformed(
          "tensor %s of shape %s takes %d bytes, its data_offsets span %d"
              .formatted(
                  entry.name(), entry.shape(), elements * width, entry.end() - entry.begin()));
    }
    int count = (int) elements;
    boolean integers = entry.dtype().startsWith("I");
    int length = Math.min(count, FIRST_LENGTH); // grows while data arrives: the header may lie
    float[] floats = new float[integers ? 0 : length];
    long[] longs = new long[integers ? length : 0];
    byte[] chunk = new byte[(int) Math.min(CHUNK, elements * width)];
    ByteBuffer buffer = ByteBuffer.wrap(chunk).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; ) {
      int bytes = (int) Math.min(chunk.length, (long) (count - i) * width);
      fill(data, chunk, bytes, "tensor " + entry.name());
      if (i + bytes / width > length) {
        length = (int) Math.min(count, 2L * length);
        floats = integers ? floats : Arrays.copyOf(floats, length);
        longs = integers ? Arrays.copyOf(longs, length) : longs;
      }
      for (int at = 0; at < bytes; at += width, i++) {
        switch (entry.dtype()) {
          case "F32" -> floats[i] = buffer.getFloat(at);
          case "F64" -> floats[i] = (float) buffer.getDouble(at);
          case "F16" -> floats[i] = half(buffer.getShort(at));
          case "BF16" -> floats[i] = Float.intBitsToFloat(buffer.getShort(at) << 16);
          case "I64" -> longs[i] = buffer.getLong(at);
          default -> longs[i] = buffer.getInt(at);
        }
      }
    }
    long[] shape = entry.shape().stream().mapToLong(Long::longValue).toArray();
    return integers ? HostTensor.ofLongs(longs, shape) : HostTensor.of(floats, shape);
  }

  private static long elements(Entry entry) throws IOException {
    long elements = 1;
    try {
      for (long size : entry.shape()) {
        elements = Math.multiplyExact(elements, size);
      }
    } catch (ArithmeticException e) {
      elements = Long.MAX_VALUE;
    }
    if (elements > Integer.MAX_VALUE - 8) {
      throw malformed(
          "tensor %s of shape %s is larger than an array can be"
              .formatted(entry.name(), entry.shape()));
    }
    return elements;
  }

  /** IEEE 754 binary16. */
  static float half(short bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = (bits >> 10) & 0x1F;
    int fraction = bits & 0x3FF;
    if (exponent == 0) {
      float magnitude = fraction * 0x1p-24f;
      return sign == 0 ? magnitude : -magnitude;
    }
    int wide = exponent == 0x1F ? 0xFF : exponent - 15 + 127;
    return Float.intBitsToFloat(sign | wide << 23 | fraction << 13);
  }

  private static void fill(DataInputStream data, byte[] target, int length, String what)
      throws IOException {
    try {
      data.readFully(target, 0, length);
    } catch (EOFException e) {
      throw malformed("it ends within %s".formatted(what));
    }
  }

  private static IOException malformed(String why) {
    return new IOException("Cannot read safetensors: " + why);
  }

  /**
   * Writes a whole file: the tensors in the order of their map, the metadata in that of its keys,
   * so that the same tensors in the same order with the same metadata give the same bytes. Float
   * tensors become F32, the others I64. Does not close {@code out}.
   */
  public static void write(
      OutputStream out, Map<String, HostTensor> tensors, Map<String, String> metadata)
      throws IOException {
    byte[] header = header(tensors, metadata).getBytes(StandardCharsets.UTF_8);
    byte[] chunk = new byte[CHUNK];
    ByteBuffer buffer = ByteBuffer.wrap(chunk).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putLong(header.length);
    out.write(chunk, 0, Long.BYTES);
    out.write(header);
    for (HostTensor tensor : tensors.values()) {
      int count = tensor.isFloat() ? tensor.floats().length : tensor.longs().length;
      int bytes = tensor.isFloat() ? Float.BYTES : Long.BYTES;
      for (int i = 0; i < count; i += CHUNK / bytes) {
        int some = Math.min(CHUNK / bytes, count - i);
        buffer.clear();
        if (tensor.isFloat()) {
          buffer.asFloatBuffer().put(tensor.floats(), i, some);
        } else {
          buffer.asLongBuffer().put(tensor.longs(), i, some);
        }
        out.write(chunk, 0, some * bytes);
      }
    }
  }

  private static String header(Map<String, HostTensor> tensors, Map<String, String> metadata) {
    List<String> members = new ArrayList<>();
    if (!metadata.isEmpty()) {
      List<String> texts = new ArrayList<>();
      new TreeMap<>(metadata).forEach((key, text) -> texts.add(quoted(key) + ":" + quoted(text)));
      members.add(quoted(METADATA) + ":{" + String.join(",", texts) + "}");
    }
    long position = 0;
    for (Map.Entry<String, HostTensor> entry : tensors.entrySet()) {
      HostTensor tensor = entry.getValue();
      if (entry.getKey().equals(METADATA)) {
        throw new IllegalArgumentException(
            "Cannot write safetensors: a tensor must not be called " + METADATA);
      }
      long bytes = tensor.isFloat() ? 4L * tensor.floats().length : 8L * tensor.longs().length;
      members.add(
          String.format(
              "%s:{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}",
              quoted(entry.getKey()),
              tensor.isFloat() ? "F32" : "I64",
              Arrays.toString(tensor.shape()).replace(" ", ""),
              position,
              position + bytes));
      position += bytes;
    }
    String header = "{" + String.join(",", members) + "}";
    int length = header.getBytes(StandardCharsets.UTF_8).length;
    return header + " ".repeat((8 - length % 8) % 8); // so that the data is aligned
  }

  private static String quoted(String text) {
    return ConfigUtil.quoteString(text);
  }
}
