package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class Ade20kTest {

  private static final Path SAMPLE = Path.of("../../shared/data/ade20k");
  private static final Path BENCHMARK = SAMPLE.resolve("ADEChallengeData2016");
  private static final Path FULL = SAMPLE.resolve("ADE20K_2021_17_01");

  /** With a letter that is not UTF-8, as the release has some. */
  private static final byte[] OBJECTS =
      """
      {"annotation": {"scene": ["outdoor", "street"], "object": [
        {"name": "tree", "name_ndx": 2855},
        {"name": "double door", "name_ndx": 783},
        {"name": "caf\u00e9", "name_ndx": 300}]}}
      """
          .getBytes(StandardCharsets.ISO_8859_1);

  @TempDir Path dir;

  @Test
  void readsTheBenchmarkWithOtherAsIgnore() throws IOException {
    pair("training", "ADE_train_00000002", 3, 2, new int[] {0, 1, 2, 150, 149, 13});
    pair("training", "ADE_train_00000001", 3, 2, new int[6]);
    Files.writeString(dir.resolve("sceneCategories.txt"), "ADE_train_00000002 street\n");
    Ade20k source = source("training");
    Listing listing = source.list(Shards.HADOOP);
    assertThat(listing.task()).isEqualTo(Task.SEGMENTATION);
    assertThat(listing.classes()).hasSize(150).startsWith("wall", "building, edifice", "sky");
    assertThat(listing.items())
        .extracting(item -> item.id() + " " + item.label())
        .containsExactly("ADE_train_00000001 -1", "street/ADE_train_00000002 -1");
    Sample sample = source.read(Shards.HADOOP, listing.root(), listing.items().get(1));
    assertThat(sample.id()).isEqualTo("street/ADE_train_00000002");
    assertThat(sample.label()).isEqualTo(-1);
    assertThat(sample.image()).isEqualTo(jpeg(3, 2));
    assertThat(sample.width()).isEqualTo(3);
    assertThat(sample.height()).isEqualTo(2);
    Images.Picture mask = Images.inspect(sample.mask());
    assertThat(mask)
        .usingRecursiveComparison()
        .isEqualTo(
            new Images.Picture(3, 2, 1, new byte[] {(byte) 255, 0, 1, (byte) 149, (byte) 148, 12}));
  }

  @Test
  void mapsObjectsOfTheFullReleaseByName() throws IOException {
    // Tree is object 11 * 256 + 39 = 2855, double door 3 * 256 + 15 = 783, café 256 + 44.
    full(new int[] {0, 0x6E2709, 0x77270A, 0x1E0F00, 0x0A2C00, 0x000005});
    Path street = dir.resolve("images/ADE/training/urban/street");
    Files.writeString(street.resolve("ADE_train_00000001_parts_1.png"), "parts");
    Pictures.write(street.resolve("ADE_train_00000001/instance_000.png"), new byte[3]);
    Ade20k source = source("training");
    Listing listing = source.list(Shards.HADOOP);
    assertThat(listing.items())
        .extracting(Item::id)
        .containsExactly("urban/street/ADE_train_00000001");
    assertThat(listing.ignoredFiles()).isEqualTo(1);
    assertThat(listing.quarantined()).isEmpty();
    Sample sample = source.read(Shards.HADOOP, listing.root(), listing.items().get(0));
    int tree = listing.classes().indexOf("tree");
    int door = listing.classes().indexOf("door, double door");
    assertThat(Images.inspect(sample.mask()).pixels())
        .containsExactly(255, tree, tree, door, 255, 255);
  }

  @Test
  void knowsTheNamesThatTheFullReleaseSpellsOtherwise() {
    assertThat(Ade20kClasses.NAMES).hasSize(150).doesNotHaveDuplicates();
    assertThat(Ade20kClasses.label("wall")).isZero();
    assertThat(Ade20kClasses.label("flag")).isEqualTo(149);
    assertThat(Ade20kClasses.label("door")).isEqualTo(14);
    assertThat(Ade20kClasses.label("screen, crt screen")).isEqualTo(141);
    assertThat(
            Ade20kClasses.label(
                "television receiver, television, television set, tv, tv set, idiot box, boob"
                    + " tube, telly, goggle box"))
        .isEqualTo(89);
    assertThat(Ade20kClasses.label("umbrella")).isEqualTo(-1);
  }

  // Bad input

  @Test
  void quarantinesPicturesAndMasksWithoutEachOther() throws IOException {
    pair("validation", "ADE_val_00000001", 3, 2, new int[6]);
    pair("validation", "ADE_val_00000002", 3, 2, new int[6]);
    pair("validation", "ADE_val_00000003", 3, 2, new int[6]);
    Files.delete(dir.resolve("annotations/validation/ADE_val_00000001.png"));
    Files.delete(dir.resolve("images/validation/ADE_val_00000002.jpg"));
    Listing listing = source("validation").list(Shards.HADOOP);
    assertThat(listing.items()).extracting(Item::id).containsExactly("ADE_val_00000003");
    assertThat(listing.quarantined())
        .containsExactly(
            new ShardManifest.Quarantined(
                "images/validation/ADE_val_00000001.jpg",
                "no annotations/validation/ADE_val_00000001.png"),
            new ShardManifest.Quarantined(
                "annotations/validation/ADE_val_00000002.png", "no picture of this name"));
  }

  @Test
  void refusesMasksThatDoNotFit() throws IOException {
    pair("training", "a", 3, 2, new int[6]);
    Path mask = dir.resolve("annotations/training/a.png");
    Pictures.write(mask, grey(2, 3, new int[6]));
    assertRefused("the picture has 3 x 2 pixels, annotations/training/a.png 2 x 3");
    Pictures.write(mask, grey(3, 2, new int[] {0, 0, 0, 0, 151, 0}));
    assertRefused("annotations/training/a.png has class 151 at row 1, column 1; there are 150");
    Pictures.write(mask, Pictures.png(3, 2, BufferedImage.TYPE_3BYTE_BGR, 1));
    assertRefused("annotations/training/a.png is not grey");
    Pictures.write(mask, new byte[0]);
    assertRefused("annotations/training/a.png: empty file");
    Pictures.write(mask, jpeg(3, 2));
    assertRefused("annotations/training/a.png: not PNG");
    Pictures.write(dir.resolve("images/training/a.jpg"), Pictures.half(jpeg(3, 2)));
    assertRefused("truncated");
  }

  @Test
  void refusesObjectsThatTheFullReleaseDoesNotName() throws IOException {
    full(new int[] {0, 0, 0x6E2800, 0, 0, 0});
    String place = "images/ADE/training/urban/street/ADE_train_00000001";
    assertRefused(
        place + "_seg.png has object 2856 at row 0, column 2, which " + place + ".json does not");
    Files.write(dir.resolve(place + ".json"), Pictures.half(OBJECTS));
    assertRefused(place + ".json is not JSON: ");
    Files.writeString(dir.resolve(place + ".json"), "{\"annotation\":{\"object\":[{}]}}");
    assertRefused(place + ".json has an object without name_ndx or name");
    Files.delete(dir.resolve(place + ".json"));
    assertThat(source("training").list(Shards.HADOOP).quarantined())
        .containsExactly(
            new ShardManifest.Quarantined(place + ".jpg", "no ADE_train_00000001.json"));
  }

  @Test
  void saysWhatARootLacks() {
    assertThatThrownBy(() -> source("val"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid split: val (training or validation)");
    assertThatThrownBy(() -> source("training").list(Shards.HADOOP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageEndingWith(
            "it holds neither images/training and annotations/training nor images/ADE/training");
  }

  // The real samples

  @Test
  void hasTheNamesOfTheRealObjectInfo() throws IOException {
    assumeSample();
    List<String> lines = Files.readAllLines(BENCHMARK.resolve("objectInfo150.txt"));
    assertThat(lines.stream().skip(1).map(line -> line.split("\t", -1)[4].strip()))
        .containsExactlyElementsOf(Ade20kClasses.NAMES);
  }

  @Test
  void readsTheRealBenchmark() throws IOException {
    assumeSample();
    for (String split : List.of("training", "validation")) {
      Ade20k source = new Ade20k(BENCHMARK.toString(), split);
      Listing listing = source.list(Shards.HADOOP);
      assertThat(listing.quarantined()).isEmpty();
      assertThat(listing.items()).hasSize(3);
      for (Item item : listing.items()) {
        assertThat(source.read(Shards.HADOOP, listing.root(), item).mask()).isNotEmpty();
      }
      if (split.equals("validation")) {
        assertThat(listing.items())
            .extracting(Item::id)
            .containsExactly(
                "abbey/ADE_val_00000001", "abbey/ADE_val_00000002", "access_road/ADE_val_00000003");
      }
    }
  }

  /** The sample's training masks were made from the full pictures, shorter side to 512. */
  @Test
  void mapsTheRealFullReleaseToTheBenchmarksMasks() throws IOException {
    assumeSample();
    Ade20k full = new Ade20k(FULL.toString(), "training");
    Ade20k benchmark = new Ade20k(BENCHMARK.toString(), "training");
    Listing fullListing = full.list(Shards.HADOOP);
    Listing benchmarkListing = benchmark.list(Shards.HADOOP);
    assertThat(fullListing.items())
        .extracting(Item::id)
        .containsExactly(
            "urban/street/ADE_train_00016869",
            "urban/street/ADE_train_00016900",
            "urban/street/ADE_train_00016964");
    assertThat(fullListing.ignoredFiles()).isEqualTo(4); // masks of parts
    for (int i = 0; i < 3; i++) {
      Images.Picture large = mask(full, fullListing, i);
      Images.Picture small = mask(benchmark, benchmarkListing, i);
      int same = 0;
      for (int y = 0; y < small.height(); y++) {
        for (int x = 0; x < small.width(); x++) {
          int fromY = (int) ((y + 0.5) * large.height() / small.height());
          int fromX = (int) ((x + 0.5) * large.width() / small.width());
          if (small.pixels()[y * small.width() + x]
              == large.pixels()[fromY * large.width() + fromX]) {
            same++;
          }
        }
      }
      assertThat(same / (double) small.pixels().length).isGreaterThan(0.999);
    }
  }

  private static Images.Picture mask(Ade20k source, Listing listing, int i) throws IOException {
    return Images.inspect(
        source.read(Shards.HADOOP, listing.root(), listing.items().get(i)).mask());
  }

  private static void assumeSample() {
    assumeTrue(Files.isDirectory(SAMPLE), "no ../shared/data beside the checkout");
  }

  private Ade20k source(String split) {
    return new Ade20k(dir.toString(), split);
  }

  private void assertRefused(String reason) throws IOException {
    Ade20k source = source("training");
    Listing listing = source.list(Shards.HADOOP);
    assertThatThrownBy(() -> source.read(Shards.HADOOP, listing.root(), listing.items().get(0)))
        .isInstanceOf(DataException.class)
        .hasMessageContaining(reason);
  }

  private void pair(String split, String name, int width, int height, int[] classes)
      throws IOException {
    Pictures.write(dir.resolve("images/" + split + "/" + name + ".jpg"), jpeg(width, height));
    Pictures.write(
        dir.resolve("annotations/" + split + "/" + name + ".png"), grey(width, height, classes));
  }

  /** One picture of 3 x 2 pixels. */
  private void full(int[] rgb) throws IOException {
    Path stem = dir.resolve("images/ADE/training/urban/street/ADE_train_00000001");
    Pictures.write(Path.of(stem + ".jpg"), jpeg(3, 2));
    Pictures.write(Path.of(stem + ".json"), OBJECTS);
    BufferedImage seg = new BufferedImage(3, 2, BufferedImage.TYPE_INT_RGB);
    seg.setRGB(0, 0, 3, 2, rgb, 0, 3);
    Pictures.write(Path.of(stem + "_seg.png"), Pictures.encode("png", seg));
  }

  private static byte[] jpeg(int width, int height) {
    return Pictures.jpeg(width, height, BufferedImage.TYPE_3BYTE_BGR, 1);
  }

  private static byte[] grey(int width, int height, int[] values) {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_BYTE_GRAY);
    image.getRaster().setPixels(0, 0, width, height, values);
    return Pictures.encode("png", image);
  }
}
