package sparkvision.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Line2D;
import java.awt.geom.Path2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.DoubleStream;
import javax.imageio.ImageIO;

/**
 * How costs grow: panels of curves over logarithmic axes, side by side, with one legend.
 *
 * <p>A curve has the same place in every panel, and by it the same colour.
 *
 * @param xLabel what the horizontal axes say
 */
public record LogPlot(String xLabel, List<Panel> panels) {

  private static final int WIDTH = 620; // of a panel, pixels
  private static final int HEIGHT = 480;
  private static final int LEFT = 70;
  private static final int RIGHT = 20;
  private static final int TOP = 40;
  private static final int BOTTOM = 55;
  private static final int LINE = 22; // of the legend
  private static final int SAMPLE = 26; // the length of a key in the legend
  private static final Font TEXT = new Font(Font.SANS_SERIF, Font.PLAIN, 14);
  private static final Font TITLE = TEXT.deriveFont(Font.BOLD, 16);
  private static final Color GRID = new Color(0xdddddd);
  private static final float[] DASHES = {7, 5};

  /**
   * One drawing.
   *
   * @param title what its curves show, with the unit
   */
  public record Panel(String title, List<Curve> curves) {

    public Panel {
      curves = List.copyOf(curves);
    }
  }

  /** A line through (x[i], y[i]), all above 0; x ascends. Without points, only in the legend. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  public record Curve(String name, double[] x, double[] y) {}

  public LogPlot {
    panels = List.copyOf(panels);
  }

  /**
   * The picture, encoded.
   *
   * @throws IllegalArgumentException if no curve has a point
   */
  public byte[] png() {
    if (panels.stream().allMatch(panel -> points(panel).isEmpty())) {
      throw new IllegalArgumentException("Cannot draw a plot: no curve has a point");
    }
    List<Curve> legend = panels.get(0).curves;
    int columns = 2 * panels.size();
    int lines = (legend.size() + columns - 1) / columns;
    BufferedImage image =
        new BufferedImage(
            panels.size() * WIDTH, HEIGHT + lines * LINE + LINE, BufferedImage.TYPE_INT_RGB);
    Graphics2D pen = image.createGraphics();
    pen.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    pen.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    pen.setColor(Color.WHITE);
    pen.fillRect(0, 0, image.getWidth(), image.getHeight());
    for (int i = 0; i < panels.size(); i++) {
      if (!points(panels.get(i)).isEmpty()) {
        new Drawing(pen, panels.get(i), i * WIDTH).draw(xLabel);
      }
    }
    pen.setFont(TEXT);
    for (int i = 0; i < legend.size(); i++) {
      int x = LEFT + i / lines * (image.getWidth() - LEFT) / columns;
      int y = HEIGHT + i % lines * LINE + LINE / 2;
      look(pen, i, legend.size());
      pen.draw(new Line2D.Double(x, y, x + SAMPLE, y));
      pen.setColor(Color.BLACK);
      pen.drawString(legend.get(i).name, x + SAMPLE + 8, y + 5);
    }
    pen.dispose();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try {
      ImageIO.write(image, "png", bytes);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot encode a plot", e);
    }
    return bytes.toByteArray();
  }

  private static List<double[]> points(Panel panel) {
    List<double[]> points = new ArrayList<>();
    for (Curve curve : panel.curves) {
      for (int i = 0; i < curve.x.length; i++) {
        points.add(new double[] {curve.x[i], curve.y[i]});
      }
    }
    return points;
  }

  /** Every second curve is dashed, for those whose hues are close. */
  private static void look(Graphics2D pen, int curve, int curves) {
    pen.setColor(new Color(Palette.of(curves).colors().get(curve)));
    pen.setStroke(
        new BasicStroke(
            2.5f,
            BasicStroke.CAP_ROUND,
            BasicStroke.JOIN_ROUND,
            1,
            curve % 2 == 0 ? null : DASHES,
            0));
  }

  /** What one panel needs to be drawn. */
  private static final class Drawing {
    private final Graphics2D pen;
    private final Panel panel;
    private final int left;
    private final int right;
    private final double[] xs; // every x that a curve has
    private final double lowX;
    private final double highX;
    private final int lowPower; // of ten
    private final int highPower;

    Drawing(Graphics2D pen, Panel panel, int left) {
      this.pen = pen;
      this.panel = panel;
      this.left = left + LEFT;
      this.right = left + WIDTH - RIGHT;
      List<double[]> points = points(panel);
      this.xs = points.stream().mapToDouble(point -> point[0]).distinct().sorted().toArray();
      double room = xs.length == 1 ? 2 : 1.1;
      this.lowX = xs[0] / room;
      this.highX = xs[xs.length - 1] * room;
      double[] ys = points.stream().mapToDouble(point -> point[1]).toArray();
      this.lowPower = (int) Math.floor(Math.log10(DoubleStream.of(ys).min().orElseThrow()));
      int high = (int) Math.ceil(Math.log10(DoubleStream.of(ys).max().orElseThrow()));
      this.highPower = Math.max(high, lowPower + 1);
    }

    void draw(String xLabel) {
      pen.setColor(Color.BLACK);
      pen.setFont(TITLE);
      pen.drawString(panel.title, left, TOP - 14);
      pen.setFont(TEXT);
      FontMetrics metrics = pen.getFontMetrics();
      pen.setStroke(new BasicStroke(1));
      for (int power = lowPower; power <= highPower; power++) {
        double y = y(Math.pow(10, power));
        rule(left, y, right, y);
        String label = label(power);
        pen.drawString(label, left - 8 - metrics.stringWidth(label), (float) y + 5);
      }
      double free = left;
      for (double value : xs) {
        double x = x(value);
        rule(x, TOP, x, HEIGHT - BOTTOM);
        String label = String.valueOf(Math.round(value));
        double begin = x - metrics.stringWidth(label) / 2.0;
        if (begin >= free) { // a label that another one would touch is left out
          pen.drawString(label, (float) begin, HEIGHT - BOTTOM + 18);
          free = begin + metrics.stringWidth(label) + 6;
        }
      }
      double middle = (left + right - metrics.stringWidth(xLabel)) / 2.0;
      pen.drawString(xLabel, (float) middle, HEIGHT - BOTTOM + 40);
      for (int i = 0; i < panel.curves.size(); i++) {
        draw(panel.curves.get(i), i);
      }
    }

    private void rule(double x1, double y1, double x2, double y2) {
      pen.setColor(GRID);
      pen.draw(new Line2D.Double(x1, y1, x2, y2));
      pen.setColor(Color.BLACK);
    }

    private void draw(Curve curve, int index) {
      look(pen, index, panel.curves.size());
      Path2D path = new Path2D.Double();
      for (int i = 0; i < curve.x.length; i++) {
        double x = x(curve.x[i]);
        double y = y(curve.y[i]);
        if (i == 0) {
          path.moveTo(x, y);
        } else {
          path.lineTo(x, y);
        }
        pen.fill(new Ellipse2D.Double(x - 3.5, y - 3.5, 7, 7));
      }
      pen.draw(path);
    }

    private double x(double value) {
      return left + Math.log(value / lowX) / Math.log(highX / lowX) * (right - left);
    }

    private double y(double value) {
      double place = (Math.log10(value) - lowPower) / (highPower - lowPower);
      return HEIGHT - BOTTOM - place * (HEIGHT - BOTTOM - TOP);
    }

    /** 0.001, 1, 1000 and, beyond, 1e6. */
    private static String label(int power) {
      return Math.abs(power) > 4
          ? "1e" + power
          : String.format(Locale.ROOT, "%." + Math.max(0, -power) + "f", Math.pow(10, power));
    }
  }
}
