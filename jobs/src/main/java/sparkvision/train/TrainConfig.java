package sparkvision.train;

import com.typesafe.config.Config;
import java.io.Serializable;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import sparkvision.data.Course;
import sparkvision.data.ImageTransform;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.ColorJitter;
import sparkvision.data.transform.Mixing;
import sparkvision.data.transform.RandomErasing;
import sparkvision.data.transform.RandomResizedCrop;
import sparkvision.data.transform.Resize;
import sparkvision.data.transform.SegmentationTransform;
import sparkvision.data.volume.VolumeTransform;
import sparkvision.engine.EngineOptions;
import sparkvision.engine.Engines;
import sparkvision.engine.OptimizerConfig;
import sparkvision.metrics.SlidingWindow;

/**
 * What {@code conf/train.conf} says: the data, the model, the schedule, the averaging.
 *
 * <p>The meaning, unit and default of every key stand in that file.
 */
public record TrainConfig(
    String input,
    String output,
    Optional<String> validation,
    Config model,
    Optional<String> init,
    String engine,
    EngineOptions.Precision precision,
    EngineOptions.Memory memory,
    int ranks,
    int epochs,
    long iterations,
    long evaluateEvery,
    int batchSize,
    int accumulateSteps,
    long seed,
    Mode mode,
    Sharing parameterServer,
    Exchanges exchange,
    Sync sync,
    Loss loss,
    Ohem ohem,
    double labelSmoothing,
    OptimizerConfig optimizer,
    LearningRate learningRate,
    Images images,
    Augmentation augment,
    Crops segmentation,
    VolumeTransform.Options volumes,
    Loader loader,
    Checkpoints checkpoint,
    int replacementSeconds,
    int timeoutSeconds) {

  /** How ranks learn of each other. */
  public enum Mode {
    /** By averagings alone. */
    AVERAGING,
    /** Between averagings also by updates that each sends and none waits for. */
    PARAMETER_SERVER
  }

  /** How updates are encoded; see {@link UpdateEncoder}. */
  public record Sharing(double threshold, double leastShare, double mostShare)
      implements Serializable {

    public Sharing {
      check(threshold > 0, "parameter-server.threshold", threshold, "above 0");
      check(
          leastShare >= 0 && leastShare <= mostShare,
          "parameter-server.least-share",
          leastShare,
          "at least 0, at most parameter-server.most-share");
      check(mostShare <= 1, "parameter-server.most-share", mostShare, "at most 1");
    }
  }

  /** Through what ranks average. */
  public enum Exchanges {
    DIRECT,
    DRIVER
  }

  /** What is minimised. */
  public enum Loss {
    CROSS_ENTROPY,
    OHEM,
    DICE,
    CROSS_ENTROPY_DICE
  }

  /** Which pixels or voxels count with {@link Loss#OHEM}. */
  public record Ohem(double threshold, long leastKept) implements Serializable {

    public Ohem {
      check(threshold >= 0 && threshold <= 1, "ohem.threshold", threshold, "between 0 and 1");
      check(leastKept >= 0, "ohem.least-kept", leastKept, "at least 0");
    }
  }

  public TrainConfig {
    checkEngine(engine);
    Engines.requireSupport(engine, options(precision, memory));
    atLeast("ranks", ranks, 0);
    atLeast("epochs", epochs, 1);
    check(iterations >= 0, "iterations", iterations, "at least 0");
    check(evaluateEvery >= 0, "evaluate-every", evaluateEvery, "at least 0");
    atLeast("batch-size", batchSize, 1);
    atLeast("accumulate-steps", accumulateSteps, 1);
    check(
        exchange == Exchanges.DIRECT || sync.wire() == Sync.Wire.FLOAT32,
        "sync.wire",
        spelled(sync.wire()),
        "float32 with exchange=driver");
    atLeast("replacement-seconds", replacementSeconds, 0);
    check(
        mode == Mode.AVERAGING
            || (!sync.rule().gradients()
                && !sync.rule().hasOuterStep()
                && sync.wire() == Sync.Wire.FLOAT32),
        "mode",
        spelled(mode),
        "averaging where sync has an outer step, averages gradients, or has a bfloat16 wire");
    atLeast("timeout-seconds", timeoutSeconds, 1);
    check(
        labelSmoothing >= 0 && labelSmoothing < 1,
        "label-smoothing",
        labelSmoothing,
        "at least 0, below 1");
    check(
        loss != Loss.DICE || labelSmoothing == 0, "label-smoothing", labelSmoothing, "0 with dice");
  }

  /** How this machine's engine runs; threads are those of the process that asks. */
  EngineOptions options() {
    return options(precision, memory);
  }

  private static EngineOptions options(
      EngineOptions.Precision precision, EngineOptions.Memory memory) {
    return EngineOptions.defaults().withPrecision(precision).withMemory(memory);
  }

  /** Optimizer steps of the whole run. */
  long totalSteps(Course course) {
    return iterations > 0 ? iterations : course.endOf(epochs - 1);
  }

  /** The optimizer step of the next evaluation behind {@code step}. */
  long nextEvaluation(Course course, long step) {
    return evaluateEvery > 0
        ? (step / evaluateEvery + 1) * evaluateEvery
        : course.endOf(course.epoch(step));
  }

  /** Images of one rank in one optimizer step. */
  long imagesPerStep() {
    return (long) batchSize * accumulateSteps;
  }

  /** From bytes to the network's input. */
  public record Images(
      int size, int resize, Resize.Filter interpolation, int cropPadding, double flipProbability)
      implements Serializable {

    public Images {
      atLeast("images.size", size, 1);
      atLeast("images.resize", resize, 0);
      atLeast("images.crop-padding", cropPadding, 0);
      check(
          flipProbability >= 0 && flipProbability <= 1,
          "images.flip-probability",
          flipProbability,
          "between 0 and 1");
    }

    /**
     * The transform to {@code channels}, normalised with the training set's figures; those of grey
     * images serve for every channel.
     */
    ImageTransform transform(int channels, List<Double> mean, List<Double> std, Augment augment) {
      return new ImageTransform(
          new ImageTransform.Options(
              size,
              resize,
              channels,
              cropPadding,
              flipProbability,
              mean.size() == 1 ? Collections.nCopies(channels, mean.get(0)) : mean,
              std.size() == 1 ? Collections.nCopies(channels, std.get(0)) : std),
          interpolation,
          augment);
    }
  }

  /** From pictures and masks to the network's input; see {@link SegmentationTransform.Options}. */
  public record Crops(
      int cropHeight,
      int cropWidth,
      int longEdge,
      int shortEdge,
      double minRatio,
      double maxRatio,
      double maxClassShare,
      double flipProbability,
      boolean photometricDistortion,
      Evaluation evaluation,
      int strideHeight,
      int strideWidth)
      implements Serializable {

    /** What a network is run over to be measured. */
    public enum Evaluation {
      SLIDE,
      WHOLE
    }

    public Crops {
      // Made for its checks alone.
      new SegmentationTransform.Options(
          cropHeight,
          cropWidth,
          longEdge,
          shortEdge,
          minRatio,
          maxRatio,
          maxClassShare,
          flipProbability,
          photometricDistortion,
          List.of(),
          List.of());
      check(
          strideHeight >= 0 && strideHeight <= cropHeight,
          "segmentation.stride-height",
          strideHeight,
          "at least 0, at most segmentation.crop-height");
      check(
          strideWidth >= 0 && strideWidth <= cropWidth,
          "segmentation.stride-width",
          strideWidth,
          "at least 0, at most segmentation.crop-width");
    }

    /** The windows of an evaluation. */
    SlidingWindow windows() {
      return new SlidingWindow(
          cropHeight, cropWidth, stride(strideHeight, cropHeight), stride(strideWidth, cropWidth));
    }

    private static int stride(int stride, int crop) {
      return stride > 0 ? stride : Math.max(1, 2 * crop / 3);
    }

    /** For pictures of one size. */
    Crops sized(int height, int width) {
      return new Crops(
          height,
          width,
          longEdge,
          shortEdge,
          minRatio,
          maxRatio,
          maxClassShare,
          flipProbability,
          photometricDistortion,
          evaluation,
          0,
          0);
    }

    /** The transform, normalised with the training set's figures. */
    SegmentationTransform transform(List<Double> mean, List<Double> std) {
      return new SegmentationTransform(
          new SegmentationTransform.Options(
              cropHeight,
              cropWidth,
              longEdge,
              shortEdge,
              minRatio,
              maxRatio,
              maxClassShare,
              flipProbability,
              photometricDistortion,
              mean,
              std));
    }
  }

  /** How training images differ from epoch to epoch. */
  public record Augmentation(
      Augment.Crop crop,
      List<Double> cropScale,
      List<Double> cropRatio,
      String policy,
      List<Double> colorJitter,
      double eraseProbability,
      double mixupAlpha,
      double cutmixAlpha,
      double mixSwitch,
      int repeats)
      implements Serializable {

    public Augmentation {
      check(cropScale.size() == 2, "augment.crop-scale", cropScale, "[least, most]");
      check(cropRatio.size() == 2, "augment.crop-ratio", cropRatio, "[least, most]");
      check(
          colorJitter.size() == 4,
          "augment.color-jitter",
          colorJitter,
          "[brightness, contrast, saturation, hue]");
      atLeast("augment.repeats", repeats, 1);
      augment(crop, cropScale, cropRatio, policy, colorJitter, eraseProbability);
      new Mixing(mixupAlpha, cutmixAlpha, mixSwitch, 0);
    }

    /** What is done to one image. */
    Augment augment() {
      return augment(crop, cropScale, cropRatio, policy, colorJitter, eraseProbability);
    }

    /** What is done to a batch; it knows the label smoothing, since it makes the targets. */
    Mixing mixing(double labelSmoothing) {
      return new Mixing(mixupAlpha, cutmixAlpha, mixSwitch, labelSmoothing);
    }

    private static Augment augment(
        Augment.Crop crop,
        List<Double> scale,
        List<Double> ratio,
        String policy,
        List<Double> jitter,
        double erase) {
      return new Augment(
          crop,
          new RandomResizedCrop(scale.get(0), scale.get(1), ratio.get(0), ratio.get(1)),
          policy,
          new ColorJitter(jitter.get(0), jitter.get(1), jitter.get(2), jitter.get(3)),
          new RandomErasing(erase));
    }
  }

  /** Background reading on each rank. */
  public record Loader(int threads, long prefetchBytes, int windowBlocks) implements Serializable {

    public Loader {
      atLeast("loader.threads", threads, 1);
      check(prefetchBytes >= 1, "loader.prefetch-bytes", prefetchBytes, "at least 1");
      atLeast("loader.window-blocks", windowBlocks, 1);
    }
  }

  /** When to commit and what to keep. */
  public record Checkpoints(
      int everySteps,
      int everySeconds,
      int toleratedFailures,
      int keepLast,
      boolean keepBest,
      int keepEveryEpochs) {

    public Checkpoints {
      atLeast("checkpoint.every-steps", everySteps, 0);
      atLeast("checkpoint.every-seconds", everySeconds, 0);
      atLeast("checkpoint.tolerated-failures", toleratedFailures, 0);
      atLeast("checkpoint.keep-last", keepLast, 1);
      atLeast("checkpoint.keep-every-epochs", keepEveryEpochs, 0);
    }
  }

  private static void atLeast(String key, int value, int least) {
    check(value >= least, key, value, "at least " + least);
  }

  /** The constant as conf files have it. */
  static String spelled(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  static void checkEngine(String engine) {
    check(Engines.names().contains(engine), "engine", engine, "one of " + Engines.names());
  }

  static void check(boolean valid, String key, Object value, String allowed) {
    if (!valid) {
      throw new IllegalArgumentException(
          String.format("Invalid %s: %s (must be %s)", key, value, allowed));
    }
  }
}
