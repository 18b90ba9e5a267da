package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvaluateCocoTest {

  private static final Path FILES = Path.of("src/test/resources/sparkvision/metrics");
  private static final String TRUTH = "ground-truth=" + FILES.resolve("coco-truth.json");
  private static final String BOXES = "results=" + FILES.resolve("coco-boxes.json");

  @TempDir private Path dir;

  @Test
  void printsTheTwelveNumbers() throws IOException {
    Ended text = Ended.run("evaluate-coco", TRUTH, BOXES, "type=bbox");
    assertThat(text.code()).as(text.error()).isZero();
    assertThat(text.error()).isEmpty();
    assertThat(text.out())
        .hasSize(13)
        .startsWith(
            "194 detections of 31 objects in 7 images", "AP         0.180", "AP50       0.284")
        .endsWith("ARlarge    0.167");

    Ended json = Ended.run("evaluate-coco", "--json", TRUTH, BOXES, "type=segm");
    assertThat(json.out()).hasSize(1);
    JsonNode line = JsonMapper.builder().build().readTree(json.out().get(0));
    assertThat(line.fieldNames())
        .toIterable()
        .containsExactly(
            "type",
            "images",
            "objects",
            "detections",
            "AP",
            "AP50",
            "AP75",
            "APsmall",
            "APmedium",
            "APlarge",
            "AR1",
            "AR10",
            "AR100",
            "ARsmall",
            "ARmedium",
            "ARlarge");
    assertThat(line.get("type").asText()).isEqualTo("segm");
    assertThat(line.get("AP").doubleValue()).isCloseTo(0.08603823407902185, within(1e-12));
    assertThat(line.get("ARlarge").doubleValue()).isCloseTo(0.1, within(1e-12));
  }

  @Test
  void saysWhatWasLeftOut() throws IOException {
    Path results = dir.resolve("results.json");
    Files.writeString(
        results, "[{\"image_id\": 3, \"category_id\": 999, \"score\": 1, \"bbox\": [0, 0, 1, 1]}]");
    Ended ended = Ended.run("evaluate-coco", TRUTH, "results=" + results, "type=bbox");
    assertThat(ended.code()).isZero();
    assertThat(ended.error())
        .startsWith("Left out: 1 annotations and results of categories or images that ")
        .hasLineCount(1);
  }

  @Test
  void badInputIsOneSentenceAndACode() throws IOException {
    Path torn = dir.resolve("torn.json");
    Files.writeString(torn, "[{\"image_id\": 3, \"categ");
    expect(
        Ended.run("evaluate-coco", TRUTH, "results=" + torn, "type=bbox"),
        4,
        "Unexpected end-of-input");
    expect(
        Ended.run("evaluate-coco", "ground-truth=" + torn, BOXES, "type=bbox"), 4, "is no object");
    expect(
        Ended.run("evaluate-coco", TRUTH, "results=/no/file", "type=bbox"),
        2,
        "there is no such file");
    expect(
        Ended.run("evaluate-coco", TRUTH, BOXES, "type=keypoints"),
        2,
        "Invalid type: keypoints (must be one of bbox, segm)");
    expect(Ended.run("evaluate-coco", TRUTH, BOXES), 2, "key type is missing");
  }

  private static void expect(Ended ended, int code, String sentence) {
    assertThat(ended.error()).contains(sentence).hasLineCount(1);
    assertThat(ended.code()).isEqualTo(code);
    assertThat(ended.out()).isEmpty();
  }

  @Test
  void theBenchmarkEvaluatesWhatItDraws() throws IOException {
    Ended ended = Ended.run("bench", "coco", "images=20", "objects=100", "detections=30");
    assertThat(ended.code()).as(ended.error()).isZero();
    JsonNode line = JsonMapper.builder().build().readTree(ended.out().get(0));
    assertThat(line.get("detections").asInt()).isEqualTo(600);
    for (String type : List.of("bbox", "segm")) {
      assertThat(line.get(type + "_seconds").doubleValue()).isPositive();
      assertThat(line.get(type + "_ap").doubleValue()).isBetween(0.05, 0.95);
    }
    expect(Ended.run("bench", "coco", "images=0"), 2, "Invalid images: 0 (must be at least 1)");
  }
}
