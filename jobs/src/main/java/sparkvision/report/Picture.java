package sparkvision.report;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Base64;
import java.util.Iterator;
import java.util.Locale;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * An encoded picture that a page can carry.
 *
 * @param source a data: URI
 * @param width in pixels
 * @param height in pixels
 */
record Picture(String source, int width, int height) {

  /** Pictures with both sides below this are enlarged pixel by pixel. */
  private static final int SMALL = 100;

  static boolean isSmall(int width, int height) {
    return width < SMALL && height < SMALL;
  }

  /** The picture in its frame. */
  String markup(String description) {
    return "<div class=\"picture\"><img%s src=\"%s\" alt=\"%s\"/></div>"
        .formatted(
            isSmall(width, height) ? " class=\"pixelated\"" : "",
            source,
            Markup.escape(description));
  }

  /** The picture in {@code bytes}; null if they are missing or of no format that is known. */
  static Picture of(byte[] bytes) {
    if (bytes == null || bytes.length == 0) {
      return null;
    }
    try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bytes))) {
      Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
      if (!readers.hasNext()) {
        return null;
      }
      ImageReader reader = readers.next();
      try {
        reader.setInput(in);
        String format = reader.getFormatName().toLowerCase(Locale.ROOT);
        String source =
            "data:image/" + format + ";base64," + Base64.getEncoder().encodeToString(bytes);
        return new Picture(source, reader.getWidth(0), reader.getHeight(0));
      } finally {
        reader.dispose();
      }
    } catch (IOException e) {
      return null; // a header cut short: the page says that there is no picture
    }
  }
}
