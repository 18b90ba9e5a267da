package sparkvision.data.coco;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.data.DataException;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Item;
import sparkvision.data.Listing;
import sparkvision.data.ResidentMemoryTest;
import sparkvision.data.Sample;
import sparkvision.data.Task;

final class CocoSourceTest {

  private static final Configuration HADOOP = new Configuration();
  private static final Path DATA = Path.of("../../shared/data/coco");

  private static final String CATEGORIES =
      "{'id': 90, 'name': 'toothbrush'}, {'id': 1, 'name': 'person'}, {'id': 13, 'name': 'stop sign'}";
  private static final String IMAGES =
      "{'id': 139, 'file_name': 'a b.png', 'height': 11, 'width': 13},"
          + " {'id': 7, 'file_name': 'deep/Größe.png', 'height': 5, 'width': 4}";
  private static final String TRIANGLE =
      "{'id': 1, 'image_id': 139, 'category_id': 13, 'bbox': [1.5, 1.2, 8.2, 7.7], 'area': 30.5,"
          + " 'iscrowd': 0, 'segmentation': [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]]}";

  @TempDir private Path dir;

  @BeforeEach
  void drawThePictures() throws IOException {
    picture("a b.png", 13, 11);
    picture("deep/Größe.png", 4, 5);
    picture("unused.png", 1, 1);
    picture(".hidden.png", 1, 1);
  }

  private void picture(String name, int width, int height) throws IOException {
    Path file = dir.resolve("images").resolve(name);
    Files.createDirectories(file.getParent());
    Files.write(
        file, Images.encodePng(new Images.Picture(width, height, 1, new byte[width * height])));
  }

  private static String json(String images, String annotations, String categories) {
    return String.format(
            "{'info': {'year': [2017]}, 'images': [%s], 'annotations': [%s], 'categories': [%s]}",
            images, annotations, categories)
        .replace('\'', '"');
  }

  private CocoSource source(String json) throws IOException {
    Path file = dir.resolve("instances.json");
    Files.writeString(file, json);
    return new CocoSource(file.toString(), dir.resolve("images").toString());
  }

  private Listing list(String images, String annotations) throws IOException {
    return source(json(images, annotations, CATEGORIES)).list(HADOOP);
  }

  @Test
  void readsBoxesPolygonsAndMasksOfEveryKind() throws IOException {
    CocoSource source =
        source(
            json(
                IMAGES,
                TRIANGLE
                    + ", {'id': 900100000139, 'image_id': 139, 'category_id': 1,"
                    + " 'bbox': [0, 0, 13, 11], 'area': 143, 'iscrowd': 1,"
                    + " 'segmentation': {'size': [11, 13], 'counts': [0, 143]}}"
                    + ", {'id': 3, 'image_id': 139, 'category_id': 90, 'bbox': [4, 1, 1, 8],"
                    + " 'segmentation': {'size': [11, 13], 'counts': ']18j2'}}"
                    + ", {'id': 4, 'image_id': 139, 'category_id': 90, 'bbox': [1, 2, 3, 4.5],"
                    + " 'segmentation': []}",
                CATEGORIES));
    Listing listing = source.list(HADOOP);
    assertThat(listing.task()).isEqualTo(Task.DETECTION);
    assertThat(listing.classes()).containsExactly("person", "stop sign", "toothbrush");
    assertThat(listing.quarantined()).isEmpty();
    assertThat(listing.ignoredFiles()).isEqualTo(1);
    assertThat(listing.items())
        .extracting(Item::id)
        .containsExactly("000000000007", "000000000139");
    assertThat(listing.items()).extracting(Item::path).containsExactly("deep/Größe.png", "a b.png");

    Sample empty = source.read(HADOOP, listing.root(), listing.items().get(0));
    assertThat(empty.objects()).isEmpty();
    Sample sample = source.read(HADOOP, listing.root(), listing.items().get(1));
    assertThat(sample.image())
        .isEqualTo(Files.readAllBytes(dir.resolve("images").resolve("a b.png")));
    assertThat(List.of(sample.label(), sample.depth(), sample.height(), sample.width()))
        .containsExactly(-1, 1, 11, 13);
    assertThat(sample.objects())
        .containsExactly(
            new DetectedObject(1, 1.5, 1.2, 8.2, 7.7, 30.5, false, "g0391N3MO1O2N1O1Oo0"),
            new DetectedObject(0, 0, 0, 13, 11, 143, true, "0_4"),
            new DetectedObject(2, 4, 1, 1, 8, 8, false, "]18j2"),
            new DetectedObject(2, 1, 2, 3, 4.5, 13.5, false, ""));
  }

  @Test
  void theOrderOfTheArraysDoesNotMatter() throws IOException {
    String usual = json(IMAGES, TRIANGLE, CATEGORIES);
    String other =
        String.format(
                "{'annotations': [%s], 'categories': [%s], 'images': [%s]}",
                TRIANGLE, CATEGORIES, IMAGES)
            .replace('\'', '"');
    Listing expected = source(usual).list(HADOOP);
    Listing found = source(other).list(HADOOP);
    assertThat(found.classes()).isEqualTo(expected.classes());
    assertThat(found.items()).hasSameSizeAs(expected.items());
    assertThat(found.items().get(1).annotation()).isEqualTo(expected.items().get(1).annotation());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          'id': 1               |                              | 1: its id was there before
          'id': 1,              |                              | without id: it has no id
          'id': 1               | 'id': 'x'                    | x: id is "x", no whole number
          'id': 1               | 'id': 1.5                    | 1.5: id is 1.5, no whole number
          'image_id': 139,      |                              | 1: it has no image_id
          'image_id': 139       | 'image_id': 140              | 1: image 140 is not listed
          'category_id': 13,    |                              | 1: it has no category_id
          'category_id': 13     | 'category_id': 12            | 1: category 12 is not listed
          'bbox': [1.5          | 'box': [1.5                  | 1: it has no bbox
          1.2, 8.2, 7.7]        | 1.2, 8.2]                    | 1: bbox has 3 numbers, not 4
          8.2, 7.7]             | 8.2, null]                   | 1: bbox holds null, no finite number
          8.2, 7.7]             | 8.2, 1e999]                  | 1: bbox holds
          8.2, 7.7]             | 8.2, 0.0]                    | 1: its box of 8.2 x 0.0 pixels has no area
          8.2, 7.7]             | -8.2, -7.7]                  | 1: its box of -8.2 x -7.7 pixels has no area
          8.2, 7.7]             | 13.0, 7.7]                   | 1: its box reaches to (14.5, 8.9), out of the picture of 13 x 11 pixels
          1.5, 1.2, 8.2         | 15, -1.2, 8.2                | 1: its box reaches to (15.0, -1.2), out of the picture of 13 x 11 pixels
          'area': 30.5          | 'area': -1                   | 1: its area is -1.0
          'area': 30.5          | 'area': 'large'              | 1: area holds "large", no finite number
          'iscrowd': 0          | 'iscrowd': 2                 | 1: iscrowd is 2, not 0 or 1
          [[1.5, 1.2            | [[1.5                        | 1: polygon has 5 numbers, not x, y of 3 corners
          , 4.4, 8.9]]          | ]]                           | 1: polygon has 4 numbers, not x, y of 3 corners
          4.4, 8.9]]            | 4.4, 12.1]]                  | 1: its polygon reaches to (4.4, 12.1), out of the picture of 13 x 11 pixels
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | [[1, 1, 9, 9, 5, 5]] | 1: its mask covers no pixel
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | [5]               | 1: polygon is no array
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {}                | 1: segmentation is neither polygons nor a mask
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | 'x'               | 1: segmentation is neither polygons nor a mask
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {'counts': 'x'}   | 1: size of the mask is no array
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {'counts': 'x', 'size': [11, 1.5]} | 1: size of the mask holds 1.5
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {'counts': 'x', 'size': [11]} | 1: size of the mask has 1 numbers, not 2
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {'counts': [0, 143], 'size': [13, 11]} | 1: mask is 11 x 13 pixels, the picture 13 x 11
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {'counts': [0, 142], 'size': [11, 13]} | 1: mask has runs of 142 pixels in all, 13 x 11 has 143
          [[1.5, 1.2, 9.7, 3.3, 4.4, 8.9]] | {'counts': '_4', 'size': [11, 13]} | 1: its mask covers no pixel
          """)
  void aBadAnnotationIsLeftOutAndItsPictureStays(String part, String instead, String reason)
      throws IOException {
    String bad = TRIANGLE.replace(part, instead == null ? "" : instead).replaceFirst("\\{ ?,", "{");
    if (instead == null && part.equals("'id': 1")) {
      bad = TRIANGLE;
    }
    Listing listing =
        list(IMAGES, reason.contains("before") ? TRIANGLE + ", " + bad : bad + ", " + TRIANGLE);
    assertThat(listing.items()).hasSize(2);
    Sample sample =
        source(Files.readString(dir.resolve("instances.json")))
            .read(HADOOP, listing.root(), listing.items().get(1));
    assertThat(sample.objects()).hasSize(1);
    assertThat(listing.quarantined()).hasSize(1);
    assertThat(listing.quarantined().get(0).path()).isEqualTo("instances.json");
    String json = Files.readString(dir.resolve("instances.json"));
    int at =
        reason.contains("before")
            ? json.lastIndexOf("{\"id\": 1, \"image_id")
            : json.indexOf("\"annotations\": [") + 16;
    assertThat(listing.quarantined().get(0).reason())
        .startsWith(
            "instances.json, byte "
                + json.substring(0, at).getBytes(StandardCharsets.UTF_8).length
                + ": annotation "
                + reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          'id': 8,             |                        | image without id: it has no id
          'id': 8              | 'id': 139              | image 139: its id was there before
          'id': 8              | 'id': -8               | image -8: its id is negative
          'file_name': 'c.png',|                        | image 8: it has no file_name
          'c.png'              | ''                     | image 8: file_name is ""
          'c.png'              | 'a b.png'              | image 8: its file_name was there before
          'c.png'              | 'd.png'                | image 8: there is no such file in
          'c.png'              | '../images/unused.png' | image 8: there is no such file in
          'height': 3,         |                        | image 8: it has no height
          'height': 3          | 'height': 0            | image 8: its height is 0
          'width': 2           | 'width': 2000000000000 | image 8: its width is 2000000000000
          """)
  void aBadPictureIsLeftOutWithItsAnnotations(String part, String instead, String reason)
      throws IOException {
    picture("c.png", 2, 3);
    String good = "{'id': 8, 'file_name': 'c.png', 'height': 3, 'width': 2}";
    String bad = good.replace(part, instead == null ? "" : instead);
    String annotation = "{'id': 5, 'image_id': 8, 'category_id': 1, 'bbox': [0, 0, 1, 1]}";
    Listing listing = list(IMAGES + ", " + bad, TRIANGLE + ", " + annotation);
    assertThat(listing.items()).hasSize(2);
    assertThat(listing.quarantined().get(0).reason())
        .contains(reason)
        .startsWith("instances.json, byte 171: ");
    // An annotation of a picture that nobody knows is reported for itself.
    boolean known = bad.contains("'id': 8,");
    assertThat(listing.quarantined()).hasSize(known ? 1 : 2);
    assertThat(list(IMAGES + ", " + good, TRIANGLE + ", " + annotation).items()).hasSize(3);
  }

  @Test
  void aPictureOfAnotherSizeIsBadWhenItIsRead() throws IOException {
    picture("a b.png", 11, 13);
    CocoSource source = source(json(IMAGES, TRIANGLE, CATEGORIES));
    Listing listing = source.list(HADOOP);
    assertThatThrownBy(() -> source.read(HADOOP, listing.root(), listing.items().get(1)))
        .isInstanceOf(DataException.class)
        .hasMessage("the picture is 11 x 13 pixels, its annotations are for 13 x 11");
    Files.write(dir.resolve("images/a b.png"), new byte[] {1, 2, 3});
    Item torn = source.list(HADOOP).items().get(1);
    assertThatThrownBy(() -> source.read(HADOOP, listing.root(), torn))
        .isInstanceOf(DataException.class)
        .hasMessage("neither JPEG nor PNG");
  }

  @Test
  void aTornFileIsBadAsAWhole() throws IOException {
    byte[] whole = json(IMAGES, TRIANGLE, CATEGORIES).getBytes(StandardCharsets.UTF_8);
    Path file = dir.resolve("torn.json");
    CocoSource source = new CocoSource(file.toString(), dir.resolve("images").toString());
    for (int length = 0; length < whole.length; length += 3) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> source.list(HADOOP))
          .as("cut at byte %d", length)
          .isInstanceOf(DataException.class)
          .hasMessageStartingWith("Cannot read " + file);
    }
    Files.write(file, Arrays.copyOf(whole, 200));
    assertThatThrownBy(() -> source.list(HADOOP)).hasMessageContaining("byte 200: Unexpected end");
  }

  @Test
  @Tag(ResidentMemoryTest.CHANGED)
  void changedBytesAreReadOrRefusedInASentence() throws IOException {
    String mask = "{'size': [11, 13], 'counts': ']18j2'}";
    String second = TRIANGLE.replace("'id': 1", "'id': 2").replaceFirst("\\[\\[.*\\]\\]", mask);
    byte[] whole =
        json(IMAGES, TRIANGLE + ", " + second, CATEGORIES).getBytes(StandardCharsets.UTF_8);
    Path file = dir.resolve("changed.json");
    CocoSource source = new CocoSource(file.toString(), dir.resolve("images").toString());
    Random random = new Random(4);
    int refused = 0;
    int leftOut = 0;
    for (int i = 0; i < 300; i++) {
      byte[] changed = whole.clone();
      for (int flips = random.nextInt(3); flips >= 0; flips--) {
        changed[random.nextInt(changed.length)] = (byte) (32 + random.nextInt(96));
      }
      Files.write(file, changed);
      try {
        Listing listing = source.list(HADOOP);
        leftOut += listing.quarantined().isEmpty() ? 0 : 1;
        for (Item item : listing.items()) {
          source.read(HADOOP, listing.root(), item);
        }
      } catch (DataException e) {
        refused++;
        assertThat(e).hasMessageMatching("(Cannot read|the picture is) .*");
      }
    }
    assertThat(refused).isBetween(100, 250);
    assertThat(leftOut).isGreaterThan(20);
  }

  @Test
  void aFileThatIsNoDataSetIsBadAsAWhole() throws IOException {
    String whole = json(IMAGES, TRIANGLE, CATEGORIES);
    refuses("[1, 2]", "the file is no object");
    refuses(whole + "{}", "something follows the end");
    refuses(whole.replace("annotations", "notes"), "it has no annotations");
    refuses(whole.replace("images", "info"), "it has no images");
    refuses(whole.replace("\"info\"", "\"images\"").replace("{\"year\": [2017]}", "[]"), "twice");
    refuses(json(IMAGES, TRIANGLE, ""), "it has 0 categories and 2 usable images");
    refuses(json("", TRIANGLE, CATEGORIES), "it has 3 categories and 0 usable images");
    refuses(
        json(IMAGES.replace(".png", ".jpg"), "", CATEGORIES),
        "0 usable images; the first: instances.json, byte 38: image 139: there is no such file");
    refuses(json(IMAGES, TRIANGLE, "{'id': 1}"), "it has no name");
    refuses(json(IMAGES, TRIANGLE, "{'name': 'x'}"), "it has no id");
    refuses(
        json(IMAGES, TRIANGLE, CATEGORIES + ", {'id': 1, 'name': 'x'}"),
        "category id 1 was there before");
    refuses(whole.replaceFirst("\\[\\{", "{\"a\": {").replaceFirst("\\}\\]", "}}"), "no array");
    assertThatThrownBy(
            () -> new CocoSource("/no/such.json", dir.resolve("images").toString()).list(HADOOP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot read /no/such.json: there is no such file");
    assertThatThrownBy(
            () -> new CocoSource("/no/such.json", dir.resolve("pictures").toString()).list(HADOOP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("pictures: no such folder");
  }

  private void refuses(String json, String reason) throws IOException {
    CocoSource source = source(json);
    assertThatThrownBy(() -> source.list(HADOOP))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot read " + dir.resolve("instances.json"))
        .hasMessageContaining(reason);
  }

  @Test
  void findsASplitOf2017Or2014() throws IOException {
    Path root = dir.resolve("coco");
    for (String year : List.of("2014", "2017")) {
      assertThatThrownBy(() -> CocoSource.ofSplit(HADOOP, root.toString(), "val"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("annotations/instances_val2017.json and val2017/");
      Files.createDirectories(root.resolve("train" + year));
      Files.createDirectories(root.resolve("annotations"));
      Files.writeString(root.resolve("annotations/instances_train" + year + ".json"), "{}");
      CocoSource source = CocoSource.ofSplit(HADOOP, root.toString(), "train");
      assertThat(source.images()).endsWith("coco/train" + year);
      assertThat(source.annotations()).endsWith("annotations/instances_train" + year + ".json");
    }
    assertThatThrownBy(() -> CocoSource.ofSplit(HADOOP, root.toString(), "test"))
        .hasMessage("Invalid split: test (train or val)");
  }

  @ParameterizedTest
  @CsvSource({"train, 59, 583, 6, 61", "val, 66, 560, 8, 62"})
  void acceptsEveryAnnotationOfTheSample(
      String split, int pictures, int annotations, int crowds, int used) throws IOException {
    Assumptions.assumeTrue(Files.exists(DATA), "no ../shared/data beside the checkout");
    CocoSource source = CocoSource.ofSplit(HADOOP, DATA.toString(), split);
    Listing listing = source.list(HADOOP);
    assertThat(listing.quarantined()).isEmpty();
    assertThat(listing.ignoredFiles()).isZero();
    assertThat(listing.items()).hasSize(pictures);
    assertThat(listing.classes())
        .hasSize(80)
        .startsWith("person", "bicycle")
        .endsWith("toothbrush");
    List<DetectedObject> objects =
        listing.items().stream()
            .flatMap(item -> read(source, listing, item).objects().stream())
            .toList();
    assertThat(objects).hasSize(annotations);
    assertThat(objects.stream().filter(DetectedObject::crowd)).hasSize(crowds);
    assertThat(objects.stream().mapToInt(DetectedObject::category).distinct().count())
        .isEqualTo(used);
    assertThat(objects).noneMatch(object -> object.rle().isEmpty());
  }

  private static Sample read(CocoSource source, Listing listing, Item item) {
    try {
      return source.read(HADOOP, listing.root(), item);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
