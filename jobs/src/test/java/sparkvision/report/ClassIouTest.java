package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import sparkvision.report.SegmentationScores.ClassScore;

class ClassIouTest {

  @Test
  void everyClassHasARowWorstFirst() {
    SegmentationScores scores =
        new SegmentationScores(
            0.5,
            0.75,
            0.625,
            0.875,
            List.of(
                new ClassScore("a <b>", 0.75, 0.8, 0.9, 12345),
                new ClassScore("never", null, null, null, 0),
                new ClassScore("said", 0.0, null, 0.0, 0),
                new ClassScore("last", 0.75, 1.0, 0.9, 3)));
    Document page = Fragments.parse(ClassIou.render(scores));
    assertThat(Fragments.elements(page, "td"))
        .extracting(Element::getTextContent)
        .containsExactly(
            "said", "", "0.0 %", "–", "0.0 %", "0", "a <b>", "", "75.0 %", "80.0 %", "90.0 %",
            "12.3 k", "last", "", "75.0 %", "100.0 %", "90.0 %", "3");
    assertThat(Fragments.elements(page, "i"))
        .extracting(bar -> bar.getAttribute("style"))
        .containsExactly("width:0%", "width:75%", "width:75%");
    assertThat(page.getDocumentElement().getTextContent())
        .contains("IoU 50.0 %, accuracy 75.0 %, Dice 62.5 %; of all pixels 87.5 % are right.")
        .contains("Neither labelled nor predicted: 1 of 4 classes.");
  }

  @Test
  void allOfManyClassesAreShownInTwoColumns() {
    List<ClassScore> classes =
        IntStream.range(0, 150)
            .mapToObj(c -> new ClassScore("class-" + c, c / 150.0, 0.5, 0.5, c))
            .toList();
    Document page =
        Fragments.parse(ClassIou.render(new SegmentationScores(0.5, 0.5, 0.5, 0.5, classes)));
    assertThat(Fragments.elements(page, "table")).hasSize(2);
    assertThat(Fragments.elements(page, "tr")).hasSize(152);
  }

  @Test
  void nothingMeasuredIsNoSection() {
    List<ClassScore> classes = List.of(new ClassScore("a", null, null, null, 0));
    assertThat(ClassIou.render(new SegmentationScores(null, null, null, null, classes))).isEmpty();
  }
}
