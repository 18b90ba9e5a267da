package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tasks that fail, and stores that tear: the set is whole and the same, or not there. */
final class ShardCommitTest {

  private static final String IMPLEMENTATION = "fs.copying.impl";

  @TempDir Path dir;

  @BeforeAll
  static void addTheCopyingStore() {
    var spark = Shards.spark().sparkContext().hadoopConfiguration();
    spark.set(IMPLEMENTATION, CopyingFileSystem.class.getName());
    Shards.HADOOP.set(IMPLEMENTATION, CopyingFileSystem.class.getName());
  }

  @AfterAll
  static void removeIt() {
    Shards.spark().sparkContext().hadoopConfiguration().unset(IMPLEMENTATION);
    Shards.HADOOP.unset(IMPLEMENTATION);
  }

  @ParameterizedTest
  @EnumSource(Task.class)
  void tasksThatFailAndAreRetriedLeaveTheSameBytes(Task task) {
    Shards.of(new MadeSource(task, 40, false), dir.resolve("calm"));
    MadeSource.FAILURES.set(0);
    Shards.of(new MadeSource(task, 40, true), dir.resolve("stormy"));
    assertThat(MadeSource.FAILURES.get()).as("in both passes").isGreaterThan(8);
    assertThat(files(dir.resolve("stormy"))).isEqualTo(files(dir.resolve("calm")));
  }

  @Test
  void filesOfOtherAttemptsAreNotPartOfTheSet() throws IOException {
    Source source = new MadeSource(Task.CLASSIFICATION, 12, false);
    Path output = dir.resolve("out");
    // A second attempt at a file that writes on while the first is done, as speculation has it.
    Sharding.run(
        Shards.spark(),
        source,
        Shards.options(output),
        (phase, done, total) -> {
          if (phase.equals("write") && done == total) {
            write(output.resolve("_temporary/part-00000.parquet.slow"), new byte[] {1, 2, 3});
          }
        });
    Shards.of(source, dir.resolve("calm"));
    assertThat(files(output)).isEqualTo(files(dir.resolve("calm")));
    // It even comes to life again after the end; readers do not look there.
    write(output.resolve("_temporary/part-00000.parquet.slow"), new byte[] {1, 2, 3});
    ShardSet.open(Shards.HADOOP, output.toString()).verify();
    assertThat(Shards.spark().read().parquet(output.toString()).count()).isEqualTo(12);
    assertThat(Shards.run(source, Shards.options(output)).alreadyDone()).isTrue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"part-00000.parquet", "part-00001.parquet", "_manifest.json"})
  void aStoreThatCopiesAndDiesLeavesNoTornSet(String file) {
    Source source = new MadeSource(Task.SEGMENTATION, 12, false);
    Path output = dir.resolve("out");
    Sharding.Options options = Shards.options("copying:" + output);
    CopyingFileSystem.dying = file;
    assertThatThrownBy(() -> Shards.run(source, options))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageContaining("the connection was lost");
    assertThat(CopyingFileSystem.dying).isNull();
    assertThatThrownBy(() -> ShardSet.open(Shards.HADOOP, output.toString()))
        .isInstanceOf(IllegalArgumentException.class);

    assertThat(Shards.run(source, options).alreadyDone()).isFalse();
    Shards.of(source, dir.resolve("calm"));
    assertThat(files(output)).isEqualTo(files(dir.resolve("calm")));
  }

  @Test
  void halfAManifestIsNoManifest() throws IOException {
    Source source = new MadeSource(Task.DETECTION, 12, false);
    Path output = dir.resolve("out");
    Shards.of(source, output);
    Map<String, String> whole = files(output);
    byte[] half = Arrays.copyOf(Files.readAllBytes(output.resolve("_manifest.json")), 200);
    // As a driver leaves it that was killed while such a store copied.
    write(output.resolve("_temporary/sparkvision-sharding"), new byte[0]);
    write(output.resolve("_manifest.json"), half);
    assertThat(Shards.run(source, Shards.options(output)).alreadyDone()).isFalse();
    assertThat(files(output)).isEqualTo(whole);

    // Not our mark: not ours to throw away.
    write(output.resolve("_manifest.json"), half);
    assertThatThrownBy(() -> Shards.run(source, Shards.options(output)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("not a manifest");
  }

  private static void write(Path file, byte[] bytes) {
    try {
      Pictures.write(file, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Contents by name, in hexadecimal digits. */
  private static Map<String, String> files(Path directory) {
    Map<String, String> files = new TreeMap<>();
    try (Stream<Path> paths = Files.list(directory)) {
      for (Path path : paths.toList()) {
        files.put(
            path.getFileName().toString(), HexFormat.of().formatHex(Files.readAllBytes(path)));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return files;
  }
}
