package sparkvision.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Reads a shard directory, local or remote, block by block; thread-safe. */
public final class ShardSet {

  private final FileSystem storage;
  private final Path directory;
  private final ShardManifest manifest;
  private final List<Place> places = new ArrayList<>(); // by block
  private final Map<String, byte[]> footers = new ConcurrentHashMap<>();

  private record Place(ShardManifest.ShardFile file, ShardManifest.Block block) {}

  private ShardSet(FileSystem storage, Path directory, ShardManifest manifest) {
    this.storage = storage;
    this.directory = directory;
    this.manifest = manifest;
    for (ShardManifest.ShardFile file : manifest.files()) {
      for (ShardManifest.Block block : file.blocks()) {
        places.add(new Place(file, block));
      }
    }
  }

  /**
   * Opens a shard set by its manifest; looks at names and lengths of its files, not into them.
   *
   * @throws IllegalArgumentException if there is no manifest, it is of another version, or a file
   *     it lists is missing or of another length
   */
  public static ShardSet open(Configuration hadoop, String directory) {
    try {
      FileSystem storage = Storage.of(new Path(directory), hadoop);
      Path root = storage.makeQualified(new Path(directory));
      if (!storage.exists(root)) {
        throw new IllegalArgumentException("Cannot open shards " + root + ": no such directory");
      }
      Path path = new Path(root, ShardManifest.NAME);
      if (!storage.exists(path)) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot open shards %s: no %s in it, so it is not a finished shard set",
                root, ShardManifest.NAME));
      }
      int length = Math.toIntExact(storage.getFileStatus(path).getLen());
      ShardManifest manifest =
          ShardManifest.parse(Storage.read(storage, path, 0, length), path.toString());

      Map<String, Long> lengths = new HashMap<>();
      for (FileStatus entry : Storage.list(storage, root)) {
        lengths.put(entry.getPath().getName(), entry.getLen());
      }
      for (ShardManifest.ShardFile file : manifest.files()) {
        Long found = lengths.get(file.name());
        if (found == null) {
          throw new IllegalArgumentException(
              String.format(
                  "Cannot open shards %s: file %s of the manifest is missing", root, file.name()));
        }
        if (found != file.length()) {
          throw new IllegalArgumentException(
              String.format(
                  "Cannot open shards %s: file %s has %d bytes, the manifest says %d",
                  root, file.name(), found, file.length()));
        }
      }
      return new ShardSet(storage, root, manifest);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot open shards " + directory + ": " + e.getMessage(), e);
    }
  }

  public ShardManifest manifest() {
    return manifest;
  }

  /** Blocks of all files together, in manifest order. */
  public int blocks() {
    return places.size();
  }

  /** The first samples of the set, at most so many. */
  public List<Sample> first(int most) {
    List<Sample> samples = new ArrayList<>();
    for (int block = 0; block < blocks() && samples.size() < most; block++) {
      samples.addAll(read(block));
    }
    return List.copyOf(samples.subList(0, Math.min(most, samples.size())));
  }

  /**
   * Reads one block in one go and checks it.
   *
   * @param block 0-based, in manifest order
   * @throws DataException if a checksum does not match the manifest
   */
  public List<Sample> read(int block) {
    Place place = places.get(block);
    ShardManifest.ShardFile file = place.file();
    Path path = new Path(directory, file.name());
    try {
      byte[] footer = footers.get(file.name());
      if (footer == null) {
        ShardManifest.Block last = file.blocks().get(file.blocks().size() - 1);
        long start = last.offset() + last.length();
        footer = Storage.read(storage, path, start, Math.toIntExact(file.length() - start));
        check(path + " footer", Storage.crc32c(footer), file.footerCrc32c());
        footers.put(file.name(), footer);
      }
      byte[] bytes =
          Storage.read(
              storage, path, place.block().offset(), Math.toIntExact(place.block().length()));
      String name = path + " block " + file.blocks().indexOf(place.block());
      check(name, Storage.crc32c(bytes), place.block().crc32c());
      return ParquetBlocks.parse(manifest.task(), file.length(), place.block(), bytes, footer);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read shard " + path + ": " + e.getMessage(), e);
    }
  }

  /**
   * Reads every file and checks it.
   *
   * @throws DataException if a checksum does not match the manifest
   */
  public void verify() {
    for (ShardManifest.ShardFile file : manifest.files()) {
      Path path = new Path(directory, file.name());
      try {
        check(path.toString(), Storage.crc32c(storage, path), file.crc32c());
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot read shard " + path + ": " + e.getMessage(), e);
      }
    }
  }

  private static void check(String what, int found, String expected) {
    if (!Storage.hex(found).equals(expected)) {
      throw new DataException(
          String.format(
              "Cannot read shard %s: checksum %s does not match manifest %s",
              what, Storage.hex(found), expected));
    }
  }
}
