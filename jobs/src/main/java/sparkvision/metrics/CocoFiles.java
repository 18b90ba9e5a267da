package sparkvision.metrics;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import org.roaringbitmap.longlong.Roaring64Bitmap;
import sparkvision.data.DataException;
import sparkvision.data.coco.Box;
import sparkvision.data.coco.CocoJson;
import sparkvision.data.coco.Rle;
import sparkvision.data.coco.Segmentation;
import sparkvision.metrics.CocoEvaluation.Detection;
import sparkvision.metrics.CocoEvaluation.Truth;

/**
 * Ground truth and results as COCO's JSON files, compared as COCO's own tools do.
 *
 * <p>If the first result has a box, all must have one, and it is also where areas come from; masks
 * are then optional, and a box stands for one that is missing. Else areas come from the masks.
 * Objects and results of categories that the ground truth does not list, and objects of images that
 * it does not list, are left out and counted.
 */
public final class CocoFiles {

  /**
   * An evaluation and what went into it.
   *
   * @param leftOut objects and detections of images and categories that are not listed
   */
  public record Outcome(CocoEvaluation evaluation, long objects, long detections, long leftOut) {}

  /** What is known of an image; the size is 0 where it is not needed. */
  private static final class Image {
    final int height;
    final int width;
    final List<Truth> truths = new ArrayList<>();
    final List<Detection> detections = new ArrayList<>();

    Image(int height, int width) {
      this.height = height;
      this.width = width;
    }
  }

  private final CocoEvaluation.Type type;
  private final Map<Long, Image> images = new TreeMap<>();
  private final Map<Long, Integer> categories = new HashMap<>();
  private final Roaring64Bitmap objectIds = new Roaring64Bitmap();
  private Boolean boxes; // whether results have them; known from the first
  private long objects;
  private long detections;
  private long leftOut;

  private CocoFiles(CocoEvaluation.Type type) {
    this.type = type;
  }

  /**
   * Reads both files and matches them image by image.
   *
   * @throws DataException if a file is torn or lacks something that is needed
   * @throws IllegalArgumentException if there is no such file
   */
  public static Outcome evaluate(
      Configuration hadoop, String groundTruth, String results, CocoEvaluation.Type type)
      throws IOException {
    CocoFiles files = new CocoFiles(type);
    CocoJson.readObject(
        hadoop, groundTruth, Map.of("images", files::addImage, "categories", files::addCategory));
    if (files.categories.isEmpty()) {
      throw new DataException("Cannot read " + groundTruth + ": it has no categories");
    }
    CocoJson.readObject(hadoop, groundTruth, Map.of("annotations", files::addTruth));
    CocoJson.readArray(hadoop, results, files::addDetection);

    CocoEvaluation evaluation = new CocoEvaluation(type, files.categories.size());
    files.images.forEach((id, image) -> evaluation.add(id, image.truths, image.detections));
    return new Outcome(evaluation, files.objects, files.detections, files.leftOut);
  }

  private void addImage(JsonNode image, long at) {
    long id = CocoJson.whole(image, "id");
    boolean sized = type == CocoEvaluation.Type.SEGM;
    Image known = new Image(sized ? side(image, "height") : 0, sized ? side(image, "width") : 0);
    if (images.put(id, known) != null) {
      throw new DataException("image id " + id + " was there before");
    }
  }

  private static int side(JsonNode image, String key) {
    long side = CocoJson.whole(image, key);
    if (side < 1 || side > Integer.MAX_VALUE) {
      throw new DataException("image " + image.get("id") + ": its " + key + " is " + side);
    }
    return (int) side;
  }

  private void addCategory(JsonNode category, long at) {
    long id = CocoJson.whole(category, "id");
    if (categories.put(id, categories.size()) != null) {
      throw new DataException("category id " + id + " was there before");
    }
  }

  private void addTruth(JsonNode annotation, long at) {
    long id = CocoJson.whole(annotation, "id");
    if (objectIds.contains(id)) {
      throw new DataException("annotation id " + id + " was there before");
    }
    objectIds.addLong(id);
    Image image = images.get(CocoJson.whole(annotation, "image_id"));
    Integer category = categories.get(CocoJson.whole(annotation, "category_id"));
    if (image == null || category == null) {
      leftOut++;
      return;
    }
    Box box = type == CocoEvaluation.Type.BBOX ? CocoJson.box(annotation) : null;
    Rle mask =
        type == CocoEvaluation.Type.SEGM
            ? Segmentation.parse(annotation.path("segmentation")).toRle(image.height, image.width)
            : null;
    boolean crowd = annotation.has("iscrowd") && CocoJson.whole(annotation, "iscrowd") != 0;
    image.truths.add(new Truth(category, box, mask, CocoJson.number(annotation, "area"), crowd));
    objects++;
  }

  private void addDetection(JsonNode result, long at) {
    long imageId = CocoJson.whole(result, "image_id");
    Image image = images.get(imageId);
    if (image == null) {
      throw new DataException("image " + imageId + " is not in the ground truth");
    }
    Integer category = categories.get(CocoJson.whole(result, "category_id"));
    double score = CocoJson.number(result, "score");
    if (boxes == null) {
      boxes = has(result, "bbox");
    }
    if (category == null) {
      leftOut++;
      return;
    }
    image.detections.add(
        boxes ? boxed(result, image, category, score) : masked(result, image, category, score));
    detections++;
  }

  private Detection boxed(JsonNode result, Image image, int category, double score) {
    Box box = CocoJson.box(result);
    Rle mask = null;
    if (type == CocoEvaluation.Type.SEGM) {
      mask =
          has(result, "segmentation")
              ? Segmentation.parse(result.get("segmentation")).toRle(image.height, image.width)
              : Rle.ofBox(box, image.height, image.width);
    }
    return new Detection(category, box, mask, box.area(), score);
  }

  private Detection masked(JsonNode result, Image image, int category, double score) {
    if (!has(result, "segmentation")) {
      throw new DataException("it has neither bbox nor segmentation");
    }
    if (!(Segmentation.parse(result.get("segmentation")) instanceof Segmentation.Runs runs)) {
      throw new DataException("its segmentation is polygons (without a bbox it must be a mask)");
    }
    return type == CocoEvaluation.Type.SEGM
        ? new Detection(
            category, null, runs.toRle(image.height, image.width), runs.rle().area(), score)
        : new Detection(
            category,
            has(result, "bbox") ? CocoJson.box(result) : runs.rle().box(),
            null,
            runs.rle().area(),
            score);
  }

  private static boolean has(JsonNode result, String key) {
    JsonNode value = result.path(key);
    return !value.isMissingNode() && !value.isNull() && !(value.isArray() && value.isEmpty());
  }
}
