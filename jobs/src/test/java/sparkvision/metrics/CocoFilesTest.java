package sparkvision.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import sparkvision.data.DataException;
import sparkvision.metrics.CocoEvaluation.Summary;

class CocoFilesTest {

  private static final Path FIXTURE = Path.of("../../shared/data/coco/eval_fixture");
  private static final JsonMapper JSON = JsonMapper.builder().build();

  @TempDir private Path dir;

  // Of COCO API 8c9bcc3 (cocoeval.py) for the files that are named. They hold equal scores, crowds,
  // areas at the limits of their ranges, more than 100 detections of one image and category,
  // categories without objects and without detections, and images without either.
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          boxes | BBOX | 0.18029954089084255 0.28399784406295386 0.16182413600891862 0.32420994122065927 0.22565573407157563 0.16666666666666663 0.12583333333333332 0.4258333333333333 0.45916666666666667 0.75 0.4 0.16666666666666666
          masks | SEGM | 0.16691368745689666 0.28399784406295386 0.141197073302648 0.27161230235367506 0.21 0.1333333333333333 0.12083333333333332 0.40166666666666656 0.43499999999999994 0.7333333333333335 0.35 0.13333333333333333
          boxes | SEGM | 0.08603823407902185 0.22423829667964404 0.0 0.14614752406194778 0.05607024988213107 0.09999999999999998 0.05416666666666666 0.21749999999999997 0.23833333333333329 0.3888888888888889 0.14166666666666666 0.1
          masks | BBOX | 0.17902029774913708 0.28399784406295386 0.16182413600891862 0.28305259929599064 0.2835630229689635 0.16666666666666663 0.13166666666666665 0.4375 0.4708333333333334 0.7666666666666665 0.425 0.16666666666666666
          both  | SEGM | 0.16691368745689666 0.28399784406295386 0.141197073302648 0.3057142958863616 0.18374436344733372 0.1333333333333333 0.12083333333333332 0.40166666666666656 0.43499999999999994 0.7333333333333335 0.35 0.13333333333333333
          """)
  void equalsTheOriginal(String results, CocoEvaluation.Type type, String expected)
      throws Exception {
    Path file = results.equals("both") ? both() : resource("coco-" + results + ".json");
    CocoFiles.Outcome outcome =
        CocoFiles.evaluate(
            new Configuration(), resource("coco-truth.json").toString(), file.toString(), type);
    assertThat(outcome.leftOut()).isZero();
    expect(outcome.evaluation().summary(), expected);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          bbox | 0.5045806987249628 0.6969727247299577 0.5729816669904824 0.5856257209410443 0.5193996948036719 0.5013978986347466 0.38681277964578054 0.5936795762842003 0.595352982877607 0.6398109626113442 0.5664205978994309 0.5642905982905982
          segm | 0.3195452758576433 0.5622883972521636 0.29892653412086784 0.3873740315997837 0.31018272403369485 0.3269339071005138 0.2682297225711534 0.41544868114906375 0.4168394992198818 0.4694498622754236 0.37675922666197265 0.3814715099715099
          """)
  void equalsTheOriginalOnItsOwnCase(String type, String expected) throws IOException {
    Assumptions.assumeTrue(Files.exists(FIXTURE), "no ../shared/data beside the checkout");
    CocoFiles.Outcome outcome =
        CocoFiles.evaluate(
            new Configuration(),
            FIXTURE.resolve("annotations/instances_val2014_100.json").toString(),
            FIXTURE
                .resolve("results/instances_val2014_fake" + type + "100_results.json")
                .toString(),
            type.equals("bbox") ? CocoEvaluation.Type.BBOX : CocoEvaluation.Type.SEGM);
    assertThat(outcome.evaluation().images()).isEqualTo(100);
    assertThat(outcome.leftOut()).isZero();
    expect(outcome.evaluation().summary(), expected);
  }

  private static void expect(Summary summary, String expected) {
    double[] numbers = Stream.of(expected.split(" ")).mapToDouble(Double::parseDouble).toArray();
    assertThat(CocoEvaluationTest.numbers(summary)).containsExactly(numbers, within(1e-12));
  }

  private static Path resource(String name) throws URISyntaxException {
    return Path.of(CocoFilesTest.class.getResource(name).toURI());
  }

  /** The masks with the boxes that they were drawn from. */
  private Path both() throws IOException, URISyntaxException {
    JsonNode masks = JSON.readTree(resource("coco-masks.json").toFile());
    JsonNode boxes = JSON.readTree(resource("coco-boxes.json").toFile());
    for (int i = 0; i < masks.size(); i++) {
      ((ObjectNode) masks.get(i)).set("bbox", boxes.get(i).get("bbox"));
    }
    return Files.writeString(dir.resolve("both.json"), masks.toString());
  }

  private static final String TRUTH =
      "{'images': [{'id': 5, 'height': 10, 'width': 20}],"
          + " 'annotations': [{'id': 0, 'image_id': 5, 'category_id': 3, 'bbox': [0, 0, 4, 4],"
          + " 'area': 16, 'segmentation': [[0, 0, 4, 0, 4, 4, 0, 4]]}],"
          + " 'categories': [{'id': 3}]}";
  private static final String BOX =
      "{'image_id': 5, 'category_id': 3, 'score': 0.5, 'bbox': [0, 0, 4, 4]}";
  private static final String MASK =
      "{'image_id': 5, 'category_id': 3, 'score': 0.5,"
          + " 'segmentation': {'size': [10, 20], 'counts': '04600000P5'}}";

  private CocoFiles.Outcome evaluate(String truth, String results, CocoEvaluation.Type type)
      throws IOException {
    Files.writeString(dir.resolve("truth.json"), truth.replace('\'', '"'));
    Files.writeString(dir.resolve("results.json"), results.replace('\'', '"'));
    return CocoFiles.evaluate(
        new Configuration(),
        dir.resolve("truth.json").toString(),
        dir.resolve("results.json").toString(),
        type);
  }

  @Test
  void theSmallestFilesAreEnough() throws IOException {
    for (CocoEvaluation.Type type : CocoEvaluation.Type.values()) {
      for (String results : new String[] {BOX, MASK}) {
        CocoFiles.Outcome outcome = evaluate(TRUTH, "[" + results + "]", type);
        assertThat(outcome.evaluation().summary().ap()).as(results).isCloseTo(1, within(1e-12));
        assertThat(outcome.objects()).isEqualTo(1);
        assertThat(outcome.detections()).isEqualTo(1);
      }
      assertThat(evaluate(TRUTH, "[]", type).evaluation().summary().ap()).isZero();
    }
  }

  @Test
  void whatTheGroundTruthDoesNotListIsLeftOut() throws IOException {
    String truth =
        TRUTH.replace(
            "'annotations': [",
            "'annotations': [{'id': 1, 'image_id': 6, 'category_id': 3},"
                + " {'id': 2, 'image_id': 5, 'category_id': 4},");
    String results = "[" + BOX + ", " + BOX.replace("'category_id': 3", "'category_id': 4") + "]";
    CocoFiles.Outcome outcome = evaluate(truth, results, CocoEvaluation.Type.BBOX);
    assertThat(outcome.leftOut()).isEqualTo(3);
    assertThat(outcome.evaluation().summary().ap()).isCloseTo(1, within(1e-12));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          BBOX | 'image_id': 5     | 'image_id': 6      | byte 1: image 6 is not in the ground truth
          BBOX | 'image_id': 5,    |                    | byte 1: it has no image_id
          BBOX | 'category_id': 3, |                    | byte 1: it has no category_id
          BBOX | 'score': 0.5,     |                    | byte 1: it has no score
          BBOX | 'score': 0.5      | 'score': 'NaN'     | byte 1: score holds "NaN", no finite number
          BBOX | 'bbox': [0,       | 'bbox': [          | byte 1: bbox has 3 numbers, not 4
          BBOX | 'bbox'            | 'box'              | byte 1: it has neither bbox nor segmentation
          BBOX | 'bbox'            | 'segmentation'     | byte 1: polygon is no array
          SEGM | 'bbox': [         | 'segmentation': [[1,1,2,2,2,1], | byte 1: polygon is no array
          SEGM | 'bbox': [0, 0, 4, 4] | 'segmentation': [[0, 0, 4, 0, 4, 4]] | byte 1: its segmentation is polygons
          SEGM | 'bbox': [0, 0, 4, 4] | 'segmentation': {'size': [20, 10], 'counts': 'X6'} | byte 1: mask is 10 x 20 pixels, the picture 20 x 10
          BBOX | [{                | {                  | the file is no array of objects
          BBOX | }]                | }                  | Unexpected end-of-input
          BBOX | }]                | }] 5               | something follows the end
          BBOX | }]                | ,}]                | byte 71: Unexpected character
          """)
  void badResultsAreOneSentence(
      CocoEvaluation.Type type, String part, String instead, String reason) {
    String bad = ("[" + BOX + "]").replace(part, instead == null ? "" : instead);
    assertThatThrownBy(() -> evaluate(TRUTH, bad, type))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot read " + dir.resolve("results.json") + ": ")
        .hasMessageContaining(reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      textBlock =
          """
          'height': 10,      |                                          | it has no height
          'height': 10       | 'height': 0                              | image 5: its height is 0
          'height': 10, 'width': 20} | 'height': 10, 'width': 20}, {'id': 5, 'height': 10, 'width': 20} | image id 5 was there before
          'id': 0,           |                                          | it has no id
          'area': 16,        |                                          | it has no area
          {'id': 3}          | {'id': 3}, {'id': 3}                     | category id 3 was there before
          {'id': 3}          |                                          | it has no categories
          'categories'       | 'classes'                                | it has no categories
          'segmentation'     | 'outline'                                | segmentation is neither polygons nor a mask
          }], 'categories'   | }, {'id': 0, 'image_id': 5}], 'categories' | annotation id 0 was there before
          """)
  void badGroundTruthIsOneSentence(String part, String instead, String reason) {
    String bad = TRUTH.replace(part, instead == null ? "" : instead);
    assertThatThrownBy(() -> evaluate(bad, "[" + BOX + "]", CocoEvaluation.Type.SEGM))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith("Cannot read " + dir.resolve("truth.json") + ": ")
        .hasMessageContaining(reason);
  }
}
