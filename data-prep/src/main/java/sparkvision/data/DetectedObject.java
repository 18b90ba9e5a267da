package sparkvision.data;

import java.io.Serializable;

/**
 * One annotated object of a picture.
 *
 * @param category index into the classes
 * @param x of the box's left edge, pixels
 * @param y of the box's upper edge, pixels
 * @param width of the box, pixels
 * @param height of the box, pixels
 * @param area of the mask as the data set states it, pixels
 * @param crowd whether it stands for a group that was not told apart
 * @param rle the mask, COCO's compressed run-length string for the picture's height and width;
 *     empty if there is only a box
 */
public record DetectedObject(
    int category,
    double x,
    double y,
    double width,
    double height,
    double area,
    boolean crowd,
    String rle)
    implements Serializable {}
