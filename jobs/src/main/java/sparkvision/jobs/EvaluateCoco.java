package sparkvision.jobs;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.metrics.CocoEvaluation;
import sparkvision.metrics.CocoEvaluation.Summary;
import sparkvision.metrics.CocoFiles;

/** COCO ground truth and a result file -> COCO's twelve numbers. */
@Command(
    name = "evaluate-coco",
    mixinStandardHelpOptions = true,
    description =
        "Compares a COCO result file with its ground truth: average precision and recall.")
final class EvaluateCoco extends ConfJob<EvaluateCoco.Settings> {

  /** {@code conf/evaluate-coco.conf}. */
  record Settings(String groundTruth, String results, CocoEvaluation.Type type) {}

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  @Override
  String name() {
    return "evaluate-coco";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws IOException {
    CocoFiles.Outcome outcome =
        CocoFiles.evaluate(
            new Configuration(), settings.groundTruth(), settings.results(), settings.type());
    ObjectNode numbers = numbers(outcome.evaluation().summary());
    if (outcome.leftOut() > 0) {
      System.err.printf(
          "Left out: %d annotations and results of categories or images that %s does not list%n",
          outcome.leftOut(), settings.groundTruth());
    }
    if (json) {
      ObjectNode line = JsonMapper.builder().build().createObjectNode();
      line.put("type", settings.type().name().toLowerCase(Locale.ROOT));
      line.put("images", outcome.evaluation().images());
      line.put("objects", outcome.objects());
      line.put("detections", outcome.detections());
      System.out.println(line.setAll(numbers));
      return;
    }
    System.out.printf(
        "%d detections of %d objects in %d images%n",
        outcome.detections(), outcome.objects(), outcome.evaluation().images());
    for (Map.Entry<String, ?> number : numbers.properties()) {
      System.out.printf(
          "%-9s %6.3f%n", number.getKey(), numbers.get(number.getKey()).doubleValue());
    }
  }

  private static ObjectNode numbers(Summary summary) {
    return JsonMapper.builder()
        .build()
        .createObjectNode()
        .put("AP", summary.ap())
        .put("AP50", summary.ap50())
        .put("AP75", summary.ap75())
        .put("APsmall", summary.apSmall())
        .put("APmedium", summary.apMedium())
        .put("APlarge", summary.apLarge())
        .put("AR1", summary.ar1())
        .put("AR10", summary.ar10())
        .put("AR100", summary.ar100())
        .put("ARsmall", summary.arSmall())
        .put("ARmedium", summary.arMedium())
        .put("ARlarge", summary.arLarge());
  }
}
