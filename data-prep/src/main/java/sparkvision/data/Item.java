package sparkvision.data;

import java.io.Serializable;

/**
 * Where the raw bytes of one sample lie, and what the listing knows of it.
 *
 * @param id of the sample, unique in the data set; sorts the samples
 * @param path of the file, relative to the root of the source, with forward slashes; of the archive
 *     for a member of one
 * @param offset of the sample's bytes in the file; 0 but for members of an archive
 * @param length of the sample's bytes
 * @param modified time of the file, milliseconds since 1970
 * @param label index into the classes; -1 where samples have no class of their own
 * @param annotation what else {@link Source#read} needs to know, in the source's own coding; empty
 *     for most
 */
@SuppressWarnings("ArrayRecordComponent") // carried along, never compared
public record Item(
    String id, String path, long offset, long length, long modified, int label, byte[] annotation)
    implements Serializable {

  private static final byte[] NONE = {};

  /** A file of its own without further annotation. */
  public Item(String path, long length, long modified, int label) {
    this(path, path, 0, length, modified, label, NONE);
  }
}
