package sparkvision.jobs;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigRenderOptions;
import com.typesafe.config.ConfigValueType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import picocli.CommandLine.Command;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.data.DataException;
import sparkvision.models.Models;
import sparkvision.pretrained.Pretrained;
import sparkvision.train.HadoopPaths;
import sparkvision.weights.HostTensor;
import sparkvision.weights.PyTorchFile;
import sparkvision.weights.Safetensors;

/** Published weights -> a safetensors file with a model's own names and shapes. */
@Command(
    name = "import-weights",
    mixinStandardHelpOptions = true,
    description = "Makes a .safetensors file for a model out of a .safetensors or PyTorch file.")
final class ImportWeights extends ConfJob<ImportWeights.Settings> {

  /** {@code conf/import-weights.conf}. */
  record Settings(
      Config model, String input, String output, Optional<String> entry, boolean allowMissing) {}

  private static final int NAMED = 8; // tensors that a line of the summary names

  @Override
  String name() {
    return "import-weights";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    Configuration hadoop = new Configuration();
    Path input = new Path(HadoopPaths.absolute(settings.input(), hadoop));
    String model = settings.model().getString("name");
    Map<String, HostTensor> tensors = read(settings, input, hadoop);
    Pretrained fit = Pretrained.fit(settings.model(), tensors, size(settings.model()));
    System.out.printf("Taken: %d of %d tensors%n", fit.taken(), tensors.size());
    if (!fit.renamed().isEmpty()) {
      System.out.println("Renamed: " + fit.renamed());
    }
    list("Resized", fit.resized());
    list("Missing", fit.missing());
    list(
        "Misshapen",
        fit.misshapen().entrySet().stream().map(e -> e.getKey() + " " + e.getValue()).toList());
    list("Unexpected", fit.unexpected());
    if (fit.taken() == 0 || (!fit.isComplete() && !settings.allowMissing())) {
      throw new JobException(
          Exit.DATA,
          String.format(
              "Cannot import %s: it lacks %d of the tensors of %s%s",
              input,
              fit.missing().size() + fit.misshapen().size(),
              model,
              fit.taken() == 0 ? "" : " (allow-missing=true writes the others)"));
    }
    Map<String, String> metadata =
        Map.of(
            "format", "pt",
            "model", settings.model().root().render(ConfigRenderOptions.concise()),
            "source", input.getName());
    Path output = new Path(HadoopPaths.absolute(settings.output(), hadoop));
    OutputFiles.replace(output, hadoop, out -> Safetensors.write(out, fit.state(), metadata));
    System.out.println("Weights: " + output);
  }

  private static void list(String what, List<String> names) {
    if (!names.isEmpty()) {
      String more = names.size() > NAMED ? ", ..." : "";
      String first = String.join(", ", names.subList(0, Math.min(NAMED, names.size())));
      System.out.printf("%s: %d (%s%s)%n", what, names.size(), first, more);
    }
  }

  /** Of images that the network takes: what it was made for, if it says so. */
  private static int[] size(Config model) {
    if (model.hasPath("image-size")) {
      return model.getValue("image-size").valueType() == ConfigValueType.LIST
          ? model.getIntList("image-size").stream().mapToInt(Integer::intValue).toArray()
          : new int[] {model.getInt("image-size")};
    }
    // Shapes of weights do not depend on it; it is large enough for every network.
    boolean volumes = Models.of(model).inputShapes(1, 224).get(0).length == 5;
    return new int[] {volumes ? 64 : 224};
  }

  private static Map<String, HostTensor> read(Settings settings, Path input, Configuration hadoop)
      throws IOException {
    FileSystem files = input.getFileSystem(hadoop);
    if (!files.exists(input) || !files.getFileStatus(input).isFile()) {
      throw new IllegalArgumentException(
          String.format("Cannot import %s: there is no such file", input));
    }
    try {
      if (input.getName().endsWith(".safetensors")) {
        try (InputStream in = files.open(input)) {
          return Safetensors.read(in).tensors();
        }
      }
      return readPyTorch(settings.entry().orElse(""), files, input);
    } catch (IOException e) {
      throw new DataException(String.format("Cannot import %s: %s", input, e.getMessage()), e);
    }
  }

  /** By way of a local copy, since parts of the file are read out of order. */
  private static Map<String, HostTensor> readPyTorch(String entry, FileSystem files, Path input)
      throws IOException {
    java.nio.file.Path copy = Files.createTempFile("sparkvision", ".pth");
    try {
      try (InputStream in = files.open(input)) {
        Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
      }
      try (PyTorchFile file = PyTorchFile.open(copy)) {
        PyTorchFile.StateDict dict = file.stateDict(entry);
        if (!dict.entry().isEmpty()) {
          System.out.println("Entry: " + dict.entry());
        }
        return dict.tensors();
      }
    } finally {
      Files.delete(copy);
    }
  }
}
