package sparkvision.jobs;

import java.io.File;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * A job that is described by a configuration: {@code sparkvision JOB [--conf FILE] [key=value ...]}.
 *
 * @param <C> the configuration record; {@code conf/JOB.conf} holds its defaults
 */
abstract class ConfJob<C extends Record> implements Callable<Integer> {

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

  /** As typed on the command line; also the name of the conf file. */
  abstract String name();

  abstract Class<C> schema();

  /**
   * Does the work. Results go to standard output, progress and notes to standard error.
   *
   * @throws sparkvision.JobException with the exit code and the sentence that the user reads
   * @throws sparkvision.data.DataException for invalid input data
   * @throws IllegalArgumentException for a wrong setting
   */
  abstract void run(C config) throws Exception;

  @Override
  public final Integer call() throws Exception {
    run(ConfigReader.read(schema(), name(), conf, settings));
    return 0;
  }

  /** The keys with type, default and meaning, as {@code --help} prints them. */
  final String keys() {
    StringBuilder text = new StringBuilder("Keys:\n");
    for (ConfigReader.Key key : ConfigReader.keys(schema(), name())) {
      String value = key.defaultValue().isEmpty() ? "" : " = " + key.defaultValue();
      text.append(String.format("  %s%s (%s)%n", key.path(), value, key.type()));
      text.append(wrap(key.meaning(), "      ", 96));
    }
    return text.toString();
  }

  private static String wrap(String text, String indent, int width) {
    StringBuilder wrapped = new StringBuilder();
    StringBuilder line = new StringBuilder(indent);
    for (String word : text.split("\\s+")) {
      if (line.length() + word.length() > width) {
        wrapped.append(line.toString().stripTrailing()).append('\n');
        line = new StringBuilder(indent);
      }
      line.append(word).append(' ');
    }
    return wrapped.append(line.toString().stripTrailing()).append('\n').toString();
  }
}
