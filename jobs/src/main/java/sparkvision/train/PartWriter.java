package sparkvision.train;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.DaemonThreads;
import sparkvision.checkpoint.Part;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/**
 * Writes a rank's parts of checkpoints while the rank trains on, one checkpoint at a time. What is
 * written are copies, so a checkpoint in the making costs the memory of its parts on the Java heap.
 */
public final class PartWriter implements AutoCloseable {

  private final Configuration hadoop;
  private final int timeoutSeconds;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(DaemonThreads.named("checkpoint-parts"));
  private Future<?> writing = CompletableFuture.completedFuture(null);

  /**
   * @param timeoutSeconds how long a checkpoint may take
   */
  public PartWriter(Configuration hadoop, int timeoutSeconds) {
    this.hadoop = hadoop;
    this.timeoutSeconds = timeoutSeconds;
  }

  /** The parts of one rank: file names with their tensors. */
  public static final class Parts {
    private final Map<String, Map<String, HostTensor>> files = new LinkedHashMap<>();

    public void add(String name, Map<String, HostTensor> tensors) {
      files.put(name, tensors);
    }
  }

  /** Writes {@code parts}, and returns when they are closed. */
  List<Part> write(Parts parts, Path directory) throws IOException {
    FileSystem files = directory.getFileSystem(hadoop);
    List<Part> written = new ArrayList<>();
    for (Map.Entry<String, Map<String, HostTensor>> part : parts.files.entrySet()) {
      written.add(
          Part.write(
              files,
              directory,
              part.getKey(),
              out -> Safetensors.write(out, part.getValue(), Map.of())));
    }
    return written;
  }

  /**
   * Writes {@code parts} in the background.
   *
   * @param done is told what was written
   * @param failed is told why it was not
   */
  public void start(
      Parts parts, Path directory, Consumer<List<Part>> done, Consumer<String> failed) {
    finish();
    writing =
        thread.submit(
            () -> {
              List<Part> written;
              try {
                written = write(parts, directory);
              } catch (IOException | RuntimeException e) {
                failed.accept(Transport.reason(e));
                return;
              }
              done.accept(written);
            });
  }

  /**
   * Waits for what is being written.
   *
   * @throws IllegalStateException if it takes too long
   */
  public void finish() {
    try {
      writing.get(timeoutSeconds, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      throw new IllegalStateException(
          String.format(
              "Cannot write a checkpoint: its parts are not written after %d s", timeoutSeconds),
          e);
    } catch (ExecutionException e) {
      throw new IllegalStateException(
          "Cannot write a checkpoint: " + Transport.reason(e), e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Cannot write a checkpoint: interrupted", e);
    }
  }

  @Override
  public void close() {
    thread.shutdownNow();
  }
}
