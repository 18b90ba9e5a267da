package sparkvision.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * The table of contents of a shard set, {@code _manifest.json}; see the package description.
 *
 * @param version of the format, {@link #VERSION}
 * @param task of the samples; decides the columns
 * @param dataset name of the input's layout
 * @param split of the data set; empty where it has none
 * @param preparation what the source did to samples, in words; empty for nothing
 * @param source root of the input, fully qualified
 * @param fingerprint of the input's contents
 * @param samples in the whole set
 * @param samplesPerBlock of every block but the last of the set
 * @param classes a label, a category or a value of a mask is an index into it
 * @param classCounts by class: samples of it, objects of it, or samples whose mask contains it
 * @param mean by channel (one if all pictures are grey or for volumes, else red, green, blue); of
 *     pictures in 0..1
 * @param std as {@code mean}
 * @param widths histogram
 * @param heights histogram
 * @param depths histogram; empty for pictures
 * @param resize shorter side of pictures that were encoded anew, pixels; 0 if they are as they came
 * @param jpegQuality of pictures that were encoded anew; 0 if they are as they came
 * @param targetFileBytes asked for
 * @param seed of the order in which samples were laid down
 * @param ignoredFiles files in the input that are no samples
 * @param listing hash of what the input lists: ids, places, lengths, labels, annotations
 * @param newestInput latest modification time of the input, milliseconds since 1970
 * @param sparkvision version of the program that wrote the set
 */
public record ShardManifest(
    int version,
    Task task,
    String dataset,
    String split,
    String preparation,
    String source,
    String fingerprint,
    long samples,
    int samplesPerBlock,
    List<String> classes,
    List<Long> classCounts,
    List<Double> mean,
    List<Double> std,
    List<Sizes> widths,
    List<Sizes> heights,
    List<Sizes> depths,
    List<ShardFile> files,
    List<Quarantined> quarantined,
    int resize,
    int jpegQuality,
    long targetFileBytes,
    long seed,
    long ignoredFiles,
    String listing,
    long newestInput,
    String sparkvision) {

  public static final int VERSION = 2;
  public static final String NAME = "_manifest.json";

  private static final String CHECKSUM = "crc32c";

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .propertyNamingStrategy(PropertyNamingStrategies.KEBAB_CASE)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .build();

  /**
   * A Parquet file.
   *
   * @param length bytes
   * @param crc32c of the whole file, eight hexadecimal digits
   * @param footerCrc32c of what follows the last block
   */
  public record ShardFile(
      String name, long length, String crc32c, List<Block> blocks, String footerCrc32c)
      implements Serializable {}

  /**
   * The bytes of one row group.
   *
   * @param offset in the file, bytes
   * @param length bytes
   */
  public record Block(int samples, long offset, long length, String crc32c)
      implements Serializable {}

  /**
   * Samples whose width, height or depth is in [from, from + 32).
   *
   * @param from a multiple of 32, pixels or voxels
   */
  public record Sizes(int from, long samples) {}

  /**
   * An input that was left out.
   *
   * @param id of the sample that it would have been
   * @param path of the file, relative to the source
   * @param offset of the input in the file, bytes; 0 but for members of an archive
   */
  public record Quarantined(String id, String path, long offset, String reason)
      implements Serializable {

    /** A file of its own. */
    public Quarantined(String path, String reason) {
      this(path, path, 0, reason);
    }
  }

  /**
   * Refuses a set that is for something else.
   *
   * @param purpose what the set is wanted for, such as "train on"
   * @param place named in errors
   * @throws IllegalArgumentException if the task is another
   */
  public void require(Task wanted, String purpose, String place) {
    if (task != wanted) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot %s %s: it is a shard set for %s (must be for %s)",
              purpose, place, task, wanted));
    }
  }

  /**
   * Refuses a set without labels, such as the test list of a Medical Decathlon.
   *
   * @param key of the setting that names the set
   * @param place of the set
   * @throws IllegalArgumentException if there is none in it
   */
  public void requireLabels(String key, String place) {
    if (classCounts.stream().allMatch(count -> count == 0)) {
      throw new IllegalArgumentException(
          String.format("Invalid %s: %s (none of its samples has a label)", key, place));
    }
  }

  /** UTF-8; the last key is a checksum over the others. */
  byte[] toJson() {
    ObjectNode tree = JSON.valueToTree(this);
    return bytes(tree.put(CHECKSUM, checksum(tree)));
  }

  private static byte[] bytes(JsonNode tree) {
    try {
      return JSON.writeValueAsBytes(tree);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write manifest: " + e.getMessage(), e);
    }
  }

  private static String checksum(ObjectNode tree) {
    ObjectNode summed = tree.deepCopy();
    summed.remove(CHECKSUM);
    return Storage.hex(Storage.crc32c(bytes(summed)));
  }

  /** Whether a text is JSON to its end, and not the beginning of a manifest. */
  static boolean isWhole(byte[] json) {
    try {
      return JSON.readTree(new String(json, StandardCharsets.UTF_8)).isObject();
    } catch (JsonProcessingException e) {
      return false;
    }
  }

  /**
   * Reads a manifest.
   *
   * @param place named in errors
   * @throws IllegalArgumentException if it is of another version or no manifest
   * @throws DataException if it was changed
   */
  static ShardManifest parse(byte[] json, String place) {
    try {
      JsonNode tree = JSON.readTree(new String(json, StandardCharsets.UTF_8));
      if (!(tree instanceof ObjectNode object)) {
        throw new IllegalArgumentException("Cannot read " + place + ": not a manifest");
      }
      int version = object.path("version").asInt(0);
      if (version != VERSION) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot read %s: it is of format version %d, this program reads version %d; shard the"
                    + " input again",
                place, version, VERSION));
      }
      String found = checksum(object);
      String expected = object.path(CHECKSUM).asText();
      if (!found.equals(expected)) {
        throw new DataException(
            String.format(
                "Cannot read %s: checksum %s does not match its own %s", place, found, expected));
      }
      object.remove(CHECKSUM);
      return JSON.treeToValue(object, ShardManifest.class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "Cannot read " + place + ": not a manifest: " + e.getOriginalMessage(), e);
    }
  }
}
