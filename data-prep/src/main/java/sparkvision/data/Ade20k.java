package sparkvision.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;

/**
 * ADE20K with the 150 classes of the scene parsing benchmark, in either of its releases.
 *
 * <p>The benchmark, {@code ADEChallengeData2016}, 20,210 training and 2,000 validation pictures:
 *
 * <pre>
 * images/SPLIT/*.jpg
 * annotations/SPLIT/*.png     grey: 0 = other, k = line k of objectInfo150.txt
 * sceneCategories.txt         picture SCENE
 * </pre>
 *
 * <p>The full release, {@code ADE20K_2021_17_01}, pictures in their original size:
 *
 * <pre>
 * images/ADE/SPLIT/SCENE/X.jpg        scenes are one or two folders deep
 * images/ADE/SPLIT/SCENE/X_seg.png    object = R / 10 * 256 + G (whole numbers), 0 = none
 * images/ADE/SPLIT/SCENE/X.json       annotation.object[]: name_ndx (the object's number) and name
 * </pre>
 *
 * Objects become classes by their names; those that are none of the 150 are other. Masks of parts
 * and of single objects are left alone.
 *
 * <p>In a sample's mask, class k of the file is k - 1 and other is 255, ignore. A sample has no
 * class of its own; the scene category stands in its id: {@code SCENE/X}, such as {@code
 * urban/street/ADE_train_00016869} or, in the benchmark, {@code street/ADE_train_00016869}, and
 * {@code X} alone if {@code sceneCategories.txt} does not tell.
 *
 * @param input the folder above {@code images}
 * @param split {@code training} or {@code validation}
 * @see <a href="https://arxiv.org/abs/1608.05442">Zhou et al., Semantic Understanding of Scenes
 *     through the ADE20K Dataset, IJCV 2019</a>
 * @see <a href="https://github.com/CSAILVision/ADE20K">The full release: README.md and
 *     utils_ade20k.py</a>
 */
public record Ade20k(String input, String split) implements Source {

  private static final String SCENES = "sceneCategories.txt";
  private static final JsonMapper JSON = new JsonMapper();

  public Ade20k {
    Setting.requireSplit(split, "training", "validation");
  }

  @Override
  public Listing list(Configuration hadoop) throws IOException {
    SourceFolder folder = SourceFolder.open(hadoop, input, "ADE20K");
    ListingBuilder listing = new ListingBuilder();
    if (folder.hasFolder("images/ADE/" + split)) {
      gatherFull(folder, "images/ADE/" + split, "", listing);
    } else if (folder.hasFolder("images/" + split) && folder.hasFolder("annotations/" + split)) {
      gatherBenchmark(folder, listing);
    } else {
      throw new IllegalArgumentException(
          String.format(
              "Cannot read ADE20K at %s: it holds neither images/%s and annotations/%s nor"
                  + " images/ADE/%s",
              folder.root(), split, split, split));
    }
    return listing.build(Task.SEGMENTATION, folder, Ade20kClasses.NAMES);
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    byte[] image = Storage.read(hadoop, root, item);
    Images.Picture picture = Images.inspect(image);
    List<Item> annotation = annotation(item);
    Item mask = annotation.get(0);
    Images.Picture coded = inspect(mask, Storage.read(hadoop, root, mask));
    if (coded.width() != picture.width() || coded.height() != picture.height()) {
      throw new DataException(
          String.format(
              "the picture has %d x %d pixels, %s %d x %d",
              picture.width(), picture.height(), mask.path(), coded.width(), coded.height()));
    }
    byte[] labels =
        annotation.size() == 1
            ? benchmarkLabels(mask, coded)
            : fullLabels(
                mask, coded, annotation.get(1), Storage.read(hadoop, root, annotation.get(1)));
    byte[] png = Images.encodePng(new Images.Picture(coded.width(), coded.height(), 1, labels));
    return new Sample(item.id(), -1, 1, picture.height(), picture.width(), image, png, List.of());
  }

  private static Images.Picture inspect(Item mask, byte[] bytes) {
    try {
      Images.Picture picture = Images.inspect(bytes);
      if (!Images.isPng(bytes)) {
        throw new DataException("not PNG, so its numbers are not exact");
      }
      return picture;
    } catch (DataException e) {
      throw new DataException(mask.path() + ": " + e.getMessage(), e);
    }
  }

  /** An item whose further files' paths and lengths are its annotation. */
  private static Item item(
      String id, String path, FileStatus image, Map<String, FileStatus> further) {
    long newest = image.getModificationTime();
    List<String> lines = new ArrayList<>();
    for (Map.Entry<String, FileStatus> file : further.entrySet()) {
      newest = Math.max(newest, file.getValue().getModificationTime());
      lines.add(file.getValue().getLen() + " " + file.getKey());
    }
    byte[] annotation = String.join("\n", lines).getBytes(StandardCharsets.UTF_8);
    return new Item(id, path, 0, image.getLen(), newest, -1, annotation);
  }

  private static List<Item> annotation(Item item) {
    List<Item> files = new ArrayList<>();
    for (String line : new String(item.annotation(), StandardCharsets.UTF_8).split("\n", -1)) {
      String[] fields = line.split(" ", 2);
      files.add(new Item(fields[1], Long.parseLong(fields[0]), item.modified(), -1));
    }
    return files;
  }

  // The benchmark

  private void gatherBenchmark(SourceFolder folder, ListingBuilder listing) throws IOException {
    Map<String, String> scenes = new HashMap<>();
    if (folder.file(SCENES).isPresent()) {
      for (String line : folder.lines(SCENES)) {
        String[] fields = line.split("\\s+", 2);
        if (fields.length == 2) {
          scenes.put(fields[0], fields[1]);
        }
      }
    }
    Map<String, FileStatus> masks = new HashMap<>();
    for (FileStatus file : folder.list("annotations/" + split)) {
      masks.put(file.getPath().getName(), file);
    }
    for (FileStatus file : folder.list("images/" + split)) {
      String name = file.getPath().getName();
      String path = "images/" + split + "/" + name;
      if (file.isDirectory() || !SourceFolder.isPicture(name)) {
        listing.ignore();
        continue;
      }
      String stem = SourceFolder.stem(name);
      FileStatus mask = masks.remove(stem + ".png");
      String maskPath = "annotations/" + split + "/" + stem + ".png";
      if (mask == null) {
        listing.quarantine(path, "no " + maskPath);
        continue;
      }
      String id = scenes.containsKey(stem) ? scenes.get(stem) + "/" + stem : stem;
      listing.add(item(id, path, file, Map.of(maskPath, mask)));
    }
    masks.forEach(
        (name, file) -> {
          if (SourceFolder.isPicture(name)) {
            listing.quarantine("annotations/" + split + "/" + name, "no picture of this name");
          } else {
            listing.ignore();
          }
        });
  }

  private static byte[] benchmarkLabels(Item mask, Images.Picture coded) {
    if (coded.channels() != 1) {
      throw new DataException(mask.path() + " is not grey");
    }
    byte[] labels = new byte[coded.pixels().length];
    for (int i = 0; i < labels.length; i++) {
      int number = coded.pixels()[i] & 0xFF;
      if (number > Ade20kClasses.NAMES.size()) {
        throw new DataException(
            String.format(
                "%s has class %d at row %d, column %d; there are %d",
                mask.path(),
                number,
                i / coded.width(),
                i % coded.width(),
                Ade20kClasses.NAMES.size()));
      }
      labels[i] = (byte) (number == 0 ? Sample.IGNORE : number - 1);
    }
    return labels;
  }

  // The full release

  private static void gatherFull(
      SourceFolder folder, String place, String scene, ListingBuilder listing) throws IOException {
    Map<String, FileStatus> entries = new LinkedHashMap<>();
    for (FileStatus entry : folder.list(place)) {
      entries.put(entry.getPath().getName(), entry);
    }
    for (Map.Entry<String, FileStatus> entry : entries.entrySet()) {
      String name = entry.getKey();
      String path = place + "/" + name;
      if (entry.getValue().isDirectory()) {
        boolean masksOfObjects = entries.containsKey(name + ".jpg");
        if (!masksOfObjects) {
          gatherFull(folder, path, scene + name + "/", listing);
        }
        continue;
      }
      String stem = SourceFolder.stem(name);
      if (!name.endsWith(".jpg")) {
        boolean read = name.equals(stem + ".json") || name.endsWith("_seg.png");
        String picture = stem.replaceFirst("_seg$", "") + ".jpg";
        if (!read || !entries.containsKey(picture)) {
          listing.ignore();
        }
        continue;
      }
      FileStatus mask = entries.get(stem + "_seg.png");
      FileStatus objects = entries.get(stem + ".json");
      if (mask == null || objects == null) {
        listing.quarantine(path, "no " + stem + (mask == null ? "_seg.png" : ".json"));
        continue;
      }
      Map<String, FileStatus> further = new LinkedHashMap<>();
      further.put(place + "/" + stem + "_seg.png", mask);
      further.put(place + "/" + stem + ".json", objects);
      listing.add(item(scene + stem, path, entry.getValue(), further));
    }
  }

  private static byte[] fullLabels(Item mask, Images.Picture coded, Item objects, byte[] json) {
    if (coded.channels() != 3) {
      throw new DataException(mask.path() + " is not in colour");
    }
    Map<Integer, Integer> labelByObject = objects(objects, json);
    labelByObject.put(0, Sample.IGNORE);
    byte[] labels = new byte[coded.width() * coded.height()];
    for (int i = 0; i < labels.length; i++) {
      int red = coded.pixels()[3 * i] & 0xFF;
      int green = coded.pixels()[3 * i + 1] & 0xFF;
      int object = red / 10 * 256 + green;
      Integer label = labelByObject.get(object);
      if (label == null) {
        throw new DataException(
            String.format(
                "%s has object %d at row %d, column %d, which %s does not name",
                mask.path(), object, i / coded.width(), i % coded.width(), objects.path()));
      }
      labels[i] = label.byteValue();
    }
    return labels;
  }

  /** The label by an object's number. */
  private static Map<Integer, Integer> objects(Item file, byte[] json) {
    JsonNode list;
    try {
      // Some names are not UTF-8; those that count are ASCII.
      list =
          JSON.readTree(new String(json, StandardCharsets.ISO_8859_1))
              .path("annotation")
              .path("object");
    } catch (JsonProcessingException e) {
      throw new DataException(file.path() + " is not JSON: " + e.getOriginalMessage(), e);
    }
    Map<Integer, Integer> labels = new HashMap<>();
    for (JsonNode object : list.isArray() ? list : List.of(list)) {
      if (!object.path("name_ndx").isInt() || !object.path("name").isTextual()) {
        throw new DataException(file.path() + " has an object without name_ndx or name");
      }
      int label = Ade20kClasses.label(object.path("name").textValue());
      labels.put(object.path("name_ndx").intValue(), label < 0 ? Sample.IGNORE : label);
    }
    return labels;
  }
}
