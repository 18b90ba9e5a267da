package sparkvision.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import sparkvision.data.DataException;
import sparkvision.data.Sample;
import sparkvision.data.ShardManifest;
import sparkvision.data.Task;

/**
 * A shard set as one self-contained HTML page, so that a person sees in a minute whether the data
 * are right: a contact sheet, the histograms of classes and sizes, what was quarantined and why.
 *
 * <p>The same set gives the same page, byte for byte.
 */
public final class ShardPage {

  private static final int MOST_QUARANTINED = 500;

  private ShardPage() {}

  /**
   * The page's text, to be written as UTF-8.
   *
   * @param samples for the contact sheet
   * @throws DataException if one of them cannot be drawn
   */
  public static String render(ShardManifest manifest, String directory, List<Sample> samples) {
    String content =
        header(manifest, directory)
            + sheet(manifest, samples)
            + classes(manifest)
            + sizes(manifest)
            + quarantined(manifest);
    return Markup.page(manifest.sparkvision(), title(manifest), content, directory);
  }

  private static String title(ShardManifest manifest) {
    return manifest.dataset() + (manifest.split().isEmpty() ? "" : " " + manifest.split());
  }

  private static String header(ShardManifest manifest, String directory) {
    long bytes = manifest.files().stream().mapToLong(ShardManifest.ShardFile::length).sum();
    long blocks = manifest.files().stream().mapToLong(file -> file.blocks().size()).sum();
    return """
        <header>
        <h1>%s</h1>
        <p class="about">A shard set for %s</p>
        <dl class="figures">
        %s</dl>
        <dl class="facts">
        %s</dl>
        </header>
        """
        .formatted(
            Markup.escape(title(manifest)),
            manifest.task(),
            Markup.figure("main", "Samples", Figures.count(manifest.samples()))
                + Markup.figure("", "Classes", Figures.count(manifest.classes().size()))
                + Markup.figure("", "Quarantined", Figures.count(manifest.quarantined().size()))
                + Markup.figure("", "Bytes", Figures.abbreviated((double) bytes))
                + Markup.figure("", "Files", Figures.count(manifest.files().size())),
            Markup.fact("Shards", directory)
                + Markup.fact("Made from", manifest.source())
                + Markup.fact("Prepared", manifest.preparation())
                + Markup.fact(
                    "Blocks",
                    "%s of %s samples"
                        .formatted(
                            Figures.count(blocks), Figures.count(manifest.samplesPerBlock())))
                + Markup.fact(
                    "Stored",
                    manifest.resize() == 0
                        ? "as they came"
                        : "shorter side %d, JPEG quality %d"
                            .formatted(manifest.resize(), manifest.jpegQuality()))
                + Markup.fact("Mean", manifest.mean().toString())
                + Markup.fact("Standard deviation", manifest.std().toString()));
  }

  // The contact sheet

  private static String sheet(ShardManifest manifest, List<Sample> samples) {
    Palette palette = Palette.of(manifest.classes().size());
    return Markup.section(
        "samples",
        "Samples",
        "The first of the set, which were laid down in a random order.",
        samples.stream()
            .map(sample -> card(manifest, sample, palette))
            .collect(Collectors.joining("", "<div class=\"gallery sheet\">\n", "</div>")));
  }

  private static String card(ShardManifest manifest, Sample sample, Palette palette) {
    SamplePicture.Drawn drawn =
        SamplePicture.draw(sample, manifest.task(), manifest.classes(), palette);
    String label = sample.label() < 0 ? "" : manifest.classes().get(sample.label());
    String size =
        sample.width()
            + " x "
            + sample.height()
            + (manifest.task().isVolume() ? " x " + sample.depth() : "")
            + (manifest.task() == Task.DETECTION
                ? ", " + Figures.count(sample.objects().size()) + " objects"
                : "");
    return """
        <figure class="card">
        %s
        <figcaption>
        %s<div class="legend">%s</div>
        <span class="id">%s</span>
        <span class="id" title="%s">%s</span>
        </figcaption>
        </figure>
        """
        .formatted(
            Picture.of(drawn.image()).markup(label.isEmpty() ? sample.id() : label),
            label.isEmpty()
                ? ""
                : "<span title=\"%s\">%s</span>\n"
                    .formatted(Markup.escape(label), Markup.escape(label)),
            drawn.values().stream()
                .map(value -> key(manifest.classes(), palette, value))
                .collect(Collectors.joining()),
            size,
            Markup.escape(sample.id()),
            Markup.escape(sample.id()));
  }

  private static String key(List<String> classes, Palette palette, int value) {
    return value == Sample.IGNORE
        ? Markup.swatch("gray", "ignored")
        : Markup.swatch(palette.css(value), classes.get(value));
  }

  // Histograms

  private static String classes(ShardManifest manifest) {
    String counted =
        switch (manifest.task()) {
          case DETECTION -> "objects";
          case SEGMENTATION, VOLUME_SEGMENTATION -> "samples with it";
          default -> "samples";
        };
    List<Long> counts = manifest.classCounts();
    List<Integer> sorted =
        IntStream.range(0, counts.size())
            .boxed()
            .sorted(Comparator.comparing((Integer c) -> counts.get(c)).reversed())
            .toList();
    return Markup.section(
        "classes",
        "Classes",
        "By frequency. A class without any is suspicious.",
        table(
            "class",
            counted,
            sorted.stream().map(manifest.classes()::get).toList(),
            sorted.stream().map(counts::get).toList()));
  }

  private static String sizes(ShardManifest manifest) {
    List<String> tables = new ArrayList<>();
    tables.add(sizes("width", manifest.widths()));
    tables.add(sizes("height", manifest.heights()));
    if (manifest.task().isVolume()) {
      tables.add(sizes("depth", manifest.depths()));
    }
    return Markup.section(
        "sizes",
        "Sizes",
        manifest.task().isVolume() ? "Voxels." : "Pixels.",
        "<div class=\"columns\">\n" + String.join("", tables) + "</div>");
  }

  private static String sizes(String side, List<ShardManifest.Sizes> sizes) {
    return table(
        side,
        "samples",
        sizes.stream().map(size -> size.from() + " to " + (size.from() + 31)).toList(),
        sizes.stream().map(ShardManifest.Sizes::samples).toList());
  }

  private static String table(
      String heading, String counted, List<String> names, List<Long> counts) {
    long most = counts.stream().mapToLong(count -> count).max().orElse(0);
    return """
        <table class="accuracy">
        <thead><tr><th>%s</th><th class="wide"></th><th class="number">%s</th></tr></thead>
        <tbody>
        %s</tbody>
        </table>
        """
        .formatted(
            heading,
            counted,
            IntStream.range(0, names.size())
                .mapToObj(i -> row(names.get(i), counts.get(i), Math.max(1, most)))
                .collect(Collectors.joining()));
  }

  private static String row(String name, long count, long most) {
    return """
        <tr><td title="%s">%s</td><td class="wide"><div class="bar"><i class="right" style="width:%s%%"></i></div></td>\
        <td class="number">%s</td></tr>
        """
        .formatted(
            Markup.escape(name),
            Markup.escape(name),
            Figures.coordinate(100.0 * count / most),
            Figures.count(count));
  }

  // Quarantine

  private static String quarantined(ShardManifest manifest) {
    List<ShardManifest.Quarantined> all = manifest.quarantined();
    if (all.isEmpty()) {
      return Markup.section("quarantine", "Quarantine", "Every input was good.", "");
    }
    String note =
        all.size() > MOST_QUARANTINED
            ? "Inputs that were left out; the first %s of %s."
                .formatted(MOST_QUARANTINED, Figures.count(all.size()))
            : "Inputs that were left out.";
    String rows =
        all.stream()
            .limit(MOST_QUARANTINED)
            .map(
                input ->
                    "<tr><td>%s</td><td>%s</td><td class=\"number\">%s</td><td>%s</td></tr>\n"
                        .formatted(
                            Markup.escape(input.id()),
                            Markup.escape(input.path()),
                            Figures.count(input.offset()),
                            Markup.escape(input.reason())))
            .collect(Collectors.joining());
    return Markup.section(
        "quarantine",
        "Quarantine",
        note,
        """
        <table>
        <thead><tr><th>sample</th><th>file</th><th class="number">byte</th><th>reason</th></tr></thead>
        <tbody>
        %s</tbody>
        </table>
        """
            .formatted(rows));
  }
}
