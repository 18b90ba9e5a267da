package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import sparkvision.data.coco.Rle;
import sparkvision.data.transform.Resize;

/** Columns and statistics of each task. */
final class ShardFormatTest {

  @TempDir Path dir;

  @ParameterizedTest
  @EnumSource(Task.class)
  void everySampleIsReadBackAsItWas(Task task) {
    MadeSource source = new MadeSource(task, 11, false);
    ShardSet shards = Shards.of(source, dir.resolve("out"));
    shards.verify();
    assertThat(shards.manifest().task()).isEqualTo(task);
    assertThat(shards.manifest().classes()).containsExactly("first", "zweite Klasse", "third");
    assertThat(samples(shards))
        .usingRecursiveComparison()
        .isEqualTo(IntStream.range(0, 11).mapToObj(source::sample).toList());
  }

  @Test
  void anyParquetReaderReadsTheColumnsOfATask() {
    List<Row> plain = rows(Task.CLASSIFICATION, "id", "label", "width", "height", "image");
    assertThat(plain.get(4).getString(0)).isEqualTo("sample 004 ä漢");
    assertThat(plain.get(4).getInt(1)).isEqualTo(1);
    assertThat(plain.get(4).getInt(2)).isEqualTo(24);
    assertThat(plain.get(4).getInt(3)).isEqualTo(30);

    MadeSource masks = new MadeSource(Task.SEGMENTATION, 5, false);
    List<Row> masked = rows(Task.SEGMENTATION, "id", "label", "width", "height", "image", "mask");
    assertThat(masked.get(3).getInt(1)).isEqualTo(-1);
    assertThat(masked.get(3).<byte[]>getAs("mask")).isEqualTo(masks.sample(3).mask());

    List<Row> boxes = rows(Task.DETECTION, "id", "label", "width", "height", "image", "objects");
    List<Row> objects = boxes.get(2).getList(5);
    assertThat(objects).hasSize(2);
    assertThat(boxes.get(3).getList(5)).isEmpty();
    Row second = objects.get(1);
    assertThat(second.schema().fieldNames())
        .containsExactly("category", "x", "y", "width", "height", "area", "crowd", "rle");
    assertThat(second.getInt(0)).isEqualTo(2);
    assertThat(second.getDouble(3)).isEqualTo(10.25);
    assertThat(second.getBoolean(6)).isTrue();
    assertThat(second.getString(7)).isEqualTo("01\\~");

    rows(Task.VOLUME_CLASSIFICATION, "id", "label", "width", "height", "depth", "image");
    List<Row> volumes =
        rows(Task.VOLUME_SEGMENTATION, "id", "label", "width", "height", "depth", "image", "mask");
    assertThat(volumes.get(4).getInt(4)).isEqualTo(2);
  }

  private List<Row> rows(Task task, String... columns) {
    Path output = dir.resolve(task.toString());
    Shards.of(new MadeSource(task, 5, false), output);
    var frame = Shards.spark().read().parquet(output.toString());
    assertThat(frame.columns()).containsExactly(columns);
    return frame.orderBy("id").collectAsList();
  }

  @Test
  void countsClassesAsTheTaskHasThem() {
    assertThat(manifest(Task.CLASSIFICATION).classCounts()).containsExactly(4L, 4L, 3L);
    assertThat(manifest(Task.VOLUME_CLASSIFICATION).classCounts()).containsExactly(4L, 4L, 3L);
    // By object: pictures 0..10 have 0, 1, 2, 0, 1, 2 ... of them.
    assertThat(manifest(Task.DETECTION).classCounts()).containsExactly(0L, 7L, 3L);
    // By picture that contains the class.
    assertThat(manifest(Task.SEGMENTATION).classCounts()).containsExactly(11L, 0L, 1L);
    assertThat(manifest(Task.VOLUME_SEGMENTATION).classCounts()).containsExactly(11L, 11L, 0L);
  }

  @Test
  void countsSizesInStepsOf32() {
    ShardManifest pictures = manifest(Task.DETECTION); // 20..30 wide, 30 high
    assertThat(pictures.widths()).containsExactly(new ShardManifest.Sizes(0, 11));
    assertThat(pictures.depths()).isEmpty();
    ShardManifest many =
        Shards.of(new MadeSource(Task.DETECTION, 15, false), dir.resolve("many")).manifest();
    assertThat(many.widths())
        .containsExactly(new ShardManifest.Sizes(0, 12), new ShardManifest.Sizes(32, 3));
    assertThat(many.heights()).containsExactly(new ShardManifest.Sizes(0, 15));
    assertThat(manifest(Task.VOLUME_SEGMENTATION).depths())
        .containsExactly(new ShardManifest.Sizes(0, 11));
  }

  @Test
  void averagesVoxelsAsStored() {
    // Volume i has 6 x (4 + i) voxels: one of value i, the others 0.
    double voxels = 0;
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < 11; i++) {
      voxels += 6 * (4 + i);
      sum += i;
      squares += i * i;
    }
    double mean = sum / voxels;
    ShardManifest manifest = manifest(Task.VOLUME_CLASSIFICATION);
    assertThat(manifest.mean()).hasSize(1);
    assertThat(manifest.mean().get(0)).isCloseTo(mean, within(1e-12));
    assertThat(manifest.std().get(0))
        .isCloseTo(Math.sqrt(squares / voxels - mean * mean), within(1e-12));
  }

  private ShardManifest manifest(Task task) {
    return Shards.of(new MadeSource(task, 11, false), dir.resolve("11 of " + task)).manifest();
  }

  @Test
  void blocksDoNotDependOnTheNumberOfFiles() {
    MadeSource source = new MadeSource(Task.CLASSIFICATION, 30, false);
    List<List<String>> expected = ids(source, 1);
    assertThat(expected).hasSize(8);
    for (int files : new int[] {2, 3, 8}) {
      assertThat(ids(source, files)).isEqualTo(expected);
    }
  }

  private List<List<String>> ids(Source source, int files) {
    Path output = dir.resolve("files-" + files);
    ShardManifest manifest =
        Shards.run(
                source,
                new Sharding.Options("test", "", "", output.toString(), 4, 1, files, 0, 90, 0, 7))
            .manifest();
    assertThat(manifest.files()).hasSize(files);
    List<List<String>> ids = new ArrayList<>();
    ShardSet shards = ShardSet.open(Shards.HADOOP, output.toString());
    for (int block = 0; block < shards.blocks(); block++) {
      ids.add(shards.read(block).stream().map(Sample::id).toList());
    }
    return ids;
  }

  @Test
  void theNumberOfFilesFollowsFromTheirSizeAndTheSlots() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 16); // 48 pictures, 12 blocks
    long bytes = 0;
    for (Item item : new ImageFolder(input.toString()).list(Shards.HADOOP).items()) {
      bytes += item.length();
    }
    assertThat(files(input, "five", bytes / 5 + 1)).isEqualTo(5);
    assertThat(files(input, "slots", 1L << 40)).as("one for each of local[2]").isEqualTo(2);
    assertThat(files(input, "blocks", 1)).isEqualTo(12);
  }

  private int files(Path input, String name, long targetFileBytes) {
    String output = dir.resolve(name).toString();
    Sharding.Options options =
        new Sharding.Options("test", "", "", output, 4, targetFileBytes, 0, 0, 90, 0, 7);
    int files = Shards.run(input, options).manifest().files().size();
    assertThat(Shards.run(input, options).alreadyDone()).isTrue();
    return files;
  }

  @Test
  void resizedPicturesAreJpegOfTheAskedQualityAndOthersStayAsTheyCame() throws IOException {
    byte[] large = Pictures.png(90, 60, BufferedImage.TYPE_3BYTE_BGR, 1);
    byte[] grey = Pictures.jpeg(40, 81, BufferedImage.TYPE_BYTE_GRAY, 2);
    byte[] small = Pictures.png(30, 20, BufferedImage.TYPE_3BYTE_BGR, 3);
    Pictures.write(dir.resolve("in/a/large.png"), large);
    Pictures.write(dir.resolve("in/a/grey.jpg"), grey);
    Pictures.write(dir.resolve("in/b/small.png"), small);
    Sharding.Options options =
        new Sharding.Options("test", "", "", dir.resolve("out").toString(), 4, 1, 0, 20, 85, 0, 7);
    ShardManifest manifest = Shards.run(dir.resolve("in"), options).manifest();
    assertThat(manifest.resize()).isEqualTo(20);
    assertThat(manifest.jpegQuality()).isEqualTo(85);

    List<Sample> samples = samples(ShardSet.open(Shards.HADOOP, dir.resolve("out").toString()));
    assertThat(samples)
        .extracting(Sample::id)
        .containsExactly("a/grey.jpg", "a/large.png", "b/small.png");
    assertThat(samples).extracting(Sample::width).containsExactly(20, 30, 30);
    assertThat(samples).extracting(Sample::height).containsExactly(41, 20, 20);
    assertThat(samples.get(2).image()).isEqualTo(small);
    assertThat(Images.inspect(samples.get(0).image()).channels()).isEqualTo(1);
    byte[] expected = shrunk(Images.inspect(large)).pixels();
    byte[] stored = Images.inspect(samples.get(1).image()).pixels();
    long difference = 0;
    for (int i = 0; i < expected.length; i++) {
      difference += Math.abs((expected[i] & 0xFF) - (stored[i] & 0xFF));
    }
    assertThat((double) difference / expected.length).isBetween(0.1, 30.0); // noise, as JPEG
    assertThat(Images.encodeJpeg(shrunk(Images.inspect(large)), 85))
        .isEqualTo(samples.get(1).image());

    assertThatThrownBy(
            () ->
                Shards.run(
                    dir.resolve("in"),
                    new Sharding.Options(
                        "test", "", "", dir.resolve("out").toString(), 4, 1, 0, 20, 90, 0, 7)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("jpeg-quality 85, asked for is 90");
  }

  private static Images.Picture shrunk(Images.Picture picture) {
    return Resize.resize(picture, 30, 20, Resize.Filter.BILINEAR);
  }

  @Test
  void masksShrinkByTheNearestPixel() {
    Sharding.Options options =
        new Sharding.Options("test", "", "", dir.resolve("out").toString(), 4, 1, 0, 10, 90, 0, 7);
    Shards.run(new MadeSource(Task.SEGMENTATION, 3, false), options);
    Sample sample = samples(ShardSet.open(Shards.HADOOP, options.output())).get(0);
    assertThat(List.of(sample.width(), sample.height())).containsExactly(10, 15);
    Images.Picture mask = Images.inspect(sample.mask());
    assertThat(List.of(mask.width(), mask.height())).containsExactly(10, 15);
    for (int at = 0; at < mask.pixels().length; at++) {
      assertThat(mask.pixels()[at] & 0xFF).isEqualTo(at % 10 < 5 ? 0 : 255);
    }
  }

  @Test
  void objectsShrinkWithTheirPicture() {
    Sample whole = objects();
    Sample small = new StoredForm(15, 90).of(whole);
    assertThat(List.of(small.width(), small.height())).containsExactly(20, 15);
    assertThat(small.objects()).hasSize(4);
    for (int i = 0; i < 4; i++) {
      DetectedObject before = whole.objects().get(i);
      DetectedObject after = small.objects().get(i);
      assertThat(after.category()).isEqualTo(before.category());
      assertThat(after.crowd()).isEqualTo(before.crowd());
      assertThat(after.x()).isCloseTo(before.x() * 20 / 41, within(1e-12));
      assertThat(after.y()).isCloseTo(before.y() * 15 / 31, within(1e-12));
      assertThat(after.width()).isCloseTo(before.width() * 20 / 41, within(1e-12));
      assertThat(after.height()).isCloseTo(before.height() * 15 / 31, within(1e-12));
      assertThat(after.area()).isCloseTo(before.area() * 300 / (41.0 * 31), within(1e-12));
      if (before.rle().isEmpty()) {
        assertThat(after.rle()).isEmpty();
        continue;
      }
      byte[] from = Rle.parse(before.rle(), 31, 41).toMask();
      byte[] to = Rle.parse(after.rle(), 15, 20).toMask();
      for (int at = 0; at < to.length; at++) {
        int y = at / 20;
        int row = (int) Math.floor((y + 0.5) * 31 / 15);
        int column = (int) Math.floor((at % 20 + 0.5) * 41 / 20);
        assertThat(to[at]).isEqualTo(from[row * 41 + column]);
      }
    }
    assertThat(Rle.parse(small.objects().get(2).rle(), 15, 20).area())
        .as("one pixel, which no smaller one has its centre in")
        .isZero();
    assertThat(new StoredForm(31, 90).of(whole)).isSameAs(whole);
  }

  /** 41 x 31 with a disc, a crowd that is a ring, one pixel, and a box alone. */
  private static Sample objects() {
    byte[] disc = new byte[41 * 31];
    byte[] ring = new byte[41 * 31];
    byte[] dot = new byte[41 * 31];
    for (int at = 0; at < disc.length; at++) {
      int y = at / 41;
      double distance = Math.hypot(at % 41 - 20.3, y - 14.2);
      disc[at] = (byte) (distance < 9 ? 1 : 0);
      ring[at] = (byte) (distance > 10 && distance < 13 ? 1 : 0);
    }
    dot[0] = 1;
    return new Sample(
        "a",
        -1,
        1,
        31,
        41,
        Pictures.png(41, 31, BufferedImage.TYPE_3BYTE_BGR, 1),
        new byte[0],
        List.of(
            new DetectedObject(
                0, 11.3, 5.2, 18, 18, 254, false, Rle.ofMask(disc, 31, 41).toString()),
            new DetectedObject(1, 7, 1, 27, 27, 216, true, Rle.ofMask(ring, 31, 41).toString()),
            new DetectedObject(2, 0, 0, 1, 1, 1, false, Rle.ofMask(dot, 31, 41).toString()),
            new DetectedObject(2, 30.5, 20.25, 10.5, 10.75, 112.875, false, "")));
  }

  @Test
  void volumesAreNotResizedByPixels() {
    for (Task task : List.of(Task.VOLUME_CLASSIFICATION, Task.VOLUME_SEGMENTATION)) {
      Sharding.Options options =
          new Sharding.Options(
              "test", "", "", dir.resolve("out").toString(), 4, 1, 0, 10, 90, 0, 7);
      assertThatThrownBy(() -> Shards.run(new MadeSource(task, 3, false), options))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Invalid resize: 10 (must be 0 for "
                  + task
                  + ": volumes are resampled by millimetres, with volumes.spacing=[D, H, W])");
      assertThat(dir.resolve("out")).doesNotExist();
    }
  }

  /** Two items of one name, one of a label that is no class, one without a mask. */
  private record Faulty() implements Source {
    @Override
    public Listing list(Configuration hadoop) {
      List<Item> items =
          new ArrayList<>(new MadeSource(Task.SEGMENTATION, 8, false).list(hadoop).items());
      items.add(new Item(items.get(2).id(), "other.tar", 4096, 7, 1, -1, new byte[] {2}));
      return new Listing(
          Task.SEGMENTATION,
          "file:/made",
          List.of("first", "second", "third"),
          items,
          List.of(new ShardManifest.Quarantined("z", "list.txt", 77, "no such file")),
          3);
    }

    @Override
    public Sample read(Configuration hadoop, String root, Item item) throws IOException {
      Sample good = new MadeSource(Task.SEGMENTATION, 8, false).read(hadoop, root, item);
      return switch (item.annotation()[0]) {
        case 4 -> new Sample(good.id(), 3, 1, 30, 24, good.image(), good.mask(), List.of());
        case 5 -> new Sample(good.id(), 0, 1, 30, 25, good.image(), new byte[0], List.of());
        default -> good;
      };
    }
  }

  @Test
  void quarantineNamesFileOffsetAndReason() {
    ShardManifest manifest = Shards.of(new Faulty(), dir.resolve("out")).manifest();
    assertThat(manifest.samples()).isEqualTo(6);
    assertThat(manifest.ignoredFiles()).isEqualTo(3);
    assertThat(manifest.quarantined())
        .containsExactly(
            new ShardManifest.Quarantined(
                "sample 002 ä漢",
                "other.tar",
                4096,
                "duplicate id: the first is at byte 1024 of all.tar"),
            new ShardManifest.Quarantined(
                "sample 004 ä漢", "all.tar", 2048, "label 3 is none of 3 classes"),
            new ShardManifest.Quarantined("sample 005 ä漢", "all.tar", 2560, "no mask"),
            new ShardManifest.Quarantined("z", "list.txt", 77, "no such file"));
  }

  @Test
  void anEstimateIsCloseAndWritesNothing() {
    Sharding.Options options =
        new Sharding.Options(
            "test", "", "", dir.resolve("out").toString(), 4, 50_000, 0, 0, 90, 0.5, 7);
    Source source = new MadeSource(Task.DETECTION, 100, false);
    Sharding.Estimate estimate = Sharding.estimate(Shards.spark(), source, options, Shards.SILENT);
    assertThat(dir.toFile().list()).isEmpty();

    ShardManifest manifest = Shards.run(source, options).manifest();
    assertThat(estimate.task()).isEqualTo(Task.DETECTION);
    assertThat(List.of(estimate.items(), estimate.tried(), estimate.bad()))
        .containsExactly(100L, 100L, 0L);
    assertThat(estimate.blocks()).isEqualTo(25);
    assertThat(estimate.files()).isCloseTo(manifest.files().size(), within(1L)).isGreaterThan(3);
    long bytes = manifest.files().stream().mapToLong(ShardManifest.ShardFile::length).sum();
    assertThat((double) estimate.bytes() / bytes).isBetween(0.9, 1.1);
    assertThat(estimate.seconds()).isPositive();

    Sharding.Estimate faulty =
        Sharding.estimate(Shards.spark(), new Faulty(), options, Shards.SILENT);
    assertThat(List.of(faulty.items(), faulty.tried(), faulty.bad())).containsExactly(8L, 8L, 2L);
    assertThat(faulty.blocks()).isEqualTo(2);
  }

  private static List<Sample> samples(ShardSet shards) {
    List<Sample> samples = new ArrayList<>();
    for (int block = 0; block < shards.blocks(); block++) {
      samples.addAll(shards.read(block));
    }
    samples.sort(Comparator.comparing(Sample::id));
    return samples;
  }
}
