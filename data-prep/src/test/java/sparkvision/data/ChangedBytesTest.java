package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Pictures, archives and shards with bytes changed or cut off, by the thousand: each is read or
 * refused, in little memory; of a shard set no change goes unseen. Volumes and JSON are tried where
 * their readers are tested.
 */
final class ChangedBytesTest {

  private static final int TIMES = 600;
  private static final long MOST_BYTES = 512L << 20;

  @TempDir Path dir;

  /** One to three bytes are others, or the end is missing; never the same as before. */
  private static byte[] changed(byte[] whole, SplitMix random) {
    if (random.below(4) == 0) {
      return Arrays.copyOf(whole, random.below(whole.length));
    }
    byte[] changed = whole.clone();
    for (int flips = 1 + random.below(3); flips > 0; flips--) {
      changed[random.below(whole.length)] ^= (byte) (1 + random.below(255));
    }
    return Arrays.equals(changed, whole) ? Arrays.copyOf(whole, whole.length - 1) : changed;
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void aChangedJpegIsDecodedAsInspectedOrRefused() {
    int refused =
        refusedPictures(
            List.of(
                Pictures.jpeg(40, 30, BufferedImage.TYPE_3BYTE_BGR, 1),
                Pictures.jpeg(33, 17, BufferedImage.TYPE_BYTE_GRAY, 2)));
    // What is changed inside of the coded pixels can be a picture still.
    assertThat(refused).isBetween(TIMES / 4, TIMES - 1);
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void aChangedPngIsDecodedAsInspectedOrRefused() {
    int refused =
        refusedPictures(
            List.of(
                Pictures.png(12, 9, BufferedImage.TYPE_3BYTE_BGR, 1),
                Pictures.png(9, 12, BufferedImage.TYPE_BYTE_GRAY, 2)));
    // Its chunks carry checksums; what lies behind the last of them does not count.
    assertThat(refused).isGreaterThan(TIMES * 9 / 10);
  }

  private static int refusedPictures(List<byte[]> pictures) {
    SplitMix random = new SplitMix(1);
    int refused = 0;
    for (int i = 0; i < TIMES; i++) {
      byte[] bytes = changed(pictures.get(i % pictures.size()), random);
      long before = allocated();
      try {
        Images.Picture inspected = Images.inspect(bytes);
        Images.Picture decoded = Images.decode(bytes, inspected.channels());
        assertThat(decoded.pixels()).isEqualTo(inspected.pixels());
        assertThat(decoded.width()).isEqualTo(inspected.width());
      } catch (DataException e) {
        refused++;
        assertThat(e.getMessage()).isNotBlank();
      }
      assertThat(allocated() - before).isLessThan(MOST_BYTES);
    }
    return refused;
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void aChangedArchiveIsListedAndReadOrQuarantined() throws IOException {
    TreeMap<String, byte[]> members = new TreeMap<>();
    for (int i = 0; i < 3; i++) {
      members.put(
          "n0144076" + i + ".tar",
          Tars.of(
              new TreeMap<>(
                  Map.of(
                      "n0144076" + i + "_1.JPEG",
                      Pictures.jpeg(8, 8, BufferedImage.TYPE_3BYTE_BGR, i),
                      "n0144076" + i + "_2.JPEG",
                      Pictures.jpeg(9, 7, BufferedImage.TYPE_BYTE_GRAY, i)))));
    }
    byte[] whole = Tars.of(members);
    Path file = dir.resolve("ILSVRC2012_img_train.tar");
    SplitMix random = new SplitMix(2);
    int bad = 0;
    for (int i = 0; i < TIMES; i++) {
      Files.write(file, changed(whole, random));
      long before = allocated();
      try {
        ImageNet source = new ImageNet(dir.toString(), "train");
        Listing listing = source.list(Shards.HADOOP);
        int unread = listing.quarantined().size();
        for (Item item : listing.items()) {
          assertThat(item.offset() + item.length()).isLessThanOrEqualTo(Files.size(file));
          try {
            source.read(Shards.HADOOP, listing.root(), item);
          } catch (DataException e) {
            unread++;
          }
        }
        bad += unread > 0 ? 1 : 0;
      } catch (DataException e) {
        bad++;
      }
      assertThat(allocated() - before).isLessThan(MOST_BYTES);
    }
    assertThat(bad).isBetween(TIMES / 4, TIMES - 1);
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void noChangeOfAShardSetIsAccepted() throws IOException {
    Path output = dir.resolve("out");
    Shards.of(Pictures.folder(dir.resolve("in"), 6), output);
    List<Path> files =
        List.of(
            output.resolve("part-00000.parquet"),
            output.resolve("part-00001.parquet"),
            output.resolve(ShardManifest.NAME));
    SplitMix random = new SplitMix(3);
    for (int i = 0; i < TIMES; i++) {
      Path file = files.get(i % files.size());
      byte[] whole = Files.readAllBytes(file);
      Files.write(file, changed(whole, random));
      long before = allocated();
      assertThatThrownBy(() -> readAll(output))
          .isInstanceOfAny(DataException.class, IllegalArgumentException.class)
          .hasMessageStartingWith("Cannot ");
      assertThat(allocated() - before).isLessThan(MOST_BYTES);
      Files.write(file, whole);
    }
    readAll(output);
  }

  private static void readAll(Path output) {
    ShardSet shards = ShardSet.open(Shards.HADOOP, output.toString());
    shards.verify();
    for (int block = 0; block < shards.blocks(); block++) {
      shards.read(block);
    }
  }

  private static long allocated() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    return threads.getThreadAllocatedBytes(Thread.currentThread().getId());
  }
}
