package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class TinyImageNetTest {

  private static final Path SAMPLE = Path.of("../../shared/data/imagenet/tiny-imagenet-200");

  @TempDir Path dir;

  @BeforeEach
  void writeTwoClasses() throws IOException {
    Files.writeString(dir.resolve("wnids.txt"), "n02124075\nn01443537\n");
    Files.writeString(
        dir.resolve("words.txt"), "n00001740\tentity\nn01443537\tgoldfish, Carassius auratus\n");
    for (int i = 0; i < 2; i++) {
      picture("train/n01443537/images/n01443537_" + i + ".JPEG", i);
      picture("train/n02124075/images/n02124075_" + i + ".JPEG", 10 + i);
      picture("val/images/val_" + i + ".JPEG", 20 + i);
    }
    Files.writeString(dir.resolve("train/n01443537/n01443537_boxes.txt"), "boxes");
    Files.writeString(
        dir.resolve("val/val_annotations.txt"),
        "val_1.JPEG\tn01443537\t0\t0\t5\t4\nval_0.JPEG\tn02124075\t0\t0\t5\t4\n");
  }

  @Test
  void numbersClassesInSortedOrderAndNamesThem() throws IOException {
    Listing listing = list("train");
    assertThat(listing.task()).isEqualTo(Task.CLASSIFICATION);
    assertThat(listing.classes()).containsExactly("goldfish, Carassius auratus", "n02124075");
    assertThat(listing.items())
        .extracting(item -> item.id() + " " + item.label())
        .containsExactly(
            "n01443537/n01443537_0.JPEG 0",
            "n01443537/n01443537_1.JPEG 0",
            "n02124075/n02124075_0.JPEG 1",
            "n02124075/n02124075_1.JPEG 1");
    assertThat(listing.ignoredFiles()).isEqualTo(1);
    assertThat(listing.quarantined()).isEmpty();
    Sample sample =
        new TinyImageNet(dir.toString(), "train")
            .read(Shards.HADOOP, listing.root(), listing.items().get(2));
    assertThat(sample.image()).isEqualTo(bytes(10));
    assertThat(sample.label()).isEqualTo(1);
  }

  @Test
  void labelsValidationPicturesByTheirAnnotations() throws IOException {
    Listing listing = list("val");
    assertThat(listing.items())
        .extracting(item -> item.id() + " " + item.label())
        .containsExactly("val_0.JPEG 1", "val_1.JPEG 0");
  }

  @Test
  void quarantinesWhatIsUnknownUnlabelledOrMissing() throws IOException {
    picture("train/n99999999/images/n99999999_0.JPEG", 1);
    Files.createDirectories(dir.resolve("train/n01440764"));
    assertThat(list("train").quarantined())
        .containsExactly(
            new ShardManifest.Quarantined("train/n01440764", "the class has no folder images"),
            new ShardManifest.Quarantined(
                "train/n99999999/images/n99999999_0.JPEG",
                "unknown class n99999999: not in wnids.txt"));
    picture("val/images/val_2.JPEG", 2);
    Files.delete(dir.resolve("val/images/val_1.JPEG"));
    Listing val = list("val");
    assertThat(val.items()).hasSize(1);
    assertThat(val.quarantined())
        .containsExactly(
            new ShardManifest.Quarantined(
                "val/images/val_2.JPEG", "no label: not in val/val_annotations.txt"),
            new ShardManifest.Quarantined(
                "val/images/val_1.JPEG", "no such file, but val/val_annotations.txt names it"));
  }

  @Test
  void refusesAnnotationsThatContradictThemselvesAndOtherFolders() throws IOException {
    Files.writeString(
        dir.resolve("val/val_annotations.txt"), "val_0.JPEG\tn02124075\nval_0.JPEG\tn01443537\n");
    assertThatThrownBy(() -> list("val"))
        .isInstanceOf(DataException.class)
        .hasMessageEndingWith("a line is \"val_0.JPEG\tn01443537\", the second for its picture");
    Files.writeString(dir.resolve("val/val_annotations.txt"), "val_0.JPEG n02124075\n");
    assertThatThrownBy(() -> list("val"))
        .isInstanceOf(DataException.class)
        .hasMessageEndingWith("without a class");
    Files.delete(dir.resolve("wnids.txt"));
    assertThatThrownBy(() -> list("train"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageEndingWith("it does not hold both wnids.txt and train");
    assertThatThrownBy(() -> list("test"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid split: test (train or val)");
  }

  @Test
  void listsTheRealSample() throws IOException {
    assumeTrue(Files.isDirectory(SAMPLE), "no ../shared/data beside the checkout");
    TinyImageNet train = new TinyImageNet(SAMPLE.toString(), "train");
    Listing trained = train.list(Shards.HADOOP);
    assertThat(trained.classes()).hasSize(20).startsWith("goldfish, Carassius auratus");
    assertThat(perClass(trained)).containsOnly(50).hasSize(20);
    Listing validated = new TinyImageNet(SAMPLE.toString(), "val").list(Shards.HADOOP);
    assertThat(perClass(validated)).containsOnly(20).hasSize(20);
    assertThat(trained.quarantined()).isEmpty();
    assertThat(validated.quarantined()).isEmpty();
    for (Item item : trained.items().subList(0, 100)) {
      assertThat(train.read(Shards.HADOOP, trained.root(), item).width()).isEqualTo(64);
    }
  }

  private static int[] perClass(Listing listing) {
    return IntStream.range(0, listing.classes().size())
        .map(label -> (int) listing.items().stream().filter(item -> item.label() == label).count())
        .toArray();
  }

  private Listing list(String split) throws IOException {
    return new TinyImageNet(dir.toString(), split).list(Shards.HADOOP);
  }

  private void picture(String path, int seed) throws IOException {
    Pictures.write(dir.resolve(path), bytes(seed));
  }

  private static byte[] bytes(int seed) {
    return Pictures.jpeg(6, 5, BufferedImage.TYPE_3BYTE_BGR, seed);
  }
}
