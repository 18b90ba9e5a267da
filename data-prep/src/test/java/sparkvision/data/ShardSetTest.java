package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ShardSetTest {

  @TempDir Path dir;
  private Path output;
  private ShardSet shards;

  @BeforeEach
  void shard() throws IOException {
    output = dir.resolve("out");
    shards = Shards.of(Pictures.folder(dir.resolve("in"), 6), output); // 4 4 | 4 4 2
  }

  @Test
  void namesFileAndBothChecksumsWhenAByteChanged() throws IOException {
    ShardManifest.ShardFile file = shards.manifest().files().get(1);
    ShardManifest.Block block = file.blocks().get(1);
    flip(file.name(), block.offset() + block.length() / 2);

    assertThat(shards.read(2)).hasSize(4); // the block before it in the same file
    assertThatThrownBy(() -> shards.read(3))
        .isInstanceOf(DataException.class)
        .hasMessageMatching(
            "Cannot read shard .*part-00001.parquet block 1: checksum [0-9a-f]{8} does not match"
                + " manifest "
                + block.crc32c());
    assertThatThrownBy(shards::verify)
        .isInstanceOf(DataException.class)
        .hasMessageMatching(
            "Cannot read shard .*part-00001.parquet: checksum [0-9a-f]{8} does not match manifest "
                + file.crc32c());
  }

  @Test
  void checksTheFooterToo() throws IOException {
    ShardManifest.ShardFile file = shards.manifest().files().get(0);
    flip(file.name(), file.length() - 20);
    assertThatThrownBy(() -> shards.read(0))
        .isInstanceOf(DataException.class)
        .hasMessageContaining("part-00000.parquet footer: checksum");
  }

  @Test
  void blocksFollowEachOtherFromByteFour() {
    for (ShardManifest.ShardFile file : shards.manifest().files()) {
      long end = 4;
      for (ShardManifest.Block block : file.blocks()) {
        assertThat(block.offset()).isEqualTo(end);
        end += block.length();
      }
    }
  }

  @Test
  void refusesWhatIsNoFinishedShardSet() throws IOException {
    refuses("nowhere", "no such directory");
    Files.createDirectories(dir.resolve("empty"));
    refuses("empty", "no _manifest.json in it");

    Path manifest = output.resolve("_manifest.json");
    String json = Files.readString(manifest);
    Files.writeString(manifest, json.replace("\"version\" : 2", "\"version\" : 9"));
    refuses("out", "it is of format version 9, this program reads version 2");
    Files.write(manifest, "{\"version".getBytes(StandardCharsets.UTF_8));
    refuses("out", "not a manifest");
    Files.writeString(manifest, json);

    try (RandomAccessFile file =
        new RandomAccessFile(output.resolve("part-00001.parquet").toFile(), "rw")) {
      file.setLength(file.length() - 1);
    }
    refuses("out", "file part-00001.parquet has");
    Files.delete(output.resolve("part-00001.parquet"));
    refuses("out", "file part-00001.parquet of the manifest is missing");
  }

  @Test
  void noticesThatTheManifestWasChanged() throws IOException {
    Path manifest = output.resolve("_manifest.json");
    String json = Files.readString(manifest);
    for (String[] change :
        new String[][] {
          {"\"ant\"", "\"aunt\""},
          {"\"samples\" : 18", "\"samples\" : 19"},
          {"\"crc32c\"", "\"crc\""}
        }) {
      Files.writeString(manifest, json.replace(change[0], change[1]));
      assertThatThrownBy(() -> ShardSet.open(Shards.HADOOP, output.toString()))
          .isInstanceOf(DataException.class)
          .hasMessageContaining("_manifest.json: checksum");
    }
  }

  private void refuses(String name, String reason) {
    assertThatThrownBy(() -> ShardSet.open(Shards.HADOOP, dir.resolve(name).toString()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(reason);
  }

  private void flip(String name, long position) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(output.resolve(name).toFile(), "rw")) {
      file.seek(position);
      int value = file.read();
      file.seek(position);
      file.write(value ^ 1);
    }
  }
}
