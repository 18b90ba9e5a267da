package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.GZIPOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ImageNetTest {

  /** Real files, which cannot be part of this repository. */
  private static final Path SAMPLE = Path.of("../../shared/data/imagenet/ILSVRC");

  /** Of the first 50 validation pictures, as val.txt in Caffe's caffe_ilsvrc12.tar.gz has them. */
  private static final List<Integer> FIRST_LABELS =
      List.of(
          65, 970, 230, 809, 516, 57, 334, 415, 674, 332, 109, 286, 370, 757, 595, 147, 108, 23,
          478, 517, 334, 173, 948, 727, 23, 846, 270, 167, 55, 858, 324, 573, 150, 981, 586, 887,
          32, 398, 777, 74, 516, 756, 129, 198, 256, 725, 565, 167, 717, 394);

  private static final String MAPPING =
      """
      n02119789 kit fox, Vulpes macrotis
      n01440764 tench, Tinca tinca
      n02012849 crane
      n03126707 crane
      n02100735 English setter
      """;

  @TempDir Path dir;

  // Layouts

  @ParameterizedTest
  @CsvSource({"''", "Data/CLS-LOC/", "ILSVRC/Data/CLS-LOC/"})
  void listsTrainingFoldersByWnidAndFile(String place) throws IOException {
    trainFolders(dir.resolve(place + "train"));
    text("LOC_synset_mapping.txt", MAPPING);
    Files.writeString(dir.resolve(place + "train/readme.txt"), "no picture");
    Listing listing = list("train");
    assertThat(listing.task()).isEqualTo(Task.CLASSIFICATION);
    assertThat(listing.classes())
        .containsExactly(
            "tench, Tinca tinca",
            "crane (n02012849)",
            "English setter",
            "kit fox, Vulpes macrotis",
            "crane (n03126707)");
    assertThat(listing.items())
        .extracting(item -> item.id() + " " + item.label())
        .containsExactly(
            "n01440764/n01440764_10.JPEG 0",
            "n01440764/n01440764_9.JPEG 0",
            "n02119789/n02119789_1.JPEG 3");
    assertThat(listing.items().get(0).path())
        .isEqualTo(place + "train/n01440764/n01440764_10.JPEG");
    assertThat(listing.quarantined()).isEmpty();
    assertThat(listing.ignoredFiles()).isEqualTo(1);
  }

  @Test
  void readsTheTrainingArchiveAsTheSamePicturesAsTheFolders() throws IOException {
    trainFolders(dir.resolve("folders/train"));
    ImageNet folders = new ImageNet(dir.resolve("folders").toString(), "train");
    Listing fromFolders = folders.list(Shards.HADOOP);
    trainArchive(dir);
    ImageNet archive = new ImageNet(dir.toString(), "train");
    Listing fromArchive = archive.list(Shards.HADOOP);

    assertThat(fromArchive.classes()).isEqualTo(fromFolders.classes());
    assertThat(fromArchive.classes()).containsExactly("n01440764", "n02119789");
    assertThat(fromArchive.quarantined()).isEmpty();
    assertThat(fromArchive.items()).hasSameSizeAs(fromFolders.items());
    for (int i = 0; i < fromArchive.items().size(); i++) {
      Item item = fromArchive.items().get(i);
      assertThat(item.path()).isEqualTo("ILSVRC2012_img_train.tar");
      Sample sample = archive.read(Shards.HADOOP, fromArchive.root(), item);
      assertThat(sample)
          .usingRecursiveComparison()
          .isEqualTo(folders.read(Shards.HADOOP, fromFolders.root(), fromFolders.items().get(i)));
      assertThat(sample.width()).isEqualTo(6);
      assertThat(sample.height()).isEqualTo(5);
    }
  }

  @Test
  void readsValidationInEveryLayoutAlike() throws IOException {
    text("flat/LOC_synset_mapping.txt", MAPPING);
    text("archive/LOC_synset_mapping.txt", MAPPING);
    text("sorted/LOC_synset_mapping.txt", MAPPING);
    String labels = "n02119789\nn01440764\n";
    text("flat/" + ImageNetMeta.WNIDS, labels);
    text("archive/" + ImageNetMeta.WNIDS, labels);
    Map<String, byte[]> pictures = new LinkedHashMap<>();
    pictures.put("ILSVRC2012_val_00000002.JPEG", picture(2));
    pictures.put("ILSVRC2012_val_00000001.JPEG", picture(1));
    Pictures.write(dir.resolve("archive/ILSVRC2012_img_val.tar"), Tars.of(pictures));
    List<String> wnids = List.of("n01440764", "n02119789");
    int i = 0;
    for (Map.Entry<String, byte[]> file : pictures.entrySet()) {
      Pictures.write(dir.resolve("flat/val/" + file.getKey()), file.getValue());
      Pictures.write(
          dir.resolve("sorted/val/" + wnids.get(i++) + "/" + file.getKey()), file.getValue());
    }
    for (String layout : List.of("flat", "archive", "sorted")) {
      ImageNet source = new ImageNet(dir.resolve(layout).toString(), "val");
      Listing listing = source.list(Shards.HADOOP);
      assertThat(listing.items())
          .extracting(item -> item.id() + " " + item.label())
          .containsExactly("ILSVRC2012_val_00000001.JPEG 3", "ILSVRC2012_val_00000002.JPEG 0");
      assertThat(source.read(Shards.HADOOP, listing.root(), listing.items().get(0)).image())
          .isEqualTo(picture(1));
    }
  }

  @Test
  void readsRangesOfAnArchiveOnHdfs() throws IOException {
    trainArchive(dir.resolve("raw"));
    Configuration hadoop = new Configuration();
    hadoop.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, dir.resolve("hdfs").toString());
    try (MiniDFSCluster cluster = new MiniDFSCluster.Builder(hadoop).numDataNodes(1).build()) {
      String root = cluster.getURI() + "/raw";
      cluster
          .getFileSystem()
          .copyFromLocalFile(
              new org.apache.hadoop.fs.Path(dir.resolve("raw").toUri()),
              new org.apache.hadoop.fs.Path(root));
      ImageNet source = new ImageNet(root, "train");
      Listing listing = source.list(hadoop);
      assertThat(listing.root()).isEqualTo(root);
      assertThat(listing.items()).hasSize(3);
      assertThat(source.read(hadoop, root, listing.items().get(2)).image()).isEqualTo(picture(1));
    }
  }

  // Labels

  @Test
  void knowsValidationLabelsFromEachOfTheFilesThatTell() throws IOException {
    String truth = "300\n2\n1\n";
    text(
        "kaggle/LOC_val_solution.csv",
        """
        ImageId,PredictionString
        ILSVRC2012_val_00000003,n02119789 85 1 499 272 n02119789 9 9 10 10\s
        ILSVRC2012_val_00000001,n01440764 1 2 3 4
        ILSVRC2012_val_00000002,n02100735 1 2 3 4
        """);
    text("wnids/" + ImageNetMeta.WNIDS, "n01440764\nn02100735\nn02119789\n");
    String kit = "folder/ILSVRC2012_devkit_t12/data/";
    text(kit + "ILSVRC2012_validation_ground_truth.txt", truth);
    Pictures.write(dir.resolve(kit + "meta.mat"), MatStructsTest.META);
    text("kit2015/devkit/data/ILSVRC2015_clsloc_validation_ground_truth.txt", truth);
    text(
        "kit2015/devkit/data/map_clsloc.txt",
        "n02119789 1 kit_fox\nn02100735 2 English_setter\nn01440764 300 tench\n");
    Map<String, byte[]> archive = new LinkedHashMap<>();
    archive.put("ILSVRC2012_devkit_t12/data/meta.mat", MatStructsTest.META);
    archive.put(
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
        truth.getBytes(StandardCharsets.UTF_8));
    Pictures.write(dir.resolve("packed/ILSVRC2012_devkit_t12.tar.gz"), gzip(Tars.of(archive)));

    for (String layout : List.of("kaggle", "wnids", "folder", "kit2015", "packed")) {
      ImageNetMeta meta = meta(layout);
      assertThat(meta.validation())
          .containsExactlyInAnyOrderEntriesOf(
              Map.of(
                  "ILSVRC2012_val_00000001", "n01440764",
                  "ILSVRC2012_val_00000002", "n02100735",
                  "ILSVRC2012_val_00000003", "n02119789"));
    }
    assertThat(meta("packed").names())
        .containsExactlyEntriesOf(
            new TreeMap<>(
                Map.of(
                    "n01440764", "tench, Tinca tinca",
                    "n02100735", "English setter",
                    "n02119789", "kit fox, Vulpes macrotis")));
    assertThat(meta("kit2015").names()).containsEntry("n02119789", "kit fox");
  }

  @Test
  void refusesLabelFilesThatCannotBeUnderstood() throws IOException {
    text("a/" + ImageNetMeta.WNIDS, "n01440764\nfish\n");
    assertThatThrownBy(() -> meta("a"))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot read " + ImageNetMeta.WNIDS + ": a line is \"fish\"");
    String kit = "b/ILSVRC2012_devkit_t12/data/";
    text(kit + "ILSVRC2012_validation_ground_truth.txt", "1\n1001\n");
    Pictures.write(dir.resolve(kit + "meta.mat"), MatStructsTest.META);
    assertThatThrownBy(() -> meta("b"))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("a line is \"1001\", which is no class's id");
    Pictures.write(dir.resolve(kit + "meta.mat"), Pictures.half(MatStructsTest.META));
    assertThatThrownBy(() -> meta("b"))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot read meta.mat: ");
    byte[] packed = gzip(Tars.of(Map.of("x/data/meta.mat", MatStructsTest.META)));
    Pictures.write(dir.resolve("c/ILSVRC2012_devkit_t12.tar.gz"), Pictures.half(packed));
    assertThatThrownBy(() -> meta("c"))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot read ILSVRC2012_devkit_t12.tar.gz: ");
  }

  // Bad input

  @Test
  void quarantinesUnknownClassesAndPicturesWithoutLabel() throws IOException {
    text("LOC_synset_mapping.txt", MAPPING);
    text(ImageNetMeta.WNIDS, "n02119789\nn99999999\n");
    trainFolders(dir.resolve("train"));
    Pictures.write(dir.resolve("train/n99999999/n99999999_1.JPEG"), picture(1));
    Pictures.write(dir.resolve("val/ILSVRC2012_val_00000001.JPEG"), picture(2));
    Pictures.write(dir.resolve("val/ILSVRC2012_val_00000002.JPEG"), picture(3));
    Pictures.write(dir.resolve("val/ILSVRC2012_val_00000003.JPEG"), picture(4));
    Pictures.write(dir.resolve("val/n02119789/ILSVRC2012_val_00000001.JPEG"), picture(5));
    assertThat(list("train").quarantined())
        .containsExactly(
            new ShardManifest.Quarantined(
                "train/n99999999/n99999999_1.JPEG",
                "unknown class n99999999: not in LOC_synset_mapping.txt"));
    Listing val = list("val");
    assertThat(val.items()).extracting(Item::id).containsExactly("ILSVRC2012_val_00000001.JPEG");
    assertThat(val.quarantined())
        .containsExactly(
            new ShardManifest.Quarantined(
                "val/ILSVRC2012_val_00000002.JPEG",
                "unknown class n99999999: not in LOC_synset_mapping.txt"),
            new ShardManifest.Quarantined(
                "val/ILSVRC2012_val_00000003.JPEG", "no label: not in " + ImageNetMeta.WNIDS),
            new ShardManifest.Quarantined(
                "val/n02119789/ILSVRC2012_val_00000001.JPEG",
                "another sample has the same id: ILSVRC2012_val_00000001.JPEG"));
  }

  @Test
  void quarantinesWhatIsCutOffAnArchiveAndListsTheRest() throws IOException {
    trainArchive(dir);
    Path archive = dir.resolve("ILSVRC2012_img_train.tar");
    byte[] whole = Files.readAllBytes(archive);
    Item last = list("train").items().get(2);
    int length = (int) last.offset() + 10;
    Files.write(archive, Arrays.copyOf(whole, length));
    Listing cut = list("train");
    assertThat(cut.items())
        .extracting(Item::id)
        .containsExactly("n01440764/n01440764_10.JPEG", "n01440764/n01440764_9.JPEG");
    assertThat(cut.quarantined()).hasSize(2);
    assertThat(cut.quarantined().get(0).path()).isEqualTo("ILSVRC2012_img_train.tar");
    assertThat(cut.quarantined().get(0).reason())
        .startsWith("n02119789.tar at byte ")
        .contains(" is cut: it has ");
    assertThat(cut.quarantined().get(1))
        .isEqualTo(
            new ShardManifest.Quarantined(
                "ILSVRC2012_img_train.tar/n02119789.tar",
                String.format(
                    "n02119789_1.JPEG at byte %d is cut: it has %d bytes, 10 are left",
                    last.offset(), last.length())));
  }

  @Test
  void namesArchiveAndOffsetOfABadPicture() throws IOException {
    text(ImageNetMeta.WNIDS, "n02119789\nn01440764\n");
    Map<String, byte[]> pictures = new LinkedHashMap<>();
    pictures.put("ILSVRC2012_val_00000001.JPEG", new byte[0]);
    pictures.put("ILSVRC2012_val_00000002.JPEG", Pictures.half(picture(1)));
    Pictures.write(dir.resolve("ILSVRC2012_img_val.tar"), Tars.of(pictures));
    ImageNet source = new ImageNet(dir.toString(), "val");
    Listing listing = source.list(Shards.HADOOP);
    assertThatThrownBy(() -> source.read(Shards.HADOOP, listing.root(), listing.items().get(0)))
        .isInstanceOf(DataException.class)
        .hasMessage("empty file (at byte 512 of ILSVRC2012_img_val.tar)");
    assertThatThrownBy(() -> source.read(Shards.HADOOP, listing.root(), listing.items().get(1)))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("truncated")
        .hasMessageEndingWith("(at byte 1024 of ILSVRC2012_img_val.tar)");
  }

  @Test
  void saysWhatARootLacks() throws IOException {
    assertThatThrownBy(() -> new ImageNet("x", "test"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid split: test (train or val)");
    assertThatThrownBy(() -> new ImageNet(dir + "/absent", "val").list(Shards.HADOOP))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageEndingWith("/absent: no such folder");
    assertThatThrownBy(() -> list("train"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageEndingWith("nor ILSVRC2012_img_train.tar");
    Pictures.write(dir.resolve("val/ILSVRC2012_val_00000001.JPEG"), picture(1));
    assertThatThrownBy(() -> list("val"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("it holds nothing that tells the classes");
    text("LOC_synset_mapping.txt", MAPPING);
    assertThatThrownBy(() -> list("val"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("it has no labels; put LOC_val_solution.csv");
  }

  // Pictures as ImageNet has them

  /** Written by Pillow 9.4.0 in CMYK: four patches of 16 x 16, Adobe's marker, values inverted. */
  private static final byte[] CMYK =
      Base64.getDecoder()
          .decode(
              "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0O"
                  + "EQ4LCxAWEBETFBUVFQwPFxgWFBgSFBUU/8AAFAgAIAAgBEMRAE0RAFkRAEsRAP/EABoAAQACAwEAAAAAAAAA"
                  + "AAAAAAAICQUGBwr/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oADgRDAE0AWQBLAAA/ALU1qa1NamAPPS5ewjSQ"
                  + "B6FnUGbbsAPPS5ewjSQBf2oEUdOKgCFS6tF9F8ATVUqJQJQACFS6tF9F8Af/2Q==");

  /** Where Adobe's marker says how the channels are coded: 0 as they are, 2 YCCK. */
  private static final int TRANSFORM = 17;

  @Test
  void decodesCmykAsPillowDoes() {
    byte[] ycck = CMYK.clone();
    ycck[TRANSFORM] = 2;
    byte[] unmarked = new byte[CMYK.length - 16];
    System.arraycopy(CMYK, 0, unmarked, 0, 2);
    System.arraycopy(CMYK, 18, unmarked, 2, unmarked.length - 2);
    // Pillow's Image.open(...).convert("RGB") in the middle of each patch.
    int[][] expected = {{255, 255, 255}, {51, 207, 226}, {187, 27, 57}, {87, 103, 8}};
    int[][] expectedYcck = {{0, 134, 0}, {33, 235, 26}, {64, 0, 134}, {131, 17, 0}};
    assertPatches(CMYK, expected);
    assertPatches(unmarked, expected);
    assertPatches(ycck, expectedYcck);
  }

  private static void assertPatches(byte[] jpeg, int[][] expected) {
    Images.Picture picture = Images.inspect(jpeg);
    assertThat(picture.channels()).isEqualTo(3);
    for (int patch = 0; patch < 4; patch++) {
      int at = 3 * ((8 + 16 * (patch / 2)) * 32 + 8 + 16 * (patch % 2));
      for (int c = 0; c < 3; c++) {
        assertThat(picture.pixels()[at + c] & 0xFF).isCloseTo(expected[patch][c], within(2));
      }
    }
  }

  @Test
  void readsGreyPicturesAndPngUnderTheNameJpeg() throws IOException {
    Pictures.write(
        dir.resolve("train/n01440764/n01440764_1.JPEG"),
        Pictures.jpeg(8, 6, BufferedImage.TYPE_BYTE_GRAY, 1));
    Pictures.write(
        dir.resolve("train/n01440764/n01440764_2.JPEG"),
        Pictures.png(7, 6, BufferedImage.TYPE_4BYTE_ABGR, 2));
    ImageNet source = new ImageNet(dir.toString(), "train");
    Listing listing = source.list(Shards.HADOOP);
    List<Integer> widths = new ArrayList<>();
    for (Item item : listing.items()) {
      widths.add(source.read(Shards.HADOOP, listing.root(), item).width());
    }
    assertThat(widths).containsExactly(8, 7);
  }

  // The real sample

  @Test
  void listsTheRealSampleWithKnownLabels() throws IOException {
    assumeSample();
    ImageNet train = new ImageNet(SAMPLE.toString(), "train");
    Listing trained = train.list(Shards.HADOOP);
    assertThat(trained.items()).hasSize(120);
    assertThat(trained.quarantined()).isEmpty();
    assertThat(trained.classes()).hasSize(1000).doesNotHaveDuplicates();
    assertThat(trained.classes().get(0)).isEqualTo("tench, Tinca tinca");
    assertThat(trained.classes().get(999))
        .isEqualTo("toilet tissue, toilet paper, bathroom tissue");
    Map<String, Integer> labels = new LinkedHashMap<>();
    for (Item item : trained.items()) {
      Sample sample = train.read(Shards.HADOOP, trained.root(), item);
      assertThat(sample.width()).isPositive();
      labels.put(item.id(), sample.label());
    }
    assertThat(labels)
        .containsEntry("n01440764/n01440764_tench.JPEG", 0)
        .containsEntry("n02110063/n02110063_11239.JPEG", 249)
        .containsEntry("n03000134/n03000134_4970.JPEG", 489)
        .containsEntry("n15075141/n15075141_13104.JPEG", 999);

    ImageNet val = new ImageNet(SAMPLE.toString(), "val");
    Listing validated = val.list(Shards.HADOOP);
    assertThat(validated.items()).hasSize(26);
    assertThat(validated.quarantined()).isEmpty();
    for (Item item : validated.items()) {
      assertThat(val.read(Shards.HADOOP, validated.root(), item).label()).isBetween(0, 999);
    }
  }

  @Test
  void givesTheFirstFiftyValidationPicturesTheirPublishedLabels() throws IOException {
    assumeSample();
    for (String name : List.of("LOC_synset_mapping.txt", ImageNetMeta.WNIDS)) {
      Files.copy(SAMPLE.resolve(name), dir.resolve(name));
    }
    for (int i = 1; i <= 50; i++) {
      Pictures.write(dir.resolve(String.format("val/ILSVRC2012_val_%08d.JPEG", i)), picture(i));
    }
    assertThat(list("val").items()).extracting(Item::label).isEqualTo(FIRST_LABELS);
  }

  @Test
  void shardsRealPicturesGreyOnesAndThePngCalledJpegToo() {
    assumeSample();
    Path train = SAMPLE.resolve("Data/CLS-LOC/train");
    ShardManifest manifest = Shards.of(train, dir.resolve("out")).manifest();
    assertThat(manifest.samples()).isEqualTo(120);
    assertThat(manifest.quarantined()).isEmpty();
    // The whole set's published means are 0.485, 0.456, 0.406.
    assertThat(manifest.mean().get(0)).isCloseTo(0.485, within(0.05));
    assertThat(manifest.mean().get(1)).isCloseTo(0.456, within(0.05));
    assertThat(manifest.mean().get(2)).isCloseTo(0.406, within(0.05));

    ImageTransform transform =
        new ImageTransform(
            new ImageTransform.Options(224, 256, 3, 0, 0.5, manifest.mean(), manifest.std()));
    ShardSet shards = ShardSet.open(Shards.HADOOP, dir.resolve("out").toString());
    float[] target = new float[transform.size()];
    double sum = 0;
    for (int block = 0; block < shards.blocks(); block++) {
      for (Sample sample : shards.read(block)) {
        transform.evaluate(sample, target, 0);
        for (float value : target) {
          sum += value;
        }
      }
    }
    assertThat(sum / 120 / target.length).isCloseTo(0, within(0.2));
  }

  private static void assumeSample() {
    assumeTrue(Files.isDirectory(SAMPLE), "no ../shared/data beside the checkout");
  }

  private Listing list(String split) throws IOException {
    return new ImageNet(dir.toString(), split).list(Shards.HADOOP);
  }

  private ImageNetMeta meta(String folder) throws IOException {
    return ImageNetMeta.read(
        SourceFolder.open(Shards.HADOOP, dir.resolve(folder).toString(), "ImageNet"));
  }

  private void text(String path, String text) throws IOException {
    Path file = dir.resolve(path);
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }

  private static byte[] picture(int seed) {
    return Pictures.jpeg(6, 5, BufferedImage.TYPE_3BYTE_BGR, seed);
  }

  private static Map<String, byte[]> tench() {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("n01440764_9.JPEG", picture(9));
    files.put("n01440764_10.JPEG", picture(10));
    return files;
  }

  private static void trainFolders(Path train) throws IOException {
    for (Map.Entry<String, byte[]> file : tench().entrySet()) {
      Pictures.write(train.resolve("n01440764/" + file.getKey()), file.getValue());
    }
    Pictures.write(train.resolve("n02119789/n02119789_1.JPEG"), picture(1));
  }

  private static void trainArchive(Path root) throws IOException {
    Map<String, byte[]> outer = new LinkedHashMap<>();
    outer.put("n01440764.tar", Tars.of(tench()));
    outer.put("n02119789.tar", Tars.of(Map.of("n02119789_1.JPEG", picture(1))));
    Pictures.write(root.resolve("ILSVRC2012_img_train.tar"), Tars.of(outer));
  }

  private static byte[] gzip(byte[] bytes) throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
      out.write(bytes);
    }
    return packed.toByteArray();
  }
}
