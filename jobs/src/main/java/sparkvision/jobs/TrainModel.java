package sparkvision.jobs;

import java.util.Locale;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import sparkvision.data.Course;
import sparkvision.report.Report;
import sparkvision.train.RunState;
import sparkvision.train.TrainConfig;
import sparkvision.train.TrainListener;
import sparkvision.train.Trainer;

/** A shard set -> checkpoints. */
@Command(
    name = "train",
    mixinStandardHelpOptions = true,
    description = "Trains a model by parameter averaging over executors; resumes by itself.")
final class TrainModel extends ConfJob<TrainConfig> {

  @Override
  String name() {
    return "train";
  }

  @Override
  Class<TrainConfig> schema() {
    return TrainConfig.class;
  }

  @Override
  void run(TrainConfig config) throws Exception {
    withSpark(spark -> run(spark, config));
  }

  static void run(SparkSession spark, TrainConfig config) throws Exception {
    JavaSparkContext context = new JavaSparkContext(spark.sparkContext());
    RunState state;
    try (Bar bar = new Bar()) {
      Trainer trainer =
          new Trainer(context, config, ConfigReader.flatten(config), Sparkvision.version(), bar);
      PreflightTraining.brief(spark, config);
      state = Signals.during(trainer::stop, trainer::run);
    }
    System.out.printf(
        "Trained %d steps (%d epochs); checkpoints: %s%n",
        state.step(), (long) state.epochs(), new Path(config.output(), "checkpoints"));
  }

  /** Epoch, round, loss, images per second and time left. */
  private static final class Bar implements TrainListener, AutoCloseable {

    private Progress progress;
    private Course course;

    @Override
    public void started(RunState state, long images) {
      close();
      course = state.course();
      System.err.printf(
          "Training on %d ranks with %d images each a step, %d steps an epoch%n",
          state.ranks(), images, course.stepsPerEpoch());
      progress = new Progress("train", "steps", state.step(), state.totalSteps());
    }

    @Override
    public void round(Report.RoundPoint round) {
      progress.to(
          round.step(),
          String.format(
              Locale.ROOT,
              "epoch %d, loss %.4f, %.0f images/s",
              course.epoch(round.step() - 1) + 1,
              round.loss(),
              round.imagesPerSecond()));
    }

    @Override
    public void epoch(Report.EpochPoint epoch, String score) {
      StringBuilder line = new StringBuilder();
      line.append(
          epoch.epoch() == Math.rint(epoch.epoch())
              ? String.format(Locale.ROOT, "Epoch %.0f", epoch.epoch())
              : String.format(Locale.ROOT, "Step %d", epoch.step()));
      line.append(String.format(Locale.ROOT, ": loss %.4f", epoch.trainLoss()));
      if (epoch.validationLoss() != null) {
        line.append(String.format(Locale.ROOT, ", validation loss %.4f", epoch.validationLoss()));
      }
      if (epoch.validationScore() != null) {
        line.append(
            String.format(Locale.ROOT, ", %s %.2f %%", score, 100 * epoch.validationScore()));
      }
      note(line.toString());
    }

    @Override
    public void note(String sentence) {
      Progress.note(sentence);
    }

    @Override
    public void close() {
      if (progress != null) {
        progress.close();
        progress = null;
      }
    }
  }
}
