package sparkvision.checkpoint;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** A committed, verified checkpoint directory. */
public final class Checkpoint {

  /** Present exactly in complete checkpoints. */
  public static final String MANIFEST = "MANIFEST.json";

  static final String STATE = "state.json";

  /** Parameters and running statistics. */
  public static final String MODEL = "model.safetensors";

  /** The outer optimizer's momentum, where it has one. */
  public static final String OUTER = "outer.safetensors";

  static final JsonMapper JSON = JsonMapper.builder().build();

  /** The content of {@code MANIFEST.json}. */
  record Manifest(
      @JsonProperty("version") int version,
      @JsonProperty("step") long step,
      @JsonProperty("files") List<Part> files) {}

  private final FileSystem files;
  private final Path directory;
  private final Manifest manifest;

  private Checkpoint(FileSystem files, Path directory, Manifest manifest) {
    this.files = files;
    this.directory = directory;
    this.manifest = manifest;
  }

  /** The name of rank {@code rank}'s optimizer state. */
  public static String optimizerFile(int rank) {
    return "optimizer-" + rank + ".safetensors";
  }

  /** The name of what rounding took from rank {@code rank}'s exchanges, where they round. */
  public static String residualFile(int rank) {
    return "residual-" + rank + ".safetensors";
  }

  /**
   * Reads the manifest of {@code directory} and the length and checksum of every file in it.
   *
   * @throws DamagedCheckpointException if anything is missing or changed
   * @throws IOException if the storage cannot be read
   */
  public static Checkpoint verify(FileSystem files, Path directory) throws IOException {
    Path path = new Path(directory, MANIFEST);
    if (!files.exists(path)) {
      throw new DamagedCheckpointException(directory + " has no " + MANIFEST);
    }
    Manifest manifest;
    try (InputStream in = files.open(path)) {
      manifest = JSON.readValue(in, Manifest.class);
    } catch (com.fasterxml.jackson.core.JacksonException e) {
      throw new DamagedCheckpointException(path + " is not a checkpoint manifest");
    }
    if (manifest.version() != CheckpointStore.VERSION || manifest.files() == null) {
      throw new DamagedCheckpointException(
          String.format(
              "%s has format version %d, this program reads %d",
              path, manifest.version(), CheckpointStore.VERSION));
    }
    for (Part part : manifest.files()) {
      if (!files.exists(new Path(directory, part.name()))) {
        throw new DamagedCheckpointException(new Path(directory, part.name()) + " is missing");
      }
      part.verify(files, directory);
    }
    return new Checkpoint(files, directory, manifest);
  }

  public Path directory() {
    return directory;
  }

  /** Training steps that lie behind it. */
  public long step() {
    return manifest.step();
  }

  public List<Part> files() {
    return manifest.files();
  }

  /** {@code state.json} read as {@code type}. */
  public <T> T state(Class<T> type) throws IOException {
    try (InputStream in = files.open(new Path(directory, STATE))) {
      return JSON.readValue(in, type);
    }
  }

  /** The file with parameters and running statistics by state-dict name. */
  public Path model() {
    return new Path(directory, MODEL);
  }

  /** Tensors of any safetensors file. */
  public static Map<String, HostTensor> read(FileSystem files, Path path) throws IOException {
    try (InputStream in = files.open(path)) {
      return Safetensors.read(in).tensors();
    }
  }
}
