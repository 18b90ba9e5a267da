package sparkvision.data.coco;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.parquet.bytes.BytesUtils;
import sparkvision.data.DetectedObject;

/**
 * The objects of a picture in few bytes, between the listing and the reading of a sample.
 *
 * <pre>
 * picture   height int32, width int32, objects to the end
 * object    category varint, crowd byte, area float64, box numbers, kind byte, then
 *           0 (a box only) nothing | 1 polygons: count varint, numbers of each
 *           | 2 a mask: length varint, COCO's compressed string
 * numbers   count varint, coding byte, then
 *           0 float64 each | 1 hundredths: zigzag varint of the difference to the number two before
 * </pre>
 *
 * <p>Hundredths are used where they give back the same float64: COCO's coordinates have two digits
 * after the point. Varints are Parquet's.
 */
final class ObjectCoding {

  private static final int BOX_ONLY = 0;
  private static final int POLYGONS = 1;
  private static final int MASK = 2;

  private static final int DOUBLES = 0;
  private static final int HUNDREDTHS = 1;

  /** Of a hundredth's count that a float64 holds exactly. */
  private static final double LARGEST = 1L << 53;

  private ObjectCoding() {}

  /** What comes before a picture's objects. */
  static byte[] picture(int height, int width) {
    return written(
        out -> {
          out.writeInt(height);
          out.writeInt(width);
        });
  }

  static byte[] object(
      int category, boolean crowd, double area, Box box, Optional<Segmentation> segmentation) {
    return written(
        out -> {
          BytesUtils.writeUnsignedVarInt(category, out);
          out.writeBoolean(crowd);
          out.writeDouble(area);
          writeNumbers(out, new double[] {box.x(), box.y(), box.width(), box.height()});
          if (segmentation.isEmpty()) {
            out.writeByte(BOX_ONLY);
          } else if (segmentation.get() instanceof Segmentation.Polygons polygons) {
            out.writeByte(POLYGONS);
            BytesUtils.writeUnsignedVarInt(polygons.corners().size(), out);
            for (double[] polygon : polygons.corners()) {
              writeNumbers(out, polygon);
            }
          } else if (segmentation.get() instanceof Segmentation.Runs runs) {
            out.writeByte(MASK);
            byte[] text = runs.rle().toString().getBytes(StandardCharsets.US_ASCII);
            BytesUtils.writeUnsignedVarInt(text.length, out);
            out.write(text);
          }
        });
  }

  /** The size of a picture and its objects, the masks drawn. */
  record Objects(int height, int width, List<DetectedObject> objects) {}

  static Objects read(byte[] coded) {
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(coded))) {
      int height = in.readInt();
      int width = in.readInt();
      List<DetectedObject> objects = new ArrayList<>();
      while (in.available() > 0) {
        int category = BytesUtils.readUnsignedVarInt(in);
        boolean crowd = in.readBoolean();
        double area = in.readDouble();
        double[] box = readNumbers(in);
        objects.add(
            new DetectedObject(
                category,
                box[0],
                box[1],
                box[2],
                box[3],
                area,
                crowd,
                readMask(in, height, width)));
      }
      return new Objects(height, width, objects);
    } catch (IOException e) {
      throw new IllegalStateException("Cannot read the objects of a picture: " + e, e);
    }
  }

  private static String readMask(DataInputStream in, int height, int width) throws IOException {
    int kind = in.readByte();
    return switch (kind) {
      case BOX_ONLY -> "";
      case POLYGONS -> {
        int count = BytesUtils.readUnsignedVarInt(in);
        List<double[]> corners = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
          corners.add(readNumbers(in));
        }
        yield new Segmentation.Polygons(corners).toRle(height, width).toString();
      }
      case MASK ->
          new String(in.readNBytes(BytesUtils.readUnsignedVarInt(in)), StandardCharsets.US_ASCII);
      default -> throw new IOException("kind of mask " + kind);
    };
  }

  private static void writeNumbers(DataOutputStream out, double[] numbers) throws IOException {
    BytesUtils.writeUnsignedVarInt(numbers.length, out);
    boolean hundredths = true;
    for (double number : numbers) {
      double count = Math.rint(number * 100);
      // Compared by bits: -0.0 is no count.
      hundredths &=
          Math.abs(count) < LARGEST
              && Double.doubleToRawLongBits((long) count / 100.0)
                  == Double.doubleToRawLongBits(number);
    }
    out.writeByte(hundredths ? HUNDREDTHS : DOUBLES);
    long[] counts = new long[numbers.length];
    for (int i = 0; i < numbers.length; i++) {
      if (!hundredths) {
        out.writeDouble(numbers[i]);
        continue;
      }
      counts[i] = (long) Math.rint(numbers[i] * 100);
      BytesUtils.writeZigZagVarLong(i < 2 ? counts[i] : counts[i] - counts[i - 2], out);
    }
  }

  private static double[] readNumbers(DataInputStream in) throws IOException {
    double[] numbers = new double[BytesUtils.readUnsignedVarInt(in)];
    boolean hundredths = in.readByte() == HUNDREDTHS;
    long[] counts = new long[numbers.length];
    for (int i = 0; i < numbers.length; i++) {
      if (!hundredths) {
        numbers[i] = in.readDouble();
        continue;
      }
      counts[i] = BytesUtils.readZigZagVarLong(in) + (i < 2 ? 0 : counts[i - 2]);
      numbers[i] = counts[i] / 100.0;
    }
    return numbers;
  }

  @FunctionalInterface
  private interface Writing {
    void write(DataOutputStream out) throws IOException;
  }

  private static byte[] written(Writing writing) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      writing.write(out);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write the objects of a picture", e);
    }
    return bytes.toByteArray();
  }
}
