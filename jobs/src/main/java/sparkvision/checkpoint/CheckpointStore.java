package sparkvision.checkpoint;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.function.LongPredicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.ChecksumException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.JobException;
import sparkvision.JobException.Exit;

/**
 * The checkpoints of one run directory: stages, commits, finds, retains. The protocol is described
 * in the package documentation.
 */
public final class CheckpointStore {

  /** Version of the checkpoint format. */
  public static final int VERSION = 1;

  private static final Pattern COMMITTED = Pattern.compile("step-(\\d{12})");
  private static final String STAGED = ".tmp-";

  private final FileSystem files;
  private final Path root;

  /** The checkpoints below {@code run}, which need not exist yet. */
  public CheckpointStore(FileSystem files, Path run) {
    this.files = files;
    this.root = new Path(run, "checkpoints");
  }

  /** A new beginning for the names of temporary directories; see {@link #staged}. */
  public String staging() {
    return new Path(root, STAGED + UUID.randomUUID()).toString();
  }

  /**
   * The temporary directory of the checkpoint at {@code step}: it comes into being with its first
   * file.
   *
   * @param staging from {@link #staging}
   */
  public static Path staged(String staging, long step) {
    return new Path(staging + "-" + name(step));
  }

  /** Deletes a temporary directory that is not wanted any more. */
  public void discard(Path staged) throws IOException {
    files.delete(staged, true);
  }

  /**
   * Completes a staged directory with {@code state.json} and the manifest, and makes it the
   * checkpoint of {@code step}.
   *
   * @param parts what the ranks wrote into {@code staged}
   * @param state written as {@code state.json} by Jackson
   * @param lock checked immediately before the rename
   * @throws IOException if a file cannot be written or the rename is refused
   */
  public Path commit(Path staged, long step, List<Part> parts, Object state, RunLock lock)
      throws IOException {
    for (Part part : parts) {
      Path path = new Path(staged, part.name());
      if (!files.exists(path) || files.getFileStatus(path).getLen() != part.length()) {
        throw new IOException(
            String.format("Cannot commit checkpoint of step %d: %s is gone", step, path));
      }
    }
    List<Part> all = new ArrayList<>(parts);
    all.add(
        Part.write(
            files,
            staged,
            Checkpoint.STATE,
            out ->
                out.write(
                    Checkpoint.JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(state))));
    Checkpoint.Manifest manifest = new Checkpoint.Manifest(VERSION, step, all);
    Part.write(
        files,
        staged,
        Checkpoint.MANIFEST,
        out ->
            out.write(
                Checkpoint.JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(manifest)));
    lock.check();
    Path committed = new Path(root, name(step));
    if (files.exists(committed)) {
      // One that did not verify, or resume would have started from it.
      files.delete(committed, true);
    }
    if (!files.rename(staged, committed)
        || !files.exists(new Path(committed, Checkpoint.MANIFEST))) {
      throw new IOException(
          String.format(
              "Cannot commit checkpoint %s: the rename from %s was refused", committed, staged));
    }
    return committed;
  }

  /**
   * The newest checkpoint that verifies; each one that is skipped is told to {@code skipped}.
   *
   * @return empty if there is no checkpoint at all
   * @throws JobException (exit code 4) if there are checkpoints and none verifies
   * @throws IOException if one cannot be read just now, which does not make it damaged
   */
  public Optional<Checkpoint> newest(Consumer<String> skipped) throws IOException {
    List<Path> candidates = committed();
    List<String> reasons = new ArrayList<>();
    for (Path candidate : candidates) {
      try {
        return Optional.of(Checkpoint.verify(files, candidate));
      } catch (DamagedCheckpointException | ChecksumException e) {
        reasons.add(e.getMessage());
        skipped.accept(
            String.format("Skipping checkpoint %s: %s", candidate.getName(), e.getMessage()));
      }
    }
    if (candidates.isEmpty()) {
      return Optional.empty();
    }
    throw new JobException(
        Exit.DATA,
        String.format(
            "Cannot resume from %s: none of its %d checkpoints verifies, the newest because %s (move"
                + " the directory away to start anew)",
            root, candidates.size(), reasons.get(0)));
  }

  /**
   * Deletes the checkpoints that no rule keeps: of those up to {@code current}, the newest {@code
   * last}, and every step that {@code keep} accepts. Later ones did not verify, or training would
   * have started from them; they go too.
   */
  public void retain(long current, int last, LongPredicate keep) throws IOException {
    List<Path> newestFirst = new ArrayList<>();
    for (Path checkpoint : committed()) {
      if (step(checkpoint).orElseThrow() <= current) {
        newestFirst.add(checkpoint);
      } else {
        files.delete(checkpoint, true);
      }
    }
    for (Path checkpoint :
        newestFirst.subList(Math.min(last, newestFirst.size()), newestFirst.size())) {
      if (!keep.test(step(checkpoint).orElseThrow())) {
        files.delete(checkpoint, true);
      }
    }
  }

  /** Deletes what dead drivers left half-written; only the holder of {@code lock} may. */
  public void sweep(RunLock lock) throws IOException {
    lock.check();
    for (Path path : list()) {
      if (path.getName().startsWith(STAGED)) {
        files.delete(path, true);
      }
    }
  }

  /** Committed checkpoint directories, newest first, not verified. */
  public List<Path> committed() throws IOException {
    return list().stream()
        .filter(path -> step(path).isPresent())
        .sorted(Comparator.comparing(Path::getName).reversed())
        .toList();
  }

  private List<Path> list() throws IOException {
    if (!files.exists(root)) {
      return List.of();
    }
    return Arrays.stream(files.listStatus(root)).map(FileStatus::getPath).toList();
  }

  private static Optional<Long> step(Path path) {
    Matcher matcher = COMMITTED.matcher(path.getName());
    return matcher.matches() ? Optional.of(Long.valueOf(matcher.group(1))) : Optional.empty();
  }

  private static String name(long step) {
    return String.format("step-%012d", step);
  }
}
