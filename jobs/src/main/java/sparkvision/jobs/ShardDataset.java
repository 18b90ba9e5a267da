package sparkvision.jobs;

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
      IMAGE_FOLDER
    }

    Settings {
      check(samplesPerBlock >= 1, "samples-per-block", samplesPerBlock, "at least 1");
      check(blocksPerFile >= 1, "blocks-per-file", blocksPerFile, "at least 1");
      check(
          maxQuarantinedShare >= 0 && maxQuarantinedShare <= 1,
          "max-quarantined-share",
          maxQuarantinedShare,
          "between 0 and 1");
    }

    private static void check(boolean valid, String key, Object value, String allowed) {
      if (!valid) {
        throw new IllegalArgumentException(
            String.format("Invalid %s: %s (must be %s)", key, value, allowed));
      }
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
    withSpark(spark -> run(spark, settings));
  }

  static void run(SparkSession spark, Settings settings) {
    Sharding.Options options =
        new Sharding.Options(
            "image-folder",
            settings.input(),
            settings.output(),
            settings.samplesPerBlock(),
            settings.blocksPerFile(),
            settings.maxQuarantinedShare(),
            settings.seed());
    Sharding.Outcome outcome;
    try (ShardProgress progress = new ShardProgress()) {
      outcome = Sharding.run(spark, options, progress);
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
}
