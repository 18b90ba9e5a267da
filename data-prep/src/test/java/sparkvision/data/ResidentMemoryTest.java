package sparkvision.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/**
 * The tests on changed bytes once more, in a process of their own: what they take of the machine's
 * memory, the native libraries' included.
 */
public final class ResidentMemoryTest {

  /** The tag of tests that feed readers with changed bytes. */
  public static final String CHANGED = "changed-bytes";

  private static final Path STATUS = Path.of("/proc/self/status");
  private static final int HEAP_MB = 256;
  private static final int MOST_MB = 512;

  /** All that take changed bytes. */
  private static final List<String> TESTS =
      List.of(
          "sparkvision.data.ChangedBytesTest",
          "sparkvision.data.coco.CocoSourceTest",
          "sparkvision.data.volume.NiftiTest",
          "sparkvision.data.volume.VolumeSourceTest");

  @TempDir Path dir;

  @Test
  void changedBytesTakeLessThanHalfAGigabyteAboveAJvmWithSpark() throws Exception {
    assumeTrue(Files.exists(STATUS), "no /proc on this system");
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElseThrow());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptions().split(" ")));
    String classPath =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    command.addAll(
        List.of(
            "-Xmx" + HEAP_MB + "m",
            // Else Spark refuses so small a heap.
            "-Dspark.testing.memory=" + (1L << 29),
            "-cp",
            classPath,
            ResidentMemoryTest.class.getName(),
            dir.toString()));
    Path out = dir.resolve("figures");
    Path log = dir.resolve("log");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(log.toFile())
            .start();
    int exit = process.waitFor();
    assertThat(exit).as(Files.readString(log)).isZero();
    List<String> lines = Files.readAllLines(out);
    String[] found = lines.get(lines.size() - 1).split(" ", -1);
    assertThat(Integer.parseInt(found[0])).as("tests").isEqualTo(7);
    int before = Integer.parseInt(found[1]);
    int most = Integer.parseInt(found[2]);
    System.out.printf(
        "changed bytes: resident %d MB before, %d MB at most, heap %d MB%n", before, most, HEAP_MB);
    assertThat(most - before).isLessThan(MOST_MB);
  }

  /** Prints how many tests passed, and the most memory in MB that was resident before and after. */
  public static void main(String[] arguments) throws IOException {
    // Libraries, Spark and its threads count as the process's own.
    Images.inspect(Pictures.png(8, 8, BufferedImage.TYPE_3BYTE_BGR, 1));
    Path directory = Path.of(arguments[0]);
    Shards.of(Pictures.folder(directory.resolve("in"), 2), directory.resolve("out"));
    int before = mostResident();
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(TESTS.stream().map(DiscoverySelectors::selectClass).toList())
            .filters(TagFilter.includeTags(CHANGED))
            .build();
    SummaryGeneratingListener summary = new SummaryGeneratingListener();
    LauncherFactory.create().execute(request, summary);
    summary.getSummary().getFailures().forEach(failure -> failure.getException().printStackTrace());
    System.out.printf(
        "%n%d %d %d%n", summary.getSummary().getTestsSucceededCount(), before, mostResident());
    System.exit(summary.getSummary().getFailures().isEmpty() ? 0 : 1);
  }

  /** VmHWM, MB. */
  private static int mostResident() throws IOException {
    String line =
        Files.readAllLines(STATUS).stream()
            .filter(entry -> entry.startsWith("VmHWM:"))
            .findFirst()
            .orElseThrow();
    return (int) (Long.parseLong(line.replaceAll("\\D", "")) / 1024);
  }
}
