package sparkvision.report;

import org.apache.commons.text.StringEscapeUtils;

/** Text made safe for HTML, in a way that an XML parser reads too. */
final class Markup {

  private Markup() {}

  /** {@code text} for element content or a quoted attribute; null is empty. */
  static String escape(String text) {
    return text == null ? "" : StringEscapeUtils.escapeXml10(text);
  }

  /** As {@link #escape}, cut to {@code length} characters with an ellipsis. */
  static String shorten(String text, int length) {
    if (text.codePointCount(0, text.length()) <= length) {
      return escape(text);
    }
    int end = text.offsetByCodePoints(0, length - 1);
    return escape(text.substring(0, end).strip()) + "…";
  }

  /**
   * A whole page: no script, nothing loaded from outside, as its own policy says.
   *
   * @param content markup
   * @param foot plain text behind the version
   */
  static String page(String version, String title, String content, String foot) {
    return """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8"/>
        <meta name="viewport" content="width=device-width, initial-scale=1"/>
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
        <meta name="generator" content="sparkvision %s"/>
        <title>%s</title>
        <style>
        %s</style>
        </head>
        <body>
        <main>
        %s
        <footer>sparkvision %s · %s</footer>
        </main>
        </body>
        </html>
        """
        .formatted(
            escape(version), escape(title), Style.SHEET, content, escape(version), escape(foot));
  }

  /** A number with its name, for a list of class {@code figures}. */
  static String figure(String kind, String name, String value) {
    return "<div%s><dt>%s</dt><dd>%s</dd></div>\n"
        .formatted(kind.isEmpty() ? "" : " class=\"" + kind + "\"", name, value);
  }

  /** A text with its name, for a list of class {@code facts}; nothing if it is empty. */
  static String fact(String name, String value) {
    return value == null || value.isEmpty()
        ? ""
        : "<dt>%s</dt><dd>%s</dd>\n".formatted(name, escape(value));
  }

  /** A titled part of the page; {@code note} is plain text under the heading, or empty. */
  static String section(String id, String heading, String note, String content) {
    return """
        <section id="%s">
        <h2>%s</h2>
        %s%s
        </section>
        """
        .formatted(
            id,
            escape(heading),
            note.isEmpty() ? "" : "<p class=\"note\">" + escape(note) + "</p>\n",
            content.strip());
  }

  /** What a colour means. */
  static String key(String colorClass, String text) {
    return "<span class=\"key\"><i class=\"%s\"></i>%s</span>".formatted(colorClass, escape(text));
  }

  /** What a colour that is no part of the style sheet means. */
  static String swatch(String color, String text) {
    return "<span class=\"key\"><i style=\"background:%s\"></i>%s</span>"
        .formatted(color, escape(text));
  }
}
