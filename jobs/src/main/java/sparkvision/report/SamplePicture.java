package sparkvision.report;

import java.awt.AlphaComposite;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import sparkvision.data.DataException;
import sparkvision.data.DetectedObject;
import sparkvision.data.Images;
import sparkvision.data.Sample;
import sparkvision.data.Task;
import sparkvision.data.coco.Rle;
import sparkvision.data.transform.Resize;
import sparkvision.data.volume.Nifti;

/**
 * One sample as a small picture, with what is known of it drawn over: boxes with the class's name,
 * masks in the class's colour, grey where a mask says ignore. Of a volume, the middle slice, with
 * what lies in front up.
 */
final class SamplePicture {

  private static final int LONGER_SIDE = 320;
  private static final int JPEG_QUALITY = 85;
  private static final float OPACITY = 0.45f;

  private final Sample sample;
  private final List<String> classes;
  private final Palette palette;
  private final double scale;
  private final BufferedImage drawing;
  private final SortedSet<Integer> values = new TreeSet<>();

  private SamplePicture(
      Sample sample, List<String> classes, Palette palette, Images.Picture picture) {
    this.sample = sample;
    this.classes = classes;
    this.palette = palette;
    this.scale = Math.min(1, (double) LONGER_SIDE / Math.max(picture.width(), picture.height()));
    int width = Math.max(1, (int) Math.round(scale * picture.width()));
    int height = Math.max(1, (int) Math.round(scale * picture.height()));
    byte[] pixels = Resize.resize(picture, width, height, Resize.Filter.BILINEAR).pixels();
    drawing = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    for (int at = 0; at < width * height; at++) {
      int rgb =
          (pixels[3 * at] & 0xFF) << 16
              | (pixels[3 * at + 1] & 0xFF) << 8
              | (pixels[3 * at + 2] & 0xFF);
      drawing.setRGB(at % width, at / width, rgb);
    }
  }

  /**
   * What was drawn.
   *
   * @param image encoded: JPEG, or PNG if it is small
   * @param values classes of objects and masks that are to be seen
   */
  @SuppressWarnings("ArrayRecordComponent") // carried along, never compared
  record Drawn(byte[] image, SortedSet<Integer> values) {}

  /**
   * Draws a sample.
   *
   * @throws DataException if its picture, mask or volume cannot be read
   */
  static Drawn draw(Sample sample, Task task, List<String> classes, Palette palette) {
    Images.Picture picture = task.isVolume() ? slice(sample) : Images.decode(sample.image(), 3);
    SamplePicture drawn = new SamplePicture(sample, classes, palette, picture);
    if (task.hasMask()) {
      byte[] mask =
          task.isVolume()
              ? middle(sample, sample.mask(), 0, Sample.IGNORE)
              : Images.decode(sample.mask(), 1).pixels();
      drawn.paint(mask, task.isVolume());
    }
    sample.objects().forEach(drawn::paintMask);
    sample.objects().forEach(drawn::paintBox);
    return new Drawn(drawn.encode(), drawn.values);
  }

  // Volumes

  private static Images.Picture slice(Sample sample) {
    float[] voxels = Nifti.read(sample.image(), Nifti.ONLY_CHANNEL).voxels();
    float least = Float.POSITIVE_INFINITY;
    float most = Float.NEGATIVE_INFINITY;
    for (float voxel : voxels) {
      least = Math.min(least, voxel);
      most = Math.max(most, voxel);
    }
    byte[] grey = middle(sample, sample.image(), least, most);
    byte[] colour = new byte[3 * grey.length];
    for (int i = 0; i < colour.length; i++) {
      colour[i] = grey[i / 3];
    }
    return new Images.Picture(sample.width(), sample.height(), 3, colour);
  }

  /** The middle slice, upside down, with {@code least..most} brought to 0..255. */
  private static byte[] middle(Sample sample, byte[] nifti, float least, float most) {
    int width = sample.width();
    int height = sample.height();
    float[] voxels = Nifti.read(nifti, Nifti.ONLY_CHANNEL).voxels();
    int start = sample.depth() / 2 * width * height;
    byte[] pixels = new byte[width * height];
    for (int at = 0; at < pixels.length; at++) {
      float voxel = voxels[start + (height - 1 - at / width) * width + at % width];
      pixels[at] = (byte) Math.round(255 * (voxel - least) / Math.max(most - least, 1e-30f));
    }
    return pixels;
  }

  // Drawing

  private Color colour(int value) {
    return value == Sample.IGNORE ? Color.GRAY : new Color(palette.colors().get(value));
  }

  /** Lays a mask over the picture; {@code clear} leaves class 0, the background, as it is. */
  private void paint(byte[] mask, boolean clear) {
    for (int y = 0; y < drawing.getHeight(); y++) {
      for (int x = 0; x < drawing.getWidth(); x++) {
        int value = mask[at(x, y)] & 0xFF;
        if (value != 0 || !clear) {
          tint(x, y, colour(value));
          values.add(value);
        }
      }
    }
  }

  private void paintMask(DetectedObject object) {
    if (object.rle().isEmpty()) {
      return;
    }
    byte[] mask = Rle.parse(object.rle(), sample.height(), sample.width()).toMask();
    Color colour = object.crowd() ? Color.GRAY : colour(object.category());
    for (int y = 0; y < drawing.getHeight(); y++) {
      for (int x = 0; x < drawing.getWidth(); x++) {
        if (mask[at(x, y)] != 0) {
          tint(x, y, colour);
        }
      }
    }
  }

  /** The sample's pixel under the middle of one of the drawing. */
  private int at(int x, int y) {
    int column = (int) ((2L * x + 1) * sample.width() / (2L * drawing.getWidth()));
    int row = (int) ((2L * y + 1) * sample.height() / (2L * drawing.getHeight()));
    return row * sample.width() + column;
  }

  private void tint(int x, int y, Color colour) {
    int rgb = drawing.getRGB(x, y);
    int mixed = 0;
    for (int shift = 0; shift <= 16; shift += 8) {
      int below = rgb >> shift & 0xFF;
      int above = colour.getRGB() >> shift & 0xFF;
      mixed |= Math.round(below + OPACITY * (above - below)) << shift;
    }
    drawing.setRGB(x, y, mixed);
  }

  private void paintBox(DetectedObject object) {
    values.add(object.category());
    Graphics2D graphics = drawing.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setColor(colour(object.category()));
    graphics.setStroke(new BasicStroke(1.5f));
    graphics.draw(
        new Rectangle2D.Double(
            scale * object.x(),
            scale * object.y(),
            scale * object.width(),
            scale * object.height()));
    graphics.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 10));
    String name = classes.get(object.category()) + (object.crowd() ? " (crowd)" : "");
    float left = (float) (scale * object.x()) + 2;
    float base = (float) Math.max(scale * object.y() - 2, 9);
    Rectangle2D text = graphics.getFontMetrics().getStringBounds(name, graphics);
    graphics.setComposite(AlphaComposite.getInstance(AlphaComposite.SRC_OVER, 0.7f));
    graphics.setColor(Color.BLACK);
    graphics.fill(
        new Rectangle2D.Double(left - 1, base - 9, text.getWidth() + 2, text.getHeight() - 1));
    graphics.setComposite(AlphaComposite.SrcOver);
    graphics.setColor(Color.WHITE);
    graphics.drawString(name, left, base);
    graphics.dispose();
  }

  /** JPEG; small pictures as PNG, so that each of their pixels can be told. */
  private byte[] encode() {
    int width = drawing.getWidth();
    int height = drawing.getHeight();
    byte[] pixels = new byte[3 * width * height];
    for (int at = 0; at < width * height; at++) {
      int rgb = drawing.getRGB(at % width, at / width);
      pixels[3 * at] = (byte) (rgb >> 16);
      pixels[3 * at + 1] = (byte) (rgb >> 8);
      pixels[3 * at + 2] = (byte) rgb;
    }
    Images.Picture picture = new Images.Picture(width, height, 3, pixels);
    return Picture.isSmall(width, height)
        ? Images.encodePng(picture)
        : Images.encodeJpeg(picture, JPEG_QUALITY);
  }
}
