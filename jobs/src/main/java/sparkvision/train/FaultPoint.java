package sparkvision.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.apache.spark.SparkEnv;

/**
 * Where the tests of faults make a rank fail. Nothing happens unless the application was started
 * with {@link #FILE}, which names a file of this machine; one line in it says a rank, what it does
 * and a signal, as {@code 1|computing step 5|KILL}. The first process that finds itself there
 * deletes the file and sends itself the signal; for {@code THROW} it throws.
 */
final class FaultPoint {

  /** Spark setting of tests. */
  static final String FILE = "spark.sparkvision.test.fault";

  private FaultPoint() {}

  static void pass(int rank, String doing) {
    String file = SparkEnv.get().conf().get(FILE, "");
    if (!file.isEmpty()) {
      fail(Path.of(file), rank + "|" + doing + "|");
    }
  }

  private static void fail(Path file, String place) {
    try {
      String fault = Files.readString(file).strip();
      if (!fault.startsWith(place) || !Files.deleteIfExists(file)) {
        return;
      }
      String signal = fault.substring(place.length());
      if (signal.equals("THROW")) {
        throw new IllegalStateException("Cannot go on: a test wants it so");
      }
      String self = Long.toString(ProcessHandle.current().pid());
      new ProcessBuilder("kill", "-" + signal, self).start().waitFor();
    } catch (NoSuchFileException e) {
      // No fault is wanted now.
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
