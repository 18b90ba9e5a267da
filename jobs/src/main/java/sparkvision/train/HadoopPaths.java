package sparkvision.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** Paths as the user typed them, made fit for other processes. */
public final class HadoopPaths {

  /** Object stores without an atomic rename; a checkpoint cannot be committed there by one. */
  private static final Set<String> OBJECT_STORES =
      Set.of("s3", "s3a", "s3n", "gs", "oss", "obs", "cosn", "wasb", "wasbs");

  private HadoopPaths() {}

  /**
   * {@code path} with its scheme, authority and all directories: an executor has another working
   * directory than the driver.
   *
   * @throws IllegalArgumentException if it is no path
   */
  public static String absolute(String path, Configuration hadoop) {
    try {
      Path parsed = new Path(path);
      return parsed.getFileSystem(hadoop).makeQualified(parsed).toString();
    } catch (IllegalArgumentException e) {
      if (e.getCause() instanceof java.net.UnknownHostException) {
        throw e;
      }
      throw new IllegalArgumentException(
          String.format("Invalid path: %s (%s)", path, e.getMessage()), e);
    } catch (IOException e) {
      throw new UncheckedIOException(String.format("Cannot reach %s: %s", path, e.getMessage()), e);
    }
  }

  /** Refuses a run directory where a rename is a copy. */
  static void requireAtomicRename(String run) {
    String scheme = new Path(run).toUri().getScheme();
    if (scheme != null && OBJECT_STORES.contains(scheme)) {
      throw new IllegalArgumentException(
          String.format(
              "Invalid output: %s (must be on HDFS or a local file system: %s renames by copying, so"
                  + " a checkpoint could be torn)",
              run, scheme));
    }
  }
}
