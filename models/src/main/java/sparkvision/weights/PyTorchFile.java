package sparkvision.weights;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;

/**
 * Tensors of a file that PyTorch's {@code torch.save} wrote: a zip archive (since 1.6), or the
 * legacy format, pickles followed by the data. Nothing in it is executed: {@link Pickle}.
 *
 * @see <a
 *     href="https://github.com/pytorch/pytorch/blob/v2.0.0/torch/serialization.py">torch/serialization.py:
 *     {@code _save}, {@code _legacy_load}</a>
 */
public final class PyTorchFile implements AutoCloseable {

  private static final BigInteger LEGACY_MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);
  private static final long LEGACY_PROTOCOL = 1001;

  /** Where files that hold more than one state dict keep the one that is usually meant. */
  private static final List<String> USUAL =
      List.of("state_dict", "model", "model_state_dict", "net", "network", "module");

  /** What elements are; the names are those of PyTorch's storage classes. */
  private enum Dtype {
    DOUBLE(8),
    FLOAT(4),
    HALF(2),
    B_FLOAT16(2),
    LONG(8),
    INT(4),
    SHORT(2),
    CHAR(1),
    BYTE(1),
    BOOL(1);

    final int width;

    Dtype(int width) {
      this.width = width;
    }

    boolean isFloat() {
      return this == DOUBLE || this == FLOAT || this == HALF || this == B_FLOAT16;
    }

    /** Null if there is no such class. */
    static Dtype ofStorage(String name) {
      return switch (name) {
        case "DoubleStorage" -> DOUBLE;
        case "FloatStorage" -> FLOAT;
        case "HalfStorage" -> HALF;
        case "BFloat16Storage" -> B_FLOAT16;
        case "LongStorage" -> LONG;
        case "IntStorage" -> INT;
        case "ShortStorage" -> SHORT;
        case "CharStorage" -> CHAR;
        case "ByteStorage" -> BYTE;
        case "BoolStorage" -> BOOL;
        default -> null;
      };
    }
  }

  private record Storage(String key, Dtype dtype, long elements) {}

  private record StoredTensor(Storage storage, long offset, long[] shape, long[] stride) {}

  /** Reads the bytes of storages. */
  private interface Storages extends AutoCloseable {
    byte[] read(Storage storage) throws IOException;

    @Override
    void close() throws IOException;
  }

  private final Object content;
  private final Storages storages;
  private Storage loaded; // tensors often share one
  private byte[] bytes;

  private PyTorchFile(Object content, Storages storages) {
    this.content = content;
    this.storages = storages;
  }

  /**
   * Reads what the file holds, but for the data of tensors.
   *
   * @throws IOException if it is not such a file, or wants anything but tensors: one sentence
   */
  public static PyTorchFile open(Path file) throws IOException {
    byte[] first = new byte[2];
    try (InputStream in = Files.newInputStream(file)) {
      if (in.readNBytes(first, 0, 2) < 2) {
        throw malformed("it has not even two bytes");
      }
    }
    if (first[0] == 'P' && first[1] == 'K') {
      return zipped(file);
    }
    if ((first[0] & 0xFF) == 0x80) {
      return legacy(file);
    }
    throw malformed("it begins neither like a zip archive nor like a pickle");
  }

  private static IOException malformed(String why) {
    return new IOException("Cannot read PyTorch file: " + why);
  }

  private static IOException damaged(IOException e) {
    String why = e.getMessage() == null ? "it ends too early" : e.getMessage();
    return malformed("its zip archive is damaged (" + why + ")");
  }

  // The two formats.

  private static PyTorchFile zipped(Path file) throws IOException {
    ZipFile zip;
    try {
      zip = new ZipFile(file.toFile());
    } catch (ZipException e) {
      throw damaged(e);
    }
    try {
      ZipEntry pickle =
          zip.stream()
              .filter(entry -> entry.getName().endsWith("/data.pkl"))
              .findFirst()
              .orElseThrow(() -> malformed("its zip archive holds no data.pkl"));
      String root = pickle.getName().substring(0, pickle.getName().length() - "data.pkl".length());
      requireLittleEndian(zip, root + "byteorder");
      try (InputStream in = new BufferedInputStream(zip.getInputStream(pickle))) {
        return new PyTorchFile(Pickle.read(in, new Tensors()), new Zipped(zip, root));
      }
    } catch (ZipException | EOFException e) {
      zip.close();
      throw damaged(e);
    } catch (IOException | RuntimeException e) {
      zip.close();
      throw e;
    }
  }

  private static void requireLittleEndian(ZipFile zip, String name) throws IOException {
    ZipEntry order = zip.getEntry(name);
    if (order == null) {
      return; // older files do not say it, and no one wrote others
    }
    try (InputStream in = zip.getInputStream(order)) {
      String found = new String(in.readNBytes(8), StandardCharsets.US_ASCII).strip();
      if (!found.equals("little")) {
        throw malformed("its byte order is " + found + " (must be little)");
      }
    }
  }

  private record Zipped(ZipFile zip, String root) implements Storages {
    @Override
    public byte[] read(Storage storage) throws IOException {
      ZipEntry entry = zip.getEntry(root + "data/" + storage.key());
      if (entry == null) {
        throw malformed("its zip archive holds no data/" + storage.key());
      }
      try (InputStream in = zip.getInputStream(entry)) {
        int length = length(storage);
        byte[] bytes = in.readNBytes(length);
        requireLength(storage, bytes.length);
        return bytes;
      } catch (ZipException | EOFException e) {
        throw damaged(e);
      }
    }

    @Override
    public void close() throws IOException {
      zip.close();
    }
  }

  private static int length(Storage storage) throws IOException {
    long length = storage.elements() * storage.dtype().width;
    if (storage.elements() < 0 || length > Integer.MAX_VALUE - 8) {
      throw malformed(
          String.format(
              "storage %s has %d elements, more than an array can hold",
              storage.key(), storage.elements()));
    }
    return (int) length;
  }

  private static void requireLength(Storage storage, int found) throws IOException {
    if (found != length(storage)) {
      throw malformed(
          String.format(
              "storage %s ends after %d of %d bytes", storage.key(), found, length(storage)));
    }
  }

  private static PyTorchFile legacy(Path file) throws IOException {
    try (Counting in = new Counting(new BufferedInputStream(Files.newInputStream(file)))) {
      Object magic = Pickle.read(in, new Tensors());
      if (!LEGACY_MAGIC.equals(magic)) {
        throw malformed("it is a pickle, but not one of torch.save");
      }
      Object protocol = Pickle.read(in, new Tensors());
      if (!Long.valueOf(LEGACY_PROTOCOL).equals(protocol)) {
        throw malformed("its protocol is " + protocol + " (must be " + LEGACY_PROTOCOL + ")");
      }
      if (Pickle.read(in, new Tensors()) instanceof Map<?, ?> system
          && Boolean.FALSE.equals(system.get("little_endian"))) {
        throw malformed("its byte order is big (must be little)");
      }
      Tensors tensors = new Tensors();
      Object content = Pickle.read(in, tensors);
      Map<String, Long> places = new HashMap<>();
      if (!(Pickle.read(in, new Tensors()) instanceof List<?> keys)) {
        throw malformed("there is no list of storages behind its pickle");
      }
      long position = in.position;
      for (Object key : keys) {
        Storage storage = tensors.storages.get(String.valueOf(key));
        if (storage == null) {
          throw malformed("storage " + key + " belongs to no tensor");
        }
        places.put(storage.key(), position + Long.BYTES); // after the number of elements
        position += Long.BYTES + storage.elements() * storage.dtype().width;
      }
      return new PyTorchFile(content, new Behind(new RandomAccessFile(file.toFile(), "r"), places));
    }
  }

  private record Behind(RandomAccessFile file, Map<String, Long> places) implements Storages {
    @Override
    public byte[] read(Storage storage) throws IOException {
      Long place = places.get(storage.key());
      if (place == null) {
        throw malformed("storage " + storage.key() + " is missing");
      }
      if (place + length(storage) > file.length()) {
        long there = Math.max(0, file.length() - place);
        throw malformed(
            String.format(
                "storage %s ends after %d of %d bytes", storage.key(), there, length(storage)));
      }
      byte[] bytes = new byte[length(storage)];
      file.seek(place);
      try {
        file.readFully(bytes);
      } catch (EOFException e) {
        throw malformed("storage " + storage.key() + " ends too early");
      }
      return bytes;
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }

  private static final class Counting extends FilterInputStream {
    private long position;

    Counting(InputStream in) {
      super(in);
    }

    @Override
    public int read() throws IOException {
      int value = super.read();
      position += value < 0 ? 0 : 1;
      return value;
    }

    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
      int count = super.read(target, offset, length);
      position += Math.max(0, count);
      return count;
    }
  }

  /** The few names that tensors are made of. */
  private static final class Tensors implements Pickle.Callables {

    private static final Set<String> CALLED =
        Set.of(
            "collections.OrderedDict",
            "torch._utils._rebuild_tensor_v2",
            "torch._utils._rebuild_tensor",
            "torch._utils._rebuild_parameter",
            "torch.Size");

    final Map<String, Storage> storages = new HashMap<>();

    @Override
    public boolean knows(String module, String name) {
      return CALLED.contains(module + "." + name)
          || (module.equals("torch") && Dtype.ofStorage(name) != null);
    }

    @Override
    public Object call(String module, String name, List<Object> arguments) throws IOException {
      return switch (name) {
        case "OrderedDict" -> ordered(arguments);
        case "_rebuild_tensor_v2", "_rebuild_tensor" ->
            new StoredTensor(
                (Storage) arguments.get(0),
                (Long) arguments.get(1),
                sizes(arguments.get(2)),
                sizes(arguments.get(3)));
        case "_rebuild_parameter", "Size" -> arguments.get(0);
        default -> null;
      };
    }

    private static Object ordered(List<Object> arguments) {
      Map<Object, Object> map = new LinkedHashMap<>();
      if (!arguments.isEmpty()) {
        for (Object pair : (List<?>) arguments.get(0)) {
          map.put(((List<?>) pair).get(0), ((List<?>) pair).get(1));
        }
      }
      return map;
    }

    private static long[] sizes(Object list) {
      return ((List<?>) list).stream().mapToLong(size -> (Long) size).toArray();
    }

    @Override
    public Object persistent(Object id) throws IOException {
      List<?> parts = (List<?>) id;
      Pickle.Global type = (Pickle.Global) parts.get(1);
      Dtype dtype = Dtype.ofStorage(type.name());
      if (!"storage".equals(parts.get(0)) || dtype == null) {
        throw malformed("it holds something that is no storage of numbers: " + type);
      }
      if (parts.size() > 5 && parts.get(5) != null) {
        throw malformed("storage " + parts.get(2) + " is a view of another one");
      }
      Storage storage = new Storage(String.valueOf(parts.get(2)), dtype, (Long) parts.get(4));
      storages.put(storage.key(), storage);
      return storage;
    }
  }

  // Tensors.

  /**
   * The tensors of a state dict in the file. Floating point becomes float32, everything else int64;
   * what is no tensor is left out.
   *
   * @param entry where it is, keys joined by dots; empty: the file itself if it holds tensors, else
   *     the usual places, {@code state_dict} and {@code model} first
   * @throws IllegalArgumentException if there is no state dict
   * @throws IOException if the data of a tensor is damaged
   */
  public StateDict stateDict(String entry) throws IOException {
    String place = entry.isEmpty() ? usualEntry() : entry;
    Object found = content;
    for (String key : place.isEmpty() ? new String[0] : place.split("\\.")) {
      found = found instanceof Map<?, ?> map ? map.get(key) : null;
    }
    if (!isStateDict(found)) {
      throw noStateDict(place);
    }
    Map<String, HostTensor> tensors = new LinkedHashMap<>();
    for (Map.Entry<?, ?> member : ((Map<?, ?>) found).entrySet()) {
      if (member.getValue() instanceof StoredTensor tensor) {
        String name = String.valueOf(member.getKey());
        tensors.put(name, read(name, tensor));
      }
    }
    return new StateDict(tensors, place);
  }

  /**
   * Tensors by name.
   *
   * @param entry where they stand in the file; empty: they are the whole file
   */
  public record StateDict(Map<String, HostTensor> tensors, String entry) {}

  private String usualEntry() {
    if (isStateDict(content) || !(content instanceof Map<?, ?> map)) {
      return "";
    }
    return USUAL.stream().filter(key -> isStateDict(map.get(key))).findFirst().orElse("");
  }

  private static boolean isStateDict(Object value) {
    return value instanceof Map<?, ?> map
        && map.values().stream().anyMatch(StoredTensor.class::isInstance);
  }

  private IllegalArgumentException noStateDict(String entry) {
    List<String> keys = new ArrayList<>();
    if (content instanceof Map<?, ?> map) {
      map.forEach(
          (key, value) -> {
            if (isStateDict(value)) {
              keys.add(String.valueOf(key));
            }
          });
    }
    return new IllegalArgumentException(
        String.format(
            "Invalid entry: %s (the file %s)",
            entry.isEmpty() ? "none" : entry,
            keys.isEmpty() ? "holds no state dict" : "holds tensors under " + keys));
  }

  private HostTensor read(String name, StoredTensor tensor) throws IOException {
    Storage storage = tensor.storage;
    int rank = tensor.shape.length;
    long elements = 1;
    long last = tensor.offset;
    for (int i = 0; i < rank; i++) {
      if (tensor.shape[i] < 0 || tensor.shape[i] > storage.elements() || tensor.stride[i] < 0) {
        throw outside(name, tensor);
      }
      elements *= tensor.shape[i];
      if (elements > storage.elements()) {
        throw outside(name, tensor);
      }
      last += Math.max(0, tensor.shape[i] - 1) * tensor.stride[i];
    }
    if (tensor.stride.length != rank
        || tensor.offset < 0
        || last < 0
        || (elements > 0 && last >= storage.elements())) {
      throw outside(name, tensor);
    }
    if (!storage.equals(loaded)) {
      bytes = storages.read(storage);
      loaded = storage;
    }
    ByteBuffer data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    boolean isFloat = storage.dtype().isFloat();
    float[] floats = new float[isFloat ? (int) elements : 0];
    long[] longs = new long[isFloat ? 0 : (int) elements];
    long[] at = new long[rank];
    long place = tensor.offset;
    for (int i = 0; i < elements; i++) {
      int from = (int) (place * storage.dtype().width);
      if (isFloat) {
        floats[i] = floating(data, storage.dtype(), from);
      } else {
        longs[i] = whole(data, storage.dtype(), from);
      }
      for (int axis = rank - 1; axis >= 0; axis--) {
        place += tensor.stride[axis];
        if (++at[axis] < tensor.shape[axis]) {
          break;
        }
        place -= at[axis] * tensor.stride[axis];
        at[axis] = 0;
      }
    }
    return isFloat ? HostTensor.of(floats, tensor.shape) : HostTensor.ofLongs(longs, tensor.shape);
  }

  private static IOException outside(String name, StoredTensor tensor) {
    return malformed(
        String.format(
            "tensor %s of shape %s does not lie in its storage of %d elements",
            name, Arrays.toString(tensor.shape), tensor.storage.elements()));
  }

  private static float floating(ByteBuffer data, Dtype dtype, int at) {
    return switch (dtype) {
      case DOUBLE -> (float) data.getDouble(at);
      case FLOAT -> data.getFloat(at);
      case HALF -> Safetensors.half(data.getShort(at));
      default -> Float.intBitsToFloat(data.getShort(at) << 16);
    };
  }

  private static long whole(ByteBuffer data, Dtype dtype, int at) {
    return switch (dtype) {
      case LONG -> data.getLong(at);
      case INT -> data.getInt(at);
      case SHORT -> data.getShort(at);
      case CHAR -> data.get(at);
      default -> data.get(at) & 0xFF;
    };
  }

  @Override
  public void close() throws IOException {
    storages.close();
  }
}
