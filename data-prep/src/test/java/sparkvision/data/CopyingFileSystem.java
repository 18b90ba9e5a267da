package sparkvision.data;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.util.Arrays;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;

/**
 * A store that renames by copying, {@code copying:/...}, and may die of it half-way: the worst that
 * calls itself a file system.
 */
public final class CopyingFileSystem extends RawLocalFileSystem {

  /** The name of the file whose next copy stops in the middle; null for none. */
  static volatile String dying;

  @Override
  public URI getUri() {
    return URI.create("copying:///");
  }

  @Override
  public String getScheme() {
    return "copying";
  }

  @Override
  public void initialize(URI uri, Configuration hadoop) throws IOException {
    super.initialize(URI.create("copying:///"), hadoop);
    setConf(hadoop);
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    java.nio.file.Path source = pathToFile(from).toPath();
    java.nio.file.Path target = pathToFile(to).toPath();
    byte[] bytes = Files.readAllBytes(source);
    if (to.getName().equals(dying)) {
      dying = null;
      Files.write(target, Arrays.copyOf(bytes, bytes.length / 2));
      throw new IOException("Cannot copy " + from + ": the connection was lost");
    }
    Files.write(target, bytes);
    Files.delete(source);
    return true;
  }
}
