package sparkvision;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.TaskContext;
import org.apache.spark.deploy.master.Master;
import org.apache.spark.deploy.worker.Worker;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerTaskStart;
import org.apache.spark.sql.SparkSession;
import scala.Option;
import sparkvision.data.ImageFolder;
import sparkvision.data.Item;
import sparkvision.data.Listing;
import sparkvision.data.Sample;
import sparkvision.data.Sharding;
import sparkvision.data.Source;

/**
 * A driver of its own that shards an image folder with speculation, where the first attempt at the
 * first task hangs. Its two workers have two names, as Spark runs no second attempt on the host of
 * the first.
 */
public final class SlowCluster {

  private static final long HANG_MILLIS = 120_000;

  private SlowCluster() {}

  /** Pictures that the first attempt at the first task of each pass waits for. */
  private record Slow(ImageFolder pictures) implements Source {

    @Override
    public Listing list(Configuration hadoop) throws IOException {
      return pictures.list(hadoop);
    }

    @Override
    public Sample read(Configuration hadoop, String root, Item item) throws IOException {
      TaskContext task = TaskContext.get();
      if (task.partitionId() == 0 && task.attemptNumber() == 0) {
        try {
          Thread.sleep(HANG_MILLIS);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new IOException("Cannot read " + item.id() + ": interrupted", e);
        }
      }
      return pictures.read(hadoop, root, item);
    }
  }

  /** A directory for work, the image folder, the output. */
  public static void main(String[] arguments) {
    SparkConf conf =
        new SparkConf()
            .setAppName("slow")
            .set("spark.speculation", "true")
            .set("spark.speculation.interval", "100ms")
            .set("spark.speculation.quantile", "0.5")
            .set("spark.cores.max", "2")
            .set("spark.serializer", "org.apache.spark.serializer.KryoSerializer");
    var master = Master.startRpcEnvAndEndpoint("127.0.0.1", 0, 0, conf);
    String url = "spark://127.0.0.1:" + master._1().address().port();
    int number = 0;
    for (String host : new String[] {"127.0.0.1", "localhost"}) {
      number++;
      Worker.startRpcEnvAndEndpoint(
          host,
          0,
          0,
          1,
          1024,
          new String[] {url},
          Path.of(arguments[0], "work").toString(),
          Option.apply(number),
          conf,
          Option.empty());
    }
    SparkSession spark = SparkSession.builder().config(conf).master(url).getOrCreate();
    Map<Integer, AtomicInteger> speculative = new ConcurrentHashMap<>();
    spark
        .sparkContext()
        .addSparkListener(
            new SparkListener() {
              @Override
              public void onTaskStart(SparkListenerTaskStart start) {
                AtomicInteger count =
                    speculative.computeIfAbsent(start.stageId(), stage -> new AtomicInteger());
                if (start.taskInfo().speculative()) {
                  count.incrementAndGet();
                }
              }
            });
    Sharding.run(
        spark,
        new Slow(new ImageFolder(arguments[1])),
        new Sharding.Options("image-folder", "", "", arguments[2], 8, 1 << 20, 8, 0, 90, 0.01, 0),
        (phase, done, total) -> {});
    spark.stop();
    new TreeMap<>(speculative)
        .forEach(
            (stage, count) ->
                System.out.printf(
                    "%s: %d speculative%n", stage == 0 ? "probe" : "write", count.get()));
    System.exit(0); // master and workers
  }
}
