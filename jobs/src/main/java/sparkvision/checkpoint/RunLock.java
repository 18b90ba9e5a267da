package sparkvision.checkpoint;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JacksonException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.DaemonThreads;
import sparkvision.JobException;
import sparkvision.JobException.Exit;

/**
 * The right to commit in a run directory: a file {@code LOCK} that its owner touches every few
 * seconds.
 *
 * <p>Creating the file without overwriting is atomic on HDFS and locally. A lock is dead if its
 * owner was a process of this machine (or container) that no longer runs, or if its modification
 * time stood still while we watched for {@link #PATIENCE}; no two clocks are compared. A dead lock
 * is taken over by renaming it away; who finds that he renamed a living one puts it back. The
 * fencing number goes up with every owner, and an owner that finds another's number in the file may
 * not commit any more.
 */
public final class RunLock implements AutoCloseable {

  private static final Duration BEAT = Duration.ofSeconds(5);
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** The content of the file. */
  record Owner(
      @JsonProperty("id") String id,
      @JsonProperty("fence") long fence,
      @JsonProperty("host") String host,
      @JsonProperty("pid-space") String pidSpace,
      @JsonProperty("pid") long pid,
      @JsonProperty("started") String started) {}

  private final FileSystem files;
  private final Path path;
  private final Owner owner;
  private final ScheduledExecutorService heart =
      Executors.newSingleThreadScheduledExecutor(DaemonThreads.named("run-lock"));

  private RunLock(FileSystem files, Path path, Owner owner) {
    this.files = files;
    this.path = path;
    this.owner = owner;
    Future<?> unused =
        heart.scheduleWithFixedDelay(
            this::beat, BEAT.toMillis(), BEAT.toMillis(), TimeUnit.MILLISECONDS);
  }

  /**
   * Takes the lock of {@code run}, waiting for a dead one to be recognised.
   *
   * @throws JobException (exit code 7) if another driver holds it
   */
  public static RunLock acquire(FileSystem files, Path run)
      throws IOException, InterruptedException {
    Path path = new Path(run, "LOCK");
    files.mkdirs(run);
    long fence = 1;
    while (true) {
      Owner owner = self(fence);
      if (create(files, path, owner)) {
        return new RunLock(files, path, owner);
      }
      Optional<Owner> other = read(files, path);
      if (!dead(files, path, other)) {
        throw new JobException(
            Exit.LOCKED,
            String.format(
                "Cannot train into %s: process %s on %s is training there (stop it, or choose another"
                    + " output)",
                run,
                other.map(o -> Long.toString(o.pid())).orElse("unknown"),
                other.map(Owner::host).orElse("an unknown host")));
      }
      fence = other.map(Owner::fence).orElse(0L) + 1;
      Path away = new Path(run, "LOCK.dead-" + UUID.randomUUID());
      if (files.rename(path, away)) {
        // Between our look and the rename another contender may have put a living lock there.
        boolean judged = read(files, away).map(Owner::id).equals(other.map(Owner::id));
        if (judged || !files.rename(away, path)) {
          files.delete(away, false);
        }
      }
    }
  }

  /**
   * Makes sure that the lock is still ours.
   *
   * @throws JobException (exit code 7) if another driver took it over
   */
  public void check() throws IOException {
    Optional<Owner> found = read(files, path);
    if (found.isEmpty() || !found.get().id().equals(owner.id())) {
      throw new JobException(
          Exit.LOCKED,
          String.format(
              "Cannot commit below %s: the lock was taken over by %s",
              path.getParent(),
              found.map(o -> "process " + o.pid() + " on " + o.host()).orElse("someone else")));
    }
  }

  /** Gives the lock back; one that storage does not let go of is dead when this process is. */
  @Override
  public void close() {
    heart.shutdownNow();
    try {
      Optional<Owner> found = read(files, path);
      if (found.isPresent() && found.get().id().equals(owner.id())) {
        files.delete(path, false);
      }
    } catch (IOException e) {
      System.err.println("Cannot delete " + path + ": " + e.getMessage());
    }
  }

  private void beat() {
    try {
      if (read(files, path).map(Owner::id).filter(owner.id()::equals).isPresent()) {
        files.setTimes(path, System.currentTimeMillis(), -1);
      }
    } catch (IOException | RuntimeException e) {
      // A missed beat is harmless: if it lasts, check() refuses the next commit.
      System.err.println("Cannot touch " + path + ": " + e.getMessage());
    }
  }

  private static boolean create(FileSystem files, Path path, Owner owner) throws IOException {
    try (OutputStream out = files.create(path, false)) {
      out.write(Checkpoint.JSON.writeValueAsBytes(owner));
      return true;
    } catch (FileAlreadyExistsException e) {
      return false;
    } catch (IOException e) {
      if (files.exists(path)) {
        return false;
      }
      throw e;
    }
  }

  private static Optional<Owner> read(FileSystem files, Path path) throws IOException {
    if (!files.exists(path)) {
      return Optional.empty();
    }
    try (InputStream in = files.open(path)) {
      return Optional.of(Checkpoint.JSON.readValue(in, Owner.class));
    } catch (JacksonException e) {
      return Optional.empty();
    }
  }

  private static boolean dead(FileSystem files, Path path, Optional<Owner> owner)
      throws IOException, InterruptedException {
    if (owner.isPresent() && owner.get().pidSpace().equals(pidSpace())) {
      return ProcessHandle.of(owner.get().pid())
          .map(process -> !started(process).equals(owner.get().started()))
          .orElse(true);
    }
    long seen = modified(files, path);
    Instant deadline = Instant.now().plus(PATIENCE);
    while (Instant.now().isBefore(deadline)) {
      TimeUnit.SECONDS.sleep(1);
      if (modified(files, path) != seen) {
        return false;
      }
    }
    return true;
  }

  private static long modified(FileSystem files, Path path) throws IOException {
    FileStatus[] found = files.globStatus(path);
    return found == null || found.length == 0 ? -1 : found[0].getModificationTime();
  }

  private static Owner self(long fence) {
    ProcessHandle process = ProcessHandle.current();
    return new Owner(
        UUID.randomUUID().toString(), fence, host(), pidSpace(), process.pid(), started(process));
  }

  private static String started(ProcessHandle process) {
    return process.info().startInstant().map(Instant::toString).orElse("");
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "localhost";
    }
  }

  /** Where a process number means one process: this boot of this machine, this container. */
  private static String pidSpace() {
    try {
      return Files.readString(Paths.get("/proc/sys/kernel/random/boot_id")).strip()
          + " "
          + Files.readSymbolicLink(Paths.get("/proc/self/ns/pid"));
    } catch (IOException e) {
      return host(); // no Linux
    }
  }
}
