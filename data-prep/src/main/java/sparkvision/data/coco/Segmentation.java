package sparkvision.data.coco;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import sparkvision.data.DataException;

/** The outline of an object, as COCO's JSON writes it. */
public sealed interface Segmentation {

  /**
   * Draws it.
   *
   * @throws DataException if it cannot be drawn in a picture of this size; the message is the
   *     reason alone
   */
  Rle toRle(int height, int width);

  /**
   * The union of polygons, each x and y of its corners in turn.
   *
   * @param corners pixels
   */
  record Polygons(List<double[]> corners) implements Segmentation {

    @Override
    public Rle toRle(int height, int width) {
      return Rle.union(
          corners.stream().map(polygon -> Rle.ofPolygon(polygon, height, width)).toList());
    }
  }

  /** A mask. */
  record Runs(Rle rle) implements Segmentation {

    @Override
    public Rle toRle(int height, int width) {
      if (rle.height() != height || rle.width() != width) {
        throw new DataException(
            String.format(
                "mask is %d x %d pixels, the picture %d x %d",
                rle.width(), rle.height(), width, height));
      }
      return rle;
    }
  }

  /**
   * Reads polygons, or a mask whose {@code counts} are numbers or a compressed string.
   *
   * @throws DataException if it is none of these; the message is the reason alone
   */
  static Segmentation parse(JsonNode node) {
    if (node.isArray() && !node.isEmpty()) {
      List<double[]> polygons = new ArrayList<>(node.size());
      node.forEach(polygon -> polygons.add(CocoJson.numbers(polygon, "polygon")));
      return new Polygons(polygons);
    }
    JsonNode counts = node.path("counts");
    if (!counts.isArray() && !counts.isTextual()) {
      throw new DataException("segmentation is neither polygons nor a mask");
    }
    int[] size = integers(node.path("size"), "size of the mask");
    if (size.length != 2) {
      throw new DataException("size of the mask has " + size.length + " numbers, not 2");
    }
    return new Runs(
        counts.isTextual()
            ? Rle.parse(counts.textValue(), size[0], size[1])
            : Rle.ofCounts(integers(counts, "counts of the mask"), size[0], size[1]));
  }

  private static int[] integers(JsonNode node, String what) {
    if (!node.isArray()) {
      throw new DataException(what + " is no array");
    }
    int[] numbers = new int[node.size()];
    for (int i = 0; i < numbers.length; i++) {
      JsonNode number = node.get(i);
      if (!number.isIntegralNumber() || !number.canConvertToInt()) {
        throw new DataException(what + " holds " + CocoJson.excerpt(number));
      }
      numbers[i] = number.intValue();
    }
    return numbers;
  }
}
