package sparkvision.data;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.IntFunction;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.event.IIOReadWarningListener;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.opencv.global.opencv_core;
import org.bytedeco.opencv.global.opencv_imgcodecs;
import org.bytedeco.opencv.global.opencv_imgproc;
import org.bytedeco.opencv.opencv_core.Mat;

/**
 * Decodes and encodes pictures with OpenCV; thread-safe, and all native memory is freed before a
 * method returns.
 *
 * <p>JPEG (grey, YCbCr, RGB, CMYK, YCCK) and PNG (every colour type and depth) are read. 16-bit
 * channels keep their high byte, alpha is dropped, embedded colour profiles and EXIF orientation
 * are ignored: pixels are as stored. A picture has at most 2^27 pixels (134 million), 65,536 on a
 * side; a larger one would fill an executor.
 *
 * <p>OpenCV paints what is missing of a broken picture grey and goes on, and its codecs write to
 * standard error. So {@link #inspect} reads a picture strictly, once, before it enters a shard;
 * {@link #decode} relies on that.
 */
public final class Images {

  static {
    Loader.load(opencv_imgproc.class);
    Loader.load(opencv_imgcodecs.class);
    opencv_core.setNumThreads(0); // executors bring their own threads
  }

  private static final byte[] PNG_SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

  /** Of one picture: 384 MiB in colour. */
  private static final long MAX_PIXELS = 1L << 27;

  /** Of one side; JPEG ends one below. */
  private static final long MAX_SIDE = 1L << 16;

  private Images() {}

  /**
   * Pixels, 8 bits a channel.
   *
   * @param channels 1 (grey) or 3 (red, green, blue)
   * @param pixels (H, W, C), rows from the top
   */
  public record Picture(int width, int height, int channels, byte[] pixels) {}

  /**
   * Reads a picture strictly, with the channels it was stored in: 1 for grey, else 3.
   *
   * @throws DataException if the bytes are not a whole, intact JPEG or PNG; the message is the
   *     reason alone, such as "truncated JPEG: Premature end of input file"
   */
  public static Picture inspect(byte[] encoded) {
    if (encoded.length == 0) {
      throw new DataException("empty file");
    }
    if (isPng(encoded)) {
      return decode(encoded, checkPng(encoded));
    }
    if (isJpeg(encoded)) {
      return decode(encoded, checkJpeg(encoded));
    }
    throw new DataException("neither JPEG nor PNG");
  }

  /**
   * Reads a picture that {@link #inspect} has accepted before.
   *
   * @param channels 1 or 3; grey is repeated, colour is turned to luma
   * @throws DataException if it cannot be decoded
   */
  public static Picture decode(byte[] encoded, int channels) {
    return decode(encoded, channels, 1, byte[]::new);
  }

  /**
   * As {@link #decode(byte[], int)}; of a JPEG, each pixel stands for a square of {@code reduction}
   * pixels, which the codec gets from fewer coefficients in less time. The right and lower edge may
   * stand for less.
   *
   * @param reduction 1, 2, 4 or 8; above 1 for JPEG only, see {@link #isJpeg}
   * @param room gives the array for so many bytes, or a longer one
   */
  public static Picture decode(
      byte[] encoded, int channels, int reduction, IntFunction<byte[]> room) {
    if (encoded.length == 0) {
      throw new DataException("empty file");
    }
    byte[] bytes = isPng(encoded) ? essentialChunks(encoded) : encoded;
    int flags =
        opencv_imgcodecs.IMREAD_IGNORE_ORIENTATION
            | switch (channels) {
              case 1 -> opencv_imgcodecs.IMREAD_GRAYSCALE;
              case 3 -> opencv_imgcodecs.IMREAD_COLOR_RGB;
              default ->
                  throw new IllegalArgumentException("Invalid channels: " + channels + " (1 or 3)");
            }
            | switch (reduction) {
              case 1 -> 0;
              case 2 -> opencv_imgcodecs.IMREAD_REDUCED_GRAYSCALE_2;
              case 4 -> opencv_imgcodecs.IMREAD_REDUCED_GRAYSCALE_4;
              case 8 -> opencv_imgcodecs.IMREAD_REDUCED_GRAYSCALE_8;
              default ->
                  throw new IllegalArgumentException(
                      "Invalid reduction: " + reduction + " (1, 2, 4 or 8)");
            };
    try (BytePointer data = new BytePointer(bytes);
        Mat input = new Mat(1, bytes.length, opencv_core.CV_8UC1, data);
        Mat picture = imdecode(input, flags)) {
      if (picture.empty()) {
        throw new DataException("cannot be decoded");
      }
      refuseLarge(picture.cols(), picture.rows());
      return copy(picture, room);
    }
  }

  /** OpenCV throws over sizes that it does not want and memory that it does not get. */
  private static Mat imdecode(Mat input, int flags) {
    try {
      return opencv_imgcodecs.imdecode(input, flags);
    } catch (RuntimeException e) {
      throw new DataException(
          "cannot be decoded: " + String.valueOf(e.getMessage()).lines().findFirst().orElse(""), e);
    }
  }

  /** Whether a picture of this size can be held. */
  public static boolean fits(long width, long height) {
    return width <= MAX_SIDE && height <= MAX_SIDE && width * height <= MAX_PIXELS;
  }

  private static void refuseLarge(int width, int height) {
    if (!fits(width, height)) {
      throw new DataException(
          String.format(
              "too large to decode: %d x %d pixels, at most %d and %d on a side",
              width, height, MAX_PIXELS, MAX_SIDE));
    }
  }

  /**
   * The channels of a picture that {@link #inspect} has accepted before, from its header: 1 if it
   * was stored in grey, else 3.
   */
  static int channels(byte[] encoded) {
    if (isPng(encoded)) {
      int colour = encoded[25];
      return colour == 0 || colour == 4 ? 1 : 3;
    }
    int at = 2;
    while (!isFrame(encoded[at + 1] & 0xFF)) {
      boolean fill = encoded[at + 1] == (byte) 0xFF;
      at += fill ? 1 : 2 + ((encoded[at + 2] & 0xFF) << 8 | (encoded[at + 3] & 0xFF));
    }
    return encoded[at + 9] == 1 ? 1 : 3;
  }

  /** Encodes as PNG; the same pixels always give the same bytes. */
  public static byte[] encodePng(Picture picture) {
    return encode(picture, ".png");
  }

  /**
   * Encodes as baseline JPEG with chroma at half size; the same pixels always give the same bytes.
   *
   * @param quality of libjpeg, 1 to 100
   */
  public static byte[] encodeJpeg(Picture picture, int quality) {
    return encode(picture, ".jpg", opencv_imgcodecs.IMWRITE_JPEG_QUALITY, quality);
  }

  private static byte[] encode(Picture picture, String format, int... parameters) {
    try (BytePointer data = new BytePointer(picture.pixels());
        Mat rgb = view(picture, data);
        Mat bgr = new Mat();
        BytePointer extension = new BytePointer(format);
        IntPointer settings = new IntPointer(parameters);
        BytePointer encoded = new BytePointer()) {
      if (picture.channels() == 3) {
        opencv_imgproc.cvtColor(rgb, bgr, opencv_imgproc.COLOR_RGB2BGR);
      }
      Mat source = picture.channels() == 3 ? bgr : rgb;
      if (!opencv_imgcodecs.imencode(extension, source, encoded, settings)) {
        throw new IllegalStateException("Cannot encode " + format + ": OpenCV refused");
      }
      byte[] bytes = new byte[(int) encoded.limit()];
      encoded.get(bytes);
      return bytes;
    }
  }

  private static Mat view(Picture picture, BytePointer data) {
    int type = picture.channels() == 1 ? opencv_core.CV_8UC1 : opencv_core.CV_8UC3;
    return new Mat(picture.height(), picture.width(), type, data);
  }

  private static Picture copy(Mat mat, IntFunction<byte[]> room) {
    int size = Math.toIntExact(mat.total() * mat.channels());
    byte[] pixels = room.apply(size);
    mat.data().get(pixels, 0, size);
    return new Picture(mat.cols(), mat.rows(), mat.channels(), pixels);
  }

  // JPEG

  /** Whether the bytes begin like a JPEG. */
  public static boolean isJpeg(byte[] bytes) {
    return bytes.length > 3
        && (bytes[0] & 0xFF) == 0xFF
        && (bytes[1] & 0xFF) == 0xD8
        && (bytes[2] & 0xFF) == 0xFF;
  }

  /** Whether a marker begins a frame header: size and number of components. */
  private static boolean isFrame(int marker) {
    boolean tables = marker == 0xC4 || marker == 0xC8 || marker == 0xCC;
    return marker >= 0xC0 && marker <= 0xCF && !tables;
  }

  /**
   * Decodes with the JDK's libjpeg, which reports what it had to guess, and returns 1 or 3
   * channels. Application segments and comments are cut out first: the JDK also fails over
   * metadata, which is no fault of the pixels.
   */
  private static int checkJpeg(byte[] bytes) {
    ByteArrayOutputStream bare = new ByteArrayOutputStream(bytes.length);
    bare.write(bytes, 0, 2);
    int components = 0;
    int at = 2;
    while (true) {
      while (at + 1 < bytes.length && (bytes[at] & bytes[at + 1] & 0xFF) == 0xFF) {
        at++; // fill bytes
      }
      if (at + 4 > bytes.length) {
        throw new DataException("truncated JPEG: it ends in its header");
      }
      int marker = bytes[at + 1] & 0xFF;
      int length = 2 + ((bytes[at + 2] & 0xFF) << 8 | (bytes[at + 3] & 0xFF));
      if ((bytes[at] & 0xFF) != 0xFF || length < 4) {
        throw new DataException("corrupt JPEG: no marker at byte " + at);
      }
      if (at + length > bytes.length) {
        throw new DataException("truncated JPEG: it ends in its header");
      }
      if (isFrame(marker) && length >= 10) {
        components = bytes[at + 9] & 0xFF;
        refuseLarge(
            (bytes[at + 7] & 0xFF) << 8 | (bytes[at + 8] & 0xFF),
            (bytes[at + 5] & 0xFF) << 8 | (bytes[at + 6] & 0xFF));
      }
      if (marker == 0xDA) {
        bare.write(bytes, at, bytes.length - at);
        break;
      }
      boolean metadata = (marker >= 0xE0 && marker <= 0xEF) || marker == 0xFE;
      if (!metadata) {
        bare.write(bytes, at, length);
      }
      at += length;
    }

    ImageReader reader = ImageIO.getImageReadersByFormatName("jpeg").next();
    AtomicReference<String> warning = new AtomicReference<>();
    IIOReadWarningListener keepFirst = (source, message) -> warning.compareAndSet(null, message);
    try (var in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bare.toByteArray()))) {
      reader.setInput(in, true, true);
      reader.addIIOReadWarningListener(keepFirst);
      reader.readRaster(0, null);
    } catch (IOException | RuntimeException e) {
      throw new DataException("corrupt JPEG: " + e.getMessage(), e);
    } finally {
      reader.dispose();
    }
    if (warning.get() != null) {
      throw new DataException("truncated or corrupt JPEG: " + warning.get());
    }
    return components == 1 ? 1 : 3;
  }

  // PNG

  /** Whether the bytes begin as a PNG does. */
  static boolean isPng(byte[] bytes) {
    return bytes.length >= 8 && Arrays.equals(bytes, 0, 8, PNG_SIGNATURE, 0, 8);
  }

  /** Checks chunk checksums and that the pixel stream is whole; returns 1 or 3 channels. */
  private static int checkPng(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    in.position(8);
    ByteArrayOutputStream deflated = new ByteArrayOutputStream(bytes.length);
    ByteBuffer header = null;
    while (true) {
      if (in.remaining() < 12) {
        throw new DataException("truncated PNG: no end chunk");
      }
      int length = in.getInt();
      int start = in.position();
      int type = in.getInt();
      if (length < 0 || length > in.remaining() - 4) {
        throw new DataException("truncated PNG: it ends inside a chunk");
      }
      CRC32 crc = new CRC32();
      crc.update(bytes, start, length + 4);
      in.position(start + 4 + length);
      if (in.getInt() != (int) crc.getValue()) {
        throw new DataException("corrupt PNG: wrong chunk checksum at byte " + start);
      }
      if (type == chunk("IHDR") && length >= 13) {
        header = ByteBuffer.wrap(bytes, start + 4, length).slice();
      }
      if (type == chunk("IDAT")) {
        deflated.write(bytes, start + 4, length);
      }
      if (type == chunk("IEND")) {
        break;
      }
    }
    if (header == null || header.getInt(0) <= 0 || header.getInt(4) <= 0) {
      throw new DataException("corrupt PNG: no size");
    }
    refuseLarge(header.getInt(0), header.getInt(4));

    int colour = header.get(9);
    int samples =
        switch (colour) {
          case 0, 3 -> 1;
          case 2 -> 3;
          case 4 -> 2;
          case 6 -> 4;
          default -> throw new DataException("corrupt PNG: colour type " + colour);
        };
    inflateRows(
        deflated.toByteArray(),
        header.getInt(0),
        header.getInt(4),
        samples * header.get(8),
        header.get(12) != 0);
    return colour == 0 || colour == 4 ? 1 : 3;
  }

  private static void inflateRows(
      byte[] deflated, int width, int height, int bitsPerPixel, boolean interlaced) {
    int[][] passes = {{0, 0, 1, 1}}; // first column, first row, column step, row step
    if (interlaced) {
      passes =
          new int[][] {
            {0, 0, 8, 8},
            {4, 0, 8, 8},
            {0, 4, 4, 8},
            {2, 0, 4, 4},
            {0, 2, 2, 4},
            {1, 0, 2, 2},
            {0, 1, 1, 2}
          };
    }
    Inflater inflater = new Inflater();
    try {
      inflater.setInput(deflated);
      for (int[] pass : passes) {
        long columns = ((long) width - pass[0] + pass[2] - 1) / pass[2];
        long rows = ((long) height - pass[1] + pass[3] - 1) / pass[3];
        if (columns <= 0 || rows <= 0) {
          continue;
        }
        byte[] row = new byte[Math.toIntExact(1 + (columns * bitsPerPixel + 7) / 8)];
        for (long y = 0; y < rows; y++) {
          int filled = 0;
          while (filled < row.length) {
            int count = inflater.inflate(row, filled, row.length - filled);
            if (count == 0) {
              throw new DataException("truncated PNG: pixels end in row " + y + " of " + rows);
            }
            filled += count;
          }
          if (row[0] < 0 || row[0] > 4) {
            throw new DataException("corrupt PNG: filter " + row[0] + " in row " + y);
          }
        }
      }
    } catch (DataFormatException | ArithmeticException e) {
      throw new DataException("corrupt PNG: " + e.getMessage(), e);
    } finally {
      inflater.end();
    }
  }

  /** The chunks that make pixels; libpng writes to standard error over faults in the others. */
  private static byte[] essentialChunks(byte[] png) {
    ByteArrayOutputStream kept = new ByteArrayOutputStream(png.length);
    ByteBuffer in = ByteBuffer.wrap(png);
    kept.write(png, 0, 8);
    in.position(8);
    while (in.remaining() >= 12) {
      int start = in.position();
      int length = in.getInt();
      int type = in.getInt();
      if (length < 0 || length > in.remaining() - 4) {
        break;
      }
      boolean critical = (type & 0x20000000) == 0;
      if (critical || type == chunk("tRNS")) {
        kept.write(png, start, 12 + length);
      }
      in.position(start + 12 + length);
    }
    return kept.toByteArray();
  }

  private static int chunk(String name) {
    return name.charAt(0) << 24 | name.charAt(1) << 16 | name.charAt(2) << 8 | name.charAt(3);
  }
}
