package sparkvision.jobs;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.typesafe.config.Config;
import java.io.IOException;
import java.nio.file.Files;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import picocli.CommandLine.Command;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.data.DataException;
import sparkvision.graph.Graph;
import sparkvision.graph.Tensor;
import sparkvision.graph.Variable;
import sparkvision.models.Model;
import sparkvision.models.Models;
import sparkvision.train.HadoopPaths;
import sparkvision.train.MovingAverage;
import sparkvision.train.RunState;
import sparkvision.weights.HostTensor;
import sparkvision.weights.Safetensors;

/** A checkpoint -> an inference graph that plain DL4J loads, and its weights. */
@Command(
    name = "export",
    mixinStandardHelpOptions = true,
    description = "Writes a checkpoint's network as a SameDiff file, and its weights beside it.")
final class ExportModel extends ConfJob<ExportModel.Settings> {

  /** {@code conf/export.conf}. */
  record Settings(
      String checkpoint,
      String output,
      SavedWeights.Choice weights,
      Optional<Config> model,
      Optional<List<Integer>> imageSize,
      int batchSize) {

    Settings {
      if (batchSize < 1) {
        throw new IllegalArgumentException(
            String.format("Invalid batch-size: %d (must be at least 1)", batchSize));
      }
    }
  }

  private static final String INPUT = "input";
  private static final String OUTPUT = "logits";

  @Override
  String name() {
    return "export";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    Configuration hadoop = new Configuration();
    SavedWeights saved = SavedWeights.find("export", settings.checkpoint(), hadoop);
    Config model = saved.model("export", settings.model());
    Graph graph = graph(settings, saved, Models.of(model));
    Map<String, HostTensor> weights = weights(settings, saved, graph, hadoop);

    Path output = new Path(HadoopPaths.absolute(settings.output(), hadoop));
    java.nio.file.Path local = Files.createTempFile("sparkvision", ".sd");
    try {
      graph.save(local, weights);
      Path file = new Path(output, "graph.sd");
      OutputFiles.replace(file, hadoop, out -> Files.copy(local, out));
    } finally {
      Files.delete(local);
    }
    OutputFiles.replace(
        new Path(output, "weights.safetensors"),
        hadoop,
        out -> Safetensors.write(out, weights, Map.of("format", "pt")));
    byte[] description =
        JsonMapper.builder()
            .build()
            .writerWithDefaultPrettyPrinter()
            .writeValueAsBytes(description(graph, model, saved));
    OutputFiles.replace(new Path(output, "model.json"), hadoop, out -> out.write(description));
    System.out.println("Exported: " + output);
  }

  private static Graph graph(Settings settings, SavedWeights saved, Model model) {
    Graph graph = new Graph(Graph.Mode.INFERENCE, 0);
    long[] shape = model.inputShapes(settings.batchSize(), size(settings, saved)).get(0);
    List<Tensor> outputs = model.apply(graph, List.of(graph.input(INPUT, shape)));
    graph.output(OUTPUT, outputs.get(0));
    return graph;
  }

  /** What the command says, else what the run was trained with. */
  private static int[] size(Settings settings, SavedWeights saved) {
    if (settings.imageSize().isPresent()) {
      return settings.imageSize().get().stream().mapToInt(Integer::intValue).toArray();
    }
    RunState state = saved.state().orElseThrow(() -> SavedWeights.missing("export", "image-size"));
    return state.inputSize().stream().mapToInt(Integer::intValue).toArray();
  }

  /** Those that the inference graph has a use for. */
  private static Map<String, HostTensor> weights(
      Settings settings, SavedWeights saved, Graph graph, Configuration hadoop) throws IOException {
    Path file = saved.file();
    FileSystem files = file.getFileSystem(hadoop);
    int ranks = saved.averagedRanks(settings.weights());
    Map<String, HostTensor> all;
    try {
      all =
          ranks == 0
              ? Checkpoint.read(files, file)
              : MovingAverage.read(files, file.getParent(), ranks);
    } catch (IOException e) {
      throw new DataException(String.format("Cannot export %s: %s", file, e.getMessage()), e);
    }
    Map<String, HostTensor> weights = new LinkedHashMap<>();
    for (Variable variable : graph.variables()) {
      HostTensor tensor = all.get(variable.name());
      if (tensor != null) {
        weights.put(variable.name(), tensor);
      } else if (variable.role() != Variable.Role.COUNTER) {
        throw new DataException(
            String.format("Cannot export %s: it has no %s", file, variable.name()));
      }
    }
    return weights;
  }

  private static Map<String, Object> description(Graph graph, Config model, SavedWeights saved) {
    Map<String, Object> description = new LinkedHashMap<>();
    description.put("model", model.root().unwrapped());
    description.put("input", Map.of("name", INPUT, "shape", graph.inputs().get(INPUT).shape()));
    description.put("output", Map.of("name", OUTPUT, "shape", graph.outputs().get(OUTPUT).shape()));
    saved
        .state()
        .ifPresent(
            state -> {
              description.put("step", state.step());
              description.put("classes", state.classes());
              description.put("mean", state.mean());
              description.put("std", state.std());
            });
    return description;
  }
}
