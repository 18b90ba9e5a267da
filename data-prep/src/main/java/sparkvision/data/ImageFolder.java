package sparkvision.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * An ImageNet-style folder: one folder per class, pictures at any depth inside it. Class names are
 * the folder names in sorted order; a sample's id is its path.
 *
 * <p>A picture is a file whose name ends in {@code .jpg}, {@code .jpeg} or {@code .png}, in any
 * case. Hidden entries (a leading dot) are not looked at; other files are counted and left alone.
 *
 * @param input the folder above the class folders
 */
public record ImageFolder(String input) implements Source {

  /**
   * {@inheritDoc}
   *
   * @throws DataException if it holds no classes, or a class holds no pictures
   */
  @Override
  public Listing list(Configuration hadoop) throws IOException {
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
    List<Item> items = new ArrayList<>();
    long[] ignored = {0};
    for (FileStatus entry : Storage.list(files, root)) {
      if (!entry.isDirectory()) {
        ignored[0]++;
        continue;
      }
      int before = items.size();
      String name = entry.getPath().getName();
      collect(files, entry.getPath(), name, classes.size(), items, ignored);
      if (items.size() == before) {
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
    return new Listing(Task.CLASSIFICATION, root.toString(), classes, items, List.of(), ignored[0]);
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    byte[] bytes = Storage.read(hadoop, root, item);
    Images.Picture picture = Images.inspect(bytes);
    return new Sample(item.id(), item.label(), picture.height(), picture.width(), bytes);
  }

  private static void collect(
      FileSystem files, Path folder, String prefix, int label, List<Item> items, long[] ignored)
      throws IOException {
    for (FileStatus entry : Storage.list(files, folder)) {
      String path = prefix + "/" + entry.getPath().getName();
      if (entry.isDirectory()) {
        collect(files, entry.getPath(), path, label, items, ignored);
        continue;
      }
      String name = path.toLowerCase(Locale.ROOT);
      if (name.endsWith(".jpg") || name.endsWith(".jpeg") || name.endsWith(".png")) {
        items.add(new Item(path, entry.getLen(), entry.getModificationTime(), label));
      } else {
        ignored[0]++;
      }
    }
  }
}
