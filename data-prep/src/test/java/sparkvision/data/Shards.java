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
        .master("local[2]")
        .appName("data-prep tests")
        // Clusters force it, and it is the one that cannot serialize everything.
        .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
        .config("spark.ui.enabled", false)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", 2)
        .getOrCreate();
  }

  static Sharding.Options options(Object input, Object output) {
    return new Sharding.Options("test", input.toString(), output.toString(), 4, 2, 0.5, 7);
  }

  static ShardSet of(Path input, Path output) {
    Sharding.run(spark(), options(input, output), SILENT);
    return ShardSet.open(HADOOP, output.toString());
  }
}
