package sparkvision.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ParityTest {

  /** Beside the checkout; tests run in the module's directory. */
  private static final Path FIXTURES = Path.of("../../shared/fixtures");

  @ParameterizedTest
  @CsvSource({
    "densenet-2d-eval, 1",
    "densenet-2d-train, 81",
    "densenet-3d-eval, 1",
    "densenet-3d-train, 69",
    "curve-densenet-sgd, 1"
  })
  void everyTensorOfTheFixtureAgrees(String fixture, int tensors) {
    Path folder = FIXTURES.resolve(fixture);
    assumeTrue(Files.isDirectory(folder), "no fixtures at " + FIXTURES.toAbsolutePath());

    List<String> lines = new ArrayList<>();
    Parity.Result result = Parity.verify(folder, "nd4j", lines::add);

    assertThat(lines).noneMatch(line -> line.endsWith("FAIL"));
    assertThat(result.failed()).isZero();
    assertThat(result.passed()).isEqualTo(tensors);
  }
}
