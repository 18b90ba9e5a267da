package sparkvision.checkpoint;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.io.BufferedOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.zip.CRC32C;
import java.util.zip.CheckedInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * One file of a checkpoint as its manifest lists it.
 *
 * @param name file name inside the checkpoint
 * @param length bytes
 * @param crc32c checksum of all its bytes, eight hexadecimal digits
 */
public record Part(
    @JsonProperty("name") String name,
    @JsonProperty("length") long length,
    @JsonProperty("crc32c") String crc32c)
    implements Serializable {

  /** Writes the content of a part. */
  @FunctionalInterface
  public interface Content {
    void writeTo(OutputStream out) throws IOException;
  }

  /** Writes {@code content} to a new file {@code name} in {@code directory} and describes it. */
  public static Part write(FileSystem files, Path directory, String name, Content content)
      throws IOException {
    OutputStream file = files.create(new Path(directory, name), false);
    CountingStream counted = new CountingStream(file);
    try {
      OutputStream buffered = new BufferedOutputStream(counted, 1 << 16);
      content.writeTo(buffered);
      buffered.flush();
    } catch (IOException | RuntimeException e) {
      close(file, e);
      throw e;
    }
    file.close();
    return new Part(name, counted.length, hex(counted.checksum));
  }

  /** HDFS throws the same exception again, which try-with-resources does not take. */
  private static void close(OutputStream file, Exception first) {
    try {
      file.close();
    } catch (IOException | RuntimeException e) {
      if (e != first) {
        first.addSuppressed(e);
      }
    }
  }

  /**
   * Reads the whole file again and compares.
   *
   * @throws DamagedCheckpointException if the file is longer, shorter or changed
   */
  void verify(FileSystem files, Path directory) throws IOException {
    Path path = new Path(directory, name);
    CRC32C checksum = new CRC32C();
    long found;
    try (InputStream in = new CheckedInputStream(files.open(path), checksum)) {
      found = in.transferTo(OutputStream.nullOutputStream());
    }
    if (found != length) {
      throw new DamagedCheckpointException(
          String.format("%s has %d bytes, its manifest says %d", path, found, length));
    }
    if (!hex(checksum).equals(crc32c)) {
      throw new DamagedCheckpointException(
          String.format("%s has checksum %s, its manifest says %s", path, hex(checksum), crc32c));
    }
  }

  private static String hex(CRC32C checksum) {
    return String.format("%08x", checksum.getValue());
  }

  private static final class CountingStream extends FilterOutputStream {
    private final CRC32C checksum = new CRC32C();
    private long length;

    CountingStream(OutputStream out) {
      super(out);
    }

    @Override
    public void write(int value) throws IOException {
      out.write(value);
      checksum.update(value);
      length++;
    }

    @Override
    public void write(byte[] bytes, int offset, int count) throws IOException {
      out.write(bytes, offset, count);
      checksum.update(bytes, offset, count);
      length += count;
    }
  }
}
