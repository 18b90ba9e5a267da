package sparkvision.jobs;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import sparkvision.JobException.Exit;
import sparkvision.parity.Parity;

/** Compares models with fixtures that the original implementations made. */
@Command(
    name = "verify-parity",
    mixinStandardHelpOptions = true,
    description = "Runs parity fixtures and compares every tensor with the original's.")
final class VerifyParity implements Callable<Integer> {

  @Option(
      names = "--engine",
      defaultValue = "compiled",
      description = "The engine to run on; default: ${DEFAULT-VALUE}.")
  private String engine;

  @Parameters(
      paramLabel = "DIR",
      arity = "1..*",
      description = "Fixture folders; files beside several of them are passed over.")
  private List<Path> fixtures;

  @Override
  public Integer call() {
    int passed = 0;
    int failed = 0;
    for (Path fixture : fixtures) {
      if (fixtures.size() > 1 && Files.isRegularFile(fixture)) {
        continue;
      }
      Parity.Result result = Parity.verify(fixture, engine, System.out::println);
      passed += result.passed();
      failed += result.failed();
    }
    System.out.printf("%d passed, %d failed%n", passed, failed);
    return failed == 0 ? 0 : Exit.FAILED.code();
  }
}
