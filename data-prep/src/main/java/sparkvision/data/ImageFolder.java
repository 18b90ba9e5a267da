package sparkvision.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;

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
    SourceFolder folder = SourceFolder.open(hadoop, input, "image folder");
    ListingBuilder listing = new ListingBuilder();
    List<String> classes = new ArrayList<>();
    for (FileStatus entry : folder.list("")) {
      if (!entry.isDirectory()) {
        listing.ignore();
        continue;
      }
      int before = listing.size();
      String name = entry.getPath().getName();
      collect(folder, name, classes.size(), listing);
      if (listing.size() == before) {
        throw new DataException(
            String.format(
                "Cannot read image folder %s: class %s has no images (files ending in .jpg,"
                    + " .jpeg or .png)",
                folder.root(), name));
      }
      classes.add(name);
    }
    if (classes.isEmpty()) {
      throw new DataException(
          "Cannot read image folder " + folder.root() + ": it holds no class folders with images");
    }
    return listing.build(Task.CLASSIFICATION, folder, classes);
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    return Sample.ofPicture(item, Storage.read(hadoop, root, item));
  }

  private static void collect(SourceFolder folder, String path, int label, ListingBuilder listing)
      throws IOException {
    for (FileStatus entry : folder.list(path)) {
      String inside = path + "/" + entry.getPath().getName();
      if (entry.isDirectory()) {
        collect(folder, inside, label, listing);
      } else if (SourceFolder.isPicture(inside)) {
        listing.add(new Item(inside, entry.getLen(), entry.getModificationTime(), label));
      } else {
        listing.ignore();
      }
    }
  }
}
