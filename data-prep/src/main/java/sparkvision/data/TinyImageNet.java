package sparkvision.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;

/**
 * Tiny ImageNet: 200 classes of ImageNet in 64 x 64 pixels, 100,000 training and 10,000 validation
 * pictures.
 *
 * <pre>
 * wnids.txt                     the classes' WordNet ids, one a line
 * words.txt                     wnid TAB names, of many more than these
 * train/WNID/images/*.JPEG      beside a file of boxes, which is left alone
 * val/images/*.JPEG
 * val/val_annotations.txt       picture TAB wnid TAB box
 * </pre>
 *
 * <p>A class's index is its place among the sorted wnids; its name is that of {@code words.txt},
 * else the wnid. A sample's id is {@code WNID/FILE} in the training set and the file's name in the
 * validation set.
 *
 * @param input the folder of {@code wnids.txt}
 * @param split {@code train} or {@code val}
 * @see <a href="http://cs231n.stanford.edu/tiny-imagenet-200.zip">Stanford CS231n</a>
 */
public record TinyImageNet(String input, String split) implements Source {

  private static final String WNIDS = "wnids.txt";
  private static final String WORDS = "words.txt";
  private static final String TRAIN = "train";
  private static final String VAL_IMAGES = "val/images";
  private static final String VAL_LABELS = "val/val_annotations.txt";

  public TinyImageNet {
    Setting.requireSplit(split, "train", "val");
  }

  @Override
  public Listing list(Configuration hadoop) throws IOException {
    SourceFolder folder = SourceFolder.open(hadoop, input, "Tiny ImageNet");
    String place = split.equals("train") ? TRAIN : VAL_IMAGES;
    if (folder.file(WNIDS).isEmpty() || !folder.hasFolder(place)) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read Tiny ImageNet at %s: it does not hold both %s and %s",
              folder.root(), WNIDS, place));
    }
    List<String> wnids = List.copyOf(new TreeSet<>(folder.lines(WNIDS)));
    ListingBuilder listing = new ListingBuilder();
    if (split.equals("train")) {
      gatherTrain(folder, wnids, listing);
    } else {
      gatherVal(folder, wnids, listing);
    }
    return listing.build(Task.CLASSIFICATION, folder, names(folder, wnids));
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    return Sample.ofPicture(item, Storage.read(hadoop, root, item));
  }

  private static List<String> names(SourceFolder folder, List<String> wnids) throws IOException {
    Map<String, String> words = new HashMap<>();
    if (folder.file(WORDS).isPresent()) {
      for (String line : folder.lines(WORDS)) {
        String[] fields = line.split("\t", 2);
        if (fields.length == 2) {
          words.put(fields[0], fields[1].strip());
        }
      }
    }
    List<String> names = new ArrayList<>();
    wnids.forEach(wnid -> names.add(words.getOrDefault(wnid, wnid)));
    return names;
  }

  private static void gatherTrain(SourceFolder folder, List<String> wnids, ListingBuilder listing)
      throws IOException {
    for (FileStatus entry : folder.list(TRAIN)) {
      if (!entry.isDirectory()) {
        listing.ignore();
        continue;
      }
      String wnid = entry.getPath().getName();
      String images = TRAIN + "/" + wnid + "/images";
      for (FileStatus file : folder.list(TRAIN + "/" + wnid)) {
        if (!file.isDirectory()) {
          listing.ignore();
        }
      }
      if (!folder.hasFolder(images)) {
        listing.quarantine(TRAIN + "/" + wnid, "the class has no folder images");
        continue;
      }
      for (FileStatus file : folder.list(images)) {
        String name = file.getPath().getName();
        add(file, wnid + "/" + name, images + "/" + name, wnid, wnids, listing);
      }
    }
  }

  private static void gatherVal(SourceFolder folder, List<String> wnids, ListingBuilder listing)
      throws IOException {
    Map<String, String> labels = labels(folder);
    for (FileStatus file : folder.list(VAL_IMAGES)) {
      String name = file.getPath().getName();
      String path = VAL_IMAGES + "/" + name;
      String wnid = labels.remove(name);
      if (wnid == null && SourceFolder.isPicture(name)) {
        listing.quarantine(path, "no label: not in " + VAL_LABELS);
        continue;
      }
      add(file, name, path, wnid, wnids, listing);
    }
    Set<String> missing = labels.keySet();
    missing.forEach(
        name ->
            listing.quarantine(
                VAL_IMAGES + "/" + name, "no such file, but " + VAL_LABELS + " names it"));
  }

  /** The wnid by picture. */
  private static Map<String, String> labels(SourceFolder folder) throws IOException {
    if (folder.file(VAL_LABELS).isEmpty()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read Tiny ImageNet at %s: it does not hold %s", folder.root(), VAL_LABELS));
    }
    Map<String, String> labels = new LinkedHashMap<>();
    for (String line : folder.lines(VAL_LABELS)) {
      String[] fields = line.split("\t", 3);
      if (fields.length < 2 || labels.put(fields[0], fields[1]) != null) {
        throw new DataException(
            String.format(
                "Cannot read %s/%s: a line is \"%s\", %s",
                folder.root(),
                VAL_LABELS,
                line,
                fields.length < 2 ? "without a class" : "the second for its picture"));
      }
    }
    return labels;
  }

  private static void add(
      FileStatus file,
      String id,
      String path,
      String wnid,
      List<String> wnids,
      ListingBuilder listing) {
    if (file.isDirectory() || !SourceFolder.isPicture(path)) {
      listing.ignore();
      return;
    }
    int label = Collections.binarySearch(wnids, wnid);
    if (label < 0) {
      listing.quarantine(path, "unknown class " + wnid + ": not in " + WNIDS);
      return;
    }
    listing.add(
        new Item(id, path, 0, file.getLen(), file.getModificationTime(), label, new byte[0]));
  }
}
