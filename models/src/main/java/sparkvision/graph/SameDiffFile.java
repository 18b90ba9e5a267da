package sparkvision.graph;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashMap;
import java.util.Map;
import org.nd4j.autodiff.samediff.SDVariable;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.enums.WeightsFormat;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Conv2DConfig;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Conv3DConfig;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.PaddingMode;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Pooling2DConfig;
import org.nd4j.linalg.api.ops.impl.layers.convolution.config.Pooling3DConfig;
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
        .forEach((name, tensor) -> values.put(tensor, sd.placeHolder(name, type, tensor.shape())));
    for (Variable variable : graph.variables()) {
      switch (variable.role()) {
        case PARAMETER -> values.put(variable.tensor(), sd.var(variable.name(), array(variable)));
        case STATISTIC -> // a constant, so that nobody trains it
            values.put(variable.tensor(), sd.constant(variable.name(), array(variable)));
        case COUNTER -> {} // serves training only
      }
    }
    for (Node node : graph.nodes()) {
      values.put(node.output(), translate(node));
    }
    graph.outputs().forEach((name, tensor) -> sd.identity(name, values.get(tensor)));
    return sd;
  }

  private INDArray array(Variable variable) {
    HostTensor tensor = state.get(variable.name());
    if (tensor == null) {
      throw new IllegalArgumentException(
          String.format("Cannot save graph: the state lacks %s", variable.name()));
    }
    return Nd4j.createFromArray(tensor.floats()).castTo(type).reshape('c', tensor.shape());
  }

  private SDVariable translate(Node node) {
    SDVariable x = in(node, 0);
    return switch (node.kind()) {
      case CONV -> node.sizes("kernel").length == 2 ? conv2d(node) : conv3d(node);
      case BATCH_NORM ->
          sd.nn()
              .batchNorm(
                  x, in(node, 3), in(node, 4), in(node, 1), in(node, 2), node.number("epsilon"), 1);
      case RELU -> sd.nn().relu(x, 0);
      case MAX_POOL ->
          node.sizes("kernel").length == 2
              ? sd.cnn().maxPooling2d(x, pool2d(node))
              : sd.cnn().maxPooling3d(x, pool3d(node));
      case AVERAGE_POOL ->
          node.sizes("kernel").length == 2
              ? sd.cnn().avgPooling2d(x, pool2d(node))
              : sd.cnn().avgPooling3d(x, pool3d(node));
      case GLOBAL_AVERAGE_POOL ->
          sd.mean(x, node.input(0).rank() == 4 ? new int[] {2, 3} : new int[] {2, 3, 4});
      case LINEAR -> sd.mmul(x, in(node, 1), false, true, false).add(in(node, 2));
      case CONCAT ->
          sd.concat(1, node.inputs().stream().map(values::get).toArray(SDVariable[]::new));
      case ADD -> x.add(in(node, 1));
      case MULTIPLY -> x.mul(in(node, 1));
      case SUM -> sd.sum(x);
      case DROPOUT, CROSS_ENTROPY ->
          throw new IllegalArgumentException(
              String.format("Cannot save graph: %s serves training only", node.kind()));
      default ->
          throw new IllegalArgumentException(
              String.format("Cannot save graph: %s has no stock operation", node.kind()));
    };
  }

  private SDVariable in(Node node, int index) {
    return values.get(node.input(index));
  }

  private SDVariable conv2d(Node node) {
    long[] k = node.sizes("kernel");
    long[] s = node.sizes("stride");
    long[] p = node.sizes("padding");
    Conv2DConfig config =
        Conv2DConfig.builder()
            .kH(k[0])
            .kW(k[1])
            .sH(s[0])
            .sW(s[1])
            .pH(p[0])
            .pW(p[1])
            .dH(1)
            .dW(1)
            .paddingMode(PaddingMode.VALID)
            .dataFormat(Conv2DConfig.NCHW)
            .weightsFormat(WeightsFormat.OIYX)
            .build();
    return node.inputs().size() == 2
        ? sd.cnn().conv2d(in(node, 0), in(node, 1), config)
        : sd.cnn().conv2d(in(node, 0), in(node, 1), in(node, 2), config);
  }

  private SDVariable conv3d(Node node) {
    long[] k = node.sizes("kernel");
    long[] s = node.sizes("stride");
    long[] p = node.sizes("padding");
    Conv3DConfig config =
        Conv3DConfig.builder()
            .kD(k[0])
            .kH(k[1])
            .kW(k[2])
            .sD(s[0])
            .sH(s[1])
            .sW(s[2])
            .pD(p[0])
            .pH(p[1])
            .pW(p[2])
            .dD(1)
            .dH(1)
            .dW(1)
            .paddingMode(PaddingMode.VALID)
            .dataFormat(Conv3DConfig.NCDHW)
            .build();
    // SameDiff's 3D convolution knows no weights format: it wants (k..., C, O).
    SDVariable weight = sd.permute(in(node, 1), 2, 3, 4, 1, 0);
    return node.inputs().size() == 2
        ? sd.cnn().conv3d(in(node, 0), weight, config)
        : sd.cnn().conv3d(in(node, 0), weight, in(node, 2), config);
  }

  private static Pooling2DConfig pool2d(Node node) {
    long[] k = node.sizes("kernel");
    long[] s = node.sizes("stride");
    long[] p = padding(node);
    return Pooling2DConfig.builder()
        .kH(k[0])
        .kW(k[1])
        .sH(s[0])
        .sW(s[1])
        .pH(p[0])
        .pW(p[1])
        .dH(1)
        .dW(1)
        .paddingMode(PaddingMode.VALID)
        .isNHWC(false)
        .build();
  }

  private static Pooling3DConfig pool3d(Node node) {
    long[] k = node.sizes("kernel");
    long[] s = node.sizes("stride");
    long[] p = padding(node);
    return Pooling3DConfig.builder()
        .kD(k[0])
        .kH(k[1])
        .kW(k[2])
        .sD(s[0])
        .sH(s[1])
        .sW(s[2])
        .pD(p[0])
        .pH(p[1])
        .pW(p[2])
        .dD(1)
        .dH(1)
        .dW(1)
        .isSameMode(false)
        .isNCDHW(true)
        .build();
  }

  private static long[] padding(Node node) {
    return node.kind() == Node.Kind.MAX_POOL
        ? node.sizes("padding")
        : new long[node.sizes("kernel").length];
  }
}
