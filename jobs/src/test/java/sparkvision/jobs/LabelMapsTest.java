package sparkvision.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import sparkvision.TestCluster;
import sparkvision.checkpoint.Checkpoint;
import sparkvision.checkpoint.CheckpointStore;
import sparkvision.data.Images;
import sparkvision.data.Sample;
import sparkvision.data.volume.Affine;
import sparkvision.data.volume.Nifti;
import sparkvision.data.volume.Volume;
import sparkvision.report.Overlay;
import sparkvision.report.Report;
import sparkvision.train.RunState;
import sparkvision.train.TrainConfig;

/**
 * Pixels, objects, voxels and whole volumes: shard, train and evaluate, on small sets with an
 * obvious answer.
 */
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
          "evaluate-every=18",
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
          "evaluate-every=15",
          "loss=dice",
          "volumes.patch-size=[16, 16, 16]",
          "volumes.quarter-turn-probability=0.5");

  /** DenseNet-121's geometry in three dimensions, small. */
  private static final List<String> CLASSES =
      List.of(
          "model={name=densenet, spatial-dims=3, in-channels=1, growth-rate=6, blocks=[2, 2],"
              + " init-features=8, bottleneck=4, dropout=0}",
          "batch-size=4",
          "epochs=20",
          "evaluate-every=10",
          "volumes.patch-size=[16, 16, 16]",
          "volumes.fit=resize");

  private static final List<String> COMMON =
      List.of(
          "ranks=2",
          "batch-size=2",
          "sync.every=1",
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
    assertThat(report.segmentation().meanIou()).isCloseTo(meanIou(report), within(1e-12));

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

    // The same weights alone: model and windows must be said, mean and deviation are the input's.
    RunState pixels = newest("pixels").state(RunState.class);
    String[] alone =
        Stream.concat(
                Stream.of(
                    "model=" + pixels.model(), "mean=" + pixels.mean(), "std=" + pixels.std()),
                PIXELS.stream()
                    .filter(setting -> setting.startsWith("segmentation."))
                    .map(setting -> "training." + setting))
            .toArray(String[]::new);
    Report same = evaluate("alone", "ade-validation", newest("pixels").model() + "", alone);
    assertThat(same.confusion()).isDeepEqualTo(report.confusion());
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

    // The test list of a Decathlon: volumes without labels.
    Files.writeString(
        directory.resolve("dataset.json"),
        """
        {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "ball"},
         "training": [], "test": ["./0.nii.gz", "./1.nii.gz"]}
        """);
    shard("test-list", "dataset=volumes", "input=" + directory, "split=test");
    for (ThrowingCallable use :
        List.<ThrowingCallable>of(
            () -> train("x", "test-list", null, VOXELS),
            () -> train("x", "balls", "test-list", VOXELS),
            () -> evaluate("x", "test-list", run("balls")))) {
      assertThatThrownBy(use)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageMatching(
              "Invalid (input|validation): \\S+/shards/test-list \\(none of its samples has a label\\)");
    }
  }

  /** Two kinds of volumes with a class each: bright in the middle, or around it. */
  @Test
  void volumesAreClassified() throws Exception {
    for (int i = 0; i < 16; i++) {
      Random random = new Random(i);
      int[] sides = {16 + random.nextInt(5), 16 + random.nextInt(5), 16 + random.nextInt(5)};
      float[] voxels = new float[sides[0] * sides[1] * sides[2]];
      for (int v = 0; v < voxels.length; v++) {
        int z = v / sides[2] / sides[1];
        int y = v / sides[2] % sides[1];
        int x = v % sides[2];
        double d = (double) z / sides[0] - 0.5;
        double h = (double) y / sides[1] - 0.5;
        double w = (double) x / sides[2] - 0.5;
        double distance = Math.sqrt(d * d + h * h + w * w);
        boolean bright = i % 2 == 0 ? distance < 0.3 : distance > 0.3 && distance < 0.42;
        voxels[v] = (float) ((bright ? 2 : 0) + 0.3 * random.nextGaussian());
      }
      Path file = directory.resolve(i % 2 == 0 ? "core" : "shell").resolve(i + ".nii.gz");
      Files.createDirectories(file.getParent());
      Files.write(
          file,
          Nifti.write(new Volume(sides[0], sides[1], sides[2], voxels, Affine.ofSpacing(1, 1, 1))));
    }
    shard("kinds", "dataset=volumes", "input=" + directory, "volumes.normalise=true");

    Report report = learn("kinds", "kinds", "kinds", CLASSES, 0.99);
    assertThat(report.samples()).isEqualTo(16);
    assertThat(report.score()).isEqualTo("top-1");
    assertThat(report.top1()).isEqualTo(1);
    assertThat(report.top5()).isEqualTo(1);
    assertThat(report.confusion()).isDeepEqualTo(new long[][] {{8, 0}, {0, 8}});
    assertThat(page("kinds")).contains("core", "shell");

    Report smaller =
        evaluate("smaller", "kinds", run("kinds"), "training.volumes.patch-size=[16, 8, 8]");
    assertThat(smaller.samples()).isEqualTo(16);

    // Two volumes in the wrong folders: the mistakes are shown by a slice.
    Path wrong = directory.resolve("wrong");
    for (String file : List.of("core/0.nii.gz", "shell/1.nii.gz")) {
      Path to = wrong.resolve(file.startsWith("core") ? "shell/a.nii.gz" : "core/b.nii.gz");
      Files.createDirectories(to.getParent());
      Files.copy(directory.resolve(file), to);
    }
    shard("wrong-kinds", "dataset=volumes", "input=" + wrong, "volumes.normalise=true");
    Report mistaken = evaluate("mistaken", "wrong-kinds", run("kinds"));
    assertThat(mistaken.mistakes()).hasSize(2);
    assertThat(Images.inspect(mistaken.mistakes().get(0).image()).width()).isEqualTo(16);

    assertThatThrownBy(() -> train("x", "kinds", null, VOXELS.subList(0, 1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Invalid model: attention-unet (must give one class for a volume)");
    assertThatThrownBy(() -> train("x", "kinds", null, joined(CLASSES, "augment.mixup-alpha=1")))
        .hasMessage("Invalid augment.mixup-alpha: 1.0 (must be 0 for volume-classification)");
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
                "output=" + CLUSTER.hdfs("/reports/" + name)),
            more);
    return EvaluateModel.run(
        CLUSTER.spark(), ConfigReader.read(EvaluateModel.Settings.class, "evaluate", null, all));
  }

  /** Over the pictures that a report shows, which are all here: a plain loop for each class. */
  private static double meanIou(Report report) {
    double sum = 0;
    int seen = 0;
    for (int label = 0; label < report.classes().size(); label++) {
      long both = 0;
      long either = 0;
      for (Overlay.Example example : report.overlays()) {
        byte[] truth = Images.decode(example.truth(), 1).pixels();
        byte[] predicted = Images.decode(example.predicted(), 1).pixels();
        for (int i = 0; i < truth.length; i++) {
          if ((truth[i] & 0xFF) != Sample.IGNORE) {
            both += truth[i] == label && predicted[i] == label ? 1 : 0;
            either += truth[i] == label || predicted[i] == label ? 1 : 0;
          }
        }
      }
      sum += either == 0 ? 0 : (double) both / either;
      seen += either == 0 ? 0 : 1;
    }
    return sum / seen;
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
