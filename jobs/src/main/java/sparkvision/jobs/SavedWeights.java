package sparkvision.jobs;

import com.typesafe.config.Config;
import java.io.IOException;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.train.HadoopPaths;
import sparkvision.train.RunState;

/**
 * Weights that training left, or that stand alone.
 *
 * @param file safetensors
 * @param state that the checkpoint was saved with; empty of a single file
 */
record SavedWeights(Path file, Optional<RunState> state) {

  /** Which of a checkpoint's weights. */
  enum Choice {
    LAST,
    EMA
  }

  /**
   * The newest checkpoint of a run directory, a checkpoint directory, or a file.
   *
   * @param verb what the job does with them, for errors
   * @throws IllegalArgumentException if there is no such thing
   * @throws JobException if the checkpoint is damaged
   */
  static SavedWeights find(String verb, String checkpoint, Configuration hadoop)
      throws IOException {
    String place = HadoopPaths.absolute(checkpoint, hadoop);
    Path path = new Path(place);
    FileSystem files = path.getFileSystem(hadoop);
    if (!files.exists(path)) {
      throw new IllegalArgumentException(
          String.format("Cannot %s %s: there is no such file or directory", verb, place));
    }
    if (files.getFileStatus(path).isFile()) {
      return new SavedWeights(path, Optional.empty());
    }
    Checkpoint found;
    if (files.exists(new Path(path, "checkpoints"))) {
      found =
          new CheckpointStore(files, path)
              .newest(Progress::note)
              .orElseThrow(
                  () ->
                      new IllegalArgumentException(
                          String.format("Cannot %s %s: it has no checkpoint", verb, place)));
    } else {
      try {
        found = Checkpoint.verify(files, path);
      } catch (IOException e) {
        throw new JobException(
            Exit.DATA, String.format("Cannot %s %s: %s", verb, place, e.getMessage()), e);
      }
    }
    return new SavedWeights(found.model(), Optional.of(found.state(RunState.class)));
  }

  /** What the command says, else what the checkpoint says. */
  Config model(String job, Optional<Config> given) {
    return given
        .or(() -> state.map(RunState::modelConfig))
        .orElseThrow(() -> missing(job, "model"));
  }

  /** A key that only a checkpoint would say. */
  static IllegalArgumentException missing(String job, String key) {
    return new IllegalArgumentException(
        String.format(
            "Cannot run %s: key %s is missing (a .safetensors file does not say it; give"
                + " %s=...)",
            job, key, key));
  }

  /**
   * How many ranks' moving averages are wanted; 0: the weights themselves.
   *
   * @throws IllegalArgumentException if a single file is asked for averages
   */
  int averagedRanks(Choice choice) {
    if (choice == Choice.LAST) {
      return 0;
    }
    return state
        .map(RunState::ranks)
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    String.format(
                        "Invalid weights: ema (must be last: %s is a single file, averages belong"
                            + " to a checkpoint)",
                        file)));
  }
}
