package sparkvision.jobs;

import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.data.DataException;

/**
 * The command line: {@code sparkvision JOB ...}.
 *
 * <p>A failure is one sentence on standard error and an exit code ({@link Exit}); {@code --debug}
 * adds the stack trace.
 */
@Command(
    name = "sparkvision",
    mixinStandardHelpOptions = true,
    version = Sparkvision.VERSION,
    description = "Distributed training of vision models on Apache Spark.",
    synopsisSubcommandLabel = "JOB",
    commandListHeading = "%nJobs:%n")
public final class Sparkvision {

  /** The version that goes into every shard set, checkpoint and report. */
  public static final String VERSION = "sparkvision 0.1.0";

  /** Every job that reads a conf file; {@code inspect} and {@code verify-parity} take paths. */
  static List<ConfJob<?>> confJobs() {
    return List.of(new UnpackIdx(), new ShardDataset(), new TrainModel(), new EvaluateModel());
  }

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Print the stack trace of a failure.")
  private boolean debug;

  private Sparkvision() {}

  public static void main(String[] arguments) {
    System.exit(run(arguments));
  }

  /** Runs one command line and returns its exit code. */
  static int run(String... arguments) {
    Sparkvision top = new Sparkvision();
    CommandLine commandLine = new CommandLine(top);
    for (ConfJob<?> job : confJobs()) {
      CommandLine subcommand = new CommandLine(job);
      subcommand
          .getHelpSectionMap()
          .put(UsageMessageSpec.SECTION_KEY_FOOTER, help -> "\n" + job.keys());
      commandLine.addSubcommand(job.name(), subcommand);
    }
    commandLine.addSubcommand(new Inspect());
    commandLine.addSubcommand(new VerifyParity());
    commandLine.setUsageHelpWidth(100);
    commandLine.setExecutionExceptionHandler(
        (exception, command, parsed) -> {
          if (top.debug) {
            exception.printStackTrace();
          }
          System.err.println(sentence(exception));
          return exit(exception).code();
        });
    return arguments.length == 0 ? commandLine.execute("--help") : commandLine.execute(arguments);
  }

  private static Exit exit(Exception exception) {
    if (exception instanceof JobException job) {
      return job.exit();
    }
    if (unreachable(exception).isPresent()) {
      return Exit.PREFLIGHT;
    }
    if (exception instanceof DataException) {
      return Exit.DATA;
    }
    return exception instanceof IllegalArgumentException ? Exit.USAGE : Exit.FAILED;
  }

  private static String sentence(Exception exception) {
    if (exception instanceof JobException) {
      return firstLine(exception);
    }
    Optional<Throwable> unreachable = unreachable(exception);
    if (unreachable.isPresent()) {
      return String.format(
          "Cannot reach the storage: %s (is it running at this address?)",
          firstLine(unreachable.get()));
    }
    boolean ours =
        exception instanceof DataException
            || exception instanceof IllegalArgumentException
            || exception instanceof UncheckedIOException;
    return ours
        ? firstLine(exception)
        : String.format(
            "Cannot finish: %s: %s (--debug prints the stack trace)",
            exception.getClass().getSimpleName(), firstLine(exception));
  }

  /** The cause that says that nobody answers, if there is one. */
  private static Optional<Throwable> unreachable(Throwable exception) {
    for (Throwable cause = exception; cause != null; cause = cause.getCause()) {
      if (cause instanceof ConnectException
          || cause instanceof UnknownHostException
          || cause instanceof NoRouteToHostException
          || cause instanceof SocketTimeoutException) {
        return Optional.of(cause);
      }
    }
    return Optional.empty();
  }

  private static String firstLine(Throwable exception) {
    return String.valueOf(exception.getMessage()).lines().findFirst().orElse("");
  }
}
