package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class ReportPageTest {

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 10, 12, 13, 30, 31, 40, 41, 101, 1000})
  void isWellFormedForAnyNumberOfClasses(int classes) {
    Document page = Fragments.parse(ReportPage.render(Reports.full(Reports.classes(classes), 50)));
    assertThat(sections(page))
        .containsExactly("training", "confusion", "classes", "mistakes", "ranks", "configuration");
    assertThat(ids(page)).doesNotHaveDuplicates();
    for (Element drawing : Fragments.elements(page, "svg")) {
      assertThat(drawing.getAttribute("role")).isEqualTo("img");
      assertThat(drawing.getFirstChild().getNodeName()).isEqualTo("title");
      assertThat(ids(page)).contains(drawing.getAttribute("aria-labelledby"));
    }
  }

  @Test
  void showsTheFigures() {
    String text = text(Reports.full(Reports.classes(10), 100));
    assertThat(text)
        .contains("Drawn at random", "85.25 %", "98.75 %", "0.4322", "7.98 M", "7,978,856")
        .contains("hdfs://nn/runs/a/checkpoints/step-000000000400", "hdfs://nn/shards/val")
        .contains("8.4 s, 238.1 images/s", "2026-11-22 17:31 UTC", "sparkvision 0.1.0")
        .contains("3 epochs, 100 rounds", "best 85.25 % at step 400")
        .contains("class-9", "98.7 %", "worker-b", "50.0", "1 min 10 s", "seed = 1");
  }

  @Test
  void top5IsShownWhereItSaysSomething() {
    assertThat(text(Reports.full(Reports.classes(5), 9))).doesNotContain("Top-5");
    assertThat(text(Reports.full(Reports.classes(6), 9))).contains("Top-5");
  }

  @Test
  void everyCountOfASmallMatrixIsThere() {
    Report report = Reports.withoutHistory(Reports.classes(7));
    List<String> shown = new ArrayList<>();
    for (Element text : Fragments.elements(Fragments.parse(ReportPage.render(report)), "text")) {
      if (text.getAttribute("class").contains("count")) {
        shown.add(text.getTextContent());
      }
    }
    List<String> expected =
        Arrays.stream(report.confusion())
            .flatMapToLong(Arrays::stream)
            .filter(count -> count > 0)
            .mapToObj(Long::toString)
            .toList();
    assertThat(shown).isEqualTo(expected).isNotEmpty();
  }

  @Test
  void theMostConfusedPairsComeFirst() {
    List<String> classes = Reports.classes(50);
    Report report = Reports.withoutHistory(classes);
    report.confusion()[7][21] = 12_345;
    report.confusion()[3][4] = 12_344;
    Element pairs =
        Fragments.elements(Fragments.parse(ReportPage.render(report)), "table").stream()
            .filter(table -> table.getAttribute("class").equals("pairs"))
            .findFirst()
            .orElseThrow();
    NodeList rows = pairs.getElementsByTagName("tr");
    assertThat(rows.getLength()).isEqualTo(1 + 20);
    assertThat(rows.item(1).getTextContent()).contains("class-7", "class-21", "12,345");
    assertThat(rows.item(2).getTextContent()).contains("class-3", "class-4", "12,344");
  }

  @Test
  void sectionsWithoutDataAreLeftOut() {
    Report report = Reports.withoutHistory(Reports.classes(10));
    assertThat(sections(Fragments.parse(ReportPage.render(report))))
        .containsExactly("confusion", "classes");
    assertThat(text(report)).doesNotContain("Step");
  }

  @Test
  void escapesWhatOthersWrote() {
    String evil = "<script>alert('x')</script> & \"co\" \u0007 ü";
    Report plain = Reports.full(List.of(evil, "b", "c", "d", "e", "f"), 5);
    Report report =
        new Report(
            evil,
            evil,
            evil,
            1,
            1,
            evil,
            1,
            1.0,
            1.0,
            0.0,
            plain.classes(),
            plain.perClassAccuracy(),
            plain.confusion(),
            List.of(new Report.Mistake(evil, evil, "b", 1, 1, Reports.picture("png", 28))),
            null,
            null,
            List.of(),
            evil,
            plain.epochs(),
            plain.rounds(),
            List.of(new Report.RankThroughput(0, evil, 1, 1, 1, 1)),
            1,
            1,
            evil,
            evil,
            evil);
    String html = ReportPage.render(report);
    assertThat(html).doesNotContain("<script", "\u0007");
    Document page = Fragments.parse(html);
    assertThat(page.getElementsByTagName("h1").item(0).getTextContent())
        .isEqualTo("<script>alert('x')</script> & \"co\"  ü");
    assertThat(Fragments.elements(page, "img").get(0).getAttribute("alt"))
        .startsWith("<script>alert('x')</script> & \"co\"");
  }

  @Test
  void loadsNothingFromOutside() {
    String html = ReportPage.render(Reports.full(Reports.classes(10), 50));
    assertThat(html).doesNotContain("http://", "https://", "@import", "<script", "<link");
    assertThat(html.replaceAll("url\\(#[a-z-]+\\)", "")).doesNotContain("url(");
    for (Element image : Fragments.elements(Fragments.parse(html), "img")) {
      assertThat(image.getAttribute("src")).startsWith("data:image/");
    }
  }

  @Test
  void picturesAreEmbeddedAndSmallOnesEnlarged() {
    Report report = Reports.full(Reports.classes(10), 5);
    Document page = Fragments.parse(ReportPage.render(report));
    List<Element> images = Fragments.elements(page, "img");
    assertThat(images).hasSize(2);
    assertThat(images.get(0).getAttribute("src"))
        .isEqualTo(
            "data:image/png;base64,"
                + Base64.getEncoder().encodeToString(report.mistakes().get(0).image()));
    assertThat(images.get(0).getAttribute("class")).isEqualTo("pixelated");
    assertThat(images.get(1).getAttribute("src")).startsWith("data:image/jpeg;base64,");
    assertThat(images.get(1).getAttribute("class")).isEmpty();
    assertThat(page.getDocumentElement().getTextContent()).contains("no picture");
  }

  @Test
  void roundsShowWhatTheySpentTheirTimeOnAndWhoWasLast() {
    String page = text(Reports.full(Reports.classes(3), 40));
    assertThat(page).contains("Seconds of a round", "Drift of the weights");
    assertThat(page).contains("slowest in").containsPattern("\\d+ % of rounds");
  }

  @Test
  void aHundredThousandRoundsAreThinned() {
    String html = ReportPage.render(Reports.full(Reports.classes(2), 100_000));
    assertThat(html.length()).isLessThan(300_000);
    Fragments.parse(html);
  }

  @ParameterizedTest
  @CsvSource({"1, 0", "2, 0", "1, NaN", "30, NaN", "30, Infinity"})
  void drawsShortAndBrokenHistories(int rounds, double loss) {
    Report full = Reports.full(Reports.classes(6), rounds);
    List<Report.RoundPoint> points =
        full.rounds().stream()
            .map(p -> new Report.RoundPoint(p.step(), loss, 0, Double.NaN, 1, 0, 0, 0, 0))
            .toList();
    Report report =
        new Report(
            "t",
            "m",
            "c",
            1,
            1,
            "s",
            1,
            1.0,
            1.0,
            Double.NaN,
            full.classes(),
            full.perClassAccuracy(),
            full.confusion(),
            null,
            null,
            null,
            null,
            null,
            null,
            points,
            null,
            0,
            0,
            null,
            null,
            null);
    String html = ReportPage.render(report);
    Fragments.parse(html);
    assertThat(html.substring(html.indexOf("<body"))).doesNotContain("NaN", "Infinity");
  }

  @Test
  void isTheSameEachTimeAndInAnyLocale() {
    Report report = Reports.full(Reports.classes(40), 300);
    Locale before = Locale.getDefault();
    String here = ReportPage.render(report);
    try {
      Locale.setDefault(Locale.forLanguageTag("ar-EG-u-nu-arab"));
      assertThat(ReportPage.render(Report.fromJson(report.toJson()))).isEqualTo(here);
    } finally {
      Locale.setDefault(before);
    }
  }

  private static String text(Report report) {
    return Fragments.parse(ReportPage.render(report))
        .getElementsByTagName("body")
        .item(0)
        .getTextContent();
  }

  private static List<String> sections(Document page) {
    return Fragments.elements(page, "section").stream().map(s -> s.getAttribute("id")).toList();
  }

  private static List<String> ids(Document page) {
    return Fragments.elements(page, "*").stream()
        .map(e -> e.getAttribute("id"))
        .filter(id -> !id.isEmpty())
        .toList();
  }
}
