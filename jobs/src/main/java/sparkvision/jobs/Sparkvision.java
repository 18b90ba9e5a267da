package sparkvision.jobs;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.apache.spark.SparkException;
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
    versionProvider = Sparkvision.Version.class,
    description = "Distributed training of vision models on Apache Spark.",
    synopsisSubcommandLabel = "JOB",
    commandListHeading = "%nJobs:%n")
public final class Sparkvision {

  /** The version that goes into every checkpoint and report: the jar's, outside of one none. */
  static String version() {
    return Objects.requireNonNullElse(
        Sparkvision.class.getPackage().getImplementationVersion(), "development");
  }

  /** What {@code --version} prints. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"sparkvision " + version()};
    }
  }

  /**
   * Every job that reads a conf file, besides those of {@link Bench}; {@code inspect} and {@code
   * verify-parity} take paths.
   */
  static List<ConfJob<?>> confJobs() {
    return List.of(
        new UnpackIdx(),
        new ShardDataset(),
        new PrintSampleOrder(),
        new PreflightTraining(),
        new TrainModel(),
        new EvaluateModel(),
        new ImportWeights(),
        new ExportModel(),
        new EvaluateCoco());
  }

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Print the stack trace of a failure.")
  private boolean debug;

  private Sparkvision() {}

  public static void main(String[] arguments) {
    int code = run(arguments);
    // YARN takes any exit before main returns for a failure.
    if (code != 0) {
      System.exit(code);
    }
  }

  /** Runs one command line and returns its exit code. */
  static int run(String... arguments) {
    Sparkvision top = new Sparkvision();
    CommandLine commandLine = new CommandLine(top);
    confJobs().forEach(job -> commandLine.addSubcommand(withKeys(job)));
    CommandLine bench = new CommandLine(new Bench());
    Bench.jobs().forEach(job -> bench.addSubcommand(withKeys(job)));
    commandLine.addSubcommand(bench);
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
    commandLine.setParameterExceptionHandler(
        (exception, line) -> {
          System.err.printf(
              "%s (see %s --help)%n",
              firstLine(exception), exception.getCommandLine().getCommandSpec().qualifiedName());
          return Exit.USAGE.code();
        });
    try {
      return arguments.length == 0 ? commandLine.execute("--help") : commandLine.execute(arguments);
    } catch (Error e) {
      if (top.debug) {
        e.printStackTrace();
      }
      System.err.printf("Cannot finish: %s (--debug prints the stack trace)%n", e);
      return Exit.FAILED.code();
    }
  }

  /** The job as a subcommand whose help lists its keys. */
  private static CommandLine withKeys(ConfJob<?> job) {
    CommandLine subcommand = new CommandLine(job);
    subcommand
        .getHelpSectionMap()
        .put(UsageMessageSpec.SECTION_KEY_FOOTER, help -> "\n" + job.keys());
    return subcommand;
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
    if (exception instanceof IllegalArgumentException) {
      return Exit.USAGE;
    }
    if (exception instanceof IOException || exception instanceof UncheckedIOException) {
      return Exit.PREFLIGHT;
    }
    return hasCause(exception, SparkException.class) ? Exit.CLUSTER : Exit.FAILED;
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
    String message = firstLine(exception);
    return message.startsWith("Cannot ") || message.startsWith("Invalid ")
        ? message
        : String.format(
            "Cannot finish: %s: %s (--debug prints the stack trace)",
            exception.getClass().getSimpleName(), message);
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

  private static boolean hasCause(Throwable exception, Class<? extends Throwable> type) {
    return exception != null
        && (type.isInstance(exception) || hasCause(exception.getCause(), type));
  }

  private static String firstLine(Throwable exception) {
    return String.valueOf(exception.getMessage()).lines().findFirst().orElse("");
  }
}
