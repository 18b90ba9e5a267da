package sparkvision.train;

import java.io.FilterOutputStream;
import java.io.IOException;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.util.Progressable;

/**
 * HDFS with {@link FaultPoint}s around what a checkpoint does: {@code half of STEP/FILE}, when the
 * first bytes of a part are there; {@code before STEP} and {@code behind STEP}, around the rename.
 */
public final class FaultyFileSystem extends DistributedFileSystem {

  @Override
  public FSDataOutputStream create(
      Path path,
      FsPermission permission,
      boolean overwrite,
      int bufferSize,
      short replication,
      long blockSize,
      Progressable progress)
      throws IOException {
    FSDataOutputStream file =
        super.create(path, permission, overwrite, bufferSize, replication, blockSize, progress);
    String place = "half of " + step(path.getParent()) + "/" + path.getName();
    return new FSDataOutputStream(
        new FilterOutputStream(file) {
          private boolean begun;

          @Override
          public void write(byte[] bytes, int offset, int count) throws IOException {
            int half = begun ? 0 : count / 2;
            out.write(bytes, offset, half);
            if (!begun) {
              begun = true;
              file.hflush();
              FaultPoint.pass(place);
            }
            out.write(bytes, offset + half, count - half);
          }
        },
        statistics);
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    FaultPoint.pass("before " + step(to));
    boolean renamed = super.rename(from, to);
    FaultPoint.pass("behind " + step(to));
    return renamed;
  }

  /** Checkpoint directories without what is different each time. */
  private static String step(Path directory) {
    return directory.getName().replaceFirst("^\\.tmp-.*(?=step-\\d+$)", "");
  }
}
