package sparkvision.jobs;

import static sparkvision.data.Setting.require;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import sparkvision.data.DataException;
import sparkvision.data.ImageTransform;
import sparkvision.data.Images;
import sparkvision.data.Sample;
import sparkvision.data.ShardManifest;
import sparkvision.data.ShardSet;
import sparkvision.data.SourceFolder;
import sparkvision.data.SplitMix;
import sparkvision.data.Storage;
import sparkvision.data.transform.Augment;
import sparkvision.data.transform.Augmentation;
import sparkvision.data.transform.ColorJitter;
import sparkvision.data.transform.RandomErasing;
import sparkvision.data.transform.Resize;

/** Images -> how fast one core decodes and augments them. */
@Command(
    name = "data",
    mixinStandardHelpOptions = true,
    description =
        "Times decoding, cropping and augmentation of images and prints one line of JSON.")
final class BenchData extends ConfJob<BenchData.Settings> {

  private static final int WARM_UP = 3;
  private static final double GREY = 0.5;

  /** {@code conf/bench-data.conf}. */
  record Settings(
      String input,
      int images,
      int size,
      int resize,
      Resize.Filter interpolation,
      String policy,
      int threads,
      int rounds) {

    Settings {
      require(images >= 1, "images", images, "must be at least 1");
      require(threads >= 1, "threads", threads, "must be at least 1");
      require(rounds >= 1, "rounds", rounds, "must be at least 1");
    }
  }

  @Option(
      names = "--on-go",
      description =
          "For a harness: print \"ready\" after warm-up, then decode and resize all images once and"
              + " print a line for every line \"go\" on standard input; a step is one image.")
  private boolean onGo;

  @Override
  String name() {
    return "bench data";
  }

  @Override
  Class<Settings> schema() {
    return Settings.class;
  }

  @Override
  void run(Settings settings) throws Exception {
    Map<String, Consumer<Sample>> stages = stages(settings);
    List<Sample> samples = samples(settings);
    ExecutorService threads = Executors.newFixedThreadPool(settings.threads());
    try {
      if (onGo) {
        answer(settings, samples, stages.get("decode_resize"), threads);
        return;
      }
      ObjectNode line = JsonMapper.builder().build().createObjectNode();
      line.put("images", samples.size());
      line.put("size", settings.size());
      line.put("interpolation", settings.interpolation().name().toLowerCase(Locale.ROOT));
      line.put("threads", settings.threads());
      for (Map.Entry<String, Consumer<Sample>> stage : stages.entrySet()) {
        double seconds =
            median(samples, stage.getValue(), settings.threads(), threads, settings.rounds());
        line.put(stage.getKey() + "_per_second", Math.round(samples.size() / seconds * 10) / 10.0);
      }
      System.out.println(line);
    } finally {
      threads.shutdown();
    }
  }

  /** What is timed, by name. */
  private static Map<String, Consumer<Sample>> stages(Settings settings) {
    ImageTransform centre = transform(settings, "none");
    ImageTransform crop = transform(settings, "none");
    ImageTransform together = transform(settings, settings.policy());
    Augmentation policy =
        Augmentation.policy(
            settings.policy(),
            new Augmentation.Canvas(settings.interpolation(), new int[] {128, 128, 128}));
    ThreadLocal<float[]> target = ThreadLocal.withInitial(() -> new float[centre.size()]);
    Images.Picture square = noise(settings.size());
    Map<String, Consumer<Sample>> stages = new LinkedHashMap<>();
    stages.put("decode", sample -> Images.decode(sample.image(), 3));
    stages.put("decode_resize", centre::evaluationPicture);
    stages.put("decode_crop", sample -> crop.train(sample, 0, 0, target.get(), 0));
    stages.put("policy", sample -> policy.apply(square, new SplitMix(SplitMix.hash(sample.id()))));
    stages.put("decode_crop_policy", sample -> together.train(sample, 0, 0, target.get(), 0));
    return stages;
  }

  private static ImageTransform transform(Settings settings, String policy) {
    return new ImageTransform(
        new ImageTransform.Options(
            settings.size(), settings.resize(), 3, 0, GREY, List.of(GREY), List.of(GREY)),
        settings.interpolation(),
        new Augment(
            Augment.Crop.RESIZED,
            Augment.NONE.resizedCrop(),
            policy,
            ColorJitter.NONE,
            new RandomErasing(0)));
  }

  private static Images.Picture noise(int size) {
    byte[] pixels = new byte[3 * size * size];
    SplitMix random = new SplitMix(1);
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) random.next();
    }
    return new Images.Picture(size, size, 3, pixels);
  }

  /** Seconds of one pass for a thread's share. */
  private static double median(
      List<Sample> samples, Consumer<Sample> stage, int parts, ExecutorService threads, int rounds)
      throws Exception {
    for (int i = 0; i < WARM_UP; i++) {
      pass(samples, stage, parts, threads);
    }
    double[] seconds = new double[rounds];
    for (int i = 0; i < rounds; i++) {
      seconds[i] = parts * pass(samples, stage, parts, threads);
    }
    Arrays.sort(seconds);
    return (seconds[rounds / 2] + seconds[(rounds - 1) / 2]) / 2;
  }

  private static double pass(
      List<Sample> samples, Consumer<Sample> stage, int parts, ExecutorService threads)
      throws Exception {
    List<Callable<Void>> shares = new ArrayList<>();
    for (int part = 0; part < parts; part++) {
      int first = part;
      shares.add(
          () -> {
            for (int i = first; i < samples.size(); i += parts) {
              stage.accept(samples.get(i));
            }
            return null;
          });
    }
    long start = System.nanoTime();
    for (Future<Void> share : threads.invokeAll(shares)) {
      share.get();
    }
    return (System.nanoTime() - start) / 1e9;
  }

  private static void answer(
      Settings settings, List<Sample> samples, Consumer<Sample> stage, ExecutorService threads)
      throws Exception {
    median(samples, stage, settings.threads(), threads, settings.rounds());
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    System.out.println("ready");
    while ("go".equals(in.readLine())) {
      double seconds =
          settings.threads() * pass(samples, stage, settings.threads(), threads) / samples.size();
      System.out.printf(
          Locale.ROOT,
          "{\"step_seconds_median\":%.9f,\"peak_resident_bytes\":%s}%n",
          seconds,
          BenchStep.peakResident().isPresent() ? BenchStep.peakResident().getAsLong() : "null");
    }
  }

  private static List<Sample> samples(Settings settings) throws IOException {
    Configuration hadoop = new Configuration();
    Path input = new Path(settings.input());
    FileSystem files = input.getFileSystem(hadoop);
    List<Sample> samples =
        files.exists(new Path(input, ShardManifest.NAME))
            ? ShardSet.open(hadoop, settings.input()).first(settings.images())
            : ofFolder(files, input, settings.images());
    if (samples.isEmpty()) {
      throw new DataException("Cannot time images of " + settings.input() + ": there are none");
    }
    return samples;
  }

  private static List<Sample> ofFolder(FileSystem files, Path folder, int most) throws IOException {
    List<FileStatus> found = new ArrayList<>();
    RemoteIterator<LocatedFileStatus> all = files.listFiles(folder, true);
    while (all.hasNext()) {
      FileStatus file = all.next();
      if (SourceFolder.isPicture(file.getPath().getName())) {
        found.add(file);
      }
    }
    Collections.sort(found);
    List<Sample> samples = new ArrayList<>();
    for (FileStatus file : found.subList(0, Math.min(most, found.size()))) {
      byte[] bytes = Storage.read(files, file);
      try {
        Images.Picture picture = Images.inspect(bytes);
        samples.add(
            new Sample(file.getPath().getName(), 0, picture.height(), picture.width(), bytes));
      } catch (DataException e) {
        throw new DataException("Cannot time " + file.getPath() + ": " + e.getMessage(), e);
      }
    }
    return samples;
  }
}
