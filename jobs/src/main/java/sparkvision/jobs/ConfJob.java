package sparkvision.jobs;

import java.io.File;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.commons.text.WordUtils;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.train.Slots;

/**
 * A job that is described by a configuration: {@code sparkvision JOB [--conf FILE] [key=value
 * ...]}.
 *
 * @param <C> the configuration record; {@code conf/JOB.conf} holds its defaults
 */
abstract class ConfJob<C extends Record> implements Callable<Integer> {

  /** How long the first executor may take to register. */
  private static final Duration EXECUTOR_DEADLINE = Duration.ofMinutes(5);

  @Option(
      names = "--conf",
      paramLabel = "FILE",
      description = "A HOCON file laid over the job's defaults.")
  private File conf;

  @Parameters(
      paramLabel = "key=value",
      arity = "0..*",
      description = "Settings laid over the file.")
  private List<String> settings = List.of();

  /** As typed on the command line. */
  abstract String name();

  /** The job whose conf file holds the defaults; with dashes for blanks the file's name. */
  String conf() {
    return name();
  }

  abstract Class<C> schema();

  /**
   * Does the work. Results go to standard output, progress and notes to standard error.
   *
   * @throws sparkvision.JobException with the exit code and the sentence that the user reads
   * @throws sparkvision.data.DataException for invalid input data
   * @throws IllegalArgumentException for a wrong setting
   */
  abstract void run(C config) throws Exception;

  /** What a job does with Spark. */
  @FunctionalInterface
  interface SparkWork {
    void run(SparkSession spark) throws Exception;
  }

  /** Runs {@code work} in the session of this JVM, or in one that is closed afterwards. */
  final void withSpark(SparkWork work) throws Exception {
    boolean shared = SparkSession.getDefaultSession().isDefined();
    SparkSession spark = open();
    try {
      if (!spark.sparkContext().getConf().getBoolean("spark.dynamicAllocation.enabled", false)) {
        Slots.await(spark.sparkContext(), 1, EXECUTOR_DEADLINE);
      }
      work.run(spark);
    } finally {
      if (!shared) {
        stop(spark);
      }
    }
  }

  /** Silences what Scala prints, and one scheduler logs, of what Spark's own shutdown cuts off. */
  private static void stop(SparkSession spark) {
    Configurator.setLevel("org.apache.spark.scheduler.DAGSchedulerEventProcessLoop", Level.OFF);
    PrintStream console = System.err;
    System.setErr(new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8));
    try {
      spark.stop();
    } finally {
      System.setErr(console);
    }
  }

  private SparkSession open() {
    try {
      return SparkSession.builder().appName("sparkvision " + name()).getOrCreate();
    } catch (Exception e) {
      throw new JobException(
          Exit.PREFLIGHT, "Cannot start a Spark application: " + e.getMessage(), e);
    }
  }

  @Override
  public final Integer call() throws Exception {
    run(ConfigReader.read(schema(), conf(), conf, settings));
    return 0;
  }

  /** The keys with type, default and meaning, as {@code --help} prints them. */
  final String keys() {
    StringBuilder text = new StringBuilder("Keys:\n");
    for (ConfigReader.Key key : ConfigReader.keys(schema(), conf())) {
      String value = key.defaultValue().isEmpty() ? "" : " = " + key.defaultValue();
      text.append(String.format("  %s%s (%s)%n", key.path(), value, key.type()));
      text.append(WordUtils.wrap(key.meaning(), 90).indent(6));
    }
    return text.toString();
  }
}
