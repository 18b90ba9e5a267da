package sparkvision.data.coco;

import java.io.Serializable;

/**
 * A rectangle of real coordinates; the origin is the upper left corner of the picture's first
 * pixel.
 *
 * @param x of the left edge, pixels
 * @param y of the upper edge, pixels
 */
public record Box(double x, double y, double width, double height) implements Serializable {

  public double area() {
    return width * height;
  }

  /** The intersection with {@code other} over the union, 0..1. */
  public double iou(Box other) {
    double both = intersection(other);
    return both == 0 ? 0 : both / (area() + other.area() - both);
  }

  /**
   * The share of this box inside {@code crowd}, 0..1: what COCO takes for the intersection over
   * union with a group that was not told apart.
   */
  public double shareInside(Box crowd) {
    double both = intersection(crowd);
    return both == 0 ? 0 : both / area();
  }

  private double intersection(Box other) {
    double across = Math.min(width + x, other.width + other.x) - Math.max(x, other.x);
    double down = Math.min(height + y, other.height + other.y) - Math.max(y, other.y);
    return across <= 0 || down <= 0 ? 0 : across * down;
  }
}
