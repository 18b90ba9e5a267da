package sparkvision.train;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.engine.Engine;
import sparkvision.weights.HostTensor;

/**
 * The exponential moving average of a checkpoint's weights: the mean of those that its ranks keep
 * in their optimizer states.
 *
 * <p>Each rank averages its own weights over time. That is linear, so the mean over ranks of the
 * averages is the average over time of the ranks' mean. After an update that an exchange follows,
 * this mean is what all ranks go on with; after the others it is what they would have gone on with.
 * Checkpoints stand right behind an exchange, so no rank is ahead of another.
 */
public final class MovingAverage {

  private MovingAverage() {}

  /**
   * Parameters and float running statistics averaged, counters as the model has them.
   *
   * @param directory a checkpoint of {@code ranks} ranks
   * @throws JobException if a rank kept no average
   */
  public static Map<String, HostTensor> read(FileSystem files, Path directory, int ranks)
      throws IOException {
    Map<String, HostTensor> mean = new LinkedHashMap<>();
    for (int rank = 0; rank < ranks; rank++) {
      Map<String, HostTensor> state =
          Checkpoint.read(files, new Path(directory, Checkpoint.optimizerFile(rank)));
      state.keySet().removeIf(name -> !name.startsWith(Engine.EMA));
      if (state.isEmpty()) {
        throw new JobException(
            Exit.DATA,
            String.format(
                "Cannot evaluate %s with weights=ema: its run kept no moving average"
                    + " (optimizer.ema-decay was 0)",
                directory));
      }
      state.forEach((name, tensor) -> mean.merge(name, tensor, MovingAverage::add));
    }
    Map<String, HostTensor> model = Checkpoint.read(files, new Path(directory, Checkpoint.MODEL));
    model.replaceAll(
        (name, tensor) -> tensor.isFloat() ? divide(mean.get(Engine.EMA + name), ranks) : tensor);
    return model;
  }

  private static HostTensor add(HostTensor sum, HostTensor tensor) {
    float[] values = sum.floats();
    float[] added = tensor.floats();
    for (int i = 0; i < values.length; i++) {
      values[i] += added[i];
    }
    return sum;
  }

  private static HostTensor divide(HostTensor sum, int ranks) {
    float[] values = sum.floats();
    for (int i = 0; i < values.length; i++) {
      values[i] /= ranks;
    }
    return sum;
  }
}
