package sparkvision.train;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import sparkvision.data.DataException;
import sparkvision.engine.Engine;
import sparkvision.pretrained.Pretrained;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/**
 * Weights that a run starts from in place of random ones: a safetensors file of the same network,
 * with a head for other classes or none, or of its backbone alone.
 */
final class StartingWeights {

  private final String file;
  private final Network network;
  private final Pretrained fit;

  /**
   * Reads a file and fits it to a network.
   *
   * @throws DataException if it cannot be read, or is for another network
   */
  StartingWeights(String file, Network network, Configuration hadoop) {
    this.file = file;
    this.network = network;
    this.fit = network.fit(read(file, hadoop));
    List<String> wrong = new ArrayList<>(fit.misshapen().keySet());
    wrong.removeIf(network::isHead);
    if (!wrong.isEmpty()) {
      String name = wrong.get(0);
      throw new DataException(
          String.format(
              "Cannot start from %s: its %s is %s", file, name, fit.misshapen().get(name)));
    }
    if (fit.taken() == 0) {
      throw new DataException(
          String.format("Cannot start from %s: it has nothing for %s", file, network.name()));
    }
  }

  private static Map<String, HostTensor> read(String file, Configuration hadoop) {
    Path path = new Path(file);
    try (InputStream in = path.getFileSystem(hadoop).open(path)) {
      return Safetensors.read(in).tensors();
    } catch (FileNotFoundException e) {
      throw new DataException(
          String.format("Cannot start from %s: there is no such file", file), e);
    } catch (IOException e) {
      throw new DataException(
          String.format(
              "Cannot start from %s: %s (import-weights reads other formats)",
              file, e.getMessage()),
          e);
    }
  }

  /** Loads what fits; the rest of the network keeps the values it begins with. */
  void load(Engine engine) {
    Map<String, HostTensor> state = engine.state();
    state.putAll(fit.state());
    engine.load(state);
  }

  /** What was taken and what begins anew, in one line. */
  String summary() {
    List<String> anew = new ArrayList<>(fit.missing());
    anew.addAll(fit.misshapen().keySet());
    long head = anew.stream().filter(network::isHead).count();
    return String.format(
        "Starting from %s: %d tensors taken%s; anew: %d of the head, %d others; unused: %d",
        file,
        fit.taken(),
        fit.renamed().isEmpty() ? "" : " (" + fit.renamed() + ")",
        head,
        anew.size() - head,
        fit.unexpected().size());
  }
}
