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
}
