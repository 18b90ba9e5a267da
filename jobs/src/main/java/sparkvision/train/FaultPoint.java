package sparkvision.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.apache.spark.SparkEnv;

/**
 * Where the tests of faults make a process fail. Nothing happens unless the application was started
 * with {@link #FILE}, which names a file of this machine; its one line says a place and what
 * happens there, as {@code rank 1 computing step 5|KILL}. The first process that passes there
 * deletes the file and sends itself that signal; for {@code DRIVER} an executor of a local cluster
 * kills its driver, whose child it is; for {@code THROW} a process throws, for {@code HEAP} it
 * fills its Java heap.
 */
final class FaultPoint {

  /** Spark setting of tests. */
  static final String FILE = "spark.sparkvision.test.fault";

  private FaultPoint() {}

  static void pass(String place) {
    SparkEnv env = SparkEnv.get();
    String file = env == null ? "" : env.conf().get(FILE, "");
    if (!file.isEmpty()) {
      pass(Path.of(file), place + "|");
    }
  }

  private static void pass(Path file, String place) {
    try {
      String fault = Files.readString(file).strip();
      if (fault.startsWith(place) && Files.deleteIfExists(file)) {
        fail(fault.substring(place.length()));
      }
    } catch (NoSuchFileException e) {
      // No fault is wanted now.
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void fail(String how) throws IOException, InterruptedException {
    switch (how) {
      case "THROW" -> throw new IllegalStateException("Cannot go on: a test wants it so");
      case "HEAP" -> {
        Object[] all = {};
        while (true) {
          all = new Object[] {all, new long[1 << 20]};
        }
      }
      case "DRIVER" -> signal("KILL", ProcessHandle.current().parent().orElseThrow());
      default -> signal(how, ProcessHandle.current());
    }
  }

  private static void signal(String name, ProcessHandle process)
      throws IOException, InterruptedException {
    new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
  }
}
