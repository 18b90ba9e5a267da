package sparkvision.report;

import java.io.Serializable;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import sparkvision.data.Images;
import sparkvision.data.Sample;
import sparkvision.data.transform.OpenCvOps;
import sparkvision.data.transform.OpenCvOps.Interpolation;

/** Pictures beside their segmentations, true and predicted, laid over them in colours. */
public final class Overlay {

  /** Longer sides are shrunk to this, pixels: three fit beside each other. */
  private static final int LONGEST_SIDE = 480;

  /** Classes that the legend names. */
  private static final int NAMED = 10;

  private static final int JPEG_QUALITY = 85;

  /** A colour's share of a pixel, of 256. */
  private static final int OPACITY = 160;

  private Overlay() {}

  /**
   * A picture and its two segmentations.
   *
   * @param image encoded picture, JPEG or PNG
   * @param truth a class for every pixel of it, 8-bit grey PNG; 255 = none
   * @param predicted a class for every pixel of it, 8-bit grey PNG
   */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared by content
  public record Example(String id, byte[] image, byte[] truth, byte[] predicted)
      implements Serializable {}

  /**
   * @param classes names by index
   * @throws IllegalArgumentException if a segmentation has another size than its picture, or a
   *     class that has no name
   */
  static String render(List<Example> examples, List<String> classes, Palette palette) {
    if (examples.isEmpty()) {
      return "";
    }
    return Markup.section(
        "overlays",
        "Segmentations",
        "Each picture, its labels (dark where there are none) and what the model said.",
        examples.stream()
            .map(example -> figure(example, classes, palette))
            .collect(Collectors.joining()));
  }

  private static String figure(Example example, List<String> classes, Palette palette) {
    Images.Picture stored = Images.decode(example.image(), 3);
    Images.Picture picture = shrunk(stored, Interpolation.BILINEAR);
    Images.Picture truth = labels(example, example.truth(), stored, classes.size());
    Images.Picture predicted = labels(example, example.predicted(), stored, classes.size());
    return """
        <figure class="overlay">
        <div class="triple">
        <img src="%s" alt="picture"/>
        <img src="%s" alt="labels"/>
        <img src="%s" alt="prediction"/>
        </div>
        <figcaption>
        <p class="legend">%s</p>
        <span class="id">%s</span>
        </figcaption>
        </figure>
        """
        .formatted(
            source(picture),
            source(paint(picture, truth, palette)),
            source(paint(picture, predicted, palette)),
            legend(truth, predicted, classes, palette),
            Markup.escape(example.id()));
  }

  private static Images.Picture labels(
      Example example, byte[] mask, Images.Picture picture, int classes) {
    Images.Picture labels = Images.decode(mask, 1);
    if (labels.width() != picture.width() || labels.height() != picture.height()) {
      throw new IllegalArgumentException(
          String.format(
              "Cannot draw %s: its picture has %d x %d pixels, a segmentation %d x %d",
              example.id(), picture.width(), picture.height(), labels.width(), labels.height()));
    }
    for (byte label : labels.pixels()) {
      int index = label & 0xFF;
      if (index != Sample.IGNORE && index >= classes) {
        throw new IllegalArgumentException(
            String.format(
                "Cannot draw %s: label %d is none of the %d classes",
                example.id(), index, classes));
      }
    }
    return shrunk(labels, Interpolation.NEAREST);
  }

  private static Images.Picture shrunk(Images.Picture picture, Interpolation interpolation) {
    int longest = Math.max(picture.width(), picture.height());
    if (longest <= LONGEST_SIDE) {
      return picture;
    }
    int width = Math.max(1, picture.width() * LONGEST_SIDE / longest);
    int height = Math.max(1, picture.height() * LONGEST_SIDE / longest);
    return OpenCvOps.resize(picture, width, height, interpolation);
  }

  /** The picture in the colours of its labels; a third as bright where there are none. */
  static Images.Picture paint(Images.Picture picture, Images.Picture labels, Palette palette) {
    byte[] pixels = picture.pixels().clone();
    for (int i = 0; i < pixels.length; i++) {
      int label = labels.pixels()[i / 3] & 0xFF;
      int value = pixels[i] & 0xFF;
      if (label == Sample.IGNORE) {
        pixels[i] = (byte) (value / 3);
        continue;
      }
      int color = palette.colors().get(label) >> (16 - 8 * (i % 3)) & 0xFF;
      pixels[i] = (byte) ((value * (256 - OPACITY) + color * OPACITY) / 256);
    }
    return new Images.Picture(picture.width(), picture.height(), 3, pixels);
  }

  /** A data: URI of a JPEG. */
  private static String source(Images.Picture picture) {
    return Picture.of(Images.encodeJpeg(picture, JPEG_QUALITY)).source();
  }

  /** The classes of most pixels, in either segmentation. */
  private static String legend(
      Images.Picture truth, Images.Picture predicted, List<String> classes, Palette palette) {
    int[] counts = new int[256];
    for (Images.Picture labels : List.of(truth, predicted)) {
      for (byte label : labels.pixels()) {
        counts[label & 0xFF]++;
      }
    }
    return IntStream.range(0, classes.size())
        .filter(c -> counts[c] > 0)
        .boxed()
        .sorted(Comparator.comparing(c -> -counts[c]))
        .limit(NAMED)
        .map(c -> Markup.swatch(palette.css(c), classes.get(c)))
        .collect(Collectors.joining());
  }
}
