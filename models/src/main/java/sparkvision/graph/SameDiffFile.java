package sparkvision.graph;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.nd4j.autodiff.samediff.SDVariable;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import sparkvision.weights.HostTensor;

/** An inference graph in SameDiff's own file format, written with stock operations. */
final class SameDiffFile {

  private final Graph graph;
  private final Map<String, HostTensor> state;
  private final DataType type;
  private final SameDiff sd = SameDiff.create();
  private final Map<Tensor, SDVariable> values = new HashMap<>();

  private SameDiffFile(Graph graph, Map<String, HostTensor> state) {
    this.graph = graph;
    this.state = state;
    this.type = graph.precision() == Graph.Precision.FLOAT ? DataType.FLOAT : DataType.DOUBLE;
  }

  static void write(Graph graph, Map<String, HostTensor> state, Path file) throws IOException {
    if (graph.mode() != Graph.Mode.INFERENCE) {
      throw new IllegalArgumentException(
          String.format("Cannot save %s: the graph was built for training", file));
    }
    SameDiff sd = new SameDiffFile(graph, state).translate();
    Path folder = file.toAbsolutePath().getParent();
    if (!Files.isDirectory(folder)) {
      throw new NoSuchFileException(
          String.format("Cannot save %s: there is no folder %s", file, folder));
    }
    Path part = file.resolveSibling(file.getFileName() + ".part"); // never half a file of this name
    try {
      sd.save(part.toFile(), false);
      Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (RuntimeException e) {
      if (e.getCause() instanceof IOException cause) { // SameDiff.save wraps it
        throw new IOException(String.format("Cannot save %s: %s", file, cause.getMessage()), cause);
      }
      throw e;
    } finally {
      Files.deleteIfExists(part);
    }
  }

  private SameDiff translate() {
    graph
        .inputs()
        .forEach(
            (name, tensor) ->
                values.put(tensor, sd.placeHolder(name, type(tensor), tensor.shape())));
    for (Variable variable : graph.variables()) {
      switch (variable.role()) {
        case PARAMETER -> values.put(variable.tensor(), sd.var(variable.name(), array(variable)));
        case STATISTIC -> // a constant, so that nobody trains it
            values.put(variable.tensor(), sd.constant(variable.name(), array(variable)));
        case COUNTER -> {} // serves training only
      }
    }
    StockOperations stock = new StockOperations(sd, type, values);
    graph.lowered(Set.of(Node.Kind.BATCH_NORM)).forEach(stock::translate);
    graph.outputs().forEach((name, tensor) -> sd.identity(name, values.get(tensor)));
    return sd;
  }

  private DataType type(Tensor tensor) {
    return tensor.type() == Tensor.Type.INT64 ? DataType.INT64 : type;
  }

  private INDArray array(Variable variable) {
    HostTensor tensor = state.get(variable.name());
    if (tensor == null) {
      throw new IllegalArgumentException(
          String.format("Cannot save graph: the state lacks %s", variable.name()));
    }
    return Nd4j.createFromArray(tensor.floats()).castTo(type).reshape('c', tensor.shape());
  }
}
