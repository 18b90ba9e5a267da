package sparkvision.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FilterFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.JobException;
import sparkvision.JobException.Exit;

/** On a real HDFS. */
class CheckpointStoreTest {

  @TempDir private static java.nio.file.Path storage;

  private static MiniDFSCluster hdfs;
  private static FileSystem files;
  private static int runs;

  private final Random random = new Random(7);
  private final List<String> skipped = new ArrayList<>();
  private Path run;
  private CheckpointStore store;
  private RunLock lock;

  @BeforeAll
  static void startHdfs() throws IOException {
    Configuration conf = new Configuration();
    conf.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, storage.toString());
    hdfs = new MiniDFSCluster.Builder(conf).numDataNodes(1).build();
    files = hdfs.getFileSystem();
  }

  @AfterAll
  static void stopHdfs() {
    hdfs.shutdown();
  }

  @BeforeEach
  void takeLock() throws Exception {
    run = new Path("/runs/" + runs++);
    store = new CheckpointStore(files, run);
    lock = RunLock.acquire(files, run);
  }

  @AfterEach
  void releaseLock() throws IOException {
    lock.close();
  }

  @Test
  void findsTheNewestOfWhatWasCommitted() throws IOException {
    assertThat(store.newest(skipped::add)).isEmpty();
    commit(100);
    Path second = commit(2000);

    Checkpoint newest = store.newest(skipped::add).orElseThrow();

    assertThat(newest.step()).isEqualTo(2000);
    assertThat(newest.directory().getName()).isEqualTo("step-000000002000");
    assertThat(newest.directory()).isEqualTo(second);
    assertThat(newest.state(JsonNode.class).get("note").asText()).isEqualTo("at 2000");
    assertThat(skipped).isEmpty();
  }

  @Test
  void aStagedDirectoryIsNoCheckpoint() throws IOException {
    Path staged = CheckpointStore.staged(store.staging(), 100);
    Part.write(files, staged, "model.safetensors", out -> out.write(new byte[10]));
    assertThat(store.newest(skipped::add)).isEmpty();

    store.sweep(lock);
    assertThat(files.exists(staged)).isFalse();
  }

  @Test
  void skipsWhatIsDamagedAndSaysWhy() throws IOException {
    commit(1);
    damage(commit(2), "model.safetensors", bytes -> bytes[777] ^= 4);
    truncate(commit(3), "optimizer-0.safetensors");
    files.delete(new Path(commit(4), "state.json"), false);
    damage(commit(5), "MANIFEST.json", bytes -> bytes[0] = '!');
    files.delete(new Path(commit(6), "MANIFEST.json"), false);

    assertThat(store.newest(skipped::add).map(Checkpoint::step)).isEqualTo(Optional.of(1L));
    assertThat(skipped).hasSize(5);
    assertThat(skipped.get(0))
        .startsWith("Skipping checkpoint step-000000000006: ")
        .contains("has no MANIFEST.json");
    assertThat(skipped.get(1)).contains("is not a checkpoint manifest");
    assertThat(skipped.get(2)).contains("state.json is missing");
    assertThat(skipped.get(3)).contains("has 99 bytes, its manifest says 100");
    assertThat(skipped.get(4)).contains("has checksum").contains("its manifest says");
  }

  @Test
  void refusesToStartAnewWhenNothingVerifies() throws IOException {
    damage(commit(2), "model.safetensors", bytes -> bytes[0]++);
    assertThatThrownBy(() -> store.newest(skipped::add))
        .isInstanceOfSatisfying(JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.DATA))
        .hasMessageStartingWith("Cannot resume from")
        .hasMessageContaining("none of its 1 checkpoints verifies");
  }

  @Test
  void replacesADamagedCheckpointOfTheSameStep() throws IOException {
    commit(1);
    damage(commit(2), "model.safetensors", bytes -> bytes[0]++);
    commit(2);
    assertThat(store.newest(skipped::add).map(Checkpoint::step)).isEqualTo(Optional.of(2L));
    assertThat(skipped).isEmpty();
  }

  @Test
  void aRefusedRenameIsAnErrorAndNoCheckpoint() throws IOException {
    // HDFS refuses by returning false.
    FileSystem refusing =
        new FilterFileSystem(files) {
          @Override
          public boolean rename(Path from, Path to) {
            return false;
          }
        };
    CheckpointStore refused = new CheckpointStore(refusing, run);
    Path staged = CheckpointStore.staged(refused.staging(), 5);
    assertThatThrownBy(() -> refused.commit(staged, 5, List.of(), Map.of(), lock))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("the rename from")
        .hasMessageContaining("was refused");
    assertThat(store.newest(skipped::add)).isEmpty();
  }

  @Test
  void doesNotCommitWhatWasSweptAway() throws IOException {
    Path staged = CheckpointStore.staged(store.staging(), 5);
    Part part = Part.write(files, staged, "model.safetensors", out -> out.write(1));
    store.sweep(lock);
    assertThatThrownBy(() -> store.commit(staged, 5, List.of(part), Map.of(), lock))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("is gone");
    assertThat(store.committed()).isEmpty();
  }

  @Test
  void keepsTheLastAndTheChosen() throws IOException {
    for (long step = 10; step <= 60; step += 10) {
      commit(step);
    }
    store.retain(60, 2, step -> step == 30);
    assertThat(store.committed())
        .extracting(Path::getName)
        .containsExactly("step-000000000060", "step-000000000050", "step-000000000030");
  }

  @Test
  void aCommitBehindDamagedOnesIsKept() throws IOException {
    for (long step = 10; step <= 50; step += 10) {
      commit(step);
    }
    store.retain(20, 1, step -> false);
    assertThat(store.committed())
        .as("what training went back behind is gone, what it goes on from stays")
        .extracting(Path::getName)
        .containsExactly("step-000000000020");
  }

  @Test
  void aStorageThatFailsIsNotADamagedCheckpoint() throws IOException {
    commit(1);
    commit(2);
    FileSystem failing =
        new FilterFileSystem(files) {
          @Override
          public FSDataInputStream open(Path path, int buffer) throws IOException {
            throw new IOException("Could not obtain block");
          }
        };
    CheckpointStore unreadable = new CheckpointStore(failing, run);
    assertThatThrownBy(() -> unreadable.newest(skipped::add))
        .isInstanceOf(IOException.class)
        .hasMessage("Could not obtain block");
    assertThat(skipped).isEmpty();
  }

  @Test
  void aLockThatStillBeatsElsewhereIsRespectedAndAStillOneTaken() throws Exception {
    lock.close();
    write(new RunLock.Owner("far", 7, "far-away", "another machine", 1, "2020-01-01T00:00:00Z"));
    Path path = new Path(run, "LOCK");
    Thread beating =
        new Thread(
            () -> {
              try {
                for (long beat = 1; beat < 60; beat++) {
                  TimeUnit.SECONDS.sleep(1);
                  files.setTimes(path, beat * 1000, -1);
                }
              } catch (IOException | InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            });
    beating.start();
    assertThatThrownBy(() -> RunLock.acquire(files, run))
        .isInstanceOf(JobException.class)
        .hasMessageContaining("process 1 on far-away");
    beating.interrupt();
    beating.join();

    lock = RunLock.acquire(files, run);
    assertThat(owner().fence()).isEqualTo(8);
  }

  @Test
  void aSecondDriverIsRefusedWhileTheFirstLives() {
    assertThatThrownBy(() -> RunLock.acquire(files, run))
        .isInstanceOfSatisfying(
            JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.LOCKED))
        .hasMessageContaining("Cannot train into " + run)
        .hasMessageContaining("process " + ProcessHandle.current().pid());
  }

  @Test
  void takesTheLockOfADeadProcessAndFencesItOff() throws Exception {
    Process dead = new ProcessBuilder("true").start();
    dead.waitFor();
    RunLock.Owner mine = owner();
    write(
        new RunLock.Owner(
            "other", 41, mine.host(), mine.pidSpace(), dead.pid(), "2020-01-01T00:00:00Z"));

    assertThatThrownBy(() -> lock.check())
        .isInstanceOf(JobException.class)
        .hasMessageContaining("the lock was taken over by process " + dead.pid());
    Path staged = CheckpointStore.staged(store.staging(), 9);
    assertThatThrownBy(() -> store.commit(staged, 9, List.of(), Map.of(), lock))
        .isInstanceOf(JobException.class);
    assertThat(store.committed()).isEmpty();

    try (RunLock next = RunLock.acquire(files, run)) {
      next.check();
      assertThat(owner().fence()).isEqualTo(42);
    }
    assertThat(files.exists(new Path(run, "LOCK"))).isFalse();
  }

  private RunLock.Owner owner() throws IOException {
    try (var in = files.open(new Path(run, "LOCK"))) {
      return Checkpoint.JSON.readValue(in.readAllBytes(), RunLock.Owner.class);
    }
  }

  private void write(RunLock.Owner owner) throws IOException {
    try (OutputStream out = files.create(new Path(run, "LOCK"), true)) {
      out.write(Checkpoint.JSON.writeValueAsBytes(owner));
    }
  }

  private Path commit(long step) throws IOException {
    Path staged = CheckpointStore.staged(store.staging(), step);
    byte[] model = new byte[1000];
    byte[] optimizer = new byte[100];
    random.nextBytes(model);
    random.nextBytes(optimizer);
    List<Part> parts =
        List.of(
            Part.write(files, staged, "model.safetensors", out -> out.write(model)),
            Part.write(files, staged, "optimizer-0.safetensors", out -> out.write(optimizer)));
    return files.makeQualified(
        store.commit(staged, step, parts, Map.of("note", "at " + step), lock));
  }

  private interface Damage {
    void to(byte[] bytes);
  }

  private static void damage(Path checkpoint, String name, Damage damage) throws IOException {
    Path path = new Path(checkpoint, name);
    byte[] bytes;
    try (var in = files.open(path)) {
      bytes = in.readAllBytes();
    }
    damage.to(bytes);
    try (OutputStream out = files.create(path, true)) {
      out.write(bytes);
    }
  }

  private static void truncate(Path checkpoint, String name) throws IOException {
    Path path = new Path(checkpoint, name);
    byte[] bytes;
    try (var in = files.open(path)) {
      bytes = in.readAllBytes();
    }
    try (OutputStream out = files.create(path, true)) {
      out.write(bytes, 0, bytes.length - 1);
    }
  }
}
