package sparkvision.data.volume;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.sun.management.ThreadMXBean;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import sparkvision.data.DataException;
import sparkvision.data.ResidentMemoryTest;
import sparkvision.data.SplitMix;

final class NiftiTest {

  private static final Path SAMPLES = Path.of("../../shared/data/volumes");

  /** A line of a table that nibabel 5.0.0 and numpy made; voxels after as_closest_canonical. */
  private record Expected(String file, int channel, String codes, double[] numbers) {

    static List<Expected> read(String table) {
      return new String(resource(table), StandardCharsets.UTF_8)
          .lines()
          .skip(1)
          .map(line -> line.split(","))
          .map(
              cells ->
                  new Expected(
                      cells[0],
                      Integer.parseInt(cells[1]),
                      cells[2],
                      Arrays.stream(cells, 3, cells.length)
                          .mapToDouble(Double::parseDouble)
                          .toArray()))
          .toList();
    }

    void check(byte[] file) {
      Volume stored = Nifti.read(file, channel);
      assertThat(stored.affine().codes()).as(this.file).isEqualTo(codes);
      Volume volume = stored.toRas();
      assertThat(volume.affine().codes()).isEqualTo("RAS");
      int depth = volume.depth();
      int height = volume.height();
      int width = volume.width();
      double mean = 0;
      for (float voxel : volume.voxels()) {
        mean += voxel;
      }
      mean /= volume.voxels().length;
      double[] spacing = volume.spacing();
      double[] found = {
        depth,
        height,
        width,
        spacing[0],
        spacing[1],
        spacing[2],
        mean,
        at(volume, depth / 2, height / 2, width / 2),
        at(volume, depth / 3, height / 4, width / 5),
        at(volume, 2 * depth / 3, 3 * height / 4, 4 * width / 5)
      };
      for (int i = 0; i < found.length; i++) {
        assertThat(found[i])
            .as("%s, number %d", this.file, i)
            .isCloseTo(numbers[i], within(1e-6 * Math.max(1, Math.abs(numbers[i]))));
      }
      for (int i = 0; i < 12; i++) {
        assertThat(volume.affine().rows()[i])
            .as("%s, affine %d", this.file, i)
            .isCloseTo(numbers[10 + i], within(2e-6 * Math.max(1, Math.abs(numbers[10 + i]))));
      }
    }

    private static double at(Volume volume, int d, int h, int w) {
      return volume.voxels()[(d * volume.height() + h) * volume.width() + w];
    }
  }

  @Test
  void agreesWithNibabelOnEveryDatatypeByteOrderVersionAndOrientation() {
    List<Expected> table = Expected.read("expected.csv");
    assertThat(table).hasSize(11);
    table.forEach(expected -> expected.check(resource(expected.file())));
  }

  @Test
  void agreesWithNibabelOnEverySampleVolume() throws IOException {
    Assumptions.assumeTrue(Files.isDirectory(SAMPLES), "no ../shared/data beside the checkout");
    List<Expected> table = Expected.read("volumes.csv");
    assertThat(table).hasSize(268);
    for (Expected expected : table) {
      expected.check(Files.readAllBytes(SAMPLES.resolve(expected.file())));
    }
  }

  @Test
  void readsBackWhatItWrites() {
    Affine oblique = new Affine(new double[] {1, 0.25, 0, -3, -0.25, 1, 0, 4, 0, 0, 2.5, 5.5});
    float[][] contents = {
      {0, 1, 2, 253, 254, 255},
      {0, 1, 2, 3, 4, 256},
      {-32768, 1, 2, 3, 4, 32767},
      {0, 1, 2, 3, 4, 0.5f},
      {0, 1, 2, 3, 4, 32768},
      {Float.NaN, Float.NEGATIVE_INFINITY, 1e-42f, 3, 4, 5}
    };
    int[] datatypes = {2, 4, 4, 16, 16, 16};
    for (int i = 0; i < contents.length; i++) {
      byte[] file = Nifti.write(new Volume(1, 2, 3, contents[i], oblique));
      assertThat(buffer(unpacked(file)).getShort(70)).isEqualTo((short) datatypes[i]);
      Volume back = Nifti.read(file, Nifti.ONLY_CHANNEL);
      assertThat(back.depth()).isEqualTo(1);
      assertThat(back.height()).isEqualTo(2);
      assertThat(back.width()).isEqualTo(3);
      assertThat(back.voxels()).isEqualTo(contents[i]);
      assertThat(back.affine().rows()).isEqualTo(oblique.rows());
    }
  }

  @Test
  void writesVolumesLargerThanItsBuffers() {
    float[] voxels = new float[70 * 81 * 91];
    SplitMix random = new SplitMix(3);
    for (int i = 0; i < voxels.length; i++) {
      voxels[i] = (float) random.unit();
    }
    Volume volume = new Volume(70, 81, 91, voxels, Affine.ofSpacing(1, 1, 1));
    assertThat(Nifti.read(Nifti.write(volume), 0).voxels()).isEqualTo(voxels);
  }

  @Test
  void refusesSidesThatNiftiOneCannotState() {
    Volume wide = new Volume(1, 1, 32768, new float[32768], Affine.ofSpacing(1, 1, 1));
    assertThatThrownBy(() -> Nifti.write(wide))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot write NIfTI-1 with a side of 32768 voxels: at most 32767");
  }

  @Test
  void refusesSeveralChannelsUnlessOneIsNamed() {
    byte[] file = resource("int16-le-4d.nii.gz");
    refuses(file, Nifti.ONLY_CHANNEL, "4-D NIfTI with 3 channels: asked for is the only one");
    refuses(file, 3, "4-D NIfTI with 3 channels: asked for is number 3");
    assertThat(Nifti.read(file, 1).voxels()).hasSize(60);
  }

  @Test
  void saysWhatIsWrongWithAHeader() {
    lie(file -> file.putShort(40, (short) 0), "corrupt NIfTI: dim is [0, 4, 3, 2, 1, 1, 1, 1]");
    lie(file -> file.putShort(40, (short) 8), "corrupt NIfTI: dim is [8, 4, 3, 2, 1, 1, 1, 1]");
    lie(file -> file.putShort(44, (short) -3), "corrupt NIfTI: dim is [3, 4, -3, 2, 1, 1, 1, 1]");
    lie(
        file -> file.putShort(46, (short) 3),
        "truncated NIfTI: the header states 4 x 3 x 3 x 1 voxels of 1 bytes from byte 352, but 376"
            + " bytes cannot hold them");
    lie(
        file -> file.putShort(46, (short) 1),
        "corrupt NIfTI: more bytes follow than the header's 4 x 3 x 1 x 1 voxels of 1 bytes from"
            + " byte 352");
    lie(
        file ->
            file.putShort(42, (short) 32767)
                .putShort(44, (short) 32767)
                .putShort(46, (short) 32767),
        "too large a volume: dim is [3, 32767, 32767, 32767, 1, 1, 1, 1], at most 268435456 voxels");
    lie(
        file -> file.putShort(40, (short) 5).putShort(50, (short) 2),
        "unsupported NIfTI: more than four dimensions, dim is [5, 4, 3, 2, 1, 2, 1, 1]");
    lie(
        file -> file.putShort(70, (short) 128),
        "unsupported NIfTI: datatype 128 (integers up to 64 bits, float32 or float64)");
    lie(file -> file.putShort(72, (short) 16), "corrupt NIfTI: 16 bits a voxel, but datatype 2");
    lie(
        file -> file.putFloat(108, 1e9f),
        "truncated NIfTI: the header states 4 x 3 x 2 x 1 voxels of 1 bytes from byte 1000000000,"
            + " but 376 bytes cannot hold them");
    lie(file -> file.putFloat(108, 348), "corrupt NIfTI: voxels start at byte 348.0 (from 352 on)");
    lie(
        file -> file.putFloat(108, Float.NaN),
        "corrupt NIfTI: voxels start at byte NaN (from 352 on)");
    lie(file -> file.putFloat(112, 1).putFloat(116, Float.NaN), "corrupt NIfTI: intercept NaN");
    lie(
        file -> file.putFloat(280, Float.NaN),
        "corrupt NIfTI: affine is [NaN, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]");
    lie(
        file -> file.putFloat(280, 0),
        "corrupt NIfTI: affine is [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]");
    lie(
        file -> file.putShort(254, (short) 0).putFloat(80, -1),
        "corrupt NIfTI: pixdim is [1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]");
    lie(
        file -> file.putShort(254, (short) 0).putShort(252, (short) 1).putFloat(256, 1.5f),
        "corrupt NIfTI: quaternion is [1.5, 0.0, 0.0]");
    lie(
        file -> file.put(345, (byte) 'i'),
        "unsupported NIfTI: its voxels lie in another file, .img (convert it to .nii)");
    lie(file -> file.put(344, (byte) 0), "not NIfTI: wrong magic number (Analyze 7.5 is not read)");
    lie(file -> file.putInt(0, 349), "not NIfTI: its first number is 349, neither 348 nor 540");
    refuses(new byte[0], 0, "empty file");
    refuses(new byte[3], 0, "truncated NIfTI: it ends in its header");
    refuses(Arrays.copyOf(small(), 347), 0, "truncated NIfTI: it ends in its header");
    refuses(new byte[] {0x1F, (byte) 0x8B, 8}, 0, "truncated NIfTI: it ends before its voxels do");
  }

  @Test
  void aSlopeThatIsZeroOrNotFiniteMeansNone() {
    for (float slope : new float[] {0, Float.NaN, Float.POSITIVE_INFINITY}) {
      byte[] file = small();
      buffer(file).putFloat(112, slope).putFloat(116, 7);
      assertThat(Nifti.read(file, 0).voxels()).startsWith(0, 1, 2, 3);
    }
    byte[] file = small();
    buffer(file).putFloat(112, -2).putFloat(116, 7);
    assertThat(Nifti.read(file, 0).voxels()).startsWith(7, 5, 3, 1);
  }

  @Test
  void aHeaderThatLiesTakesNoMemory() {
    byte[] file = small();
    buffer(file).putShort(42, (short) 16384).putShort(44, (short) 16384).putShort(46, (short) 1);
    byte[] packed = packed(file);
    assertThat(allocated(() -> refuses(file, 0, "truncated NIfTI: the header states 16384 x")))
        .isLessThan(1 << 20);
    assertThat(allocated(() -> refuses(packed, 0, "truncated NIfTI: the header states 16384 x")))
        .isLessThan(1 << 20);

    // 2^26 voxels and as many as 1032 to a byte of gzip, but not there: memory grows with the data.
    buffer(file).putShort(42, (short) 8192).putShort(44, (short) 8192).putShort(46, (short) 1);
    byte[] padded = packed(Arrays.copyOf(file, 1 << 20), new byte[70_000]);
    assertThat(allocated(() -> refuses(padded, 0, "truncated NIfTI: it ends"))).isLessThan(1 << 26);
  }

  @Test
  void unpacksNoMoreOfABombThanItsHeaderStates() {
    byte[] bomb = packed(Arrays.copyOf(small(), 1 << 28));
    assertThat(bomb.length).isLessThan(1 << 20);
    assertThat(allocated(() -> refuses(bomb, 0, "corrupt NIfTI: more bytes follow than")))
        .isLessThan(1 << 23);
  }

  @Test
  void everyCutAndEveryFlippedByteOfAPackedFileIsNoticed() {
    byte[] file = resource("uint16-be-qform.nii.gz");
    for (int length = 0; length < file.length; length++) {
      byte[] cut = Arrays.copyOf(file, length);
      assertThatThrownBy(() -> Nifti.read(cut, 0)).isInstanceOf(DataException.class);
    }
    for (int i = 10; i < file.length; i++) { // what comes before is gzip's date and the like
      byte[] flipped = file.clone();
      flipped[i] ^= (byte) 0xFF;
      assertThatThrownBy(() -> Nifti.read(flipped, 0))
          .as("byte %d", i)
          .isInstanceOf(DataException.class);
    }
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void mutatedFilesAreReadOrRefusedAndTakeLittleMemory() {
    SplitMix random = new SplitMix(11);
    byte[] first = resource("float32-le-shear.nii");
    byte[] second = unpacked(resource("float64-be-nifti2-qform.nii.gz"));
    int[] refused = {0};
    long allocated =
        allocated(
            () -> {
              for (int i = 0; i < 2000; i++) {
                byte[] file = (i % 2 == 0 ? first : second).clone();
                int header = i % 2 == 0 ? 348 : 540;
                for (int flips = 1 + random.below(3); flips > 0; flips--) {
                  file[random.below(header)] = (byte) random.next();
                }
                if (i % 5 == 0) {
                  file = Arrays.copyOf(file, random.below(file.length));
                }
                byte[] mutated = i % 3 == 0 ? packed(file) : file;
                try {
                  assertThat(Nifti.read(mutated, 0).toRas().voxels()).hasSize(60);
                } catch (DataException e) {
                  assertThat(e).hasMessageContaining(" ");
                  refused[0]++;
                }
              }
            });
    assertThat(refused[0]).isBetween(500, 1900);
    assertThat(allocated / 2000).isLessThan(1 << 20);
  }

  private static void lie(Consumer<ByteBuffer> change, String reason) {
    byte[] file = small();
    change.accept(buffer(file));
    refuses(file, 0, reason);
  }

  private static void refuses(byte[] file, int channel, String reason) {
    assertThatThrownBy(() -> Nifti.read(file, channel))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(reason);
  }

  private static long allocated(Runnable action) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
    action.run();
    return threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before;
  }

  /** 4 x 3 x 2 (W, H, D) of uint8, 0 to 23, not packed. */
  private static byte[] small() {
    float[] voxels = new float[24];
    for (int i = 0; i < 24; i++) {
      voxels[i] = i;
    }
    return unpacked(Nifti.write(new Volume(2, 3, 4, voxels, Affine.ofSpacing(1, 1, 1))));
  }

  private static ByteBuffer buffer(byte[] file) {
    return ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] unpacked(byte[] file) {
    try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(file))) {
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** As gzip, followed by {@code rest} as it is. */
  private static byte[] packed(byte[] file, byte... rest) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(bytes)) {
      out.write(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    bytes.writeBytes(rest);
    return bytes.toByteArray();
  }

  private static byte[] resource(String name) {
    try (InputStream in = NiftiTest.class.getResourceAsStream("/nifti/" + name)) {
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
