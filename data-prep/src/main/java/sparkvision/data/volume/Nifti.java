package sparkvision.data.volume;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Locale;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import java.util.zip.ZipException;
import sparkvision.data.DataException;

/**
 * Reads NIfTI-1 and NIfTI-2 files ({@code .nii}, {@code .nii.gz}, either byte order) and writes
 * NIfTI-1. Written from the standard's headers: no library on Maven Central reads both versions,
 * checks sizes and is kept up.
 *
 * <p><b>Datatypes:</b> uint8, int8, uint16, int16, uint32, int32, int64, float32, float64; values
 * become float32 after scaling by scl_slope and scl_inter in float64. A slope that is 0 or not
 * finite means none. Complex, RGB and 128-bit values are refused, and so are Analyze 7.5 and pairs
 * of {@code .hdr} and {@code .img}.
 *
 * <p><b>Orientation</b> is what nibabel makes of it: the sform if its code is not 0, else the qform
 * if its code is not 0, else pixdim with the volume's centre at the origin and x running left.
 * Units are taken as millimetres, whatever xyzt_units says.
 *
 * <p><b>Bounds.</b> The header is held against the length of the data before memory is taken; a
 * volume has at most 2^28 voxels (268 million, 1 GiB as floats). Of a compressed file no more is
 * unpacked than its header states, and no more memory taken than twice what it unpacked to.
 *
 * @see <a href="https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h">nifti1.h</a> and <a
 *     href="https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h">nifti2.h</a>
 */
public final class Nifti {

  /** Asks for a volume that has one channel only. */
  public static final int ONLY_CHANNEL = -1;

  static final long MAX_VOXELS = 1L << 28;

  private static final int HEADER_1 = 348;
  private static final int HEADER_2 = 540;
  private static final byte[] MAGIC_1 = {'n', '+', '1', 0};
  private static final byte[] MAGIC_2 = {'n', '+', '2', 0, '\r', '\n', 0x1A, '\n'};

  /** Deflate cannot pack tighter. */
  private static final long MAX_INFLATION = 1032;

  private static final int BUFFER_BYTES = 1 << 16;
  private static final int FIRST_VOXELS = 1 << 20;

  private Nifti() {}

  private enum Datatype {
    UINT8(2, 1),
    INT16(4, 2),
    INT32(8, 4),
    FLOAT32(16, 4),
    FLOAT64(64, 8),
    INT8(256, 1),
    UINT16(512, 2),
    UINT32(768, 4),
    INT64(1024, 8);

    final int code;
    final int bytes;

    Datatype(int code, int bytes) {
      this.code = code;
      this.bytes = bytes;
    }

    static Datatype of(int code) {
      return Arrays.stream(values())
          .filter(type -> type.code == code)
          .findFirst()
          .orElseThrow(
              () ->
                  new DataException(
                      String.format(
                          "unsupported NIfTI: datatype %d (integers up to 64 bits, float32 or"
                              + " float64)",
                          code)));
    }

    double next(ByteBuffer in) {
      return switch (this) {
        case UINT8 -> in.get() & 0xFF;
        case INT8 -> in.get();
        case UINT16 -> in.getShort() & 0xFFFF;
        case INT16 -> in.getShort();
        case UINT32 -> in.getInt() & 0xFFFFFFFFL;
        case INT32 -> in.getInt();
        case INT64 -> in.getLong();
        case FLOAT32 -> in.getFloat();
        case FLOAT64 -> in.getDouble();
      };
    }
  }

  /** What is needed of a header. */
  private record Header(
      int bytes,
      ByteOrder order,
      int width,
      int height,
      int depth,
      long channels,
      Datatype type,
      long offset,
      double slope,
      double intercept,
      Affine affine) {

    int voxels() {
      return width * height * depth;
    }

    long channelBytes() {
      return (long) voxels() * type.bytes;
    }
  }

  /**
   * Reads a volume as it is stored, in the orientation that its affine states.
   *
   * @param file the bytes of a {@code .nii} or {@code .nii.gz}; which, they tell themselves
   * @param channel index along the fourth dimension (time, or modality); {@link #ONLY_CHANNEL}
   *     refuses volumes that have several
   * @throws DataException if the bytes are not a whole NIfTI file, its header contradicts itself or
   *     them, or there is no such channel; the message is the reason alone
   */
  public static Volume read(byte[] file, int channel) {
    if (file.length == 0) {
      throw new DataException("empty file");
    }
    boolean packed = file.length > 1 && (file[0] & 0xFF) == 0x1F && (file[1] & 0xFF) == 0x8B;
    try (InputStream bytes = new ByteArrayInputStream(file);
        InputStream in = packed ? new GZIPInputStream(bytes, BUFFER_BYTES) : bytes) {
      Header header = header(in);
      if (channel >= header.channels() || (channel == ONLY_CHANNEL && header.channels() > 1)) {
        throw new DataException(
            String.format(
                "4-D NIfTI with %d channels: asked for is %s",
                header.channels(), channel == ONLY_CHANNEL ? "the only one" : "number " + channel));
      }
      refuseLying(header, file.length, packed);
      in.skipNBytes(
          header.offset() - header.bytes() + Math.max(0, channel) * header.channelBytes());
      float[] voxels = voxels(in, header);
      in.skipNBytes((header.channels() - Math.max(0, channel) - 1) * header.channelBytes());
      if (in.read() >= 0) {
        throw new DataException(
            "corrupt NIfTI: more bytes follow than the header's " + describe(header));
      }
      return new Volume(header.depth(), header.height(), header.width(), voxels, header.affine());
    } catch (EOFException e) {
      throw new DataException("truncated NIfTI: it ends before its voxels do", e);
    } catch (ZipException e) {
      throw new DataException("corrupt gzip: " + e.getMessage(), e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read from memory: " + e.getMessage(), e);
    }
  }

  private static void refuseLying(Header header, int length, boolean packed) {
    long needed = header.offset() + header.channels() * header.channelBytes();
    if (packed ? needed > MAX_INFLATION * length : needed > length) {
      throw new DataException(
          String.format(
              "truncated NIfTI: the header states %s, but %d bytes%s cannot hold them",
              describe(header), length, packed ? " of gzip" : ""));
    }
  }

  private static String describe(Header header) {
    return String.format(
        "%d x %d x %d x %d voxels of %d bytes from byte %d",
        header.width(),
        header.height(),
        header.depth(),
        header.channels(),
        header.type().bytes,
        header.offset());
  }

  private static float[] voxels(InputStream in, Header header) throws IOException {
    int count = header.voxels();
    int bytes = header.type().bytes;
    boolean scaled = header.slope() != 0 && Double.isFinite(header.slope());
    byte[] buffer = new byte[BUFFER_BYTES];
    ByteBuffer values = ByteBuffer.wrap(buffer).order(header.order());
    float[] voxels = new float[Math.min(count, FIRST_VOXELS)];
    int filled = 0;
    while (filled < count) {
      int wanted = Math.min(buffer.length / bytes, count - filled);
      if (in.readNBytes(buffer, 0, wanted * bytes) < wanted * bytes) {
        throw new EOFException();
      }
      if (filled + wanted > voxels.length) {
        voxels = Arrays.copyOf(voxels, (int) Math.min(count, 2L * voxels.length));
      }
      values.clear();
      for (int end = filled + wanted; filled < end; filled++) {
        double value = header.type().next(values);
        voxels[filled] = (float) (scaled ? value * header.slope() + header.intercept() : value);
      }
    }
    return voxels;
  }

  // The header

  private static Header header(InputStream in) throws IOException {
    byte[] start = in.readNBytes(4);
    if (start.length < 4) {
      throw new DataException("truncated NIfTI: it ends in its header");
    }
    int size = ByteBuffer.wrap(start).getInt();
    boolean little = size != HEADER_1 && size != HEADER_2;
    size = little ? Integer.reverseBytes(size) : size;
    if (size != HEADER_1 && size != HEADER_2) {
      throw new DataException(
          String.format("not NIfTI: its first number is %d, neither 348 nor 540", size));
    }
    byte[] bytes = Arrays.copyOf(start, size);
    if (in.readNBytes(bytes, 4, size - 4) < size - 4) {
      throw new DataException("truncated NIfTI: it ends in its header");
    }
    ByteOrder order = little ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN;
    return size == HEADER_1 ? header1(bytes, order) : header2(bytes, order);
  }

  private static Header header1(byte[] bytes, ByteOrder order) {
    byte[] magic = Arrays.copyOfRange(bytes, 344, 348);
    if (!Arrays.equals(magic, MAGIC_1)) {
      throw new DataException(
          magic[0] == 'n' && magic[1] == 'i'
              ? "unsupported NIfTI: its voxels lie in another file, .img (convert it to .nii)"
              : "not NIfTI: wrong magic number (Analyze 7.5 is not read)");
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(order);
    long[] dim = new long[8];
    double[] pixdim = new double[8];
    for (int i = 0; i < 8; i++) {
      dim[i] = in.getShort(40 + 2 * i);
      pixdim[i] = in.getFloat(76 + 4 * i);
    }
    double[] quaternion = new double[6];
    for (int i = 0; i < 6; i++) {
      quaternion[i] = in.getFloat(256 + 4 * i);
    }
    double[] sform = new double[12];
    for (int i = 0; i < 12; i++) {
      sform[i] = in.getFloat(280 + 4 * i);
    }
    return checked(
        in,
        dim,
        in.getShort(70),
        in.getShort(72),
        in.getFloat(108),
        in.getFloat(112),
        in.getFloat(116),
        affine(in.getShort(254), sform, in.getShort(252), quaternion, dim, pixdim));
  }

  private static Header header2(byte[] bytes, ByteOrder order) {
    if (!Arrays.equals(bytes, 4, 12, MAGIC_2, 0, 8)) {
      throw new DataException("not NIfTI: wrong magic number");
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(order);
    long[] dim = new long[8];
    double[] pixdim = new double[8];
    for (int i = 0; i < 8; i++) {
      dim[i] = in.getLong(16 + 8 * i);
      pixdim[i] = in.getDouble(104 + 8 * i);
    }
    double[] quaternion = new double[6];
    for (int i = 0; i < 6; i++) {
      quaternion[i] = in.getDouble(352 + 8 * i);
    }
    double[] sform = new double[12];
    for (int i = 0; i < 12; i++) {
      sform[i] = in.getDouble(400 + 8 * i);
    }
    return checked(
        in,
        dim,
        in.getShort(12),
        in.getShort(14),
        (double) in.getLong(168),
        in.getDouble(176),
        in.getDouble(184),
        affine(in.getInt(348), sform, in.getInt(344), quaternion, dim, pixdim));
  }

  private static Header checked(
      ByteBuffer in,
      long[] dim,
      int datatype,
      int bits,
      double offset,
      double slope,
      double intercept,
      Affine affine) {
    Datatype type = Datatype.of(datatype);
    if (bits != 8 * type.bytes) {
      throw new DataException(
          String.format("corrupt NIfTI: %d bits a voxel, but datatype %d", bits, datatype));
    }
    int size = in.capacity();
    if (!(offset >= size + 4 && offset <= Integer.MAX_VALUE) || offset != Math.rint(offset)) {
      throw new DataException(
          String.format(
              Locale.ROOT,
              "corrupt NIfTI: voxels start at byte %s (from %d on)",
              offset,
              size + 4));
    }
    if (slope != 0 && Double.isFinite(slope) && !Double.isFinite(intercept)) {
      throw new DataException("corrupt NIfTI: intercept " + intercept);
    }
    return new Header(
        size,
        in.order(),
        (int) dim[1],
        (int) dim[2],
        (int) dim[3],
        dim[4],
        type,
        (long) offset,
        slope,
        intercept,
        affine);
  }

  /** Puts 1 for the dimensions that are not used, and refuses what cannot be. */
  private static void checkDimensions(long[] dim) {
    String stated = Arrays.toString(dim);
    if (dim[0] < 1 || dim[0] > 7) {
      throw new DataException("corrupt NIfTI: dim is " + stated);
    }
    long voxels = 1;
    for (int i = 1; i < 8; i++) {
      if (i > dim[0]) {
        dim[i] = 1;
      }
      if (dim[i] < 1 || dim[i] > Integer.MAX_VALUE) {
        throw new DataException("corrupt NIfTI: dim is " + stated);
      }
      if (i > 4 && dim[i] > 1) {
        throw new DataException("unsupported NIfTI: more than four dimensions, dim is " + stated);
      }
      voxels = i > 3 ? voxels : voxels * dim[i];
      if (voxels > MAX_VOXELS) {
        throw new DataException(
            String.format("too large a volume: dim is %s, at most %d voxels", stated, MAX_VOXELS));
      }
    }
  }

  private static Affine affine(
      int sformCode,
      double[] sform,
      int qformCode,
      double[] quaternion,
      long[] dim,
      double[] pixdim) {
    checkDimensions(dim);
    boolean usesPixdim = sformCode == 0;
    for (int i = 1; usesPixdim && i < 4; i++) {
      if (!(pixdim[i] > 0 && Double.isFinite(pixdim[i]))) {
        throw new DataException("corrupt NIfTI: pixdim is " + Arrays.toString(pixdim));
      }
    }
    Affine affine =
        sformCode != 0
            ? new Affine(sform)
            : qformCode != 0 ? qform(quaternion, pixdim) : centred(dim, pixdim);
    if (!affine.isValid()) {
      throw new DataException("corrupt NIfTI: affine is " + Arrays.toString(affine.rows()));
    }
    return affine;
  }

  /** Method 1 of nifti1.h, which leaves the orientation open. */
  private static Affine centred(long[] dim, double[] pixdim) {
    double x = (dim[1] - 1) * pixdim[1] / 2;
    double y = -(dim[2] - 1) * pixdim[2] / 2;
    double z = -(dim[3] - 1) * pixdim[3] / 2;
    return new Affine(new double[] {-pixdim[1], 0, 0, x, 0, pixdim[2], 0, y, 0, 0, pixdim[3], z});
  }

  /**
   * Method 2 of nifti1.h.
   *
   * @param quaternion b, c, d, then the place of the first voxel
   */
  private static Affine qform(double[] quaternion, double[] pixdim) {
    double b = quaternion[0];
    double c = quaternion[1];
    double d = quaternion[2];
    double square = 1 - b * b - c * c - d * d;
    if (!(square >= -3 * Math.ulp(1f))) { // rounding of a rotation by 180 degrees
      throw new DataException(
          "corrupt NIfTI: quaternion is " + Arrays.toString(Arrays.copyOf(quaternion, 3)));
    }
    double a = Math.sqrt(Math.max(0, square));
    double length = a * a + b * b + c * c + d * d;
    double x = pixdim[1] / length;
    double y = pixdim[2] / length;
    double z = (pixdim[0] < 0 ? -pixdim[3] : pixdim[3]) / length;
    return new Affine(
        new double[] {
          (a * a + b * b - c * c - d * d) * x,
          2 * (b * c - a * d) * y,
          2 * (b * d + a * c) * z,
          quaternion[3],
          2 * (b * c + a * d) * x,
          (a * a + c * c - b * b - d * d) * y,
          2 * (c * d - a * b) * z,
          quaternion[4],
          2 * (b * d - a * c) * x,
          2 * (c * d + a * b) * y,
          (a * a + d * d - b * b - c * c) * z,
          quaternion[5]
        });
  }

  // Writing

  /**
   * Writes a single-file NIfTI-1, little-endian, gzip, with the affine as its sform (scanner) and
   * no scaling. Voxels are stored without loss as uint8, int16 or float32, the first that holds
   * them all.
   *
   * @throws IllegalArgumentException if a side is longer than NIfTI-1 can say, 32,767
   */
  public static byte[] write(Volume volume) {
    for (int side : new int[] {volume.width(), volume.height(), volume.depth()}) {
      if (side > Short.MAX_VALUE) {
        throw new IllegalArgumentException(
            "Cannot write NIfTI-1 with a side of " + side + " voxels: at most " + Short.MAX_VALUE);
      }
    }
    Datatype type = smallest(volume.voxels());
    ByteBuffer header = ByteBuffer.allocate(HEADER_1 + 4).order(ByteOrder.LITTLE_ENDIAN);
    header.putInt(0, HEADER_1);
    int[] dim = {3, volume.width(), volume.height(), volume.depth(), 1, 1, 1, 1};
    for (int i = 0; i < 8; i++) {
      header.putShort(40 + 2 * i, (short) dim[i]);
      boolean spatial = i > 0 && i < 4;
      header.putFloat(76 + 4 * i, spatial ? (float) volume.affine().spacing(i - 1) : 1);
    }
    header.putShort(70, (short) type.code);
    header.putShort(72, (short) (8 * type.bytes));
    header.putFloat(108, HEADER_1 + 4);
    header.put(123, (byte) 2); // millimetres
    header.putShort(254, (short) 1);
    for (int i = 0; i < 12; i++) {
      header.putFloat(280 + 4 * i, (float) volume.affine().rows()[i]);
    }
    header.put(344, MAGIC_1);

    ByteArrayOutputStream file = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new FastGzip(file)) {
      out.write(header.array());
      ByteBuffer values = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
      for (float voxel : volume.voxels()) {
        if (!values.hasRemaining()) {
          out.write(values.array());
          values.clear();
        }
        switch (type) {
          case UINT8 -> values.put((byte) voxel);
          case INT16 -> values.putShort((short) voxel);
          default -> values.putFloat(voxel);
        }
      }
      out.write(values.array(), 0, values.position());
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write to memory: " + e.getMessage(), e);
    }
    return file.toByteArray();
  }

  /** At zlib's level 1, as nibabel packs: noise does not get much smaller with more effort. */
  private static final class FastGzip extends GZIPOutputStream {
    FastGzip(OutputStream out) throws IOException {
      super(out, BUFFER_BYTES);
      def.setLevel(Deflater.BEST_SPEED);
    }
  }

  private static Datatype smallest(float[] voxels) {
    Datatype type = Datatype.UINT8;
    for (float voxel : voxels) {
      if (voxel != (short) voxel) {
        return Datatype.FLOAT32;
      }
      if (voxel < 0 || voxel > 255) {
        type = Datatype.INT16;
      }
    }
    return type;
  }
}
