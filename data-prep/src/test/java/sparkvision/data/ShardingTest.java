package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.SparkException;
import org.apache.spark.sql.Row;
import org.apache.spark.util.LongAccumulator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ShardingTest {

  @TempDir Path dir;

  @Test
  void writesBlocksOfEqualCountsThatMixClassesAndAManifest() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 7); // 21 pictures: 5 blocks of 4, one of 1
    List<String> phases = new ArrayList<>();
    Sharding.Outcome outcome =
        Sharding.run(
            Shards.spark(),
            new ImageFolder(input.toString()),
            Shards.options(dir.resolve("out")),
            (phase, done, total) -> phases.add(phase + " " + done + "/" + total));
    ShardManifest manifest = outcome.manifest();

    assertThat(outcome.alreadyDone()).isFalse();
    assertThat(phases).startsWith("probe 0/21").contains("probe 21/21").endsWith("write 21/21");
    assertThat(manifest.samples()).isEqualTo(21);
    assertThat(manifest.classes()).containsExactly("ant", "bee", "cat");
    assertThat(manifest.classCounts()).containsExactly(7L, 7L, 7L);
    assertThat(manifest.quarantined()).isEmpty();
    assertThat(manifest.files()).hasSize(2);
    assertThat(blockSizes(manifest)).containsExactly(4, 4, 4, 4, 4, 1);
    assertThat(names(dir.resolve("out")))
        .containsExactlyInAnyOrder("_manifest.json", "part-00000.parquet", "part-00001.parquet");

    ShardSet shards = ShardSet.open(Shards.HADOOP, dir.resolve("out").toString());
    shards.verify();
    Set<String> ids = new HashSet<>();
    int mixed = 0;
    for (int block = 0; block < shards.blocks(); block++) {
      List<Sample> samples = shards.read(block);
      assertThat(samples).hasSize(blockSizes(manifest).get(block));
      for (Sample sample : samples) {
        ids.add(sample.id());
        assertThat(manifest.classes().get(sample.label())).isEqualTo(sample.id().substring(0, 3));
        assertThat(sample.image()).isEqualTo(Files.readAllBytes(input.resolve(sample.id())));
        assertThat(List.of(sample.width(), sample.height())).containsExactly(6, 5);
      }
      mixed += samples.stream().map(Sample::label).distinct().count() > 1 ? 1 : 0;
    }
    assertThat(ids).hasSize(21).contains("bee/deep/er/003.png");
    assertThat(mixed).isGreaterThanOrEqualTo(4);
  }

  @Test
  void givesTheSameBytesAgain() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 5);
    ShardManifest first = Shards.of(input, dir.resolve("a")).manifest();
    ShardManifest second = Shards.of(input, dir.resolve("b")).manifest();
    assertThat(second).isEqualTo(first);
  }

  @Test
  void isReadBackBySpark() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 3);
    Shards.of(input, dir.resolve("out"));
    List<Row> rows =
        Shards.spark()
            .read()
            .parquet(dir.resolve("out").toString())
            .select("id", "label", "width", "height", "image")
            .orderBy("id")
            .collectAsList();
    assertThat(rows).hasSize(9);
    assertThat(rows.get(3).getString(0)).isEqualTo("bee/000.png");
    assertThat(rows.get(3).getInt(1)).isEqualTo(1);
    assertThat(rows.get(3).getInt(2)).isEqualTo(6);
    assertThat(rows.get(3).getInt(3)).isEqualTo(5);
    assertThat((byte[]) rows.get(3).get(4))
        .isEqualTo(Files.readAllBytes(input.resolve("bee/000.png")));
  }

  @Test
  void computesMeanAndDeviationOfPixelsAsStored() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 3);
    double sum = 0;
    double squares = 0;
    int count = 0;
    try (Stream<Path> files = Files.walk(input)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        int[] pixels =
            Pictures.read(Files.readAllBytes(file)).getRaster().getPixels(0, 0, 6, 5, (int[]) null);
        for (int pixel : pixels) {
          sum += pixel / 255.0;
          squares += pixel / 255.0 * pixel / 255.0;
          count++;
        }
      }
    }
    double mean = sum / count;
    ShardManifest manifest = Shards.of(input, dir.resolve("out")).manifest();
    assertThat(manifest.mean()).hasSize(1);
    assertThat(manifest.mean().get(0)).isCloseTo(mean, within(1e-12));
    assertThat(manifest.std().get(0))
        .isCloseTo(Math.sqrt(squares / count - mean * mean), within(1e-12));

    byte[] red = Images.encodePng(new Images.Picture(1, 1, 3, new byte[] {(byte) 255, 0, 51}));
    Pictures.write(dir.resolve("mixed/a/red.png"), red);
    byte[] grey = Images.encodePng(new Images.Picture(1, 1, 1, new byte[] {51}));
    Pictures.write(dir.resolve("mixed/a/grey.png"), grey);
    ShardManifest mixed = Shards.of(dir.resolve("mixed"), dir.resolve("mixed-out")).manifest();
    assertThat(mixed.mean()).containsExactly(0.6, 0.1, 0.2);
    assertThat(mixed.std()).containsExactly(0.4, 0.1, 0.0);
  }

  @Test
  void quarantinesBadPicturesWithAReason() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    byte[] jpeg = Pictures.jpeg(40, 40, BufferedImage.TYPE_3BYTE_BGR, 1);
    Pictures.write(input.resolve("ant/cmyk.jpg"), Pictures.cmykJpeg(8, 8, new int[] {1, 2, 3, 4}));
    Pictures.write(input.resolve("ant/whole.JPEG"), jpeg);
    Pictures.write(input.resolve("bee/cut.jpeg"), Pictures.half(jpeg));
    Pictures.write(input.resolve("bee/empty.png"), new byte[0]);
    byte[] flipped = Pictures.png(40, 40, BufferedImage.TYPE_3BYTE_BGR, 2);
    flipped[flipped.length / 2] ^= 1;
    Pictures.write(input.resolve("cat/flipped.png"), flipped);
    Pictures.write(input.resolve("cat/huge.png"), PngWriters.grey(60_000, 60_000, 1));
    Pictures.write(
        input.resolve("cat/words.png"), "not a picture".getBytes(StandardCharsets.UTF_8));
    Pictures.write(input.resolve("cat/notes.txt"), new byte[] {1});
    Pictures.write(input.resolve("cat/.hidden.png"), new byte[] {1});
    ShardManifest manifest = Shards.of(input, dir.resolve("out")).manifest();

    assertThat(manifest.samples()).isEqualTo(14);
    assertThat(manifest.classCounts()).containsExactly(6L, 4L, 4L);
    assertThat(manifest.ignoredFiles()).isEqualTo(1);
    assertThat(manifest.quarantined())
        .extracting(ShardManifest.Quarantined::path)
        .containsExactly(
            "bee/cut.jpeg", "bee/empty.png", "cat/flipped.png", "cat/huge.png", "cat/words.png");
    List<String> reasons =
        manifest.quarantined().stream().map(ShardManifest.Quarantined::reason).toList();
    assertThat(reasons.get(0)).contains("truncated");
    assertThat(reasons.get(1)).isEqualTo("empty file");
    assertThat(reasons.get(2)).startsWith("corrupt PNG: wrong chunk checksum at byte ");
    assertThat(reasons.get(3)).startsWith("too large to decode: 60000 x 60000 pixels");
    assertThat(reasons.get(4)).isEqualTo("neither JPEG nor PNG");
  }

  @Test
  void failsAboveTheBadShareAndLeavesNothing() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    Pictures.write(input.resolve("bee/empty.png"), new byte[0]);
    Path output = dir.resolve("out");
    Sharding.Options strict =
        new Sharding.Options("test", "", "", output.toString(), 4, 1 << 20, 2, 0, 90, 0.05, 7);
    assertThatThrownBy(() -> Shards.run(input, strict))
        .isInstanceOf(DataException.class)
        .hasMessageEndingWith(
            "1 of 13 inputs are bad, more than max-bad-share 0.05 allows; the first is"
                + " bee/empty.png: empty file");
    assertThat(output).doesNotExist();
  }

  @Test
  void doesNothingTheSecondTime() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    Source source = new ImageFolder(input.toString());
    Sharding.Options options = Shards.options(dir.resolve("out"));
    ShardManifest first = Shards.run(source, options).manifest();
    FileTime written = Files.getLastModifiedTime(dir.resolve("out/part-00000.parquet"));
    List<String> phases = new ArrayList<>();
    Sharding.Outcome again =
        Sharding.run(Shards.spark(), source, options, (phase, done, total) -> phases.add(phase));
    assertThat(again.alreadyDone()).isTrue();
    assertThat(again.manifest()).isEqualTo(first);
    assertThat(phases).isEmpty();

    // Touched, but the same: it has to read the pictures to know.
    Files.setLastModifiedTime(input.resolve("ant/000.png"), FileTime.fromMillis(1_000_000_000L));
    Path other = input.resolve("bee/000.png");
    Files.setLastModifiedTime(
        other, FileTime.fromMillis(Files.getLastModifiedTime(other).toMillis() + 60_000));
    assertThat(
            Sharding.run(Shards.spark(), source, options, (phase, done, total) -> phases.add(phase))
                .alreadyDone())
        .isTrue();
    assertThat(phases).contains("probe").doesNotContain("write");
    assertThat(Files.getLastModifiedTime(dir.resolve("out/part-00000.parquet"))).isEqualTo(written);
  }

  @Test
  void refusesAnOutputOfOtherInputOrOptions() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    Path output = dir.resolve("out");
    Shards.of(input, output);
    assertRefused(
        input,
        new Sharding.Options("test", "", "", output.toString(), 5, 1 << 20, 2, 0, 90, 0.5, 7),
        "samples-per-block 4, asked for is 5");

    // A pixel changed, the length of the file did not.
    Path picture = input.resolve("ant/000.png");
    byte[] original = Files.readAllBytes(picture);
    byte[] changed = original.clone();
    changed[original.length / 2] ^= 1;
    Files.write(picture, changed);
    Files.setLastModifiedTime(picture, FileTime.fromMillis(System.currentTimeMillis() + 60_000));
    assertRefused(input, Shards.options(output), "it holds shards of other inputs");

    Files.write(picture, original);
    Pictures.write(input.resolve("ant/new.png"), original);
    assertRefused(input, Shards.options(output), "it holds shards of other inputs");
  }

  @Test
  void refusesADirectoryThatHoldsSomethingElse() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 2);
    Pictures.write(dir.resolve("out/thesis.txt"), new byte[] {1});
    assertRefused(
        input, Shards.options(dir.resolve("out")), "it holds something else (thesis.txt)");
    Pictures.write(dir.resolve("parts/part-00000.parquet"), new byte[] {1});
    assertRefused(
        input, Shards.options(dir.resolve("parts")), "something else (part-00000.parquet)");
    Pictures.write(dir.resolve("file"), new byte[] {1});
    assertRefused(input, Shards.options(dir.resolve("file")), "it is a file");
  }

  @Test
  void sweepsAndRedoesABrokenRun() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    Path output = dir.resolve("out");
    Pictures.write(output.resolve("_temporary/sparkvision-sharding"), new byte[0]);
    Pictures.write(output.resolve("_temporary/part-00000.parquet.x"), new byte[] {1, 2});
    Pictures.write(output.resolve("part-00000.parquet"), new byte[] {3});
    Pictures.write(output.resolve("part-00009.parquet"), new byte[] {4});
    ShardSet shards = Shards.of(input, output);
    shards.verify();
    assertThat(names(output))
        .containsExactlyInAnyOrder("_manifest.json", "part-00000.parquet", "part-00001.parquet");
  }

  @Test
  void twoAttemptsAtOneFileAreHarmless() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 2);
    Path output = Files.createDirectories(dir.resolve("out"));
    Item item = new Item("bee/001.png", Files.size(input.resolve("bee/001.png")), 0, 1);
    Source source = new ImageFolder(input.toString());
    Reading reading =
        new Reading(source, Task.CLASSIFICATION, input.toString(), 3, new StoredForm(0, 90));
    int crc = Probe.crc32c(reading.read(Shards.HADOOP, item));
    ShardWriter.FilePlan plan =
        new ShardWriter.FilePlan(3, 4, List.of(new ShardWriter.Entry(item, crc)));
    LongAccumulator done = Shards.spark().sparkContext().longAccumulator();
    String temporary = output.resolve("_temporary").toString();
    ShardWriter.Written first = ShardWriter.write(Shards.HADOOP, reading, temporary, plan, done);
    ShardWriter.Written second = ShardWriter.write(Shards.HADOOP, reading, temporary, plan, done);
    assertThat(second.file()).isEqualTo(first.file());
    assertThat(second.attempt()).isNotEqualTo(first.attempt());
    assertThat(Path.of(second.attempt())).hasSameBinaryContentAs(Path.of(first.attempt()));
    assertThat(names(output)).containsExactly("_temporary");
  }

  @Test
  void failsWhenAPictureChangesMeanwhileAndCanBeRunAgain() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    Path output = dir.resolve("out");
    Path picture = input.resolve("cat/002.png");
    byte[] changed = Files.readAllBytes(picture);
    changed[changed.length / 2] ^= 1;
    assertThatThrownBy(
            () ->
                Sharding.run(
                    Shards.spark(),
                    new ImageFolder(input.toString()),
                    Shards.options(output),
                    (phase, done, total) -> {
                      if (phase.equals("probe") && done == total) {
                        overwrite(picture, changed);
                      }
                    }))
        .isInstanceOf(DataException.class)
        .hasMessageEndingWith("cat/002.png: it changed while the job ran");
    assertThat(output.resolve("_manifest.json")).doesNotExist();
    ShardManifest manifest = Shards.of(input, output).manifest();
    assertThat(manifest.samples()).isEqualTo(11);
    assertThat(names(output))
        .containsExactlyInAnyOrder("_manifest.json", "part-00000.parquet", "part-00001.parquet");
  }

  @Test
  void leavesTheBlameForALostJobWithTheCluster() throws IOException {
    Path input = Pictures.folder(dir.resolve("in"), 4);
    assertThatThrownBy(
            () ->
                Sharding.run(
                    Shards.spark(),
                    new ImageFolder(input.toString()),
                    Shards.options(dir.resolve("out")),
                    (phase, done, total) -> Shards.spark().sparkContext().cancelAllJobs()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageMatching("Cannot finish probe: the cluster failed: Job \\d+ cancelled.*")
        .hasCauseInstanceOf(SparkException.class);
    assertThat(dir.resolve("out")).doesNotExist();
  }

  private static void overwrite(Path file, byte[] bytes) {
    try {
      Files.write(file, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void refusesInputThatIsNoImageFolder() throws IOException {
    Path output = dir.resolve("out");
    assertRefused(dir.resolve("nowhere"), Shards.options(output), "nowhere: no such folder");
    Files.createDirectories(dir.resolve("empty"));
    assertThatThrownBy(() -> Shards.of(dir.resolve("empty"), output))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("it holds no class folders");
    Path input = Pictures.folder(dir.resolve("in"), 2);
    Files.createDirectories(input.resolve("dog"));
    assertThatThrownBy(() -> Shards.of(input, output))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("class dog has no images");
    Pictures.write(input.resolve("dog/empty.png"), new byte[0]);
    assertThatThrownBy(() -> Shards.of(input, output))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("no sample of class dog can be read");
    assertThatThrownBy(() -> new Sharding.Options("x", "", "", "out", 0, 1, 0, 0, 90, 0.5, 7))
        .hasMessage("Invalid samples-per-block: 0 (must be at least 1)");
    assertThat(output).doesNotExist();
  }

  private static void assertRefused(Object input, Sharding.Options options, String reason) {
    assertThatThrownBy(() -> Shards.run(input, options))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason);
  }

  private static List<Integer> blockSizes(ShardManifest manifest) {
    return manifest.files().stream()
        .flatMap(file -> file.blocks().stream())
        .map(ShardManifest.Block::samples)
        .toList();
  }

  private static Set<String> names(Path directory) {
    return Arrays.stream(directory.toFile().list()).collect(Collectors.toSet());
  }
}
