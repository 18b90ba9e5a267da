package sparkvision.jobs;

import java.util.Locale;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import sparkvision.data.ShardManifest;
import sparkvision.data.Sharding;

/** Raw images -> a shard set. */
@Command(
    name = "shard",
    mixinStandardHelpOptions = true,
    description = "Turns raw images into a shard set: Parquet with checksums and a manifest.")
final class ShardDataset extends ConfJob<ShardDataset.Settings> {

  /** {@code conf/shard.conf}. */
  record Settings(
      Dataset dataset,
      String input,
      String output,
      int samplesPerBlock,
      int blocksPerFile,
      double maxQuarantinedShare,
      long seed) {

    /** The layouts that can be read. */
    enum Dataset {
      IMAGE_FOLDER;

      @Override
      public String toString() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
      }
    }

    private Sharding.Options options() {
      return new Sharding.Options(
          dataset.toString(),
          input,
          output,
          samplesPerBlock,
          blocksPerFile,
          maxQuarantinedShare,
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
    Sharding.Options options = settings.options(); // refuses a wrong one before Spark starts
    withSpark(spark -> run(spark, options));
  }

  static void run(SparkSession spark, Settings settings) {
    run(spark, settings.options());
  }

  private static void run(SparkSession spark, Sharding.Options options) {
    Sharding.Outcome outcome;
    try (ShardProgress progress = new ShardProgress()) {
      outcome = Sharding.run(spark, options, progress);
    }
    ShardManifest manifest = outcome.manifest();
    System.out.printf(
        "%s %s: %d samples of %d classes in %d files, %d inputs quarantined%n",
        outcome.alreadyDone() ? "Already sharded, nothing to do:" : "Sharded:",
        options.output(),
        manifest.samples(),
        manifest.classes().size(),
        manifest.files().size(),
        manifest.quarantined().size());
  }
}
