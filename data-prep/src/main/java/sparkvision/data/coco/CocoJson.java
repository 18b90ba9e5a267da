package sparkvision.data.coco;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import sparkvision.data.DataException;
import sparkvision.data.Storage;

/**
 * Streams COCO's JSON: one element of an array is in memory at a time.
 *
 * <p>What a visitor throws as {@link DataException} passes on with the file, and the byte at which
 * the element begins, before it.
 */
public final class CocoJson {

  private static final JsonMapper JSON = JsonMapper.builder().build();
  private static final int EXCERPT = 60;

  /** Up to here a float64 holds every whole number. */
  private static final double EXACT = 1L << 53;

  private CocoJson() {}

  /** Takes the elements of an array. */
  @FunctionalInterface
  public interface Visitor {

    /**
     * Takes the next element.
     *
     * @param offset of its first byte in the file
     */
    void visit(JsonNode element, long offset);
  }

  /**
   * Reads some of the arrays that the file's object holds, in the file's order.
   *
   * @param arrays by key; what else the object holds is passed over
   * @throws DataException if the file is no whole JSON object, or lacks one of the arrays
   */
  public static void readObject(Configuration hadoop, String file, Map<String, Visitor> arrays)
      throws IOException {
    read(
        hadoop,
        file,
        parser -> {
          if (parser.nextToken() != JsonToken.START_OBJECT) {
            throw new DataException("the file is no object");
          }
          Set<String> seen = new HashSet<>();
          while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            parser.nextToken();
            Visitor visitor = arrays.get(key);
            if (visitor == null) {
              parser.skipChildren();
              continue;
            }
            if (!seen.add(key)) {
              throw new DataException(key + " stands there twice");
            }
            visit(parser, key, visitor);
          }
          for (String key : arrays.keySet()) {
            if (!seen.contains(key)) {
              throw new DataException("it has no " + key);
            }
          }
        });
  }

  /**
   * Reads the array that the file is.
   *
   * @throws DataException if the file is no whole JSON array
   */
  public static void readArray(Configuration hadoop, String file, Visitor visitor)
      throws IOException {
    read(
        hadoop,
        file,
        parser -> {
          parser.nextToken();
          visit(parser, "the file", visitor);
        });
  }

  @FunctionalInterface
  private interface Reading {
    void read(JsonParser parser) throws IOException;
  }

  private static void read(Configuration hadoop, String file, Reading reading) throws IOException {
    Path path = new Path(file);
    try (InputStream in = Storage.of(path, hadoop).open(path);
        JsonParser parser = JSON.createParser(in)) {
      try {
        reading.read(parser);
        if (parser.nextToken() != null) {
          throw new DataException("something follows the end");
        }
      } catch (JsonProcessingException e) {
        throw new DataException(
            String.format(
                "Cannot read %s: byte %d: %s",
                file, e.getLocation().getByteOffset(), e.getOriginalMessage()),
            e);
      } catch (DataException e) {
        throw new DataException(String.format("Cannot read %s: %s", file, e.getMessage()), e);
      }
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException("Cannot read " + file + ": there is no such file", e);
    }
  }

  private static void visit(JsonParser parser, String name, Visitor visitor) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw new DataException(name + " is no array of objects");
    }
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      long offset = parser.currentTokenLocation().getByteOffset();
      try {
        visitor.visit(parser.readValueAsTree(), offset);
      } catch (DataException e) {
        throw new DataException(String.format("byte %d: %s", offset, e.getMessage()), e);
      }
    }
  }

  /**
   * A whole number.
   *
   * @throws DataException if there is none of this name; the message is the reason alone
   */
  public static long whole(JsonNode element, String key) {
    JsonNode value = element.path(key);
    double number = value.doubleValue();
    boolean whole =
        value.isIntegralNumber()
            ? value.canConvertToLong()
            : number == Math.rint(number) && Math.abs(number) <= EXACT;
    if (!value.isNumber() || !whole) {
      throw new DataException(
          value.isMissingNode()
              ? "it has no " + key
              : key + " is " + excerpt(value) + ", no whole number");
    }
    return value.longValue();
  }

  /**
   * A finite number.
   *
   * @throws DataException if there is none of this name; the message is the reason alone
   */
  public static double number(JsonNode element, String key) {
    JsonNode value = element.path(key);
    if (value.isMissingNode()) {
      throw new DataException("it has no " + key);
    }
    return finite(value, key);
  }

  /**
   * A text that is not empty.
   *
   * @throws DataException if there is none of this name; the message is the reason alone
   */
  static String text(JsonNode element, String key) {
    JsonNode value = element.path(key);
    if (!value.isTextual() || value.textValue().isEmpty()) {
      throw new DataException(
          value.isMissingNode() ? "it has no " + key : key + " is " + excerpt(value));
    }
    return value.textValue();
  }

  /**
   * The box of an annotation or result: x, y, width and height.
   *
   * @throws DataException if there is none; the message is the reason alone
   */
  public static Box box(JsonNode element) {
    JsonNode value = element.path("bbox");
    if (value.isMissingNode()) {
      throw new DataException("it has no bbox");
    }
    double[] box = numbers(value, "bbox");
    if (box.length != 4) {
      throw new DataException("bbox has " + box.length + " numbers, not 4");
    }
    return new Box(box[0], box[1], box[2], box[3]);
  }

  static double[] numbers(JsonNode array, String what) {
    if (!array.isArray()) {
      throw new DataException(what + " is no array");
    }
    double[] numbers = new double[array.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = finite(array.get(i), what);
    }
    return numbers;
  }

  private static double finite(JsonNode value, String what) {
    double number = value.doubleValue();
    if (!value.isNumber() || !Double.isFinite(number)) {
      throw new DataException(String.format("%s holds %s, no finite number", what, excerpt(value)));
    }
    return number;
  }

  static String excerpt(JsonNode value) {
    String text = value.toString();
    return text.length() <= EXCERPT ? text : text.substring(0, EXCERPT) + "...";
  }
}
