package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.TestCluster;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.data.Images;
import sparkvision.data.volume.Affine;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;
import sparkvision.report.Report;
import sparkvision.train.RunState;
import sparkvision.train.TrainConfig;

/** Pixels, objects and voxels: shard, train and evaluate, on small sets with an obvious answer. */
class LabelMapsTest {

  @RegisterExtension static final TestCluster CLUSTER = TestCluster.shared();

  private static final int WIDTH = 60;
  private static final int HEIGHT = 40;
  private static final int SIDE = 16;

  /** Windows of 48 x 48: pictures are lower than one and wider than one. */
  private static final List<String> PIXELS =
      List.of(
          "model={name=attention-unet-2d, in-channels=3, width=8}",
          "epochs=24",
          "evaluate-every=9",
          "learning-rate.base=0.02",
          "learning-rate.schedule=constant",
          "segmentation.crop-height=48",
          "segmentation.crop-width=48",
          "segmentation.short-edge=40",
          "segmentation.long-edge=64",
          "segmentation.min-ratio=1",
          "segmentation.max-ratio=1",
          "segmentation.max-class-share=1",
          "segmentation.photometric-distortion=false");

  private static final List<String> VOXELS =
      List.of(
          "model={name=attention-unet, spatial-dims=3, in-channels=1, feature-scale=16, gates=1}",
          "epochs=10",
          "loss=dice",
          "volumes.patch-size=[16, 16, 16]",
          "volumes.quarter-turn-probability=0.5");

  private static final List<String> COMMON =
      List.of(
          "ranks=2",
          "batch-size=2",
          "average-every=1",
          "optimizer.name=adamw",
          "learning-rate.base=0.01",
          "timeout-seconds=60");

  @TempDir private Path directory;

  @Test
  void squaresAreSegmented() throws Exception {
    for (String split : List.of("training", "validation")) {
      Path images = Files.createDirectories(directory.resolve("images").resolve(split));
      Path masks = Files.createDirectories(directory.resolve("annotations").resolve(split));
      int count = split.equals("training") ? 12 : 4;
      for (int i = 0; i < count; i++) {
        Square square = square(new Random(count + 100L * i));
        String name = String.format("ADE_%s_%08d", split, i);
        Files.write(images.resolve(name + ".jpg"), Images.encodeJpeg(picture(square), 95));
        byte[] labels = new byte[WIDTH * HEIGHT];
        for (int p = 0; p < labels.length; p++) {
          labels[p] = (byte) (square.holds(p) ? 2 + square.color : 1);
        }
        Files.write(
            masks.resolve(name + ".png"),
            Images.encodePng(new Images.Picture(WIDTH, HEIGHT, 1, labels)));
      }
      shard("ade-" + split, "dataset=ade20k", "input=" + directory, "split=" + split);
    }

    Report report = learn("pixels", "ade-training", "ade-validation", PIXELS, 0.6);
    assertThat(report.samples()).isEqualTo(4);
    assertThat(report.score()).isEqualTo("mIoU");
    assertThat(report.segmentation().meanIou()).isEqualTo(last(report).validationScore());
    assertThat(report.segmentation().classes().get(0).pixels())
        .as("pixels of the background, at the stored size")
        .isEqualTo(4 * (WIDTH * HEIGHT - SIDE * SIDE));
    assertThat(report.overlays()).hasSize(4);
    assertThat(page("pixels")).contains("Mean IoU", "Validation mIoU", "id=\"overlays\"");

    List<String> twoHeads =
        List.of(
            "model={name=ccnet, depth=18, width=8, stem=deep, dropout=0.1, auxiliary-weight=0.4,"
                + " recurrence=2}",
            "iterations=4",
            "evaluate-every=3",
            "loss=ohem",
            "ohem.least-kept=500",
            "optimizer.head-rate=10",
            "optimizer.no-decay=[gamma]");
    train("two-heads", "ade-training", "ade-validation", joined(PIXELS, twoHeads));
    RunState state = newest("two-heads").state(RunState.class);
    assertThat(state.history().epochs()).extracting(Report.EpochPoint::step).contains(3L, 4L);
    Report answer = evaluate("two-heads", "ade-validation", run("two-heads"));
    assertThat(answer.segmentation().meanIou()).isEqualTo(last(answer).validationScore());
    Report whole = evaluate("whole", "ade-validation", run("two-heads"), "evaluation=whole");
    assertThat(whole.samples()).isEqualTo(4);
    assertThat(whole.segmentation().meanIou()).isBetween(0.05, 1.0);
    assertThatThrownBy(() -> evaluate("x", "ade-validation", run("pixels"), "evaluation=whole"))
        .hasMessageMatching(
            "Cannot evaluate sample .* of 60 x 40 pixels: Cannot build attention-unet-2d: image size"
                + " \\d+ is no multiple of 16.*\\(set segmentation.evaluation=slide\\)");
    assertThatThrownBy(
            () -> train("x", "ade-training", null, joined(PIXELS, "optimizer.head-rate=10")))
        .hasMessage(
            "Invalid optimizer.head-rate: 10.0 (must be 1: attention-unet-2d has no head apart from"
                + " the rest)");
    assertThatThrownBy(
            () -> train("x", "ade-training", null, joined(PIXELS, "optimizer.no-decay=[gama]")))
        .hasMessage(
            "Invalid optimizer.no-decay: gama (must be part of a parameter's name in"
                + " attention-unet-2d)");

    assertThatThrownBy(() -> evaluate("alone", "ade-validation", newest("pixels").model() + ""))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("a single file does not say the size of a window");
    assertThatThrownBy(() -> train("x", "ade-training", null, List.of("model=densenet121")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid model: densenet121 (must give a class for every pixel)");
    assertThatThrownBy(() -> train("x", "ade-training", null, List.of("model=unet-3d")))
        .hasMessage("Invalid model: unet-3d (must take images, which the shards hold)");
    assertThatThrownBy(() -> train("x", "ade-training", null, List.of("augment.mixup-alpha=1")))
        .hasMessage("Invalid augment.mixup-alpha: 1.0 (must be 0 for segmentation)");
  }

  @Test
  void objectsAreSegmentedByTheirMasks() throws Exception {
    StringBuilder images = new StringBuilder();
    StringBuilder objects = new StringBuilder();
    for (int i = 0; i < 12; i++) {
      Square square = square(new Random(i));
      Files.write(directory.resolve(i + ".png"), Images.encodePng(picture(square)));
      String comma = i == 0 ? "" : ", ";
      images.append(
          String.format(
              "%s{\"id\": %d, \"file_name\": \"%d.png\", \"width\": %d, \"height\": %d}",
              comma, i, i, WIDTH, HEIGHT));
      objects
          .append(comma)
          .append(object(2 * i + 1, i, 2 + square.color, square.left, square.top, SIDE, SIDE));
      objects.append(", ").append(object(2 * i + 2, i, 1, 0, 0, WIDTH, HEIGHT));
    }
    Path json = directory.resolve("objects.json");
    Files.writeString(
        json,
        "{\"images\": ["
            + images
            + "], \"annotations\": ["
            + objects
            + "], \"categories\": [{\"id\": 1, \"name\": \"wall\"}, {\"id\": 2, \"name\": \"red\"},"
            + " {\"id\": 3, \"name\": \"green\"}]}");
    shard("objects", "dataset=coco-json", "input=" + directory, "annotations=" + json);

    Report report =
        learn("objects", "objects", "objects", joined(PIXELS, "loss=cross-entropy-dice"), 0.6);
    assertThat(report.segmentation().classes().get(0).pixels())
        .as("squares lie over the wall")
        .isEqualTo(12 * (WIDTH * HEIGHT - SIDE * SIDE));
  }

  private static String object(
      int id, int image, int category, int left, int top, int width, int height) {
    int right = left + width;
    int bottom = top + height;
    return String.format(
        "{\"id\": %d, \"image_id\": %d, \"category_id\": %d, \"bbox\": [%d, %d, %d, %d],"
            + " \"area\": %d, \"iscrowd\": 0,"
            + " \"segmentation\": [[%d, %d, %d, %d, %d, %d, %d, %d]]}",
        id,
        image,
        category,
        left,
        top,
        width,
        height,
        width * height,
        left,
        top,
        left,
        bottom,
        right,
        bottom,
        right,
        top);
  }

  @Test
  void ballsAreSegmentedAndTwoRunsGiveTheSameBits() throws Exception {
    StringBuilder table = new StringBuilder("image,mask\n");
    for (int i = 0; i < 12; i++) {
      Random random = new Random(i);
      float[] voxels = new float[20 * 18 * 22];
      float[] labels = new float[voxels.length];
      double[] centre = {
        6 + 8 * random.nextDouble(), 6 + 6 * random.nextDouble(), 6 + 10 * random.nextDouble()
      };
      for (int v = 0; v < voxels.length; v++) {
        int slice = v / (18 * 22);
        int row = v / 22 % 18;
        double d = slice - centre[0];
        double h = row - centre[1];
        double w = v % 22 - centre[2];
        labels[v] = d * d + h * h + w * w < 25 ? 1 : 0;
        voxels[v] = (float) (2 * labels[v] + 0.3 * random.nextGaussian());
      }
      Affine affine = Affine.ofSpacing(1, 1, 1);
      Files.write(
          directory.resolve(i + ".nii.gz"), Nifti.write(new Volume(20, 18, 22, voxels, affine)));
      Files.write(
          directory.resolve(i + "-mask.nii.gz"),
          Nifti.write(new Volume(20, 18, 22, labels, affine)));
      table.append(String.format("%d.nii.gz,%d-mask.nii.gz\n", i, i));
    }
    Files.writeString(directory.resolve("classes.txt"), "background\nball\n");
    Files.writeString(directory.resolve("all.csv"), table);
    shard("balls", "dataset=volumes", "input=" + directory, "volumes.normalise=true");

    Report report = learn("balls", "balls", "balls", VOXELS, 0.75);
    assertThat(report.samples()).isEqualTo(12);
    assertThat(report.volumes().meanDice()).isEqualTo(last(report).validationScore());
    assertThat(report.volumes().classes().get(1).dice()).isGreaterThan(0.75);
    assertThat(report.segmentation().classes().get(1).dice()).isGreaterThan(0.75);
    assertThat(page("balls")).contains("Mean Dice", "Validation mean Dice", "id=\"dice\"");

    train("balls-again", "balls", "balls", VOXELS);
    assertThat(PipelineTest.weights(run("balls-again"), "model"))
        .isEqualTo(PipelineTest.weights(run("balls"), "model"));
  }

  /** Trains, evaluates, and checks that loss falls and score rises. */
  private static Report learn(
      String name, String training, String validation, List<String> settings, double score)
      throws Exception {
    train(name, training, validation, settings);
    List<Report.EpochPoint> epochs = newest(name).state(RunState.class).history().epochs();
    Report.EpochPoint last = epochs.get(epochs.size() - 1);
    assertThat(last.trainLoss()).isLessThan(0.5 * epochs.get(0).trainLoss());
    assertThat(last.validationScore()).isGreaterThan(score);
    return evaluate(name, validation, run(name));
  }

  private static void train(String name, String training, String validation, List<String> settings)
      throws Exception {
    List<String> all = new ArrayList<>(COMMON);
    all.addAll(List.of("input=" + CLUSTER.hdfs("/shards/" + training), "output=" + run(name)));
    if (validation != null) {
      all.add("validation=" + CLUSTER.hdfs("/shards/" + validation));
    }
    all.addAll(settings);
    TrainModel.run(CLUSTER.spark(), ConfigReader.read(TrainConfig.class, "train", null, all));
  }

  private static Report evaluate(String name, String validation, String checkpoint, String... more)
      throws Exception {
    List<String> all =
        joined(
            List.of(
                "input=" + CLUSTER.hdfs("/shards/" + validation),
                "checkpoint=" + checkpoint,
                "model={name=attention-unet-2d, in-channels=3, width=4}",
                "output=" + CLUSTER.hdfs("/reports/" + name)),
            more);
    return EvaluateModel.run(
        CLUSTER.spark(),
        ConfigReader.read(
            EvaluateModel.Settings.class,
            "evaluate",
            null,
            name.equals("alone")
                ? all
                : all.stream().filter(s -> !s.startsWith("model")).toList()));
  }

  private static List<String> joined(List<String> settings, String... more) {
    return joined(settings, List.of(more));
  }

  private static List<String> joined(List<String> settings, List<String> more) {
    return Stream.concat(settings.stream(), more.stream()).toList();
  }

  private static Report.EpochPoint last(Report report) {
    return report.epochs().get(report.epochs().size() - 1);
  }

  private static String run(String name) {
    return CLUSTER.hdfs("/runs/" + name);
  }

  private static Checkpoint newest(String name) throws Exception {
    return new CheckpointStore(CLUSTER.files(), new org.apache.hadoop.fs.Path(run(name)))
        .newest(skipped -> {})
        .orElseThrow();
  }

  private static String page(String name) throws Exception {
    org.apache.hadoop.fs.Path path =
        new org.apache.hadoop.fs.Path(CLUSTER.hdfs("/reports/" + name), "report.html");
    try (var in = CLUSTER.files().open(path)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static void shard(String name, String... settings) throws Exception {
    List<String> all = new ArrayList<>(Arrays.asList(settings));
    all.add("output=" + CLUSTER.hdfs("/shards/" + name));
    all.add("samples-per-block=4");
    ShardDataset.run(
        CLUSTER.spark(), ConfigReader.read(ShardDataset.Settings.class, "shard", null, all));
  }

  /** A coloured square on grey. */
  private record Square(int left, int top, int color) {
    boolean holds(int pixel) {
      int x = pixel % WIDTH;
      int y = pixel / WIDTH;
      return x >= left && x < left + SIDE && y >= top && y < top + SIDE;
    }
  }

  private static Square square(Random random) {
    return new Square(
        random.nextInt(WIDTH - SIDE + 1), random.nextInt(HEIGHT - SIDE + 1), random.nextInt(2));
  }

  private static Images.Picture picture(Square square) {
    byte[] pixels = new byte[3 * WIDTH * HEIGHT];
    for (int i = 0; i < pixels.length; i++) {
      boolean bright = square.holds(i / 3) && i % 3 == square.color;
      pixels[i] = (byte) (bright ? 230 : square.holds(i / 3) ? 20 : 120);
    }
    return new Images.Picture(WIDTH, HEIGHT, 3, pixels);
  }
}
