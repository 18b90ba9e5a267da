package sparkvision.data.coco;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import org.roaringbitmap.longlong.Roaring64Bitmap;
import sparkvision.data.DataException;
import sparkvision.data.Images;
import sparkvision.data.Item;
import sparkvision.data.Listing;
import sparkvision.data.Sample;
import sparkvision.data.Setting;
import sparkvision.data.ShardManifest.Quarantined;
import sparkvision.data.Source;
import sparkvision.data.Storage;
import sparkvision.data.Task;

/**
 * Pictures with COCO's instances JSON: COCO itself, and every set of one's own in that format.
 *
 * <p>A sample's id is the picture's id in at least twelve digits, as COCO names its files. Classes
 * are the categories in order of their ids: COCO's 1..90 with gaps become 0..79. Pictures without
 * annotations are samples too.
 *
 * <p><b>What is bad</b> is left out alone, with the byte of the file where it begins:
 *
 * <ul>
 *   <li>an annotation without {@code id}, {@code image_id}, {@code category_id} or {@code bbox}; of
 *       a picture or category that is not listed; whose id was there before; whose box has no area
 *       or reaches more than a pixel out of the picture; whose polygon does, or has fewer than
 *       three corners; whose mask has another size than the picture, or no pixel. Its picture
 *       stays.
 *   <li>a picture without {@code id}, {@code file_name}, {@code width} or {@code height}; whose id
 *       or file was there before; whose file is missing, broken or of another size than the JSON
 *       says. Its annotations go with it.
 *   <li>A file that is torn or no JSON, and categories that are no class list, are bad as a whole.
 * </ul>
 *
 * <p>{@code iscrowd} is 0 where it is missing; {@code area} is then the mask's, without one the
 * box's. An empty {@code segmentation} is none.
 *
 * <p>The file is streamed twice, first for pictures and categories, then for annotations. {@link
 * Item#annotation} holds the picture's size and its objects in the coding of {@code ObjectCoding};
 * polygons are drawn where the sample is read.
 *
 * <p>A file of the size of train2017 (118,287 pictures, 860,001 annotations, 472 MB) is listed in a
 * heap of 192 MB; in one of 256 MB the process holds 367 MB at most, and 143 MB of heap stay for
 * the listing.
 *
 * @param annotations the JSON file
 * @param images the folder that {@code file_name} is relative to
 * @see <a href="https://cocodataset.org/#format-data">COCO data format</a>
 */
public record CocoSource(String annotations, String images) implements Source {

  /** How far boxes and polygons may reach out of the picture: the rounding of tools. Pixels. */
  private static final double MARGIN = 1;

  private static final List<String> YEARS = List.of("2017", "2014");

  /**
   * A split of COCO as it is unpacked: {@code annotations/instances_train2017.json} and {@code
   * train2017/}; of 2017 if the root holds it, else of 2014.
   *
   * @param split train or val
   * @throws IllegalArgumentException if the root does not hold both
   */
  public static CocoSource ofSplit(Configuration hadoop, String root, String split)
      throws IOException {
    Setting.requireSplit(split, "train", "val");
    Path path = new Path(root);
    FileSystem files = Storage.of(path, hadoop);
    for (String year : YEARS) {
      Path annotations = new Path(path, "annotations/instances_" + split + year + ".json");
      Path images = new Path(path, split + year);
      if (files.exists(annotations) && files.exists(images)) {
        return new CocoSource(annotations.toString(), images.toString());
      }
    }
    throw new IllegalArgumentException(
        String.format(
            "Cannot read COCO %s: it has not both annotations/instances_%s2017.json and %s2017/"
                + " (nor those of 2014)",
            files.makeQualified(path), split, split));
  }

  @Override
  public Listing list(Configuration hadoop) throws IOException {
    return new Reading(hadoop).listing();
  }

  @Override
  public Sample read(Configuration hadoop, String root, Item item) throws IOException {
    byte[] image = Storage.read(hadoop, root, item);
    Images.Picture picture = Images.inspect(image);
    ObjectCoding.Objects known = ObjectCoding.read(item.annotation());
    if (picture.height() != known.height() || picture.width() != known.width()) {
      throw new DataException(
          String.format(
              "the picture is %d x %d pixels, its annotations are for %d x %d",
              picture.width(), picture.height(), known.width(), known.height()));
    }
    return new Sample(
        item.id(), -1, 1, known.height(), known.width(), image, new byte[0], known.objects());
  }

  /** A file in the image folder. */
  private record Stored(long length, long modified) {}

  /** A picture of the JSON and its objects so far. */
  private static final class Picture {
    final String path;
    final int height;
    final int width;
    byte[] coded;

    Picture(String path, int height, int width) {
      this.path = path;
      this.height = height;
      this.width = width;
      this.coded = ObjectCoding.picture(height, width);
    }

    /** Grows by just what is needed: a picture has few objects, a data set many pictures. */
    void add(byte[] object) {
      int length = coded.length;
      coded = Arrays.copyOf(coded, length + object.length);
      System.arraycopy(object, 0, coded, length, object.length);
    }
  }

  /** One listing on its way. */
  private final class Reading {

    private final Configuration hadoop;
    private final String name = new Path(annotations).getName();
    private final Map<String, Stored> stored = new HashMap<>();
    private final Map<Long, Integer> labels = new HashMap<>();
    private final Map<Long, Picture> pictures = new HashMap<>();
    private final Roaring64Bitmap pictureIds = new Roaring64Bitmap(); // the bad ones' too
    private final Set<String> listed = new HashSet<>();
    private final Roaring64Bitmap objectIds = new Roaring64Bitmap();
    private final List<Quarantined> quarantined = new ArrayList<>();

    Reading(Configuration hadoop) {
      this.hadoop = hadoop;
    }

    Listing listing() throws IOException {
      Path folder = new Path(images);
      FileSystem files = Storage.of(folder, hadoop);
      Path root = files.makeQualified(folder);
      if (!files.exists(root) || !files.getFileStatus(root).isDirectory()) {
        throw new IllegalArgumentException("Cannot read image folder " + root + ": no such folder");
      }
      collect(files, root, "");

      Map<Long, String> categories = new HashMap<>();
      CocoJson.readObject(
          hadoop,
          annotations,
          Map.of(
              "categories",
              (category, at) -> addCategory(categories, category),
              "images",
              this::addPicture));
      if (categories.isEmpty() || pictures.isEmpty()) {
        throw new DataException(
            String.format(
                "Cannot read %s: it has %d categories and %d usable images%s",
                annotations,
                categories.size(),
                pictures.size(),
                quarantined.isEmpty() ? "" : "; the first: " + quarantined.get(0).reason()));
      }
      List<Long> ids = categories.keySet().stream().sorted().toList();
      for (long id : ids) {
        labels.put(id, labels.size());
      }
      CocoJson.readObject(hadoop, annotations, Map.of("annotations", this::addObject));

      return new Listing(
          Task.DETECTION,
          root.toString(),
          ids.stream().map(categories::get).toList(),
          items(),
          List.copyOf(quarantined),
          stored.keySet().stream().filter(path -> !listed.contains(path)).count());
    }

    private void collect(FileSystem files, Path directory, String prefix) throws IOException {
      RemoteIterator<FileStatus> entries = files.listStatusIterator(directory);
      while (entries.hasNext()) {
        FileStatus entry = entries.next();
        String path = prefix + entry.getPath().getName();
        if (entry.getPath().getName().startsWith(".")) {
          continue;
        }
        if (entry.isDirectory()) {
          collect(files, entry.getPath(), path + "/");
        } else {
          stored.put(path, new Stored(entry.getLen(), entry.getModificationTime()));
        }
      }
    }

    private List<Item> items() {
      List<Item> items = new ArrayList<>(pictures.size());
      pictures.forEach(
          (id, picture) -> {
            Stored file = stored.get(picture.path);
            items.add(
                new Item(
                    String.format("%012d", id),
                    picture.path,
                    0,
                    file.length(),
                    file.modified(),
                    -1,
                    picture.coded));
          });
      items.sort(Comparator.comparing(Item::id));
      return items;
    }

    private void addCategory(Map<Long, String> categories, JsonNode category) {
      long id = CocoJson.whole(category, "id");
      if (categories.put(id, CocoJson.text(category, "name")) != null) {
        throw new DataException("category id " + id + " was there before");
      }
    }

    private void addPicture(JsonNode picture, long at) {
      try {
        long id = CocoJson.whole(picture, "id");
        if (id < 0) {
          throw new DataException("its id is negative");
        }
        if (pictureIds.contains(id)) {
          throw new DataException("its id was there before");
        }
        pictureIds.addLong(id);
        String path = CocoJson.text(picture, "file_name");
        if (!listed.add(path)) {
          throw new DataException("its file_name was there before");
        }
        if (!stored.containsKey(path)) {
          throw new DataException("there is no such file in " + images);
        }
        pictures.put(id, new Picture(path, side(picture, "height"), side(picture, "width")));
      } catch (DataException e) {
        quarantine(at, "image", picture, picture.path("file_name").asText(""), e);
      }
    }

    private static int side(JsonNode picture, String key) {
      long side = CocoJson.whole(picture, key);
      if (side < 1 || side > Integer.MAX_VALUE) {
        throw new DataException("its " + key + " is " + side);
      }
      return (int) side;
    }

    private void addObject(JsonNode annotation, long at) {
      try {
        long id = CocoJson.whole(annotation, "id");
        long image = CocoJson.whole(annotation, "image_id");
        Picture picture = pictures.get(image);
        if (picture == null) {
          if (pictureIds.contains(image)) {
            return; // left out already, with its picture
          }
          throw new DataException("image " + image + " is not listed");
        }
        long category = CocoJson.whole(annotation, "category_id");
        if (!labels.containsKey(category)) {
          throw new DataException("category " + category + " is not listed");
        }
        byte[] object = object(annotation, labels.get(category), picture.height, picture.width);
        if (objectIds.contains(id)) {
          throw new DataException("its id was there before");
        }
        objectIds.addLong(id);
        picture.add(object);
      } catch (DataException e) {
        quarantine(at, "annotation", annotation, name, e);
      }
    }

    private static byte[] object(JsonNode annotation, int label, int height, int width) {
      Box box = CocoJson.box(annotation);
      if (!(box.width() > 0 && box.height() > 0)) {
        throw new DataException(
            String.format("its box of %s x %s pixels has no area", box.width(), box.height()));
      }
      requireInside("box", box.x(), box.y(), height, width);
      requireInside("box", box.x() + box.width(), box.y() + box.height(), height, width);

      Optional<Segmentation> segmentation = segmentation(annotation, height, width);
      double area = box.area();
      if (segmentation.isPresent()) {
        area = segmentation.get().toRle(height, width).area();
        if (area == 0) {
          throw new DataException("its mask covers no pixel");
        }
      }
      if (annotation.has("area")) {
        area = CocoJson.number(annotation, "area");
        if (area < 0) {
          throw new DataException("its area is " + area);
        }
      }
      return ObjectCoding.object(label, crowd(annotation), area, box, segmentation);
    }

    private static Optional<Segmentation> segmentation(JsonNode annotation, int height, int width) {
      JsonNode node = annotation.path("segmentation");
      if (node.isMissingNode() || node.isNull() || (node.isArray() && node.isEmpty())) {
        return Optional.empty();
      }
      Segmentation segmentation = Segmentation.parse(node);
      if (segmentation instanceof Segmentation.Polygons polygons) {
        for (double[] corners : polygons.corners()) {
          for (int i = 0; i + 1 < corners.length; i += 2) {
            requireInside("polygon", corners[i], corners[i + 1], height, width);
          }
        }
      }
      return Optional.of(segmentation);
    }

    private static void requireInside(String what, double x, double y, int height, int width) {
      if (x < -MARGIN || y < -MARGIN || x > width + MARGIN || y > height + MARGIN) {
        throw new DataException(
            String.format(
                "its %s reaches to (%s, %s), out of the picture of %d x %d pixels",
                what, x, y, width, height));
      }
    }

    private static boolean crowd(JsonNode annotation) {
      if (!annotation.has("iscrowd")) {
        return false;
      }
      long crowd = CocoJson.whole(annotation, "iscrowd");
      if (crowd != 0 && crowd != 1) {
        throw new DataException("iscrowd is " + crowd + ", not 0 or 1");
      }
      return crowd == 1;
    }

    private void quarantine(
        long at, String what, JsonNode element, String path, DataException reason) {
      quarantined.add(
          new Quarantined(
              path.isEmpty() ? name : path,
              String.format(
                  "%s, byte %d: %s %s: %s",
                  name, at, what, element.path("id").asText("without id"), reason.getMessage())));
    }
  }
}
