package sparkvision.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * The table of contents of a shard set, {@code _manifest.json}; see the package description.
 *
 * @param version of the format, {@link #VERSION}
 * @param dataset a name for people
 * @param source the image folder, fully qualified
 * @param fingerprint of the input's paths, lengths and contents
 * @param samples in the whole set
 * @param samplesPerBlock of every block but the last of the set
 * @param classes sorted; a label is an index into it
 * @param classCounts samples by label
 * @param mean by channel (one if all pictures are grey, else red, green, blue), in 0..1
 * @param std by channel, in 0..1
 * @param blocksPerFile of every file but the last
 * @param seed of the order in which samples were laid down
 * @param ignoredFiles files in class folders that are not named like a picture
 * @param listing hash of the input's paths and lengths alone
 * @param newestInput latest modification time of the input, milliseconds since 1970
 * @param sparkvision version of the program that wrote the set
 */
public record ShardManifest(
    int version,
    String dataset,
    String source,
    String fingerprint,
    long samples,
    int samplesPerBlock,
    List<String> classes,
    List<Long> classCounts,
    List<Double> mean,
    List<Double> std,
    List<ShardFile> files,
    List<Quarantined> quarantined,
    int blocksPerFile,
    long seed,
    long ignoredFiles,
    String listing,
    long newestInput,
    String sparkvision) {

  public static final int VERSION = 1;
  public static final String NAME = "_manifest.json";

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
   * An input file that was left out.
   *
   * @param path relative to the source
   */
  public record Quarantined(String path, String reason) implements Serializable {}

  byte[] toJson() {
    try {
      return JSON.writeValueAsBytes(this);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot write manifest: " + e.getMessage(), e);
    }
  }

  /**
   * Reads a manifest.
   *
   * @param place named in errors
   * @throws IllegalArgumentException if it is of another version or no manifest
   */
  static ShardManifest parse(byte[] json, String place) {
    try {
      JsonNode tree = JSON.readTree(new String(json, StandardCharsets.UTF_8));
      int version = tree.path("version").asInt(0);
      if (version != VERSION) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot read %s: it is of format version %d, this program reads version %d",
                place, version, VERSION));
      }
      return JSON.treeToValue(tree, ShardManifest.class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "Cannot read " + place + ": not a manifest: " + e.getOriginalMessage(), e);
    }
  }
}
