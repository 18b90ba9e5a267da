package sparkvision.jobs;

import java.io.IOException;
import java.io.OutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options.Rename;
import org.apache.hadoop.fs.Path;

/** Files that a job writes whole. */
final class OutputFiles {

  private OutputFiles() {}

  /** What goes into a file. */
  @FunctionalInterface
  interface Content {
    void write(OutputStream out) throws IOException;
  }

  /** Makes or replaces a file, with its parents: readers see the old one or the new one. */
  static void replace(Path file, Configuration hadoop, Content content) throws IOException {
    FileSystem files = file.getFileSystem(hadoop);
    Path whole = files.makeQualified(file);
    Path temporary = new Path(whole.getParent(), "." + whole.getName() + ".tmp");
    files.mkdirs(whole.getParent());
    try (OutputStream out = files.create(temporary, true)) {
      content.write(out);
    }
    FileContext.getFileContext(whole.toUri(), hadoop).rename(temporary, whole, Rename.OVERWRITE);
  }
}
