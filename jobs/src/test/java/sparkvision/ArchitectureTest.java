package sparkvision;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Who may know whom. */
class ArchitectureTest {

  private static final String[] MODELS = {
    "sparkvision.graph..",
    "sparkvision.models..",
    "sparkvision.engine..",
    "sparkvision.plan..",
    "sparkvision.kernels..",
    "sparkvision.weights..",
    "sparkvision.parity.."
  };

  private static final JavaClasses OURS =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("sparkvision");

  @Test
  void everyModuleWasSeen() {
    for (String name :
        List.of(
            "sparkvision.graph.Graph",
            "sparkvision.data.ShardSet",
            "sparkvision.train.Trainer",
            "sparkvision.jobs.Sparkvision")) {
      assertThat(OURS.contain(name)).as(name).isTrue();
    }
    assertThat(OURS.size()).isGreaterThan(100);
  }

  @Test
  void modelsKnowNeitherSparkNorHadoopNorTheOthers() {
    noClasses()
        .that()
        .resideInAnyPackage(MODELS)
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "org.apache..",
            "scala..",
            "com.fasterxml..",
            "sparkvision.data..",
            "sparkvision.train..",
            "sparkvision.checkpoint..",
            "sparkvision.metrics..",
            "sparkvision.report..",
            "sparkvision.jobs..")
        .check(OURS);
  }

  @Test
  void dataKnowsNothingOfModels() {
    noClasses()
        .that()
        .resideInAPackage("sparkvision.data..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "sparkvision.graph..",
            "sparkvision.models..",
            "sparkvision.engine..",
            "sparkvision.weights..",
            "sparkvision.train..",
            "sparkvision.jobs..",
            "org.nd4j..")
        .check(OURS);
  }

  @Test
  void onlyJobsHasTheCommandLine() {
    noClasses()
        .that()
        .resideOutsideOfPackage("sparkvision.jobs..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("picocli..", "me.tongfei..", "sparkvision.jobs..")
        .check(OURS);
  }

  @Test
  void packagesAreFreeOfCycles() {
    slices().matching("sparkvision.(*)..").should().beFreeOfCycles().check(OURS);
  }

  @Test
  void everyJobHasAReadmeSection() throws IOException {
    List<String> sections =
        Files.readAllLines(Path.of("../README.md")).stream()
            .filter(line -> line.startsWith("### "))
            .map(line -> line.substring(4).replace(' ', '-'))
            .toList();
    try (Stream<Path> files = Files.list(Path.of("../conf"))) {
      assertThat(files.filter(file -> file.toString().endsWith(".conf")))
          .isNotEmpty()
          .allSatisfy(
              file ->
                  assertThat(sections)
                      .contains(file.getFileName().toString().replace(".conf", "")));
    }
  }
}
