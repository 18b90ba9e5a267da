package sparkvision.data;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * Reads the struct arrays of MATLAB 5 files, the format of the ILSVRC development kits.
 *
 * <p>Behind a header of 128 bytes come data elements: a tag (type, bytes), then the data padded to
 * 8 bytes; up to 4 bytes of data may stand in the tag itself. A compressed element (type 15) is
 * another element under zlib. A matrix (type 14) holds elements for its flags, dimensions and name,
 * then its contents; a struct array's are field names and, element by element, a matrix a field.
 *
 * @see <a href="https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf">MATLAB: MAT-File
 *     Format, Level 5</a>
 */
final class MatStructs {

  private static final int MATRIX = 14;
  private static final int COMPRESSED = 15;
  private static final int STRUCT_CLASS = 2;
  private static final int CHAR_CLASS = 4;
  private static final int FIRST_NUMBER_CLASS = 6;
  private static final int MAX_INFLATED_BYTES = 1 << 28;

  private MatStructs() {}

  /**
   * Reads a struct array.
   *
   * @return for each struct the fields that are text or one number, the number as text
   * @throws DataException if the bytes are not such a file; the message is the reason alone
   */
  static List<Map<String, String>> read(byte[] file, String variable) {
    if (file.length < 128 || !new String(file, 0, 6, StandardCharsets.US_ASCII).equals("MATLAB")) {
      throw new DataException("not a MATLAB 5 file");
    }
    ByteBuffer in = ByteBuffer.wrap(file);
    in.order(file[126] == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
    in.position(128);
    while (in.hasRemaining()) {
      Element element = next(in);
      if (element.type == COMPRESSED) {
        element = next(inflate(element.data));
      }
      if (element.type != MATRIX) {
        continue;
      }
      Matrix matrix = matrix(element.data);
      if (matrix.name.equals(variable)) {
        return structs(matrix);
      }
    }
    throw new DataException("no variable " + variable);
  }

  private record Element(int type, ByteBuffer data) {}

  /** A matrix whose contents are still to be read. */
  private record Matrix(int kind, long count, String name, ByteBuffer contents) {}

  private static Element next(ByteBuffer in) {
    int tag = integer(in);
    int small = tag >>> 16;
    if (small != 0) {
      ByteBuffer data = take(in, 4);
      return new Element(tag & 0xFFFF, take(data, small));
    }
    int length = integer(in);
    ByteBuffer data = take(in, length);
    if (tag != COMPRESSED) {
      take(in, Math.min(in.remaining(), -length & 7));
    }
    return new Element(tag, data);
  }

  private static Matrix matrix(ByteBuffer in) {
    if (!in.hasRemaining()) {
      return new Matrix(FIRST_NUMBER_CLASS, 0, "", in); // an empty cell is written as nothing
    }
    int flags = integer(next(in).data);
    ByteBuffer dimensions = next(in).data;
    long count = 1;
    while (dimensions.hasRemaining()) {
      int dimension = integer(dimensions);
      if (dimension < 0 || dimension > MAX_INFLATED_BYTES || count > MAX_INFLATED_BYTES) {
        throw new DataException("a matrix has a dimension of " + dimension);
      }
      count *= dimension;
    }
    String name = StandardCharsets.US_ASCII.decode(next(in).data).toString();
    return new Matrix(flags & 0xFF, count, name, in);
  }

  private static List<Map<String, String>> structs(Matrix array) {
    if (array.kind != STRUCT_CLASS) {
      throw new DataException("variable " + array.name + " is not a struct array");
    }
    ByteBuffer in = array.contents;
    int nameLength = integer(next(in).data);
    ByteBuffer names = next(in).data;
    List<String> fields = new ArrayList<>();
    while (names.hasRemaining() && nameLength > 0) {
      String padded = StandardCharsets.US_ASCII.decode(take(names, nameLength)).toString();
      fields.add(padded.substring(0, (padded + '\0').indexOf('\0')));
    }
    List<Map<String, String>> structs = new ArrayList<>();
    for (long i = 0; i < array.count && !fields.isEmpty(); i++) {
      Map<String, String> struct = new LinkedHashMap<>();
      for (String field : fields) {
        Matrix value = matrix(next(in).data);
        if (value.kind == CHAR_CLASS) {
          struct.put(field, value.count == 0 ? "" : characters(next(value.contents)));
        } else if (value.kind >= FIRST_NUMBER_CLASS && value.count == 1) {
          struct.put(field, number(next(value.contents)));
        }
      }
      structs.add(struct);
    }
    return structs;
  }

  private static String characters(Element element) {
    ByteBuffer data = element.data;
    return switch (element.type) {
      case 1, 2, 16 -> StandardCharsets.UTF_8.decode(data).toString();
      case 4, 17 ->
          (data.order() == ByteOrder.LITTLE_ENDIAN
                  ? StandardCharsets.UTF_16LE
                  : StandardCharsets.UTF_16BE)
              .decode(data)
              .toString();
      default -> throw new DataException("text of type " + element.type);
    };
  }

  private static String number(Element element) {
    ByteBuffer data = element.data;
    int bytes =
        switch (element.type) {
          case 1, 2 -> 1;
          case 3, 4 -> 2;
          case 5, 6, 7 -> 4;
          case 9, 12, 13 -> 8;
          default -> throw new DataException("a number of type " + element.type);
        };
    ByteBuffer value = take(data, bytes);
    return switch (element.type) {
      case 1 -> Integer.toString(value.get());
      case 2 -> Integer.toString(value.get() & 0xFF);
      case 3 -> Integer.toString(value.getShort());
      case 4 -> Integer.toString(value.getShort() & 0xFFFF);
      case 5 -> Integer.toString(value.getInt());
      case 6 -> Integer.toUnsignedString(value.getInt());
      case 7 -> decimal(value.getFloat());
      case 9 -> decimal(value.getDouble());
      case 12 -> Long.toString(value.getLong());
      default -> Long.toUnsignedString(value.getLong());
    };
  }

  private static String decimal(double value) {
    return value == Math.rint(value) ? Long.toString((long) value) : Double.toString(value);
  }

  private static ByteBuffer inflate(ByteBuffer deflated) {
    Inflater inflater = new Inflater();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    byte[] buffer = new byte[1 << 16];
    try {
      inflater.setInput(deflated.duplicate());
      for (int n = inflater.inflate(buffer); n > 0; n = inflater.inflate(buffer)) {
        bytes.write(buffer, 0, n);
        if (bytes.size() > MAX_INFLATED_BYTES) {
          throw new DataException("it inflates to more than " + MAX_INFLATED_BYTES + " bytes");
        }
      }
    } catch (DataFormatException e) {
      throw new DataException("corrupt: " + e.getMessage(), e);
    } finally {
      inflater.end();
    }
    return ByteBuffer.wrap(bytes.toByteArray()).order(deflated.order());
  }

  private static int integer(ByteBuffer in) {
    return take(in, 4).getInt();
  }

  private static ByteBuffer take(ByteBuffer in, int length) {
    if (length < 0 || length > in.remaining()) {
      throw new DataException("truncated or corrupt: " + length + " bytes expected");
    }
    ByteBuffer taken = in.slice(in.position(), length).order(in.order());
    in.position(in.position() + length);
    return taken;
  }
}
