package sparkvision.jobs;

import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.apache.commons.text.WordUtils;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.train.Preflight;
import sparkvision.train.Preflight.Check;
import sparkvision.train.Preflight.Status;
import sparkvision.train.TrainConfig;

/** A training configuration -> whether this cluster can run it. */
@Command(
    name = "preflight",
    mixinStandardHelpOptions = true,
    description =
        "Tries out what train needs of a cluster: slots, memory, network, storage, a step.")
final class PreflightTraining extends ConfJob<TrainConfig> {

  private static final JsonMapper JSON =
      JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.KEBAB_CASE).build();

  private static final int WIDTH = 96;

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  @Override
  String name() {
    return "preflight";
  }

  @Override
  String conf() {
    return "train";
  }

  @Override
  Class<TrainConfig> schema() {
    return TrainConfig.class;
  }

  @Override
  void run(TrainConfig config) throws Exception {
    withSpark(
        spark -> {
          Preflight.Result result = Preflight.run(context(spark), config, Preflight.Depth.FULL);
          if (json) {
            ObjectNode object = JSON.valueToTree(result);
            object.put("passed", result.with(Status.FAILED).isEmpty());
            System.out.println(object);
          } else {
            print(result, System.out);
          }
          requirePassed(result);
        });
  }

  /**
   * The brief form, before training: silent if all is well, a line for each warning.
   *
   * @throws JobException (exit code 3) if training would fail
   */
  static void brief(SparkSession spark, TrainConfig config) throws Exception {
    Preflight.Result result = Preflight.run(context(spark), config, Preflight.Depth.BRIEF);
    for (Check warning : result.with(Status.WARNING)) {
      System.err.printf(
          "Preflight, %s: %s (%s)%n", warning.name(), warning.found(), warning.advice());
    }
    requirePassed(result);
  }

  private static JavaSparkContext context(SparkSession spark) {
    return new JavaSparkContext(spark.sparkContext());
  }

  private static void requirePassed(Preflight.Result result) {
    List<Check> failed = result.with(Status.FAILED);
    if (!failed.isEmpty()) {
      throw new JobException(
          Exit.PREFLIGHT,
          failed.stream()
              .map(c -> String.format("%s: %s (%s)", c.name(), c.found(), c.advice()))
              .collect(Collectors.joining("; ", "Cannot train here: ", "")));
    }
  }

  static void print(Preflight.Result result, PrintStream out) {
    for (Check check : result.checks()) {
      out.printf(
          "%-9s %-8s %s%n",
          check.name(), check.status().name().toLowerCase(Locale.ROOT), wrapped(check.found()));
      if (!check.advice().isEmpty()) {
        out.printf("%18s %s%n", "->", wrapped(check.advice()));
      }
    }
    if (result.slots().isEmpty()) {
      return;
    }
    out.printf(
        "%n%4s %-8s %-24s %7s %8s %10s %8s  %s%n",
        "slot", "executor", "host", "threads", "heap MB", "tensors MB", "step s", "GPUs");
    for (Preflight.Slot slot : result.slots()) {
      out.printf(
          Locale.ROOT,
          "%4d %-8s %-24s %7d %8d %10d %8s  %s%n",
          slot.slot(),
          slot.executor(),
          slot.host(),
          slot.threads(),
          slot.heapBytes() >> 20,
          slot.tensorBytes() >> 20,
          slot.stepSeconds() == null ? "-" : String.format(Locale.ROOT, "%.3f", slot.stepSeconds()),
          slot.gpus().isEmpty() ? "-" : String.join(" ", slot.gpus()));
    }
  }

  /** Over several lines under the third column. */
  private static String wrapped(String text) {
    return WordUtils.wrap(text, WIDTH, System.lineSeparator() + " ".repeat(19), false);
  }
}
