package sparkvision.jobs;

import java.io.IOException;
import java.util.Locale;
import java.util.Optional;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.data.ShardManifest;
import sparkvision.data.Sharding;
import sparkvision.data.Source;
import sparkvision.data.Sources;

/** A raw data set -> a shard set. */
@Command(
    name = "shard",
    mixinStandardHelpOptions = true,
    description = "Turns a raw data set into a shard set: Parquet with checksums and a manifest.")
final class ShardDataset extends ConfJob<ShardDataset.Settings> {

  @Option(
      names = "--dry-run",
      description = "Read some of the input, say what would be written and how long it would take.")
  private boolean dryRun;

  /** {@code conf/shard.conf}. */
  record Settings(
      Sources.Dataset dataset,
      Optional<String> split,
      String input,
      Optional<String> annotations,
      String output,
      int samplesPerBlock,
      long targetFileBytes,
      int files,
      int resize,
      int jpegQuality,
      Sources.Volumes volumes,
      double maxBadShare,
      long seed) {

    private Sources.Selection selection() {
      return new Sources.Selection(dataset, split.orElse(""), input, annotations, volumes);
    }

    private Sharding.Options options() {
      return new Sharding.Options(
          dataset.toString(),
          split.orElse(""),
          selection().preparation(),
          output,
          samplesPerBlock,
          targetFileBytes,
          files,
          resize,
          jpegQuality,
          maxBadShare,
          seed);
    }
  }

  @Override
  String name() {
    return "shard";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    settings.options(); // refuses a wrong one before Spark starts
    withSpark(
        spark -> {
          if (dryRun) {
            System.out.println(describe(estimate(spark, settings), settings));
            return;
          }
          run(spark, settings);
        });
  }

  static void run(SparkSession spark, Settings settings) throws IOException {
    Source source = source(spark, settings);
    Sharding.Outcome outcome;
    try (ShardProgress progress = new ShardProgress()) {
      outcome = Sharding.run(spark, source, settings.options(), progress);
    }
    ShardManifest manifest = outcome.manifest();
    System.out.printf(
        "%s %s: %d samples of %d classes in %d files, %d inputs quarantined%n",
        outcome.alreadyDone() ? "Already sharded, nothing to do:" : "Sharded:",
        settings.output(),
        manifest.samples(),
        manifest.classes().size(),
        manifest.files().size(),
        manifest.quarantined().size());
  }

  static Sharding.Estimate estimate(SparkSession spark, Settings settings) throws IOException {
    try (ShardProgress progress = new ShardProgress()) {
      return Sharding.estimate(spark, source(spark, settings), settings.options(), progress);
    }
  }

  private static Source source(SparkSession spark, Settings settings) throws IOException {
    return Sources.of(spark.sparkContext().hadoopConfiguration(), settings.selection());
  }

  private static String describe(Sharding.Estimate estimate, Settings settings) {
    return String.format(
        Locale.ROOT,
        "Would shard %s for %s: %,d inputs of %,d classes, %d of %d tried are bad%n"
            + "%,d blocks in %,d files, about %,.1f MB%n"
            + "About %,.0f s on %d slots, and the time to write; nothing was written",
        settings.input(),
        estimate.task(),
        estimate.items(),
        estimate.classes(),
        estimate.bad(),
        estimate.tried(),
        estimate.blocks(),
        estimate.files(),
        estimate.bytes() / 1e6,
        estimate.seconds(),
        estimate.slots());
  }
}
