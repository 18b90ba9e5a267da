package sparkvision.data;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The folder that holds a raw data set.
 *
 * <p>Paths are relative to it, with forward slashes.
 *
 * @param root fully qualified
 */
public record SourceFolder(FileSystem files, String root) {

  /** Of a file that describes a data set; lists of labels have some megabytes. */
  private static final long MAX_TEXT_BYTES = 1L << 28;

  /**
   * Opens an existing folder.
   *
   * @param what the data set, for messages
   * @throws IllegalArgumentException if there is no such folder
   */
  public static SourceFolder open(Configuration hadoop, String input, String what)
      throws IOException {
    Path path = new Path(input);
    FileSystem files = Storage.of(path, hadoop);
    SourceFolder folder = new SourceFolder(files, files.makeQualified(path).toString());
    if (!folder.hasFolder("")) {
      throw new IllegalArgumentException(
          String.format("Cannot read %s at %s: no such folder", what, folder.root));
    }
    return folder;
  }

  /** Whether a file is named like a picture: {@code .jpg}, {@code .jpeg} or {@code .png}. */
  public static boolean isPicture(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    return lower.endsWith(".jpg") || lower.endsWith(".jpeg") || lower.endsWith(".png");
  }

  /** A file's name without its extension. */
  public static String stem(String name) {
    int dot = name.lastIndexOf('.');
    return dot < 0 ? name : name.substring(0, dot);
  }

  public boolean hasFolder(String path) throws IOException {
    return find(path).map(FileStatus::isDirectory).orElse(false);
  }

  /** A file, if it is there. */
  Optional<FileStatus> file(String path) throws IOException {
    return find(path).filter(FileStatus::isFile);
  }

  private Optional<FileStatus> find(String path) throws IOException {
    try {
      return Optional.of(files.getFileStatus(full(path)));
    } catch (FileNotFoundException e) {
      return Optional.empty();
    }
  }

  /** The entries of a folder by name, hidden ones left out. */
  public List<FileStatus> list(String path) throws IOException {
    return Storage.list(files, full(path));
  }

  FSDataInputStream open(String path) throws IOException {
    return files.open(full(path));
  }

  /** A whole file that describes the data set. */
  public byte[] read(String path) throws IOException {
    long length = files.getFileStatus(full(path)).getLen();
    if (length > MAX_TEXT_BYTES) {
      throw new DataException(
          String.format(
              "Cannot read %s: %d bytes, at most %d", full(path), length, MAX_TEXT_BYTES));
    }
    return Storage.read(files, full(path), 0, (int) length);
  }

  /** The lines of a UTF-8 text, stripped, up to the last that is not blank. */
  public List<String> lines(String path) throws IOException {
    return lines(read(path));
  }

  static List<String> lines(byte[] text) {
    List<String> lines = new ArrayList<>();
    new String(text, StandardCharsets.UTF_8).lines().map(String::strip).forEach(lines::add);
    while (!lines.isEmpty() && lines.get(lines.size() - 1).isEmpty()) {
      lines.remove(lines.size() - 1);
    }
    return lines;
  }

  private Path full(String path) {
    return new Path(path.isEmpty() ? root : root + "/" + path);
  }
}
