package sparkvision.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.checkpoint.Part;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.report.Report;
import sparkvision.report.ShardPage;
import sparkvision.train.RunState;

/** Says what a directory is, and verifies its checksums. */
@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    description = "Says what a shard set, run, checkpoint or report holds; verifies checksums.")
final class Inspect implements Callable<Integer> {

  private static final JsonMapper JSON = JsonMapper.builder().build();

  /** Samples on a contact sheet. */
  private static final int SHEET = 60;

  @Parameters(paramLabel = "DIR", description = "A directory (local, hdfs:// or s3a://).")
  private String directory;

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Of a shard set, write a page with a contact sheet and histograms.")
  private java.nio.file.Path html;

  @Override
  public Integer call() throws IOException {
    ObjectNode found = inspect(directory);
    if (html != null) {
      Files.writeString(html, page(directory));
    }
    if (json) {
      System.out.println(found);
    } else {
      found
          .fields()
          .forEachRemaining(f -> System.out.printf("%-20s %s%n", f.getKey(), text(f.getValue())));
    }
    return 0;
  }

  static ObjectNode inspect(String directory) throws IOException {
    Configuration hadoop = new Configuration();
    Path path = new Path(directory);
    FileSystem files = path.getFileSystem(hadoop);
    if (files.exists(new Path(path, ShardManifest.NAME))) {
      return shards(directory, hadoop);
    }
    if (files.exists(new Path(path, "checkpoints"))) {
      return run(files, path);
    }
    if (files.exists(new Path(path, "report.json"))) {
      return report(files, path);
    }
    if (files.exists(new Path(path, Checkpoint.MANIFEST))) {
      return checkpoint(files, path);
    }
    throw new IllegalArgumentException(
        files.exists(path)
            ? String.format(
                "Cannot inspect %s: it is no shard set, run, checkpoint or report (it has none of %s,"
                    + " checkpoints, %s, report.json)",
                directory, ShardManifest.NAME, Checkpoint.MANIFEST)
            : String.format("Cannot inspect %s: there is no such directory", directory));
  }

  /** The page of a shard set. */
  static String page(String directory) {
    ShardSet shards = ShardSet.open(new Configuration(), directory);
    return ShardPage.render(shards.manifest(), directory, shards.first(SHEET));
  }

  private static ObjectNode shards(String directory, Configuration hadoop) {
    ShardSet shards = ShardSet.open(hadoop, directory);
    shards.verify();
    ShardManifest manifest = shards.manifest();
    ObjectNode node = object("shard set", directory);
    node.put("task", manifest.task().toString());
    node.put("dataset", manifest.dataset());
    node.put("split", manifest.split());
    node.put("preparation", manifest.preparation());
    node.put("source", manifest.source());
    node.put("fingerprint", manifest.fingerprint());
    node.put("samples", manifest.samples());
    node.put("blocks", shards.blocks());
    node.put("samples-per-block", manifest.samplesPerBlock());
    node.put("files", manifest.files().size());
    node.put("bytes", manifest.files().stream().mapToLong(ShardManifest.ShardFile::length).sum());
    node.put("classes", manifest.classes().size());
    node.put("quarantined", manifest.quarantined().size());
    node.set("class-names", JSON.valueToTree(manifest.classes()));
    node.set("class-counts", JSON.valueToTree(manifest.classCounts()));
    node.set("widths", JSON.valueToTree(manifest.widths()));
    node.set("heights", JSON.valueToTree(manifest.heights()));
    node.set("depths", JSON.valueToTree(manifest.depths()));
    node.put("resize", manifest.resize());
    node.put("jpeg-quality", manifest.jpegQuality());
    node.set("mean", JSON.valueToTree(manifest.mean()));
    node.set("std", JSON.valueToTree(manifest.std()));
    node.set("quarantined-inputs", JSON.valueToTree(manifest.quarantined()));
    return node.put("verified", true);
  }

  private static ObjectNode run(FileSystem files, Path path) throws IOException {
    CheckpointStore store = new CheckpointStore(files, path);
    List<Path> committed = store.committed();
    ObjectNode node = object("run", path.toString());
    node.put("checkpoints", committed.size());
    node.set("directories", JSON.valueToTree(committed.stream().map(Path::getName).toList()));
    if (!committed.isEmpty()) {
      node.set("newest", checkpoint(files, committed.get(0)));
    }
    return node;
  }

  private static ObjectNode checkpoint(FileSystem files, Path path) throws IOException {
    Checkpoint checkpoint;
    try {
      checkpoint = Checkpoint.verify(files, path);
    } catch (IOException e) {
      throw new JobException(
          Exit.DATA, String.format("Cannot trust checkpoint %s: %s", path, e.getMessage()), e);
    }
    RunState state = checkpoint.state(RunState.class);
    ObjectNode node = object("checkpoint", path.toString());
    node.put("version", state.version());
    node.put("model", state.modelConfig().getString("name"));
    node.put("parameters", state.parameters());
    node.put("step", checkpoint.step());
    node.put("epoch", state.epochs());
    node.put("total-steps", state.totalSteps());
    node.put("ranks", state.ranks());
    node.put("seed", state.seed());
    node.put("optimizer", state.settings().get("optimizer.name"));
    node.put(
        "ema-decay", Double.parseDouble(state.settings().getOrDefault("optimizer.ema-decay", "0")));
    node.put("classes", state.classes().size());
    node.put("files", checkpoint.files().size());
    node.put("bytes", checkpoint.files().stream().mapToLong(Part::length).sum());
    node.set("parts", JSON.valueToTree(checkpoint.files()));
    List<Report.EpochPoint> epochs = state.history().epochs();
    if (!epochs.isEmpty()) {
      node.set("last-epoch", JSON.valueToTree(epochs.get(epochs.size() - 1)));
    }
    return node.put("verified", true);
  }

  private static ObjectNode report(FileSystem files, Path path) throws IOException {
    Report report;
    try (InputStream in = files.open(new Path(path, "report.json"))) {
      report = Report.fromJson(new String(in.readAllBytes(), StandardCharsets.UTF_8));
    } catch (IllegalArgumentException e) {
      throw new JobException(Exit.DATA, e.getMessage() + " (in " + path + ")", e);
    }
    ObjectNode node = object("report", path.toString());
    node.put("model", report.model());
    node.put("checkpoint", report.checkpoint());
    node.put("step", report.step());
    node.put("samples", report.samples());
    node.put("classes", report.classes().size());
    if (report.segmentation() == null) {
      node.put("top1", report.top1());
      node.put("top5", report.top5());
      return node.put("loss", report.loss());
    }
    if (report.volumes() != null) {
      node.put("mean-dice", report.volumes().meanDice());
    }
    node.put("mean-iou", report.segmentation().meanIou());
    node.put("mean-accuracy", report.segmentation().meanAccuracy());
    return node.put("pixel-accuracy", report.segmentation().pixelAccuracy());
  }

  private static ObjectNode object(String kind, String directory) {
    return JSON.createObjectNode().put("kind", kind).put("directory", directory);
  }

  private static String text(JsonNode value) {
    return value.isTextual() ? value.asText() : value.toString();
  }
}
