package sparkvision.data;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.zip.CRC32C;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;

/** What this package asks of Hadoop file systems, the same for local paths, HDFS and S3A. */
public final class Storage {

  private static final int BUFFER_BYTES = 1 << 16;

  /** Of one sample: above it an executor's memory is at risk. */
  private static final long MAX_ITEM_BYTES = 1L << 30;

  private Storage() {}

  /**
   * The file system of a path. A local one comes without Hadoop's own {@code .crc} side files: our
   * checksums are in the manifest, and a mismatch must be reported by us.
   */
  public static FileSystem of(Path path, Configuration hadoop) throws IOException {
    FileSystem files = path.getFileSystem(hadoop);
    return files instanceof LocalFileSystem local ? local.getRawFileSystem() : files;
  }

  /** The entries of a directory by name, hidden ones (a leading dot) left out. */
  public static List<FileStatus> list(FileSystem files, Path directory) throws IOException {
    List<FileStatus> entries = new ArrayList<>();
    for (FileStatus entry : files.listStatus(directory)) {
      if (!entry.getPath().getName().startsWith(".")) {
        entries.add(entry);
      }
    }
    entries.sort(Comparator.comparing(entry -> entry.getPath().getName()));
    return entries;
  }

  /** Reads a range of a file. */
  static byte[] read(FileSystem files, Path path, long offset, int length) throws IOException {
    byte[] bytes = new byte[length];
    try (FSDataInputStream in = files.open(path)) {
      in.seek(offset);
      in.readFully(bytes);
    }
    return bytes;
  }

  /**
   * Reads the bytes of one item.
   *
   * @param root of the listing
   * @throws DataException if they are more than 1 GiB
   * @throws IOException if they cannot be read; the message names the file
   */
  public static byte[] read(Configuration hadoop, String root, Item item) throws IOException {
    // Not Path(root, path): Hadoop would take a colon in a file name for a scheme.
    Path path = new Path(root + "/" + item.path());
    return readPart(of(path, hadoop), path, item.offset(), item.length());
  }

  /** Reads a whole file that belongs to a sample; throws as for an item. */
  public static byte[] read(FileSystem files, FileStatus file) throws IOException {
    return readPart(files, file.getPath(), 0, file.getLen());
  }

  private static byte[] readPart(FileSystem files, Path path, long offset, long length)
      throws IOException {
    if (length > MAX_ITEM_BYTES) {
      throw new DataException("too large to read: " + length + " bytes, at most " + MAX_ITEM_BYTES);
    }
    try {
      return read(files, path, offset, (int) length);
    } catch (IOException e) {
      throw new IOException("Cannot read " + path + ": " + e.getMessage(), e);
    }
  }

  /**
   * Creates a file, with its parents; it must not exist. A local one is written past Hadoop, which
   * starts a {@code chmod} process for every file where its native library is missing.
   */
  static OutputStream create(FileSystem files, Path path) throws IOException {
    if (files instanceof RawLocalFileSystem local) {
      java.nio.file.Path file = local.pathToFile(path).toPath();
      Files.createDirectories(file.getParent());
      return new BufferedOutputStream(
          Files.newOutputStream(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
          BUFFER_BYTES);
    }
    return files.create(path, false);
  }

  /** Renames and looks at the answer: HDFS says false, and throws nothing, when it did not. */
  static void rename(FileSystem files, Path from, Path to) throws IOException {
    if (!files.rename(from, to)) {
      throw new IOException("Cannot rename " + from + " to " + to + ": the file system refused");
    }
  }

  static int crc32c(byte[] bytes) {
    CRC32C crc = new CRC32C();
    crc.update(bytes);
    return (int) crc.getValue();
  }

  /** The checksum of a whole file. */
  static int crc32c(FileSystem files, Path path) throws IOException {
    CRC32C crc = new CRC32C();
    byte[] buffer = new byte[1 << 20];
    try (FSDataInputStream in = files.open(path)) {
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        crc.update(buffer, 0, count);
      }
    }
    return (int) crc.getValue();
  }

  /** A checksum as manifests write it: eight lower-case hexadecimal digits. */
  static String hex(int crc) {
    return String.format("%08x", crc);
  }
}
