/**
 * What an evaluation found, for machines and for people.
 *
 * <pre>
 *   metrics + history of the run --&gt; Report --+--&gt; report.json   every number, kebab-case keys
 *                                             +--&gt; report.html   one page: curves, confusion, mistakes
 * </pre>
 *
 * <p><b>report.json</b> is a {@link sparkvision.report.Report} through Jackson. Shares are 0..1,
 * losses are in nats, times in seconds; pictures are the encoded bytes in base64; {@code null}
 * stands where there is nothing to measure (accuracy of a class without samples, an epoch without
 * validation).
 *
 * <p><b>report.html</b> is {@link sparkvision.report.ReportPage}: well-formed XML as well as HTML5,
 * no script, nothing loaded from outside, light and dark, fit for paper. The same report gives the
 * same bytes. Sections without data are left out.
 *
 * <p>Of a segmentation there are {@link sparkvision.report.SegmentationScores}, set as a table of
 * classes, and pictures with their labels laid over them in the colours of a {@link
 * sparkvision.report.Palette}; no page holds them yet.
 *
 * <p>On the page, {@link sparkvision.report.Markup} escapes what is written, {@link
 * sparkvision.report.Figures} formats numbers, and each section is a class of its own.
 */
package sparkvision.report;
