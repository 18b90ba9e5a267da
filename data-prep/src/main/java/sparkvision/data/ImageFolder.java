package sparkvision.data;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * An ImageNet-style folder: one folder per class, pictures at any depth inside it.
 *
 * <p>A picture is a file whose name ends in {@code .jpg}, {@code .jpeg} or {@code .png}, in any
 * case. Hidden entries (a leading dot) are not looked at; other files are counted and left alone.
 *
 * @param root fully qualified
 * @param classes names of the class folders, sorted
 * @param images by class, then by path
 * @param ignoredFiles files that are not named like a picture
 */
public record ImageFolder(
    String root, List<String> classes, List<Image> images, long ignoredFiles) {

  /**
   * A file named like a picture.
   *
   * @param path relative to the root, with forward slashes
   * @param length bytes
   * @param modified milliseconds since 1970
   */
  public record Image(String path, int label, long length, long modified) implements Serializable {}

  /**
   * Lists a folder, from the driver.
   *
   * @throws IllegalArgumentException if the path is missing or not a folder
   * @throws DataException if it holds no classes, or a class holds no pictures
   */
  public static ImageFolder list(Configuration hadoop, String input) {
    try {
      Path path = new Path(input);
      FileSystem files = Storage.of(path, hadoop);
      Path root = files.makeQualified(path);
      if (!files.exists(root)) {
        throw new IllegalArgumentException("Cannot read image folder " + root + ": no such path");
      }
      if (!files.getFileStatus(root).isDirectory()) {
        throw new IllegalArgumentException("Cannot read image folder " + root + ": it is a file");
      }

      List<String> classes = new ArrayList<>();
      List<Image> images = new ArrayList<>();
      long[] ignored = {0};
      for (FileStatus entry : Storage.list(files, root)) {
        if (!entry.isDirectory()) {
          ignored[0]++;
          continue;
        }
        int before = images.size();
        String name = entry.getPath().getName();
        collect(files, entry.getPath(), name, classes.size(), images, ignored);
        if (images.size() == before) {
          throw new DataException(
              String.format(
                  "Cannot read image folder %s: class %s has no images (files ending in .jpg,"
                      + " .jpeg or .png)",
                  root, name));
        }
        classes.add(name);
      }
      if (classes.isEmpty()) {
        throw new DataException(
            "Cannot read image folder " + root + ": it holds no class folders with images");
      }
      return new ImageFolder(root.toString(), classes, images, ignored[0]);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read image folder " + input + ": " + e, e);
    }
  }

  private static void collect(
      FileSystem files, Path folder, String prefix, int label, List<Image> images, long[] ignored)
      throws IOException {
    for (FileStatus entry : Storage.list(files, folder)) {
      String path = prefix + "/" + entry.getPath().getName();
      if (entry.isDirectory()) {
        collect(files, entry.getPath(), path, label, images, ignored);
        continue;
      }
      String name = path.toLowerCase(Locale.ROOT);
      if (name.endsWith(".jpg") || name.endsWith(".jpeg") || name.endsWith(".png")) {
        images.add(new Image(path, label, entry.getLen(), entry.getModificationTime()));
      } else {
        ignored[0]++;
      }
    }
  }
}
