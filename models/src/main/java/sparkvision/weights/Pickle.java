package sparkvision.weights;

import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads Python pickles that hold nothing but data.
 *
 * <p>A pickle is a program for a stack machine that may name any class or function and call it.
 * Here a name means something only if {@link Callables} says so, and nothing is ever looked up or
 * called that is not Java code of this package: a pickle that wants anything else is refused with
 * the name it wants. No library is used, since those that read pickles build objects of whatever
 * class they are told.
 *
 * <p>None becomes null; numbers Long, BigInteger or Double; True and False Boolean; str String;
 * bytes {@code byte[]}; tuples, lists and sets List; dicts a Map in their order.
 *
 * @see <a href="https://github.com/python/cpython/blob/3.12/Lib/pickletools.py">CPython's
 *     pickletools: the opcodes</a>
 */
final class Pickle {

  /** What names and persistent ids mean. */
  interface Callables {
    /**
     * What {@code module.name} called with these arguments gives.
     *
     * @return null if that name is not known
     */
    Object call(String module, String name, List<Object> arguments) throws IOException;

    /** Whether a name may be mentioned at all. */
    boolean knows(String module, String name);

    /** What a persistent id stands for. */
    Object persistent(Object id) throws IOException;
  }

  /** A name that was mentioned and not called yet. */
  record Global(String module, String name) {
    @Override
    public String toString() {
      return module + "." + name;
    }
  }

  private static final Object MARK = new Object();
  private static final int LONGEST = 1 << 26; // bytes of a pickle: data lies outside of it

  private final InputStream in;
  private final Callables callables;
  private final List<Object> stack = new ArrayList<>();
  private final Map<Long, Object> memo = new HashMap<>();
  private int read;

  private Pickle(InputStream in, Callables callables) {
    this.in = in;
    this.callables = callables;
  }

  /**
   * Reads one pickle; the stream then stands behind it.
   *
   * @throws IOException if it is not well-formed, or wants what {@code callables} does not know
   */
  static Object read(InputStream in, Callables callables) throws IOException {
    try {
      return new Pickle(in, callables).run();
    } catch (ClassCastException
        | IndexOutOfBoundsException
        | NullPointerException
        | NumberFormatException e) {
      throw malformed("an instruction finds something else than it needs");
    }
  }

  private Object run() throws IOException {
    while (true) {
      int code = next();
      switch (code) {
        case 0x80 -> next(); // PROTO
        case 0x95 -> little(8); // FRAME
        case '.' -> { // STOP
          return pop();
        }
        case '(' -> push(MARK);
        case '0' -> pop();
        case '1' -> popToMark();
        case '2' -> push(top());
        case 'N' -> push(null);
        case 0x88 -> push(true);
        case 0x89 -> push(false);
        case 'I' -> push(integer(line()));
        case 'L' -> push(number(new BigInteger(line().replaceFirst("L$", ""))));
        case 'F' -> push(Double.valueOf(line()));
        case 'J' -> push((long) (int) little(4));
        case 'K' -> push((long) next());
        case 'M' -> push(little(2));
        case 'G' -> push(ByteBuffer.wrap(bytes(8)).getDouble());
        case 0x8a -> push(long1(next()));
        case 0x8b -> push(long1(little(4)));
        case 'S' -> push(quoted(line()));
        case 'V' -> push(line());
        case 'U', 0x8c -> push(text(next()));
        case 'T', 'X' -> push(text(little(4)));
        case 0x8d -> push(text(little(8)));
        case 'C' -> push(bytes(next()));
        case 'B' -> push(bytes(little(4)));
        case 0x8e -> push(bytes(little(8)));
        case ')', ']', 0x8f -> push(new ArrayList<>());
        case 't', 'l', 0x91 -> push(popToMark());
        case 0x85 -> push(popped(1));
        case 0x86 -> push(popped(2));
        case 0x87 -> push(popped(3));
        case 'a' -> {
          Object item = pop();
          list(top()).add(item);
        }
        case 'e', 0x90 -> {
          List<Object> items = popToMark();
          list(top()).addAll(items);
        }
        case '}' -> push(new LinkedHashMap<>());
        case 'd' -> push(dict(new LinkedHashMap<>(), popToMark()));
        case 's' -> {
          List<Object> pair = popped(2);
          dict(map(top()), pair);
        }
        case 'u' -> {
          List<Object> pairs = popToMark();
          dict(map(top()), pairs);
        }
        case 'p' -> memo.put(Long.valueOf(line()), top());
        case 'q' -> memo.put((long) next(), top());
        case 'r' -> memo.put(little(4), top());
        case 0x94 -> memo.put((long) memo.size(), top());
        case 'g' -> push(remembered(Long.parseLong(line())));
        case 'h' -> push(remembered(next()));
        case 'j' -> push(remembered(little(4)));
        case 'c' -> push(global(line(), line()));
        case 0x93 -> {
          List<Object> names = popped(2);
          push(global((String) names.get(0), (String) names.get(1)));
        }
        case 'R', 0x81 -> { // REDUCE, NEWOBJ
          List<Object> arguments = list(pop());
          push(call((Global) pop(), arguments));
        }
        case 'b' -> { // BUILD: attributes of what was made; data has none that matter here
          pop();
        }
        case 'P' -> push(callables.persistent(line()));
        case 'Q' -> push(callables.persistent(pop()));
        default -> throw malformed(String.format("instruction 0x%02x is not known", code));
      }
    }
  }

  // Names.

  private Global global(String module, String name) throws IOException {
    if (!callables.knows(module, name)) {
      throw refused(module, name);
    }
    return new Global(module, name);
  }

  private Object call(Global global, List<Object> arguments) throws IOException {
    Object result = callables.call(global.module, global.name, arguments);
    if (result == null) {
      throw refused(global.module, global.name);
    }
    return result;
  }

  private static IOException refused(String module, String name) {
    return new IOException(
        String.format(
            "Cannot read pickle: it wants %s.%s, which is no tensor data (save a state dict alone)",
            module, name));
  }

  static IOException malformed(String why) {
    return new IOException("Cannot read pickle: " + why);
  }

  // The stack.

  private void push(Object value) {
    stack.add(value);
  }

  private Object pop() {
    return stack.remove(stack.size() - 1);
  }

  private Object top() {
    return stack.get(stack.size() - 1);
  }

  private List<Object> popped(int count) {
    List<Object> last = stack.subList(stack.size() - count, stack.size());
    List<Object> values = new ArrayList<>(last);
    last.clear();
    return values;
  }

  private List<Object> popToMark() {
    int mark = stack.lastIndexOf(MARK);
    List<Object> values = popped(stack.size() - mark - 1);
    stack.remove(mark);
    return values;
  }

  private Object remembered(long index) throws IOException {
    if (!memo.containsKey(index)) {
      throw malformed("it asks for what it did not remember");
    }
    return memo.get(index);
  }

  @SuppressWarnings("unchecked") // lists and maps here hold anything
  private static List<Object> list(Object value) {
    return (List<Object>) value;
  }

  @SuppressWarnings("unchecked")
  private static Map<Object, Object> map(Object value) {
    return (Map<Object, Object>) value;
  }

  private static Map<Object, Object> dict(Map<Object, Object> dict, List<Object> pairs)
      throws IOException {
    for (int i = 0; i < pairs.size(); i += 2) {
      Object key = pairs.get(i);
      if (key instanceof List || key instanceof Map || key instanceof byte[]) {
        throw malformed("a key of a dict is neither a text nor a number");
      }
      dict.put(key, pairs.get(i + 1));
    }
    return dict;
  }

  // Bytes.

  private int next() throws IOException {
    return bytes(1)[0] & 0xFF;
  }

  private byte[] bytes(long count) throws IOException {
    if (count < 0 || count > LONGEST - read) {
      throw malformed(String.format("it has more than %d bytes beside its data", LONGEST));
    }
    byte[] bytes = in.readNBytes((int) count);
    if (bytes.length < count) {
      throw malformed("it ends within an instruction");
    }
    read += bytes.length;
    return bytes;
  }

  /** Unsigned, but for eight bytes. */
  private long little(int count) throws IOException {
    byte[] bytes = Arrays.copyOf(bytes(count), Long.BYTES);
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
  }

  private Object long1(long count) throws IOException {
    byte[] bytes = bytes(count);
    for (int i = 0; i < bytes.length / 2; i++) {
      byte swapped = bytes[i];
      bytes[i] = bytes[bytes.length - 1 - i];
      bytes[bytes.length - 1 - i] = swapped;
    }
    return bytes.length == 0 ? 0L : number(new BigInteger(bytes));
  }

  private static Object number(BigInteger value) {
    return value.bitLength() < Long.SIZE ? (Object) value.longValue() : value;
  }

  private String text(long count) throws IOException {
    return new String(bytes(count), StandardCharsets.UTF_8);
  }

  private String line() throws IOException {
    StringBuilder line = new StringBuilder();
    for (int c = next(); c != '\n'; c = next()) {
      line.append((char) c);
    }
    return line.toString();
  }

  private static Object integer(String line) {
    return switch (line) {
      case "00" -> false;
      case "01" -> true;
      default -> number(new BigInteger(line));
    };
  }

  private static String quoted(String line) throws IOException {
    if (line.length() < 2) {
      throw malformed("a text has no quotes");
    }
    return line.substring(1, line.length() - 1);
  }
}
