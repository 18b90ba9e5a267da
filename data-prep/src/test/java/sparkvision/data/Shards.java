package sparkvision.data;

import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;

/** One local Spark for all tests of the module, and short words for sharding with it. */
final class Shards {

  static final Configuration HADOOP = new Configuration();
  static final Sharding.Listener SILENT = (phase, done, total) -> {};

  private Shards() {}

  static SparkSession spark() {
    return SparkSession.builder()
        .master("local[2,4]") // four attempts at a task, as on a cluster
        .appName("data-prep tests")
        // Clusters force it, and it is the one that cannot serialize everything.
        .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
        .config("spark.ui.enabled", false)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", 2)
        .getOrCreate();
  }

  /** Blocks of four samples, in two files. */
  static Sharding.Options options(Object output) {
    return new Sharding.Options("test", "", "", output.toString(), 4, 1 << 20, 2, 0, 90, 0.5, 7);
  }

  static Sharding.Outcome run(Object input, Sharding.Options options) {
    return run(new ImageFolder(input.toString()), options);
  }

  static Sharding.Outcome run(Source source, Sharding.Options options) {
    return Sharding.run(spark(), source, options, SILENT);
  }

  static ShardSet of(Path input, Path output) {
    return of(new ImageFolder(input.toString()), output);
  }

  static ShardSet of(Source source, Path output) {
    run(source, options(output));
    return ShardSet.open(HADOOP, output.toString());
  }
}
