package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.typesafe.config.Config;
import java.io.IOException;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import picocli.CommandLine.Command;
import sparkvision.JobException;
import sparkvision.JobException.Exit;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.Part;
import sparkvision.engine.Engine;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.graph.Graph;
import sparkvision.models.Models;
import sparkvision.train.PartWriter;

/** A model and a directory -> what a checkpoint costs the training that goes on beside it. */
@Command(
    name = "checkpoint",
    mixinStandardHelpOptions = true,
    description = "Trains on random numbers with and without checkpoints; one line of JSON.")
final class BenchCheckpoint extends ConfJob<BenchCheckpoint.Settings> {

  private static final int WRITE_SECONDS = 600;

  /** {@code conf/bench-checkpoint.conf}. */
  record Settings(
      Config model, String output, int batch, int image, int threads, int everySeconds, int times) {

    Settings {
      require(batch >= 1, "batch", batch, "must be at least 1");
      require(image >= 1, "image", image, "must be at least 1");
      require(threads >= 1, "threads", threads, "must be at least 1");
      require(everySeconds >= 1, "every-seconds", everySeconds, "must be at least 1");
      require(times >= 1, "times", times, "must be at least 1");
    }
  }

  @Override
  String name() {
    return "bench checkpoint";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws IOException {
    RandomStep step =
        new RandomStep(
            Models.of(settings.model()), settings.batch(), settings.image(), Graph.Mode.TRAINING);
    EngineOptions options = EngineOptions.defaults().withThreads(settings.threads());
    Configuration hadoop = new Configuration();
    Path directory = new Path(settings.output(), "bench-checkpoint-" + UUID.randomUUID());
    FileSystem files = directory.getFileSystem(hadoop);
    OptimizerConfig adamw = OptimizerConfig.of(OptimizerConfig.Name.ADAMW);
    try (Engine engine = Engines.open("compiled", step.graph(), adamw, options);
        PartWriter writer = new PartWriter(hadoop, WRITE_SECONDS)) {
      step.run(engine);
      step.run(engine);
      double plain = 0;
      double beside = 0;
      Written last = null;
      for (int i = 0; i < settings.times(); i++) {
        plain += stepsPerSecond(step, engine, settings.everySeconds());
        Written written = new Written();
        beside +=
            stepsPerSecond(
                step,
                engine,
                settings.everySeconds(),
                () -> written.begin(writer, engine, new Path(directory, "" + written.hashCode())));
        writer.finish();
        last = written;
      }
      System.out.println(line(settings, plain / settings.times(), beside / settings.times(), last));
    } finally {
      files.delete(directory, true);
    }
  }

  private static double stepsPerSecond(RandomStep step, Engine engine, int seconds) {
    return stepsPerSecond(step, engine, seconds, () -> {});
  }

  /** Steps a second, over so many seconds, of which {@code first} takes some. */
  private static double stepsPerSecond(
      RandomStep step, Engine engine, int seconds, Runnable first) {
    long start = System.nanoTime();
    first.run();
    int steps = 0;
    while (System.nanoTime() - start < seconds * 1e9) {
      step.run(engine);
      steps++;
    }
    return steps / ((System.nanoTime() - start) / 1e9);
  }

  /** One checkpoint. */
  private static final class Written {
    private double copySeconds;
    private volatile double writeSeconds;
    private volatile long bytes;

    void begin(PartWriter writer, Engine engine, Path directory) {
      long start = System.nanoTime();
      PartWriter.Parts parts = new PartWriter.Parts();
      parts.add(Checkpoint.MODEL, engine.state());
      parts.add(Checkpoint.optimizerFile(0), engine.optimizerState());
      copySeconds = (System.nanoTime() - start) / 1e9;
      writer.start(
          parts,
          directory,
          done -> {
            writeSeconds = (System.nanoTime() - start) / 1e9 - copySeconds;
            bytes = done.stream().mapToLong(Part::length).sum();
          },
          failure -> {
            throw new JobException(Exit.PREFLIGHT, "Cannot write the checkpoint: " + failure);
          });
    }
  }

  private static ObjectNode line(Settings settings, double plain, double beside, Written last) {
    ObjectNode line = JsonMapper.builder().build().createObjectNode();
    line.put("model", settings.model().getString("name"));
    line.put("batch", settings.batch());
    line.put("threads", settings.threads());
    line.put("every_seconds", settings.everySeconds());
    line.put("checkpoint_bytes", last.bytes);
    line.put("copy_seconds", last.copySeconds);
    line.put("write_seconds", last.writeSeconds);
    line.put("steps_per_second_without", plain);
    line.put("steps_per_second_with", beside);
    return line.put("share_lost", 1 - beside / plain);
  }
}
