package sparkvision.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Test;

class ReportTest {

  private final Report report = Reports.full(Reports.classes(4), 25);

  @Test
  void survivesJson() {
    Report copy = Report.fromJson(report.toJson());
    assertThat(copy).usingRecursiveComparison().isEqualTo(report);
    assertThat(copy.toJson()).isEqualTo(report.toJson());
  }

  @Test
  void keysAreKebabCase() throws IOException {
    JsonNode json = new JsonMapper().readTree(report.toJson());
    assertThat(json.fieldNames())
        .toIterable()
        .contains("per-class-accuracy", "evaluation-seconds", "top1", "classes")
        .allMatch(key -> key.matches("[a-z0-9-]+"));
    assertThat(json.at("/rounds/0/learning-rate").asDouble()).isEqualTo(0.1);
    assertThat(json.at("/ranks/1/exchange-seconds").asDouble()).isEqualTo(30);
    assertThat(json.at("/epochs/1/validation-score").isNull()).isTrue();
    assertThat(json.at("/mistakes/0/image").asText())
        .isEqualTo(Base64.getEncoder().encodeToString(report.mistakes().get(0).image()));
  }

  @Test
  void aClassWithoutSamplesHasNoAccuracy() throws IOException {
    assertThat(report.perClassAccuracy().get(3)).isNull();
    JsonNode json = new JsonMapper().readTree(report.toJson());
    assertThat(json.at("/per-class-accuracy/3").isNull()).isTrue();
    assertThat(json.at("/per-class-accuracy/0").isDouble()).isTrue();
  }

  @Test
  void refusesTextThatIsNoReport() {
    assertThatThrownBy(() -> Report.fromJson("null"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot read report: found null");
    assertThatThrownBy(() -> Report.fromJson("{\"title\": "))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot read report: ");
    assertThatThrownBy(
            () ->
                Report.fromJson(
                    report.toJson().replaceAll("\"step\" : 100,\\s+\"parameters", "\"parameters")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot read report: ")
        .hasMessageContaining("'step'");
    assertThatThrownBy(
            () ->
                Report.fromJson(
                    report.toJson().replace("\"top1\" :", "\"top-one\" : 1, \"top1\" :")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("top-one");
  }

  @Test
  void refusesSizesThatDoNotAgree() {
    assertThatThrownBy(() -> sized(List.of(0.5), new long[2][2]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid per-class-accuracy: 1 values (must be one for each of the 2 classes)");
    assertThatThrownBy(() -> sized(List.of(0.5, 1.0), new long[2][3]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid confusion: 2 rows (must be 2 rows of 2 counts, one per class)");
  }

  private static Report sized(List<Double> accuracy, long[][] confusion) {
    return new Report(
        "t",
        "m",
        "c",
        0,
        1,
        "s",
        2,
        1.0,
        1.0,
        0.0,
        List.of("a", "b"),
        accuracy,
        confusion,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        1,
        1,
        "",
        "",
        "");
  }
}
